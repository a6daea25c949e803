import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Condition, InstanceStatus } from '../../crds/generated/kinds.ts';
import type { Instance } from '../../crds/kinds.ts';
import { obstacle } from './instances.ts';

const BOUND: InstanceStatus = { version: '1.0.0', contractDigest: `sha256:${'a'.repeat(64)}` };

function condition(type: string, status: Condition['status'], reason: string): Condition {
  return { type, status, reason, message: `because of ${reason}`, lastTransitionTime: '2026-11-23T00:00:00Z' };
}

function instance(status: InstanceStatus): Instance {
  return {
    apiVersion: 'store.gsv.dev/v1alpha1',
    kind: 'Instance',
    metadata: {
      name: 'claims',
      namespace: 'gsv-org-acme',
      uid: 'u',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: '2026-11-23T00:00:00Z',
    },
    spec: {
      projectRef: { name: 'default' },
      offeringRef: { name: 'claims-agent' },
      plan: 'pro',
      walletRef: { name: 'main' },
    },
    status: { ...BOUND, ...status },
  };
}

const failing = (rung: string, reason: string): Condition[] => [
  condition('Ready', 'False', reason),
  condition(rung, 'False', reason),
];

const CASES: [why: string, status: InstanceStatus, expected: string | undefined][] = [
  ['it is Ready', { lifecycle: 'Active', conditions: [condition('Ready', 'True', 'Succeeded')] }, undefined],
  [
    'a new generation is being worked on',
    { lifecycle: 'Active', conditions: [condition('Ready', 'Unknown', 'Progressing')] },
    undefined,
  ],
  ['Git does not take commits', { lifecycle: 'Active', conditions: failing('Committed', 'GitUnavailable') }, undefined],
  [
    'the ledger did not answer the operator',
    { lifecycle: 'Active', conditions: failing('Funded', 'LedgerUnavailable') },
    undefined,
  ],
  [
    'Argo CD has not applied the commit yet',
    { lifecycle: 'Active', conditions: failing('Synced', 'SyncPending') },
    undefined,
  ],
  [
    'credits ran out: the ledger answers with 402',
    { lifecycle: 'Paused', conditions: failing('Funded', 'CreditsExhausted') },
    undefined,
  ],
  [
    'it never was ready',
    { lifecycle: 'Provisioning', conditions: failing('Committed', 'GitUnavailable') },
    'instance_not_ready',
  ],
  [
    'a buyer secret is missing',
    { lifecycle: 'Active', conditions: failing('SecretsReady', 'BuyerSecretMissing') },
    'instance_not_ready',
  ],
  [
    'its config has to be mended',
    {
      lifecycle: 'Active',
      conditions: [...failing('Accepted', 'ConfigInvalid'), condition('Stalled', 'True', 'ConfigInvalid')],
    },
    'instance_not_ready',
  ],
  [
    'the Organization is suspended',
    { lifecycle: 'Paused', conditions: failing('Accepted', 'OrganizationSuspended') },
    'instance_paused',
  ],
  ['the reason is unknown', { lifecycle: 'Active', conditions: failing('Funded', 'Mysterious') }, 'instance_not_ready'],
];

for (const [why, status, expected] of CASES) {
  test(`an Instance ${expected === undefined ? 'serves' : `answers ${expected}`} while ${why}`, () => {
    assert.is(obstacle(instance(status))?.code, expected);
  });
}
