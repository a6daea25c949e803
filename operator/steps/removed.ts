import type { Delivery, DeliveryScope } from '../delivery/delivery.ts';
import { Waiting } from '../runtime/errors.ts';
import { isReason } from './sync.ts';

/** Pruning takes Argo CD seconds. */
const REMAINS_RETRY_MS = 1_000;

/** Nothing is left of what `scope.commit` removes. @throws Waiting that names what is */
export async function removed(scope: DeliveryScope, delivery: Delivery): Promise<void> {
  if ((await delivery.remains(scope)) === undefined) return;
  await delivery.refresh(scope);
  const left = await delivery.remains(scope);
  if (left === undefined) return;
  throw isReason(left.reason)
    ? new Waiting(REMAINS_RETRY_MS, left.reason, left.message)
    : new Waiting(REMAINS_RETRY_MS, 'WorkloadRemains', `${left.reason}: ${left.message}`);
}
