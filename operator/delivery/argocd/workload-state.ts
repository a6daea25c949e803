import { createHash } from 'node:crypto';
import type { ForeignCondition } from '../../../crds/foreign.ts';
import type { Deployment, ExternalSecret } from '../../../crds/kinds.ts';
import type { DeclaredObject, WorkloadState } from '../delivery.ts';
import { sentence, steadyWords } from './words.ts';

/** Hashes that External Secrets has used for `status.syncedResourceVersion`, by their length in hex digits. */
const HASHES: Readonly<Record<number, string>> = { 56: 'sha3-224', 32: 'md5' };

/** Reasons of a Ready ExternalSecret that has no Secret. */
const NO_SECRET: ReadonlySet<string> = new Set(['SecretDeleted', 'SecretMissing']);

/** What the objects of one Instance say, as far as they were declared or carry its uid. */
export interface Workload {
  /** Absent: what is there counts. */
  objects?: readonly DeclaredObject[];
  externalSecrets: readonly ExternalSecret[];
  deployments: readonly Deployment[];
}

const READY: WorkloadState = { ready: true, reason: 'Succeeded', message: 'Secrets and workload are there.' };

/** Whether the secrets have arrived in their present versions and the workload, where there is one, is available. */
export function workloadState({ objects = [], externalSecrets, deployments }: Workload): WorkloadState {
  const there = [...externalSecrets, ...deployments].map(({ kind, metadata }) => `${kind} ${metadata.name}`);
  const missing = objects
    .filter(({ kind }) => kind === 'ExternalSecret' || kind === 'Deployment')
    .map(({ kind, name }) => `${kind} ${name}`)
    .find((name) => !there.includes(name));
  if (missing !== undefined) return unready('WorkloadMissing', `${missing} is not there, or is not this Instance's.`);
  for (const secret of externalSecrets) {
    const declared = objects.find(({ kind, name }) => kind === 'ExternalSecret' && name === secret.metadata.name);
    const state = externalSecretState(secret, declared);
    if (!state.ready) return state;
  }
  for (const deployment of deployments) {
    const state = deploymentState(deployment);
    if (!state.ready) return state;
  }
  return READY;
}

function externalSecretState(secret: ExternalSecret, declared: DeclaredObject | undefined): WorkloadState {
  const { metadata, status } = secret;
  const name = `ExternalSecret ${metadata.name}`;
  const ready = find(status?.conditions, 'Ready');
  const wanted = declared?.annotations?.['force-sync'];
  if (wanted !== undefined && metadata.annotations?.['force-sync'] !== wanted)
    return unready('SecretSyncPending', `${name} has not been told of the present secret versions.`);
  if (ready === undefined) return unready('SecretSyncPending', `${name} was not looked at yet.`);
  if (ready.status !== 'True') {
    const reason = ready.reason === 'SecretSyncedError' ? ready.reason : 'SecretSyncPending';
    return unready(reason, `${name}: ${sentence(steadyWords(ready.message ?? ready.reason ?? 'not ready'))}`);
  }
  // Ready in its own eyes: there was no value, and it was told to have no Secret then.
  if (NO_SECRET.has(ready.reason ?? '')) return unready('SecretSyncPending', `${name} has made no Secret.`);
  return isInLine(secret) ? READY : unready('SecretSyncPending', `${name} was ready before its last change.`);
}

/**
 * External Secrets writes what it last brought in line as `<generation>-<hash of labels and annotations>`. The
 * hash is over Go's text of a struct of two maps; it has changed before, so an unknown length is not held
 * against the object (docs/delivery.md).
 */
function isInLine({ metadata, status }: ExternalSecret): boolean {
  const [generation = '', hash = ''] = (status?.syncedResourceVersion ?? '').split('-', 2);
  if (generation !== String(metadata.generation)) return false;
  const algorithm = HASHES[hash.length];
  if (algorithm === undefined) return true;
  const text = `{annotations:${goMap(metadata.annotations)} labels:${goMap(metadata.labels)}}`;
  return createHash(algorithm).update(text).digest('hex') === hash;
}

/** A map as Go prints it: sorted by the bytes of the keys. */
function goMap(map: Readonly<Record<string, string>> = {}): string {
  const keys = Object.keys(map).sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  return `map[${keys.map((key) => `${key}:${map[key]}`).join(' ')}]`;
}

function deploymentState({ metadata, spec, status }: Deployment): WorkloadState {
  const name = `Deployment ${metadata.name}`;
  // Quota and Pod Security refuse pods here, long before the rollout counts as failed.
  const refused = find(status?.conditions, 'ReplicaFailure');
  if (refused?.status === 'True')
    return unready('ReplicaFailure', `${name}: ${sentence(steadyWords(refused.message ?? 'its pods are refused'))}`);
  if ((status?.observedGeneration ?? 0) < metadata.generation)
    return unready('RolloutPending', `${name} was not looked at since its last change.`);
  const progressing = find(status?.conditions, 'Progressing');
  if (progressing?.status === 'False')
    return unready('ProgressDeadlineExceeded', `${name}: its pods did not become ready in time.`);
  const replicas = spec.replicas ?? 1;
  if (replicas === 0) return unready('ScaledToZero', `${name} is scaled to 0 replicas.`);
  if ((status?.updatedReplicas ?? 0) < replicas || (status?.replicas ?? 0) > replicas)
    return unready('RolloutPending', `${name} still runs pods of an earlier version.`);
  if (find(status?.conditions, 'Available')?.status !== 'True' || (status?.availableReplicas ?? 0) < replicas)
    return unready('RolloutPending', `${name} has pods that are not ready.`);
  return READY;
}

function find(conditions: readonly ForeignCondition[] | undefined, type: string): ForeignCondition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

function unready(reason: string, message: string): WorkloadState {
  return { ready: false, reason, message };
}
