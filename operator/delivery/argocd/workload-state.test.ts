import { createHash } from 'node:crypto';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Deployment, ExternalSecret } from '../../../crds/kinds.ts';
import { workloadState } from './workload-state.ts';

const metadata = (more: object = {}) => ({
  name: 'i-claims',
  namespace: 'w',
  uid: 'u',
  resourceVersion: '1',
  generation: 2,
  creationTimestamp: '2026-01-01T00:00:00Z',
  labels: { b: '2', a: '1' },
  annotations: { 'force-sync': 'token=3' },
  ...more,
});

const GO_TEXT = '{annotations:map[force-sync:token=3] labels:map[a:1 b:2]}';
const hash = (algorithm: string): string => createHash(algorithm).update(GO_TEXT).digest('hex');
const condition = (type: string, status: string, more: object = {}) => ({ type, status, ...more });

const secret = (more: object = {}, meta: object = {}): ExternalSecret =>
  ({
    apiVersion: 'external-secrets.io/v1',
    kind: 'ExternalSecret',
    metadata: metadata(meta),
    spec: {},
    status: { conditions: [condition('Ready', 'True')], syncedResourceVersion: `2-${hash('sha3-224')}`, ...more },
  }) as ExternalSecret;

const deployment = (more: object = {}, spec: object = {}): Deployment =>
  ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata(),
    spec: { replicas: 1, ...spec },
    status: {
      observedGeneration: 2,
      replicas: 1,
      updatedReplicas: 1,
      availableReplicas: 1,
      conditions: [condition('Available', 'True')],
      ...more,
    },
  }) as Deployment;

const DECLARED = [
  {
    group: 'external-secrets.io',
    kind: 'ExternalSecret',
    name: 'i-claims',
    annotations: { 'force-sync': 'token=3' },
  },
  { group: 'apps', kind: 'Deployment', name: 'i-claims' },
];

const SECRETS: [reason: string, why: string, object: ExternalSecret][] = [
  ['Succeeded', 'it is in line', secret()],
  ['Succeeded', 'an older External Secrets hashes otherwise', secret({ syncedResourceVersion: `2-${hash('md5')}` })],
  ['Succeeded', 'a hash that is not known is not held against it', secret({ syncedResourceVersion: '2-abc' })],
  ['SecretSyncPending', 'an earlier generation was brought in line', secret({ syncedResourceVersion: '1-abc' })],
  ['SecretSyncPending', 'earlier annotations were', secret({ syncedResourceVersion: `2-${'0'.repeat(56)}` })],
  [
    'SecretSyncPending',
    'it was not told of the present version',
    secret({}, { annotations: { 'force-sync': 'token=2' } }),
  ],
  ['SecretSyncPending', 'nobody has looked at it', secret({ conditions: undefined })],
  [
    'SecretSyncedError',
    'it cannot be read',
    secret({ conditions: [condition('Ready', 'False', { reason: 'SecretSyncedError', message: '403' })] }),
  ],
  [
    'SecretSyncPending',
    'it is not ready for another cause',
    secret({ conditions: [condition('Ready', 'False', { reason: 'Unheard' })] }),
  ],
  [
    'SecretSyncPending',
    'Vault had no value, so it is Ready without a Secret',
    secret({ conditions: [condition('Ready', 'True', { reason: 'SecretDeleted' })] }),
  ],
  [
    'SecretSyncPending',
    'there was no Secret to add to',
    secret({ conditions: [condition('Ready', 'True', { reason: 'SecretMissing' })] }),
  ],
];

for (const [reason, why, object] of SECRETS)
  test(`an ExternalSecret is ${reason}: ${why}`, () => {
    const state = workloadState({ objects: DECLARED, externalSecrets: [object], deployments: [deployment()] });
    assert.equal([state.reason, state.ready], [reason, reason === 'Succeeded'], state.message);
  });

const DEPLOYMENTS: [reason: string, why: string, object: Deployment][] = [
  [
    'ReplicaFailure',
    'quota refuses its pods',
    deployment({
      conditions: [
        condition('ReplicaFailure', 'True', { message: 'pods "i-claims-x-1" is forbidden: exceeded quota: project' }),
      ],
    }),
  ],
  ['RolloutPending', 'its last change was not seen', deployment({ observedGeneration: 1 })],
  [
    'ProgressDeadlineExceeded',
    'its pods never became ready',
    deployment({ conditions: [condition('Progressing', 'False'), condition('Available', 'False')] }),
  ],
  ['ScaledToZero', 'it has no pods', deployment({}, { replicas: 0 })],
  ['RolloutPending', 'a pod of the earlier version is left', deployment({ replicas: 2 })],
  ['RolloutPending', 'the new pod is not made yet', deployment({ updatedReplicas: 0 })],
  [
    'RolloutPending',
    'the pod is not ready',
    deployment({ availableReplicas: 0, conditions: [condition('Available', 'False')] }),
  ],
];

for (const [reason, why, object] of DEPLOYMENTS)
  test(`a Deployment is ${reason}: ${why}`, () => {
    const state = workloadState({ objects: DECLARED, externalSecrets: [secret()], deployments: [object] });
    assert.equal([state.reason, state.ready], [reason, false], state.message);
    assert.not.match(state.message, /x-1/);
  });

test('what was declared and is not there is missing; what nobody declared is not asked for', () => {
  const none = { externalSecrets: [], deployments: [] };
  assert.is(workloadState({ objects: DECLARED, ...none }).reason, 'WorkloadMissing');
  assert.ok(workloadState({ objects: [], ...none }).ready);
});
