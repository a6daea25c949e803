import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { ManualClock } from '../../hack/testing/operator/manual-clock.ts';
import { WorkQueue } from './queue.ts';

function make(options: Partial<ConstructorParameters<typeof WorkQueue>[0]> = {}) {
  const clock = new ManualClock();
  return { clock, queue: new WorkQueue({ clock, random: () => 0.5, ...options }) };
}

test('a key that is added twice is handed out once, in order of arrival', async () => {
  const { queue } = make();
  for (const key of ['a', 'b', 'a']) queue.add(key);
  assert.is(queue.depth, 2);
  assert.is(await queue.take(), 'a');
  assert.is(await queue.take(), 'b');
  assert.is(queue.depth, 0);
});

test('a key that changes while it is worked on comes again, and never twice at once', async () => {
  const { queue } = make();
  queue.add('a');
  await queue.take();
  queue.add('a');
  queue.add('a');
  let second: string | undefined;
  const taken = queue.take().then((key) => {
    second = key;
  });
  await Promise.resolve();
  assert.is(second, undefined);
  queue.done('a');
  await taken;
  assert.is(second, 'a');
  queue.done('a');
  assert.is(queue.depth, 0);
});

test('a waiting taker gets the key that arrives', async () => {
  const { queue } = make();
  const taken = queue.take();
  queue.add('a');
  assert.is(await taken, 'a');
});

test('a delayed key comes at its time, the earlier of two counts, and taking it cancels the delay', async () => {
  const { queue, clock } = make();
  queue.addAfter('a', 1000);
  queue.addAfter('a', 300);
  queue.addAfter('a', 5000);
  await clock.advance(299);
  assert.is(queue.depth, 0);
  await clock.advance(1);
  assert.is(queue.depth, 1);
  queue.addAfter('a', 50);
  await queue.take();
  queue.done('a');
  assert.is(clock.pending, 0);
});

test('each key backs off by itself, doubles, jitters, and is capped; forgetting starts anew', () => {
  const { queue } = make({ backoffBaseMs: 100, backoffCapMs: 1000 });
  assert.equal(
    [1, 2, 3, 4, 5, 6].map(() => queue.addBackoff('a')),
    [75, 150, 300, 600, 750, 750],
  );
  assert.is(queue.addBackoff('b'), 75);
  queue.forget('a');
  assert.is(queue.addBackoff('a'), 75);
  const { queue: low } = make({ backoffBaseMs: 100, random: () => 0 });
  assert.is(low.addBackoff('a'), 50);
});

test('a full queue refuses, and says when there is room again', async () => {
  let room = 0;
  const { queue } = make({ limit: 2, onRoom: () => room++ });
  assert.equal(
    ['a', 'b', 'c', 'a'].map((key) => queue.add(key)),
    [true, true, false, true],
  );
  for (const key of ['a', 'b']) {
    assert.is(await queue.take(), key);
    queue.done(key);
  }
  assert.is(room, 1);
});

test('stop hands out nothing more, drops delays, and waits for what is in hand', async () => {
  const { queue, clock } = make();
  queue.add('a');
  queue.add('b');
  queue.addAfter('c', 10);
  await queue.take();
  let stopped = false;
  const stop = queue.stop().then(() => {
    stopped = true;
  });
  assert.is(await queue.take(), undefined);
  await Promise.resolve();
  assert.is(stopped, false);
  queue.done('a');
  await stop;
  assert.is(clock.pending, 0);
  assert.is(queue.add('d'), false);
});

test('stop releases takers that wait', async () => {
  const { queue } = make();
  const taken = queue.take();
  await queue.stop();
  assert.is(await taken, undefined);
});

test('giving back a key that was not handed out is a bug and says so', () => {
  const { queue } = make();
  assert.throws(() => queue.done('a'), /did not hand out a/);
});

test('what somebody waits for overtakes a fleet that is only looked at again, and starves nobody', async () => {
  const { queue } = make({ urgent: (key) => key.startsWith('new') });
  for (const key of ['old1', 'old2', 'new1', 'new2', 'new3', 'new4', 'new5']) queue.add(key);
  assert.is(queue.depth, 7);
  const order: (string | undefined)[] = [];
  for (let each = 0; each < 7; each++) order.push(await queue.take());
  assert.equal(order, ['new1', 'new2', 'new3', 'new4', 'old1', 'new5', 'old2']);
  assert.is(queue.depth, 0);
});

test('a key that becomes urgent while it waits moves up, and still comes once', async () => {
  const pressing = new Set<string>();
  const { queue } = make({ urgent: (key) => pressing.has(key) });
  for (const key of ['a', 'b', 'c']) queue.add(key);
  pressing.add('c');
  queue.add('c');
  assert.is(queue.depth, 3);
  assert.equal([await queue.take(), await queue.take(), await queue.take()], ['c', 'a', 'b']);
});
