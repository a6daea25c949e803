import { createHash } from 'node:crypto';
import type { OfferingStatus } from '../../crds/generated/kinds.ts';

export type Rollout = NonNullable<OfferingStatus['rollout']>;

/** Hex digits of a place: 64 bits, so that two of a fleet hardly ever share one. */
const PLACE_DIGITS = 16;

/**
 * Where an Instance stands in the order of a rollout: the same for everybody who computes it, and another
 * one for each version, so that the canary is not always the same tenant.
 */
export function placeOf(version: string, instanceUid: string): string {
  return createHash('sha256').update(`${version}/${instanceUid}`).digest('hex').slice(0, PLACE_DIGITS);
}

/** Whether an Instance that follows the channel by itself may take its version now. */
export function mayUpgrade(rollout: Rollout | undefined, channel: string | undefined, instanceUid: string): boolean {
  if (rollout === undefined || rollout.version !== channel || rollout.phase === 'Halted') return false;
  if (rollout.phase === 'Complete') return true;
  return rollout.admittedThrough !== undefined && placeOf(channel, instanceUid) <= rollout.admittedThrough;
}
