import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { DatabaseUnavailable, withDatabase } from './database.ts';

async function errorOf(rows: unknown[]): Promise<unknown> {
  return withDatabase(async () => rows).then(
    () => undefined,
    (error: unknown) => error,
  );
}

test('a result whose first row was lost is no "not found": the outcome is unknown', async () => {
  const holed: { id: number }[] = [];
  holed[1] = { id: 7 };
  assert.instance(await errorOf(holed), DatabaseUnavailable);
});

test('an empty result and a whole one are what they are', async () => {
  assert.is(await errorOf([]), undefined);
  assert.is(await errorOf([undefined]), undefined);
  assert.is(await errorOf([{ id: 1 }, { id: 2 }]), undefined);
});
