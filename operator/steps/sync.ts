import { REASONS, type Reason } from '../../crds/conditions.ts';
import type { Delivery, DeliveryState, DeliveryTarget } from '../delivery/delivery.ts';
import { Waiting } from '../runtime/errors.ts';

/** Local delivery answers at once, Argo CD within seconds; asking reads one object. */
const SYNC_RETRY_MS = 1_000;
/** What the delivery refuses does not heal by itself; somebody has to look. */
const REFUSED_RETRY_MS = 30_000;

export interface Synced {
  reason: Reason;
  message: string;
}

/** `sync`: the delivery has applied the commit; returns how. */
export async function sync(target: DeliveryTarget, committedNow: boolean, delivery: Delivery): Promise<Synced> {
  if (committedNow) await delivery.refresh(target);
  let state = await delivery.state(target);
  if (!state.synced && !committedNow) {
    await delivery.refresh(target);
    state = await delivery.state(target);
  }
  if (state.synced) return { reason: isReason(state.reason) ? state.reason : 'Succeeded', message: state.message };
  throw obstacle(state);
}

/** The delivery's own word where the vocabulary has it. */
function obstacle({ reason, message }: DeliveryState): Waiting {
  const retryMs = reason === 'ManifestInvalid' ? REFUSED_RETRY_MS : SYNC_RETRY_MS;
  return isReason(reason)
    ? new Waiting(retryMs, reason, message)
    : new Waiting(retryMs, 'SyncPending', `${reason}: ${message}`);
}

function isReason(word: string): word is Reason {
  return Object.hasOwn(REASONS, word);
}
