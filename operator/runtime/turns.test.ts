import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { Turns } from './turns.ts';

test('what shares a name waits for its turn, other names do not, and a failure ends only its own', async () => {
  const turns = new Turns();
  const order: string[] = [];
  const gate = Promise.withResolvers<void>();
  const first = turns.run('a', async () => {
    await gate.promise;
    order.push('a1');
    throw new Error('boom');
  });
  const second = turns.run('a', async () => order.push('a2'));
  await turns.run('b', async () => order.push('b1'));
  gate.resolve();
  const failed = await first.catch((error: Error) => error.message);
  await second;
  assert.is(failed, 'boom');
  assert.equal(order, ['b1', 'a1', 'a2']);
});
