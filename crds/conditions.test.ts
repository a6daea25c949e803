import { test } from 'node:test';
import * as assert from 'uvu/assert';
import {
  CONDITION_TYPES,
  type Condition,
  type Fact,
  isReady,
  NOTHING_OBSERVED,
  nextConditions,
  type Outcome,
  REASONS,
} from './conditions.ts';
import { KINDS } from './kinds.ts';

const BEFORE = '2026-01-01T00:00:00Z';
const NOW = '2026-01-01T00:05:00Z';
const READY: Condition = {
  type: 'Ready',
  status: 'True',
  reason: 'Succeeded',
  message: 'The present generation is in effect.',
  observedGeneration: 1,
  lastTransitionTime: BEFORE,
};
const STALLED: Condition = { ...READY, type: 'Stalled', reason: 'ConfigInvalid', message: 'Bad.' };

function after(outcome: Outcome, conditions: Condition[] = [READY], facts: Fact[] = []) {
  const previous = { observedGeneration: 1, conditions };
  return nextConditions({ outcome, facts, generation: 2, previous, now: NOW });
}

const rows: { name: string; outcome: Outcome; had?: Condition[]; shows: string[]; observed: number }[] = [
  {
    name: 'a new generation is in progress and not observed yet',
    outcome: { kind: 'Progressing' },
    had: [READY, STALLED],
    shows: ['Ready Unknown Progressing', 'Reconciling True Progressing'],
    observed: 1,
  },
  {
    name: 'success is observed and leaves nothing abnormal',
    outcome: { kind: 'Succeeded' },
    had: [READY, STALLED, { ...READY, type: 'Reconciling' }],
    shows: ['Ready True Succeeded'],
    observed: 2,
  },
  {
    name: 'waiting names its reason and goes on by itself',
    outcome: { kind: 'Waiting', reason: 'WalletNotReady', message: 'Wallet "main".', retryAfterMs: 1 },
    had: [READY, STALLED],
    shows: ['Ready False WalletNotReady', 'Reconciling True Progressing'],
    observed: 1,
  },
  {
    name: 'a passing failure is retried',
    outcome: { kind: 'Transient', reason: 'LedgerUnavailable', message: 'Away.' },
    shows: ['Ready False LedgerUnavailable', 'Reconciling True ProgressingWithRetry'],
    observed: 1,
  },
  {
    name: 'a user has to act: stalled and observed',
    outcome: { kind: 'Terminal', reason: 'ConfigInvalid', message: 'Bad.' },
    had: [READY, { ...READY, type: 'Reconciling' }],
    shows: ['Ready False ConfigInvalid', 'Stalled True ConfigInvalid'],
    observed: 2,
  },
  {
    name: 'suspended keeps what there was, but works on nothing',
    outcome: { kind: 'Suspended' },
    had: [{ ...READY, status: 'False', reason: 'ConfigInvalid' }, { ...READY, type: 'Reconciling' }, STALLED],
    shows: ['Ready False ConfigInvalid', 'Stalled True ConfigInvalid'],
    observed: 2,
  },
  {
    name: 'a wait does not outlive itself into a suspension',
    outcome: { kind: 'Suspended' },
    had: [
      { ...READY, status: 'False', reason: 'SyncPending' },
      { ...READY, type: 'Reconciling' },
    ],
    shows: ['Ready Unknown Suspended'],
    observed: 2,
  },
  {
    name: 'a pause of somebody else that is over does not outlive itself into a suspension',
    outcome: { kind: 'Suspended', reached: true },
    had: [{ ...READY, status: 'False', reason: 'OrganizationSuspended' }, STALLED],
    shows: ['Ready Unknown Suspended'],
    observed: 2,
  },
  {
    name: 'a suspended newcomer has Ready all the same',
    outcome: { kind: 'Suspended' },
    had: [],
    shows: ['Ready Unknown Suspended'],
    observed: 2,
  },
];

