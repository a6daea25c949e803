import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Condition, InstanceStatus } from '../../crds/generated/kinds.ts';
import type { Instance } from '../../crds/kinds.ts';
import { obstacle } from './instances.ts';

const BOUND: InstanceStatus = { version: '1.0.0', contractDigest: `sha256:${'a'.repeat(64)}` };

const SINCE = '2026-11-23T00:00:00Z';
const RUNNING: InstanceStatus['effective'] = { state: 'Running', sinceTime: SINCE };

function paused(cause: NonNullable<NonNullable<InstanceStatus['effective']>['cause']>) {
  return { state: 'Paused' as const, cause, sinceTime: SINCE };
}

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
  [
    'a pause by the Offering’s end waits for no condition',
    {
      lifecycle: 'Active',
      effective: paused('OfferingEndOfLife'),
      conditions: [condition('Ready', 'True', 'Succeeded')],
    },
    'instance_paused',
  ],
  [
    'its paid time is over, although a rung fails as well',
    {
      lifecycle: 'Paused',
      effective: paused('FulfilmentExpired'),
      conditions: failing('Committed', 'GitUnavailable'),
    },
    'instance_paused',
  ],
  [
    'credits ran out and Git is away: the ledger answers',
    {
      lifecycle: 'Paused',
      effective: paused('CreditsExhausted'),
      conditions: failing('Committed', 'GitUnavailable'),
    },
    undefined,
  ],
  [
    'it was resumed and its workload is not up again',
    { lifecycle: 'Paused', effective: RUNNING, conditions: failing('Synced', 'SyncPending') },
    'instance_paused',
  ],
  [
    'the exhaustion ladder has ended it',
    {
      lifecycle: 'Terminating',
      effective: { ...paused('CreditsExhausted'), state: 'Terminated' },
      conditions: failing('Ready', 'Terminating'),
    },
    'instance_terminated',
  ],
  [
    'the version that it is pinned to cannot be had',
    {
      lifecycle: 'Active',
      conditions: [
        ...failing('UpToDate', 'UpgradeRefused'),
        condition('Stalled', 'True', 'UpgradeRefused'),
        condition('Accepted', 'True', 'Succeeded'),
      ],
    },
    undefined,
  ],
  [
    'neither the asked version nor its own fits its config',
    {
      lifecycle: 'Active',
      conditions: [
        ...failing('UpToDate', 'ConfigInvalid'),
        condition('Stalled', 'True', 'ConfigInvalid'),
        condition('Accepted', 'False', 'ConfigInvalid'),
      ],
    },
    'instance_not_ready',
  ],
  ['the reason is unknown', { lifecycle: 'Active', conditions: failing('Funded', 'Mysterious') }, 'instance_not_ready'],
];

for (const [why, status, expected] of CASES) {
  test(`an Instance ${expected === undefined ? 'serves' : `answers ${expected}`} while ${why}`, () => {
    assert.is(obstacle(instance(status))?.code, expected);
  });
}
