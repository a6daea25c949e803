import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Condition, nextConditions } from '../../../crds/conditions.ts';
import type { Kind } from '../../../crds/kinds.ts';
import { type Version, violations, writeViolations } from './conformance.ts';
import { type KStatus, kstatus } from './kstatus.ts';
import { NS, World } from './world.ts';

const NOW = '2026-01-01T00:00:00Z';
const LATER = '2026-01-01T00:01:00Z';
const KEY = { namespace: NS, name: 'claims' };

function condition(
  type: string,
  status: Condition['status'],
  reason: string,
  more: Partial<Condition> = {},
): Condition {
  return { type, status, reason, message: 'Said so.', observedGeneration: 2, lastTransitionTime: NOW, ...more };
}

/** An Instance of generation 2. */
function instance(conditions: Condition[], observedGeneration = 2, more: Partial<Version['metadata']> = {}): Version {
  const metadata = { name: 'claims', uid: 'uid-1', generation: 2, ...more };
  return { metadata, status: { observedGeneration, conditions } };
}

const READY = condition('Ready', 'True', 'Succeeded');
const WAITS = [condition('Ready', 'False', 'CreditsExhausted'), condition('Reconciling', 'True', 'Progressing')];
const STALLED = [condition('Ready', 'False', 'PlanNotFound'), condition('Stalled', 'True', 'PlanNotFound')];

const GOOD: { reason: string; object: Version; seen: KStatus }[] = [
  { reason: 'success', object: instance([READY]), seen: 'Current' },
  { reason: 'waiting', object: instance(WAITS, 1), seen: 'InProgress' },
  { reason: 'waiting, this generation has succeeded before', object: instance(WAITS), seen: 'InProgress' },
  { reason: 'a user must act', object: instance(STALLED), seen: 'Failed' },
  {
    reason: 'a new spec that nobody has looked at',
    object: instance([{ ...READY, observedGeneration: 1 }], 1),
    seen: 'InProgress',
  },
  { reason: 'on the way out', object: instance([READY], 2, { deletionTimestamp: NOW }), seen: 'Terminating' },
  { reason: 'created just now', object: instance([], -1), seen: 'InProgress' },
];

for (const { reason, object, seen } of GOOD)
  test(`conforms, and reads ${seen}: ${reason}`, () => {
    assert.equal(violations('Instance', object, undefined), []);
    assert.is(kstatus(object as Parameters<typeof kstatus>[0]), seen);
  });

const BAD: { says: RegExp; object: Version; before?: Version; kind?: Kind; canaries?: string[] }[] = [
  { says: /Ready is absent/, object: instance([condition('Accepted', 'True', 'Succeeded')]) },
  { says: /above generation/, object: instance([READY], 3) },
  { says: /went back/, object: instance([READY], 1), before: instance([READY]) },
  { says: /old generation and counts as current/, object: instance([{ ...READY, observedGeneration: 1 }]) },
  { says: /not there yet/, object: instance([{ ...READY, observedGeneration: 3 }]) },
  {
    says: /Reconciling and Stalled stand there together/,
    object: instance([...WAITS, condition('Stalled', 'True', 'CreditsExhausted')]),
  },
  {
    says: /Reconciling stands there and is not True/,
    object: instance([READY, condition('Reconciling', 'False', 'Succeeded')]),
  },
  {
    says: /Stalled stands there and is not True/,
    object: instance([READY, condition('Stalled', 'False', 'Succeeded')]),
  },
  { says: /beside Reconciling or Stalled/, object: instance([READY, condition('Reconciling', 'True', 'Progressing')]) },
  { says: /nobody acts/, object: instance([condition('Ready', 'False', 'CreditsExhausted')]) },
  {
    says: /another reason than Ready/,
    object: instance([condition('Ready', 'False', 'PlanNotFound'), condition('Stalled', 'True', 'ConfigInvalid')]),
  },
  {
    says: /which passes/,
    object: instance([condition('Ready', 'False', 'SyncPending'), condition('Stalled', 'True', 'SyncPending')]),
  },
  {
    says: /holds nothing up/,
    object: instance([condition('Ready', 'False', 'Succeeded'), condition('Reconciling', 'True', 'Progressing')]),
  },
  { says: /Ready is True for a reason that holds up/, object: instance([condition('Ready', 'True', 'SyncPending')]) },
  {
    says: /Waiting for PlanNotFound, which is not declared so/,
    object: instance([condition('Ready', 'False', 'PlanNotFound'), condition('Reconciling', 'True', 'Progressing')]),
  },
  {
    says: /Retrying SyncPending, which is not declared so/,
    object: instance([
      condition('Ready', 'False', 'SyncPending'),
      condition('Reconciling', 'True', 'ProgressingWithRetry'),
    ]),
  },
  { says: /not CamelCase/, object: instance([condition('Ready', 'True', 'all_good')]) },
  { says: /not declared/, object: instance([condition('Ready', 'True', 'AllGood')]) },
  {
    says: /not for Instance/,
    object: instance([condition('Ready', 'False', 'WalletInvalid'), condition('Stalled', 'True', 'WalletInvalid')]),
  },
  { says: /is not one of a Team/, object: instance([READY, condition('Funded', 'True', 'Succeeded')]), kind: 'Team' },
  { says: /not in the vocabulary/, object: instance([READY, condition('Happy', 'True', 'Succeeded')]) },
  { says: /order of the vocabulary/, object: instance([condition('Funded', 'True', 'Succeeded'), READY]) },
  { says: /stands twice/, object: instance([READY, READY]) },
  { says: /several lines/, object: instance([{ ...READY, message: 'One.\nTwo.' }]) },
  { says: /no sentence/, object: instance([{ ...READY, message: 'ok' }]) },
  { says: /no message/, object: instance([{ ...READY, message: ' ' }]) },
  { says: /a uid in its message/, object: instance([{ ...READY, message: 'Object uid-1 works.' }]) },
  { says: /a time in its message/, object: instance([{ ...READY, message: `Works since ${NOW}.` }]) },
  { says: /a commit in its message/, object: instance([{ ...READY, message: `At ${'ab'.repeat(20)}.` }]) },
  {
    says: /value of a secret/,
    object: instance([{ ...READY, message: 'The key hunter2-hunter2 works.' }]),
    canaries: ['hunter2-hunter2'],
  },
  {
    says: /kept its status and moved/,
    object: instance([{ ...READY, lastTransitionTime: LATER }]),
    before: instance([READY]),
  },
  {
    says: /lastTransitionTime of Ready went back/,
    object: instance([READY]),
    before: instance([{ ...WAITS[0], lastTransitionTime: LATER } as Condition]),
  },
];

