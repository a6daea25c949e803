import { mock, test } from 'node:test';
import * as assert from 'uvu/assert';
import { rfc3339, systemClock } from './clock.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A nested timer of the mock counts from the end of a tick, so ticks are small. */
function pass(days: number): void {
  for (let hour = 0; hour < days * 24; hour += 1) mock.timers.tick(HOUR_MS);
}

test('a wait longer than a timer of Node can count does not end at once, but when it is over', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    let calls = 0;
    systemClock.after(365 * DAY_MS, () => {
      calls += 1;
    });
    pass(364);
    assert.is(calls, 0);
    pass(2);
    assert.is(calls, 1);
    pass(365);
    assert.is(calls, 1);
  } finally {
    mock.timers.reset();
  }
});

test('a long wait is cancelled in whichever part of it', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    let calls = 0;
    const cancel = systemClock.after(60 * DAY_MS, () => {
      calls += 1;
    });
    pass(30);
    cancel();
    pass(60);
    assert.is(calls, 0);
  } finally {
    mock.timers.reset();
  }
});

test('a time for a condition has no fractions', () => {
  assert.is(rfc3339(Date.parse('2026-11-23T07:51:20.139Z')), '2026-11-23T07:51:20Z');
});
