import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { ApplicationStatus } from '../../../crds/foreign.ts';
import { applicationState } from './application-state.ts';

const NAMESPACE = 'gsv-w-acme-default-ac23d0ed';
/** Revisions are letters, in the order of the history; the wanted commit is `c`. */
const WANTED = 'c';
const contains = (revision: string | undefined) => revision !== undefined && revision >= WANTED;

const OBJECTS = [
  { group: '', kind: 'ConfigMap', name: 'i-claims' },
  { group: 'external-secrets.io', kind: 'ExternalSecret', name: 'i-claims' },
];

const entry = (kind: string, status: string, name = 'i-claims', group = '') => ({
  group,
  kind,
  namespace: NAMESPACE,
  name,
  status,
});
const SYNCED = [entry('ConfigMap', 'Synced'), entry('ExternalSecret', 'Synced', 'i-claims', 'external-secrets.io')];

type Operation = NonNullable<ApplicationStatus['operationState']>;
const operation = (phase: NonNullable<Operation['phase']>, revision: string, more: Operation = {}): Operation => ({
  phase,
  operation: { sync: { revision }, retry: { limit: 5 } },
  syncResult: { revision, ...more.syncResult },
  ...Object.fromEntries(Object.entries(more).filter(([key]) => key !== 'syncResult')),
});

const done = (revision: string): ApplicationStatus => ({
  sync: { status: 'Synced', revision },
  operationState: operation('Succeeded', revision),
  history: [{ revision: 'a' }, { revision }],
  health: { status: 'Healthy' },
  resources: SYNCED,
});

function read(status: ApplicationStatus | undefined) {
  const application = { metadata: { name: NAMESPACE }, ...(status === undefined ? {} : { status }) };
  return applicationState(application, {
    workloadNamespace: NAMESPACE,
    objects: OBJECTS,
    instance: 'claims',
    contains,
  });
}

/** Between two attempts: Argo CD writes Failed only when no other attempt follows. */
const failed = (kind: string, message: string, more: Partial<Operation> = {}): ApplicationStatus => ({
  ...done('c'),
  sync: { status: 'OutOfSync', revision: 'c' },
  history: [{ revision: 'b' }],
  resources: [entry('ConfigMap', 'OutOfSync')],
  operationState: operation('Running', 'c', {
    finishedAt: '2026-01-01T00:00:00Z',
    message: 'one or more synchronization tasks completed unsuccessfully (retried 2 times).',
    syncResult: {
      revision: 'c',
      resources: [
        { kind: 'LimitRange', name: 'project', namespace: NAMESPACE, status: 'Synced', message: 'unchanged' },
        { kind, name: 'i-claims', namespace: NAMESPACE, status: 'SyncFailed', message },
      ],
    },
    ...more,
  }),
});

interface Row {
  reason: string;
  why: string;
  status: ApplicationStatus | undefined;
  message?: RegExp;
  exhausted?: true;
}

