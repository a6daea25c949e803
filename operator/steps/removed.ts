import { findCondition, type Reason } from '../../crds/conditions.ts';
import type { DeliveryScope } from '../delivery/delivery.ts';
import type { Ports } from '../ports.ts';
import { Waiting } from '../runtime/errors.ts';
import type { Reconciled, Visit } from '../runtime/visit.ts';
import { isReason } from './sync.ts';

/** Pruning takes Argo CD seconds. */
const REMAINS_RETRY_MS = 1_000;

/**
 * Break glass, on an object that is being deleted: names the one step that is not waited for any more. What that
 * step watches may be left behind, with credentials that are revoked under it; see docs/delivery.md.
 */
export const FORCE_REMOVAL = 'store.gsv.dev/force-removal';

/** The steps that can be forced: the workload of an Instance, the Application of a Project, the AppProject of an Organization. */
export type RemovalStep = 'workload' | 'application' | 'appproject';

/**
 * Nothing is left of what `scope.commit` removes, or somebody has taken it upon them.
 *
 * @param recommit commits the same removal anew, once per id; answers the new commit
 * @throws Waiting that names what is left
 */
export async function removed<K extends Reconciled>(
  step: RemovalStep,
  visit: Visit<K>,
  scope: DeliveryScope,
  recommit: (force: string) => Promise<string>,
  { delivery, log }: Pick<Ports, 'delivery' | 'log'>,
): Promise<void> {
  if ((await delivery.remains(scope)) === undefined) return;
  await delivery.refresh(scope);
  const left = await delivery.remains(scope);
  if (left === undefined) return;
  if (isForced(step, visit)) {
    log.warn({ key: visit.key, step, reason: left.reason, left: left.message }, 'a removal is forced');
    return;
  }
  if (left.givenUp !== undefined) await delivery.refresh({ ...scope, commit: await recommit(left.givenUp) });
  throw waiting(isReason(left.reason) ? left.reason : 'WorkloadRemains', left.message);
}

/** It is said in status first, so that whoever watches sees it before the object is gone. */
function isForced<K extends Reconciled>(step: RemovalStep, visit: Visit<K>): boolean {
  const { metadata, status } = visit.object;
  if (metadata.annotations?.[FORCE_REMOVAL] !== step) return false;
  const message = `By the annotation ${FORCE_REMOVAL} the step ${step} is not waited for.`;
  if (findCondition(status?.conditions, 'RemovalForced')?.message === message) return true;
  visit.fact('RemovalForced', 'True', 'RemovalForced', message);
  throw new Waiting(0, 'RemovalForced', message);
}

function waiting(reason: Reason, message: string): Waiting {
  return new Waiting(REMAINS_RETRY_MS, reason, message);
}
