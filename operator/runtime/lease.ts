import type { Lease } from '../../crds/kinds.ts';
import type { Desired, Key } from '../../crds/store.ts';

/** Milliseconds; `retryMs < renewMs < leaseMs`. */
export interface LeaderTimes {
  /** A Lease that others see unchanged for so long is free. */
  leaseMs: number;
  /** A leader that cannot prove a renewal younger than this writes nothing any more. */
  renewMs: number;
  /** Between two attempts to take or renew it. */
  retryMs: number;
}

/** What a write of the Lease is to bring about. */
export interface LeaseWish {
  /** Empty = nobody. */
  holder: string;
  epoch: number;
  /** The Lease as it stands; undefined = there is none. */
  from: Lease | undefined;
}

/** Holds the epoch of the present term, or of the last one. */
const EPOCH_ANNOTATION = 'store.gsv.dev/epoch';

/** Of a Lease that lost the annotation at least the count of its holders is known. */
export function leaseEpoch({ metadata, spec }: Lease): number {
  const noted = Number(metadata.annotations?.[EPOCH_ANNOTATION] ?? 0);
  return Math.max(Number.isSafeInteger(noted) ? noted : 0, spec.leaseTransitions ?? 0);
}

/** The whole Lease, in the fields of client-go, so that every tool reads it. `now`: milliseconds since the epoch. */
export function leaseDocument(
  key: Key,
  { holder, epoch, from }: LeaseWish,
  { now, times }: { now: number; times: LeaderTimes },
): Desired<'Lease'> {
  const before = from?.spec ?? {};
  const same = before.holderIdentity === holder;
  const changes = before.leaseTransitions ?? 0;
  const renewTime = microTime(now);
  return {
    metadata: { ...key, annotations: { [EPOCH_ANNOTATION]: String(epoch) } },
    spec: {
      holderIdentity: holder,
      leaseDurationSeconds: holder === '' ? 1 : Math.max(1, Math.ceil(times.leaseMs / 1000)),
      acquireTime: (same ? before.acquireTime : undefined) ?? renewTime,
      renewTime,
      leaseTransitions: from === undefined || same || holder === '' ? changes : changes + 1,
    },
  };
}

/** RFC 3339 with microseconds, which is what a Lease wants. */
function microTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace('Z', '000Z');
}
