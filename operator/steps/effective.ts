import type { InstanceStatus } from '../../crds/generated/kinds.ts';

/** What edge and renderer obey. */
export type Effective = NonNullable<InstanceStatus['effective']>;

/** What the credits of an Instance lack, and how far its contract's exhaustion ladder has got. */
export interface Lack {
  reason: 'CreditsExhausted' | 'FulfilmentExpired';
  message: string;
  rung: 'Notify' | 'Pause' | 'Terminate';
}

/** Who wants it to rest. */
export interface Standing {
  /** The owner's `spec.suspend`. */
  suspend: boolean;
  organizationSuspended: boolean;
  offeringEnded: boolean;
  lack?: Lack | undefined;
}

/**
 * The state that all of these add up to. The end of the exhaustion ladder outweighs everything; of several
 * causes of a pause the one is named that takes the most to undo.
 */
export function effectiveState({
  suspend,
  organizationSuspended,
  offeringEnded,
  lack,
}: Standing): Omit<Effective, 'sinceTime'> {
  if (lack?.rung === 'Terminate') return { state: 'Terminated', cause: lack.reason };
  if (organizationSuspended) return { state: 'Paused', cause: 'OrganizationSuspended' };
  if (offeringEnded) return { state: 'Paused', cause: 'OfferingEndOfLife' };
  if (lack?.rung === 'Pause') return { state: 'Paused', cause: lack.reason };
  return suspend ? { state: 'Paused', cause: 'Suspended' } : { state: 'Running' };
}

/** The same state keeps its time; another begins now. */
export function since(next: Omit<Effective, 'sinceTime'>, previous: Effective | undefined, now: string): Effective {
  const same = previous?.state === next.state && previous.cause === next.cause;
  return { ...next, sinceTime: same ? previous.sinceTime : now };
}
