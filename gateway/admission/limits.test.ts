import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { Problem } from '../../config/problem.ts';
import { RateLimits } from './limits.ts';
import { Overload } from './overload.ts';

function refusal(action: () => unknown): Problem | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    assert.instance(error, Problem);
    return error as Problem;
  }
}

test('a minute’s worth may come at once, then one per share of the minute', () => {
  let now = 0;
  const rates = new RateLimits(() => now);
  for (let request = 0; request < 60; request++) rates.take('i', 60);
  const refused = refusal(() => rates.take('i', 60));
  assert.is(refused?.code, 'rate_limited');
  assert.is(refused?.headers['retry-after'], '1');
  now += 1_000;
  rates.take('i', 60);
  assert.ok(refusal(() => rates.take('i', 60)));
  now += 3_600_000;
  for (let request = 0; request < 60; request++) rates.take('i', 60);
  assert.ok(
    refusal(() => rates.take('i', 60)),
    'an idle hour saves up one minute',
  );
});

test('Instances do not share their limit; edges do', () => {
  const rates = new RateLimits(
    () => 0,
    () => 2,
  );
  rates.take('a', 2);
  assert.ok(refusal(() => rates.take('a', 2)));
  rates.take('b', 2);
});

test('a clock that jumps back takes nothing away', () => {
  let now = 1_000_000;
  const rates = new RateLimits(() => now);
  rates.take('i', 2);
  now = 0;
  rates.take('i', 2);
  assert.ok(refusal(() => rates.take('i', 2)));
});

test('a place is given back once, and draining waits for the last one', async () => {
  const overload = new Overload(2);
  const first = overload.enter();
  const second = overload.enter();
  assert.is(refusal(() => overload.enter())?.code, 'overloaded');
  first();
  first();
  assert.is(overload.running, 1);
  let drained = false;
  const draining = overload.drain().then(() => {
    drained = true;
  });
  assert.is(refusal(() => overload.enter())?.code, 'draining');
  await Promise.resolve();
  assert.is(drained, false);
  second();
  await draining;
  assert.is(drained, true);
});
