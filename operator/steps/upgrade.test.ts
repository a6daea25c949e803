import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { mayUpgrade, placeOf, type Rollout } from './rollout.ts';
import { isUpgradable } from './upgrade.ts';

const RANGES: [reason: string, from: string, version: string, range: string | undefined, expected: boolean][] = [
  ['a lower one of the same major version', '1.2.0', '1.10.0', undefined, true],
  ['the same one', '1.2.0', '1.2.0', undefined, false],
  ['a higher one', '1.10.0', '1.2.0', undefined, false],
  ['another major version', '1.9.0', '2.0.0', undefined, false],
  ['another major version that the range names', '1.9.0', '2.0.0', '>=1.5.0 <2.0.0', true],
  ['one below the range', '1.4.0', '2.0.0', '>=1.5.0 <2.0.0', false],
  ['a prerelease of the range', '1.6.0-rc.1', '2.0.0', '>=1.5.0 <2.0.0', true],
  ['a way back that the range names', '1.1.0', '1.0.1', '1.1.0', true],
  ['a range that is none', '1.0.0', '1.1.0', 'nonsense || more', false],
];

for (const [reason, from, version, range, expected] of RANGES)
  test(`from ${from} to ${version}: ${reason} ${expected ? 'may' : 'may not'}`, () => {
    assert.is(isUpgradable(from, { version, ...(range === undefined ? {} : { upgradesFrom: range }) }), expected);
  });

test('a place depends on Instance and version, and its order decides', () => {
  const rollout = (overrides: Partial<Rollout>): Rollout => ({
    version: '1.1.0',
    phase: 'Rolling',
    total: 2,
    updated: 0,
    failed: 0,
    held: 0,
    group: 1,
    startedTime: '2026-01-01T00:00:00Z',
    ...overrides,
  });
  const [low, high] = ['a', 'b'].sort((x, y) => (placeOf('1.1.0', x) < placeOf('1.1.0', y) ? -1 : 1));
  if (low === undefined || high === undefined) throw new Error('two were given');
  const first = rollout({ admittedThrough: placeOf('1.1.0', low) });
  assert.match(placeOf('1.1.0', low), /^[0-9a-f]{16}$/);
  assert.is.not(placeOf('1.1.0', low), placeOf('1.2.0', low));
  assert.equal([mayUpgrade(first, '1.1.0', low), mayUpgrade(first, '1.1.0', high)], [true, false]);
  assert.is(mayUpgrade(undefined, '1.1.0', low), false);
  assert.is(mayUpgrade(first, '1.2.0', low), false, 'the channel has moved on');
  assert.is(mayUpgrade({ ...first, phase: 'Halted' }, '1.1.0', low), false);
  assert.is(mayUpgrade(rollout({ phase: 'Complete' }), '1.1.0', high), true);
  assert.is(mayUpgrade(rollout({}), '1.1.0', low), false, 'nobody was let begin');
});
