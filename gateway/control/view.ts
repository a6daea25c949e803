import { type Instance, organizationOf } from '../../crds/kinds.ts';

/** An Instance as its owner sees it. Config holds no secrets by contract. */
export function instanceView(instance: Instance, publicUrl: string): Record<string, unknown> {
  const { metadata, spec, status } = instance;
  const organization = organizationOf(metadata.namespace) ?? '';
  return {
    name: metadata.name,
    organization,
    uid: metadata.uid,
    generation: metadata.generation,
    createdTime: metadata.creationTimestamp,
    project: spec.projectRef.name,
    offering: spec.offeringRef.name,
    plan: spec.plan,
    wallet: spec.walletRef.name,
    config: spec.config ?? {},
    paused: spec.suspend === true,
    terminating: metadata.deletionTimestamp !== undefined,
    lifecycle: status?.lifecycle ?? 'Requested',
    version: status?.version ?? spec.version ?? null,
    effective: status?.effective ?? null,
    previousVersion: status?.previousVersion ?? null,
    upgrade: status?.upgrade ?? null,
    rotation: status?.rotation ?? null,
    contractDigest: status?.contractDigest ?? null,
    commit: status?.commit ?? null,
    url: `${publicUrl}/v1/instances/${organization}/${metadata.name}/runs`,
    ready: status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false,
    observedGeneration: status?.observedGeneration ?? null,
    conditions: status?.conditions ?? [],
    ...(spec.fulfilment ? { fulfilment: spec.fulfilment } : {}),
  };
}

/** In the order in which an Instance passes them. */
const PHASES = [
  'ordered',
  'accepted',
  'funded',
  'secretsReady',
  'committed',
  'synced',
  'ready',
  'firstResult',
] as const;

/** When each phase was reached; null where it was not. */
export function timelineView(instance: Instance): Record<string, unknown> {
  const times = instance.status?.timeline ?? {};
  return {
    phases: PHASES.map((name) => ({ name, time: times[name] ?? null })),
    conditions: instance.status?.conditions ?? [],
  };
}