for (const { says, object, before, kind = 'Instance', canaries = [] } of BAD)
  test(`is caught: ${says.source}`, () => {
    const found = violations(kind, object, before, canaries);
    assert.ok(
      found.some((each) => says.test(each)),
      found.join('; ') || 'nothing was found',
    );
  });

test('a write that changes nothing is caught', () => {
  assert.equal(writeViolations('Instance', instance([READY]), instance([READY])), [
    'status was written and did not differ',
  ]);
  assert.equal(writeViolations('Instance', instance([READY]), instance(WAITS, 1)), []);
});

test('every outcome gives conditions that conform, after every other outcome', () => {
  const outcomes: Parameters<typeof nextConditions>[0]['outcome'][] = [
    { kind: 'Progressing' },
    { kind: 'Succeeded' },
    { kind: 'Waiting', reason: 'SyncPending', message: 'words of\n another system', retryAfterMs: 1 },
    { kind: 'Transient', reason: 'GitUnavailable', message: 'The remote is away' },
    { kind: 'Terminal', reason: 'PlanNotFound', message: 'There is no such plan' },
  ];
  for (const first of outcomes)
    for (const outcome of outcomes) {
      const next = (
        each: typeof outcome,
        generation: number,
        previous: Parameters<typeof nextConditions>[0]['previous'],
      ) => nextConditions({ outcome: each, facts: [], generation, previous, now: NOW });
      const old = next(first, 1, {});
      const before = {
        ...instance([...old.conditions], old.observedGeneration),
        metadata: { name: 'claims', uid: 'uid-1', generation: 1 },
      };
      const now = next(outcome, 2, old);
      assert.equal(
        violations('Instance', instance(now.conditions, now.observedGeneration), before),
        [],
        `${first.kind}, ${outcome.kind}`,
      );
    }
});

test('a world does not rest when an operator says Ready by an old generation', async () => {
  const world = await World.open();
  let said: unknown;
  try {
    await world.start((doors) => ({
      ...doors,
      store: new Proxy(doors.store, {
        get: (target, property) => {
          const member: unknown = Reflect.get(target, property, target);
          if (property !== 'applyStatus') return typeof member === 'function' ? member.bind(target) : member;
          const applyStatus: typeof target.applyStatus = (kind, key, status, options) => {
            const lie = structuredClone(status) as { conditions?: Condition[] };
            for (const each of lie.conditions ?? []) if (each.type === 'Ready') each.observedGeneration = 0;
            return target.applyStatus(kind, key, lie as typeof status, options);
          };
          return applyStatus;
        },
      }),
    }));
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
  } catch (error) {
    said = error;
  } finally {
    await world.close();
  }
  assert.match(String(said), /old generation and counts as current/);
});

test('the watch of a world has seen what its operator wrote', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.ok(world.watch.seen >= 20, String(world.watch.seen));
  } finally {
    await world.close();
  }
});
