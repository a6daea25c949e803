import { findCondition, isReady } from '../../crds/conditions.ts';
import type { Instance } from '../../crds/kinds.ts';
import { placeOf, type Rollout } from './rollout.ts';

/** A canary, then four times as many each time: a fleet of 10,000 takes some forty groups at the cap. */
const GROWTH = 4;
/** Most Instances that switch at once: what a bad version can hurt, and what the runner loads at the same time. */
const MAX_GROUP = 256;
/** A group is as it should be for this long before the next begins. 2 min. */
const SOAK_MS = 120_000;
/** More failures than one of this many that were tried stop the rollout; a canary that fails always does. */
const TOLERATED_ONE_OF = 10;

/** How an Instance that follows the channel by itself stands to its version. */
type Standing = 'Updated' | 'Failed' | 'Held' | 'Unready' | 'Switching' | 'Able';

interface Member {
  place: string;
  standing: Standing;
}

/** What comes next, and when to look again without being woken. */
export interface NextRollout {
  rollout: Rollout;
  againAfterMs?: number;
}

/**
 * One look at a rollout: from the record of the last look and from the fleet as it is now. Everything it
 * remembers is in the record, so that a restart changes nothing. Undefined while there was never a fleet.
 *
 * @param fleet Instances of the Offering; those that rest or do not follow the channel by themselves are left out
 */
export function nextRollout(
  previous: Rollout | undefined,
  version: string,
  fleet: readonly Instance[],
  nowMs: number,
  now: string,
): NextRollout | undefined {
  const members = fleet.filter(follows).map((instance) => memberOf(instance, version));
  if (previous === undefined && members.every(({ standing }) => standing === 'Updated')) return undefined;
  const begun: Rollout = previous?.version === version ? previous : begin(version, now);
  const rollout = { ...begun, ...countsOf(members) };
  if (rollout.phase !== 'Rolling') return { rollout };
  const admitted = members.filter(({ place }) => place <= (rollout.admittedThrough ?? ''));
  if (isTooMany(admitted)) return { rollout: { ...without(rollout), phase: 'Halted' } };
  if (admitted.some(({ standing }) => standing === 'Switching' || standing === 'Able'))
    return { rollout: without(rollout) };
  if (rollout.group === 0) return { rollout: nextGroup(rollout, members) };
  const since = rollout.soakingSince ?? now;
  const leftMs = Date.parse(since) + SOAK_MS - nowMs;
  if (leftMs > 0) return { rollout: { ...rollout, soakingSince: since }, againAfterMs: leftMs };
  return { rollout: nextGroup(rollout, members) };
}

function follows({ spec, status, metadata }: Instance): boolean {
  return (
    spec.upgradePolicy === 'Automatic' &&
    spec.version === undefined &&
    status?.version !== undefined &&
    status.effective?.state === 'Running' &&
    metadata.deletionTimestamp === undefined
  );
}

function memberOf(instance: Instance, version: string): Member {
  return { place: placeOf(version, instance.metadata.uid), standing: standingOf(instance, version) };
}

function standingOf(instance: Instance, version: string): Standing {
  const { version: running, previousVersion, upgrade, conditions } = instance.status ?? {};
  if (running === version) {
    if (upgrade?.phase !== 'Proving' && isReady(instance)) return 'Updated';
    // One that was made with it has switched from nothing: what it still lacks, its buyer's secret perhaps, is its own.
    return previousVersion === undefined ? 'Held' : 'Switching';
  }
  if (upgrade?.phase === 'RolledBack' && upgrade.to === version) return 'Failed';
  if (findCondition(conditions, 'UpToDate')?.status === 'False') return 'Held';
  return isReady(instance) ? 'Able' : 'Unready';
}

function begin(version: string, now: string): Rollout {
  return { version, phase: 'Rolling', total: 0, updated: 0, failed: 0, held: 0, group: 0, startedTime: now };
}

function countsOf(members: readonly Member[]): Pick<Rollout, 'total' | 'updated' | 'failed' | 'held'> {
  const count = (...wanted: Standing[]) => members.filter(({ standing }) => wanted.includes(standing)).length;
  return { total: members.length, updated: count('Updated'), failed: count('Failed'), held: count('Held', 'Unready') };
}

function isTooMany(admitted: readonly Member[]): boolean {
  const failed = admitted.filter(({ standing }) => standing === 'Failed').length;
  const tried = failed + admitted.filter(({ standing }) => standing === 'Updated').length;
  return failed * TOLERATED_ONE_OF > tried;
}

/**
 * Lets the next ones begin, in the order of their places. When nobody is left whom the version would fit, it is
 * complete. Whom something else keeps from being ready is not waited for by the others, but still takes the version
 * in a group: a system that is away for a while must not let a whole fleet loose when it comes back.
 */
function nextGroup(rollout: Rollout, members: readonly Member[]): Rollout {
  const able = members.filter(({ standing }) => standing === 'Able').map(({ place }) => place);
  const size = Math.min(GROWTH ** rollout.group, MAX_GROUP);
  const last = able.sort().slice(0, size).at(-1);
  if (last === undefined && members.some(({ standing }) => standing === 'Unready')) return rollout;
  if (last === undefined) return { ...without(rollout), phase: 'Complete' };
  return { ...without(rollout), group: rollout.group + 1, admittedThrough: last };
}

/** A group that is at work is not soaking. */
function without({ soakingSince: _since, ...rollout }: Rollout): Rollout {
  return rollout;
}
