import type { Violation } from '../../config/problem.ts';
import type { Contract } from '../../crds/contract.ts';
import { validateConfig } from '../../crds/contract.ts';
import type { Instance } from '../../crds/kinds.ts';
import { StoreError } from '../../crds/store.ts';
import type { Edge } from '../edge.ts';
import { problem } from '../errors.ts';

export const FIELD_MANAGER = 'gsv-edge';

/** Set by Argo CD on what it keeps in step with Git (its default tracking method since 2.x). */
const TRACKING_ANNOTATION = 'argocd.argoproj.io/tracking-id';

/** Retries when somebody else wrote in between; each reads afresh. */
const MAX_TRIES = 3;

/** @throws Problem `managed_by_git` */
export function refuseManagedByGit(instance: Instance): void {
  if (instance.metadata.annotations?.[TRACKING_ANNOTATION] !== undefined) throw problem('managed_by_git');
}

/** @throws Problem `config_invalid` with pointer and rule; pointers are below `/config` */
export function checkConfig(contract: Contract, config: Record<string, unknown>): void {
  const violations = validateConfig(contract, config);
  if (violations.length === 0) return;
  const errors = violations.map((violation) => ({ ...violation, pointer: `/config${violation.pointer}` }));
  throw problem('config_invalid', { detail: sentence(errors), errors });
}

/** @throws Problem `config_invalid` rule `immutable_key` for each key that only a new Instance can have */
export function checkMutable(contract: Contract, changed: readonly string[]): void {
  const errors = changed
    .filter((key) => !contract.config.mutableKeys.includes(key))
    .map((key) => ({
      pointer: `/config/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`,
      rule: 'immutable_key',
      message: 'cannot be changed after the Instance was made',
    }));
  if (errors.length > 0) throw problem('config_invalid', { detail: sentence(errors), errors });
}

function sentence(errors: readonly Violation[]): string {
  const [first] = errors;
  return `the config does not fit the contract: ${first?.pointer ?? ''} ${first?.message ?? ''}`;
}

/**
 * Changes an Instance's spec on its live state; what others wrote meanwhile is kept.
 * @param change the new spec, from the present one; may throw a Problem
 * @param requests annotations to set: what the operator is asked to do now
 * @throws Problem `managed_by_git`, `instance_not_found`, `instance_changed`, `resource_invalid`
 */
export async function editInstance(
  edge: Edge,
  found: Instance,
  change: (spec: Instance['spec']) => Instance['spec'],
  requests: Record<string, string> = {},
): Promise<Instance> {
  const { name, namespace, uid } = found.metadata;
  const key = { name, ...(namespace === undefined ? {} : { namespace }) };
  for (let attempt = 1; ; attempt++) {
    const present = await storeCall(edge.store.get('Instance', key));
    if (present?.metadata.uid !== uid || present.metadata.deletionTimestamp !== undefined)
      throw problem('instance_not_found');
    refuseManagedByGit(present);
    const { labels, resourceVersion } = present.metadata;
    const annotations = { ...present.metadata.annotations, ...requests };
    const annotated = Object.keys(annotations).length > 0 ? { annotations } : {};
    const metadata = { ...key, ...(labels ? { labels } : {}), ...annotated };
    const desired = { metadata, spec: change(present.spec) };
    try {
      return await edge.store.apply('Instance', desired, { fieldManager: FIELD_MANAGER, resourceVersion });
    } catch (error) {
      const conflict = error instanceof StoreError && error.code === 'Conflict';
      if (conflict && attempt < MAX_TRIES) continue;
      throw storeRefusal(error);
    }
  }
}

/** @throws Problem for what the store refused */
export async function storeCall<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw storeRefusal(error);
  }
}

function storeRefusal(error: unknown): unknown {
  if (!(error instanceof StoreError)) return error;
  switch (error.code) {
    case 'Invalid':
      return problem('resource_invalid', {
        detail: error.causes[0]?.message ?? error.message,
        errors: error.causes.map(({ field, message }) => ({ pointer: pointerOf(field), rule: 'resource', message })),
        cause: error,
      });
    case 'AlreadyExists':
      return problem('instance_exists', { cause: error });
    case 'Conflict':
      return problem('instance_changed', { cause: error });
    case 'NotFound':
      return problem('instance_not_found', { cause: error });
    case 'Forbidden':
      return problem('organization_suspended', { detail: 'this Organization is being removed', cause: error });
    case 'Unavailable':
      return problem('store_unavailable', { cause: error });
  }
}

/** `spec.plan` and `spec.members[0].name` as RFC 6901 pointers. */
function pointerOf(field: string): string {
  return field === ''
    ? ''
    : `/${field
        .replace(/\[(\w+)\]/g, '.$1')
        .split('.')
        .join('/')}`;
}