for (const { name, outcome, had, shows, observed } of rows) {
  test(`outcome ${outcome.kind}: ${name}`, () => {
    const { conditions, observedGeneration } = after(outcome, had);
    assert.equal(
      conditions.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
      shows,
    );
    assert.is(observedGeneration, observed);
  });
}

test('nothing observed is -1 until an outcome is final', () => {
  const input = { facts: [], generation: 1, previous: {}, now: NOW };
  const transient: Outcome = { kind: 'Transient', reason: 'ReconcileFailed', message: 'Failed.' };
  assert.is(nextConditions({ ...input, outcome: transient }).observedGeneration, NOTHING_OBSERVED);
  assert.is(nextConditions({ ...input, outcome: { kind: 'Succeeded' } }).observedGeneration, 1);
});

test('lastTransitionTime moves only when status does', () => {
  const waiting: Outcome = { kind: 'Waiting', reason: 'SyncPending', message: 'Soon.', retryAfterMs: 1 };
  const first = after(waiting).conditions;
  assert.is(first[0]?.lastTransitionTime, NOW);
  const later = nextConditions({
    outcome: { kind: 'Terminal', reason: 'ConfigInvalid', message: 'Bad.' },
    facts: [],
    generation: 2,
    previous: { conditions: first },
    now: '2026-01-01T09:00:00Z',
  }).conditions;
  assert.is(later[0]?.reason, 'ConfigInvalid');
  assert.is(later[0]?.lastTransitionTime, NOW);
  assert.is(later[1]?.lastTransitionTime, '2026-01-01T09:00:00Z');
});

test('the same outcome twice is the same document', () => {
  const outcome: Outcome = { kind: 'Waiting', reason: 'CreditsExhausted', message: 'Empty.', retryAfterMs: 1 };
  const first = after(outcome);
  const again = nextConditions({ outcome, facts: [], generation: 2, previous: first, now: '2027-01-01T00:00:00Z' });
  assert.equal(again, first);
});

test('facts become conditions, the last of a type counts, and those of earlier visits stay', () => {
  const accepted: Fact = { type: 'Accepted', status: 'True', reason: 'Succeeded', message: 'Fits.' };
  const funded: Fact = { type: 'Funded', status: 'True', reason: 'Succeeded', message: 'Paid.' };
  const warned: Fact = { type: 'Funded', status: 'False', reason: 'CreditsExhausted', message: 'Empty.' };
  const first = after({ kind: 'Succeeded' }, [READY], [accepted, funded, warned]);
  assert.equal(
    first.conditions.map(({ type, status }) => `${type} ${status}`),
    ['Ready True', 'Accepted True', 'Funded False'],
  );
  const next = nextConditions({ outcome: { kind: 'Succeeded' }, facts: [], generation: 3, previous: first, now: NOW });
  assert.equal(next.conditions.slice(1), first.conditions.slice(1));
});

test('ready means ready for the present generation and not on the way out', () => {
  const object = { metadata: { generation: 1 }, status: { observedGeneration: 1, conditions: [READY] } };
  assert.ok(isReady(object));
  assert.not.ok(isReady({ ...object, metadata: { generation: 2 } }));
  assert.not.ok(isReady({ ...object, metadata: { generation: 1, deletionTimestamp: NOW } }));
});

test('the vocabulary is well formed: kinds exist, sentences end, names are CamelCase', () => {
  const entries = [...Object.entries(REASONS), ...Object.entries(CONDITION_TYPES)];
  for (const [name, entry] of entries) {
    assert.match(name, /^[A-Z][A-Za-z]+$/);
    assert.match(entry.meaning, /[.]$/, `${name} has a sentence as its meaning`);
    if (entry.kinds !== 'all') for (const kind of entry.kinds) assert.ok(kind in KINDS, `${name} names kind ${kind}`);
  }
  for (const [name, { next }] of Object.entries(REASONS)) assert.match(next, /[.]$/, `${name} says what to do`);
});
