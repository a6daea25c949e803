/** When an operation of Argo CD counts as one that never ends, and what is asked of the API server to know it. */
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Application, ForeignKind } from '../../../crds/kinds.ts';
import { type Key, StoreError } from '../../../crds/store.ts';
import { Stalls } from './stall.ts';

const NAMESPACE = 'gsv-w-acme-default';

/** An operation that waits for what it has applied. */
function waiting(kind: string, more: object = {}): Application {
  const object = { kind, name: 'i-claims', namespace: NAMESPACE };
  return {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'Application',
    metadata: { name: 'app', namespace: 'argocd', uid: 'u', resourceVersion: '7' },
    spec: {},
    operation: {},
    status: {
      operationState: {
        ...{ phase: 'Running', startedAt: '2026-01-01T00:00:00Z' },
        syncResult: { resources: [{ ...object, status: 'Synced', hookPhase: 'Running' }] },
      },
      resources: [{ ...object, status: 'OutOfSync' }],
      ...more,
    },
  } as unknown as Application;
}

/** @param there kinds that have the object */
function bench(there: ForeignKind[] = []) {
  const calls: string[] = [];
  let nowMs = 0;
  let failure: Error | undefined;
  const store = {
    get: async (kind: string) => {
      calls.push(`get ${kind}`);
      return there.includes(kind as ForeignKind) ? {} : undefined;
    },
    list: async (kind: string) => {
      calls.push(`list ${kind}`);
      return there.includes(kind as ForeignKind) ? [{ metadata: { name: 'i-claims' } }] : [];
    },
    terminateOperation: async (_kind: string, key: Key, { resourceVersion }: { resourceVersion: string }) => {
      calls.push(`terminate ${key.namespace}/${key.name} ${resourceVersion}`);
      if (failure) throw failure;
    },
  };
  return {
    calls,
    stalls: new Stalls(store as unknown as ConstructorParameters<typeof Stalls>[0], () => nowMs),
    pass: (seconds: number) => {
      nowMs += seconds * 1_000;
    },
    fail: (error: Error) => {
      failure = error;
    },
  };
}

test('what is gone is named after five seconds and ended after a minute, of the version that was read', async () => {
  const { calls, stalls, pass } = bench();
  assert.not.ok(await stalls.end(waiting('NetworkPolicy')));
  assert.is(stalls.on('app'), undefined);
  pass(5);
  assert.not.ok(await stalls.end(waiting('NetworkPolicy')));
  assert.is(stalls.on('app')?.name, 'i-claims');
  pass(54);
  assert.not.ok(await stalls.end(waiting('NetworkPolicy')));
  assert.equal(calls, []);
  pass(1);
  assert.ok(await stalls.end(waiting('NetworkPolicy')));
  assert.equal(calls, ['terminate argocd/app 7']);
});

for (const [kind, call] of [
  ['Deployment', 'list Deployment'],
  ['ExternalSecret', 'list ExternalSecret'],
  ['Application', 'get Application'],
] as const) {
  test(`a ${kind} that is slow is left alone, and asked for with the rights that the operator has`, async () => {
    const { calls, stalls, pass } = bench([kind]);
    await stalls.end(waiting(kind));
    assert.equal(calls, [], 'nobody is asked at once');
    for (let minute = 0; minute < 3; minute += 1) {
      pass(60);
      assert.not.ok(await stalls.end(waiting(kind)));
      assert.is(stalls.on('app'), undefined);
    }
    assert.equal([...new Set(calls)], [call]);
  });
}

for (const [why, application] of [
  ['is over', waiting('NetworkPolicy', { operationState: { phase: 'Succeeded' } })],
  ['waits for its next attempt', waiting('NetworkPolicy', { operationState: { phase: 'Running', finishedAt: 'x' } })],
  ['waits for what is in sync', waiting('NetworkPolicy', { resources: [] })],
  ['is not there any more', { ...waiting('NetworkPolicy'), operation: undefined }],
] as const) {
  test(`an operation that ${why} does not stand still`, async () => {
    const { calls, stalls, pass } = bench();
    for (let minute = 0; minute < 3; minute += 1) {
      assert.not.ok(await stalls.end(application as Application));
      pass(60);
    }
    assert.equal(calls, []);
  });
}

test('another attempt is another wait', async () => {
  const { calls, stalls, pass } = bench();
  const { status } = waiting('NetworkPolicy');
  for (let retryCount = 0; retryCount < 3; retryCount += 1) {
    const operationState = { ...status?.operationState, retryCount };
    assert.not.ok(await stalls.end(waiting('NetworkPolicy', { operationState })));
    pass(59);
  }
  assert.equal(calls, []);
});

test('an Application that has changed meanwhile is looked at again, any other refusal is an error', async () => {
  const { stalls, pass, fail } = bench();
  await stalls.end(waiting('NetworkPolicy'));
  pass(60);
  fail(new StoreError('Conflict', 'changed'));
  assert.ok(await stalls.end(waiting('NetworkPolicy')));
  fail(new StoreError('Forbidden', 'no'));
  assert.instance(await stalls.end(waiting('NetworkPolicy')).catch((error: unknown) => error), StoreError);
});
