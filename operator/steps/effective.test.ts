import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { effectiveState, type Lack, since } from './effective.ts';
import { rungOf } from './fund.ts';

const lack = (rung: Lack['rung']): Lack => ({ reason: 'CreditsExhausted', message: 'no money', rung });
const NOBODY = { suspend: false, organizationSuspended: false, offeringEnded: false };

const STATES: [reason: string, standing: Parameters<typeof effectiveState>[0], expected: string][] = [
  ['nobody minds', NOBODY, 'Running'],
  ['the owner pauses', { ...NOBODY, suspend: true }, 'Paused/Suspended'],
  ['a warning pauses nobody', { ...NOBODY, lack: lack('Notify') }, 'Running'],
  ['the ladder pauses', { ...NOBODY, lack: lack('Pause') }, 'Paused/CreditsExhausted'],
  ['money weighs more than the owner', { ...NOBODY, suspend: true, lack: lack('Pause') }, 'Paused/CreditsExhausted'],
  [
    'the end of life weighs more than money',
    { ...NOBODY, offeringEnded: true, lack: lack('Pause') },
    'Paused/OfferingEndOfLife',
  ],
  [
    'the Organization weighs more than the Offering',
    { ...NOBODY, organizationSuspended: true, offeringEnded: true },
    'Paused/OrganizationSuspended',
  ],
  [
    'the last rung weighs most',
    { suspend: true, organizationSuspended: true, offeringEnded: true, lack: lack('Terminate') },
    'Terminated/CreditsExhausted',
  ],
];

for (const [reason, standing, expected] of STATES)
  test(`effective state: ${reason}`, () => {
    const { state, cause } = effectiveState(standing);
    assert.is(cause === undefined ? state : `${state}/${cause}`, expected);
  });

test('a state keeps its time while state and cause stay', () => {
  const before = { state: 'Paused' as const, cause: 'Suspended' as const, sinceTime: '2026-01-01T00:00:00Z' };
  const now = '2026-01-02T00:00:00Z';
  assert.equal(since({ state: 'Paused', cause: 'Suspended' }, before, now), before);
  assert.is(since({ state: 'Paused', cause: 'CreditsExhausted' }, before, now).sinceTime, now);
  assert.equal(since({ state: 'Running' }, before, now), { state: 'Running', sinceTime: now });
});

type Ladder = Parameters<typeof rungOf>[0];
const FULL: Ladder = [
  { action: 'Notify', afterSeconds: 0 },
  { action: 'Pause', afterSeconds: 60 },
  { action: 'Terminate', afterSeconds: 3600 },
];
const RUNGS: [reason: string, ladder: Ladder, seconds: number, expected: ReturnType<typeof rungOf>][] = [
  ['it begins with a word', FULL, 0, { rung: 'Notify', nextMs: 60_000 }],
  ['one second before the pause', FULL, 59, { rung: 'Notify', nextMs: 1_000 }],
  ['the pause, and what follows it', FULL, 60, { rung: 'Pause', nextMs: 3_540_000 }],
  ['the end', FULL, 3600, { rung: 'Terminate' }],
  ['a ladder that pauses at once', [{ action: 'Pause', afterSeconds: 0 }], 0, { rung: 'Pause' }],
  ['a ladder that only tells', [{ action: 'Notify', afterSeconds: 5 }], 999, { rung: 'Notify' }],
];

for (const [reason, ladder, seconds, expected] of RUNGS)
  test(`exhaustion ladder: ${reason}`, () => assert.equal(rungOf(ladder, 0, seconds * 1000), expected));
