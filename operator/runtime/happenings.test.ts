import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Condition } from '../../crds/conditions.ts';
import { happenings } from './happenings.ts';

const condition = (type: string, status: Condition['status'], reason: string): Condition => ({
  type,
  status,
  reason,
  message: `${type} says ${reason}.`,
  observedGeneration: 1,
  lastTransitionTime: '2026-01-01T00:00:00Z',
});
const object = (status: object, conditions: Condition[] = []) => ({
  apiVersion: 'store.gsv.dev/v1alpha1',
  kind: 'Instance',
  metadata: { name: 'a', uid: 'u', resourceVersion: '1', generation: 1, creationTimestamp: '2026-01-01T00:00:00Z' },
  spec: {},
  status: { ...status, conditions },
});

const ready = condition('Ready', 'True', 'Succeeded');
const waits = [condition('Ready', 'False', 'SyncPending'), condition('Reconciling', 'True', 'Progressing')];
const stalled = [condition('Ready', 'False', 'PlanNotFound'), condition('Stalled', 'True', 'PlanNotFound')];
const failing = [
  condition('Ready', 'False', 'GitUnavailable'),
  condition('Reconciling', 'True', 'ProgressingWithRetry'),
];

const CASES = [
  { name: 'the same status', before: object({}, [ready]), after: object({}, [ready]), told: [] },
  { name: 'a newcomer that is ready', before: object({}), after: object({}, [ready]), told: ['Normal Ready'] },
  {
    name: 'work that begins',
    before: object({}, [ready]),
    after: object({}, [condition('Ready', 'Unknown', 'Progressing')]),
    told: [],
  },
  { name: 'a wait', before: object({}, [ready]), after: object({}, waits), told: ['Normal SyncPending'] },
  { name: 'the same wait again', before: object({}, waits), after: object({}, waits), told: [] },
  {
    name: 'something a user must do: once, though two conditions say it',
    before: object({}, waits),
    after: object({}, stalled),
    told: ['Warning PlanNotFound'],
  },
  {
    name: 'a failure that passes',
    before: object({}, [ready]),
    after: object({}, failing),
    told: ['Warning GitUnavailable'],
  },
  {
    name: 'another reason of the same state',
    before: object({}, failing),
    after: object({}, stalled),
    told: ['Warning PlanNotFound'],
  },
  {
    name: 'a rung that became True',
    before: object({}, waits),
    after: object({}, [...waits, condition('Synced', 'True', 'LocalDelivery')]),
    told: ['Normal Synced'],
  },
  {
    name: 'True for another reason',
    before: object({}, [condition('Synced', 'True', 'LocalDelivery')]),
    after: object({}, [condition('Synced', 'True', 'Succeeded')]),
    told: [],
  },
  {
    name: 'a commit and its rung: once',
    before: object({}),
    after: object({ commit: 'c'.repeat(40) }, [condition('Committed', 'True', 'Succeeded')]),
    told: ['Normal Committed'],
  },
  {
    name: 'a new commit',
    before: object({ commit: 'b'.repeat(40) }, [ready]),
    after: object({ commit: 'c'.repeat(40) }, [ready]),
    told: ['Normal Committed'],
  },
  {
    name: 'a turn of the lifecycle',
    before: object({ lifecycle: 'Active' }),
    after: object({ lifecycle: 'Paused' }),
    told: ['Normal Paused'],
  },
];

for (const { name, before, after, told } of CASES) {
  test(`${name}: ${told.join(', ') || 'nothing'}`, () => {
    assert.equal(
      happenings(before, after).map(({ type, reason }) => `${type} ${reason}`),
      told,
    );
  });
}

test('a message is that of a condition, or made of the status', () => {
  const after = object({ commit: '0123456789abcdef', lifecycle: 'Paused' }, stalled);
  const before = object({ lifecycle: 'Active' });
  assert.equal(
    happenings(before, after).map(({ message }) => message),
    ['Commit 0123456789ab holds the manifests.', 'Ready says PlanNotFound.', 'The lifecycle is Paused after Active.'],
  );
});
