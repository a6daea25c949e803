import { REASONS, type Reason } from '../../crds/conditions.ts';
import type { Delivery, DeliveryState, DeliveryTarget } from '../delivery/delivery.ts';
import { Waiting } from '../runtime/errors.ts';

/** The delivery wakes us when something happens; this is for what it cannot tell. */
const SYNC_RETRY_MS = 1_000;
/** What the delivery refuses does not heal by itself; somebody has to look, and a change wakes us. */
const REFUSED_RETRY_MS = 30_000;

/** Reasons of the delivery that waiting alone does not cure. */
const REFUSALS: ReadonlySet<string> = new Set(['ManifestInvalid', 'RetriesExhausted']);

export interface Synced {
  reason: Reason;
  message: string;
}

/** What `sync` was given by `commit`. */
export interface ToSync {
  target: DeliveryTarget;
  /** True when this visit wrote the commit: the delivery has not been told of it yet. */
  committedNow: boolean;
  /** Commits the same manifests anew, once per id; answers the new commit. */
  recommit: (force: string) => Promise<string>;
}

/**
 * `sync`: the delivery has applied the commit; returns how. A commit that the delivery has given up is never
 * tried again by it, so the same manifests are committed anew.
 */
export async function sync({ target, committedNow, recommit }: ToSync, delivery: Delivery): Promise<Synced> {
  if (committedNow) await delivery.refresh(target);
  let state = await delivery.state(target);
  if (!state.synced && !committedNow) {
    await delivery.refresh(target);
    state = await delivery.state(target);
  }
  if (state.synced) return { reason: isReason(state.reason) ? state.reason : 'Succeeded', message: state.message };
  if (state.exhausted) {
    const commit = await recommit(state.revision ?? target.commit);
    await delivery.refresh({ ...target, commit });
  }
  throw obstacle(state);
}

/** The delivery's own word where the vocabulary has it. */
function obstacle({ reason, message }: DeliveryState): Waiting {
  const retryMs = REFUSALS.has(reason) ? REFUSED_RETRY_MS : SYNC_RETRY_MS;
  return isReason(reason)
    ? new Waiting(retryMs, reason, message)
    : new Waiting(retryMs, 'SyncPending', `${reason}: ${message}`);
}

export function isReason(word: string): word is Reason {
  return Object.hasOwn(REASONS, word);
}