const ROWS: Row[] = [
  { why: 'all conditions of done hold', reason: 'ArgoCdSynced', status: done('c') },
  { why: 'a foreign commit on top contains ours', reason: 'ArgoCdSynced', status: done('d') },
  { why: 'Argo CD has not said anything', reason: 'SyncPending', status: undefined },
  { why: 'only an earlier commit was compared', reason: 'SyncPending', status: done('b') },
  {
    why: 'health alone lies in the middle of a sync',
    reason: 'SyncPending',
    status: { ...done('c'), operationState: operation('Running', 'c'), history: [{ revision: 'b' }] },
  },
  {
    why: 'compared at the commit, our object not applied yet',
    reason: 'SyncPending',
    message: /ConfigMap i-claims is OutOfSync\./,
    status: {
      ...done('b'),
      sync: { status: 'OutOfSync', revision: 'c' },
      resources: [entry('ConfigMap', 'OutOfSync'), ...SYNCED.slice(1)],
    },
  },
  {
    why: 'an object of the commit is not in the Application',
    reason: 'ManifestsMissing',
    message: /ExternalSecret i-claims/,
    status: { ...done('c'), resources: SYNCED.slice(0, 1) },
  },
  {
    why: 'an object of that name in another namespace is not ours',
    reason: 'ManifestsMissing',
    status: { ...done('c'), resources: SYNCED.map((each) => ({ ...each, namespace: 'other' })) },
  },
  {
    why: 'another Instance is out of sync, ours was applied before',
    reason: 'ArgoCdSynced',
    status: {
      ...done('c'),
      sync: { status: 'OutOfSync', revision: 'd' },
      operationState: operation('Running', 'd'),
      resources: [...SYNCED, entry('ConfigMap', 'OutOfSync', 'i-other')],
    },
  },
  {
    why: 'another Instance has failed a later commit, ours was applied before',
    reason: 'ArgoCdSynced',
    status: {
      ...done('c'),
      sync: { status: 'OutOfSync', revision: 'd' },
      operationState: operation('Failed', 'd', { retryCount: 5 }),
      conditions: [{ type: 'SyncError', message: 'Failed last sync attempt' }],
    },
  },
  {
    why: 'nothing was to be done for the commit, and the last operation succeeded earlier',
    reason: 'ArgoCdSynced',
    status: { ...done('c'), operationState: operation('Succeeded', 'b'), history: [{ revision: 'b' }] },
  },
  {
    why: 'nothing was to be done for the commit, which takes back one that failed',
    reason: 'ArgoCdSynced',
    status: { ...done('c'), operationState: operation('Failed', 'b', { retryCount: 5 }), history: [{ revision: 'a' }] },
  },
  {
    why: 'all in sync, but the operation of this commit failed in its last wave',
    reason: 'SyncError',
    status: {
      ...done('c'),
      operationState: operation('Running', 'c', { message: 'x', retryCount: 1, finishedAt: '2026-01-01T00:00:00Z' }),
      history: [],
    },
  },
  {
    why: 'bad YAML, a missing path, a bad kustomization',
    reason: 'ComparisonError',
    message: /^Failed to load target state: bad\.yaml: mapping values are not allowed\.$/,
    status: {
      ...done('c'),
      sync: { status: 'Unknown', revision: 'c' },
      conditions: [
        { type: 'ComparisonError', message: 'Failed to load target state:\n bad.yaml: mapping values are not allowed' },
      ],
    },
  },
  {
    why: 'the AppProject is missing',
    reason: 'AppProjectMissing',
    status: {
      sync: { status: 'Unknown' },
      health: { status: 'Unknown' },
      conditions: [
        { type: 'InvalidSpecError', message: 'Application referencing project gsv-org-acme which does not exist' },
      ],
    },
  },
  {
    why: 'the spec is refused for another cause',
    reason: 'InvalidSpecError',
    status: { ...done('c'), conditions: [{ type: 'InvalidSpecError', message: 'repo is not permitted in project' }] },
  },
  {
    why: 'an error that has no name here',
    reason: 'ApplicationError',
    message: /^UnknownError: odd\.$/,
    status: { ...done('c'), conditions: [{ type: 'UnknownError', message: 'odd' }] },
  },
  {
    why: 'a warning is no error',
    reason: 'ArgoCdSynced',
    status: { ...done('c'), conditions: [{ type: 'SharedResourceWarning', message: 'shared' }] },
  },
  {
    why: 'a deletion failed',
    reason: 'DeletionError',
    status: { ...done('c'), conditions: [{ type: 'DeletionError', message: 'cluster is away' }] },
  },
  {
    why: 'a wrong type under server-side apply',
    reason: 'SyncError',
    message: /^ConfigMap i-claims: \.data\.a: expected string, got &value\.valueUnstructured\{Value:1\}\.$/,
    status: failed('ConfigMap', '.data.a: expected string, got &value.valueUnstructured{Value:1}'),
  },
  {
    why: 'the CRD is missing',
    reason: 'KindMissing',
    status: failed(
      'ExternalSecret',
      'The Kubernetes API could not find external-secrets.io/ExternalSecret for requested resource x. Make sure the "ExternalSecret" CRD is installed on the destination cluster.',
    ),
  },
  {
    why: 'the CRD has just gone, in the words that a real Argo CD had for it',
    reason: 'KindMissing',
    status: failed('ExternalSecret', 'ExternalSecret.external-secrets.io "" not found'),
  },
  {
    why: 'a dead SecretStore in an early wave; the cause is only in the results',
    reason: 'SecretStoreNotReady',
    message: /^SecretStore project: unable to create client\.$/,
    status: failed('ConfigMap', '', {
      syncResult: {
        revision: 'c',
        resources: [
          {
            kind: 'SecretStore',
            name: 'project',
            namespace: NAMESPACE,
            status: 'Synced',
            hookPhase: 'Failed',
            message: 'unable to create client',
          },
        ],
      },
    }),
  },
  {
    why: 'between two attempts the cause is known already, without its clock',
    reason: 'SyncError',
    message: /^boom\.$/,
    status: failed('ConfigMap', '', {
      retryCount: 1,
      message: 'boom. Retrying attempt #1 at 9:14PM.',
      syncResult: { revision: 'c' },
    }),
  },
  {
    why: 'the retries are used up',
    reason: 'RetriesExhausted',
    exhausted: true,
    message: /^Argo CD has given the commit up\. ConfigMap i-claims: no\.$/,
    status: failed('ConfigMap', 'no', { phase: 'Failed', retryCount: 5 }),
  },
  {
    why: 'no retries are configured, so one failure is the end',
    reason: 'RetriesExhausted',
    exhausted: true,
    status: failed('ConfigMap', 'no', { phase: 'Failed', operation: { sync: { revision: 'c' }, retry: { limit: 0 } } }),
  },
  {
    why: 'somebody has ended the operation, whatever retries were left',
    reason: 'RetriesExhausted',
    exhausted: true,
    message: /^Argo CD has given the commit up\. Operation terminated\.$/,
    status: failed('ConfigMap', '', {
      phase: 'Failed',
      message: 'Operation terminated',
      syncResult: { revision: 'c' },
    }),
  },
  {
    why: 'given up, but a newer commit is compared already',
    reason: 'SyncError',
    status: {
      ...failed('ConfigMap', 'no', { phase: 'Failed', retryCount: 5 }),
      sync: { status: 'OutOfSync', revision: 'd' },
    },
  },
  {
    why: 'an earlier commit was given up, ours was not tried yet',
    reason: 'SyncPending',
    status: {
      ...done('b'),
      sync: { status: 'OutOfSync', revision: 'c' },
      resources: [entry('ConfigMap', 'OutOfSync'), ...SYNCED.slice(1)],
      operationState: operation('Failed', 'b', { retryCount: 5 }),
    },
  },
  {
    why: 'quota blocks pods: that is not a matter of the sync',
    reason: 'ArgoCdSynced',
    status: { ...done('c'), health: { status: 'Degraded' } },
  },
  {
    why: 'paused or scaled to 0: neither',
    reason: 'ArgoCdSynced',
    status: { ...done('c'), health: { status: 'Suspended' } },
  },
];

for (const { reason, why, status, message, exhausted } of ROWS)
  test(`${reason}: ${why}`, () => {
    const state = read(status);
    assert.is(state.reason, reason, state.message);
    assert.is(state.synced, reason === 'ArgoCdSynced');
    assert.is(state.exhausted, exhausted);
    assert.is(state.revision, exhausted && 'c');
    if (message) assert.match(state.message, message);
    assert.match(state.message, /^[^\n]+[.…]$/);
  });

test('an Application that is being deleted delivers nothing', () => {
  const metadata = { name: NAMESPACE, deletionTimestamp: '2026-01-01T00:00:00Z' };
  const wanted = { workloadNamespace: NAMESPACE, objects: OBJECTS, instance: 'claims', contains };
  assert.is(applicationState({ metadata, status: done('c') }, wanted).reason, 'ApplicationTerminating');
});
