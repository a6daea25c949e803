import semver from 'semver';
import type { Contract } from '../../crds/contract.ts';
import type { InstanceStatus } from '../../crds/generated/kinds.ts';
import type { Offering } from '../../crds/kinds.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import type { InstanceVisit } from './accept.ts';
import { requestOf } from './request.ts';
import { mayUpgrade } from './rollout.ts';

type Upgrade = NonNullable<InstanceStatus['upgrade']>;

/** "Take the version now", or "try again": an RFC 3339 time, echoed in `status.upgradeRequestedAt` once acted on. */
export const UPGRADE_ANNOTATION = 'store.gsv.dev/upgrade-requested-at';

/** A new version has this long to answer: longer than a runtime takes to start with a cold image. 5 min. */
const PROOF_WINDOW_MS = 300_000;

/** Rungs whose failure speaks against the version that was switched to. */
const TELLING_RUNGS: ReadonlySet<string> = new Set(['Committed', 'Synced', 'RuntimeReady']);
/** Reasons there that speak of the runner, or of a secret that is on its way. */
const INNOCENT_REASONS: ReadonlySet<string> = new Set(['RunnerUnavailable', 'RotationUnproven', 'GitPathConflict']);

/** Why the Instance stays on its version although another is asked for. It goes on serving. */
export interface Held {
  error: Terminal | Waiting;
  /** Its owner has pinned that version: then the spec is not in effect, and Ready says so. */
  pinned: boolean;
}

/** The version that is asked for: the pin, the channel where it may be taken now, else what it is bound to. */
export function wantedVersion(visit: InstanceVisit, offering: Offering): string | undefined {
  const { spec, status, metadata } = visit.object;
  if (spec.version !== undefined) return spec.version;
  const { channel } = offering.spec;
  const bound = status?.version;
  if (bound === undefined || upgradeRequest(visit) !== undefined) return channel;
  if (spec.upgradePolicy !== 'Automatic') return bound;
  return mayUpgrade(offering.status?.rollout, channel, metadata.uid)
    ? channel
    : (rolledBackTo(visit, offering) ?? bound);
}

/** A version that was given back stays asked for, so that the reason stays visible. */
function rolledBackTo(visit: InstanceVisit, offering: Offering): string | undefined {
  return wasRolledBack(visit, offering.spec.channel) ? offering.spec.channel : undefined;
}

export function upgradeRequest(visit: InstanceVisit): string | undefined {
  return requestOf(visit, UPGRADE_ANNOTATION, visit.object.status?.upgradeRequestedAt);
}

function wasRolledBack({ object }: InstanceVisit, to: string | undefined): boolean {
  const { upgrade } = object.status ?? {};
  return upgrade?.phase === 'RolledBack' && upgrade.to === to;
}

/**
 * Whether the bound version may give way to this contract.
 *
 * @throws Terminal `UpgradeRolledBack`, `UpgradeRefused`, `DowngradeRefused`
 */
export function checkUpgrade(visit: InstanceVisit, bound: string, contract: Contract): void {
  const { upgrade } = visit.object.status ?? {};
  if (wasRolledBack(visit, contract.version) && upgradeRequest(visit) === undefined)
    throw new Terminal(
      'UpgradeRolledBack',
      `Version ${contract.version} was given back for ${bound}: ${upgrade?.cause ?? 'it did not answer'}.`,
    );
  if (isUpgradable(bound, contract)) return;
  const range = contract.upgradesFrom ?? 'lower versions of the same major version';
  const down = semver.lt(contract.version, bound);
  throw new Terminal(
    down ? 'DowngradeRefused' : 'UpgradeRefused',
    `Version ${contract.version} takes over from ${range}; ${bound} is not among them.`,
  );
}

/** By the range of the version; without one, from all lower ones of the same major version. */
export function isUpgradable(
  from: string,
  { version, upgradesFrom }: Pick<Contract, 'version' | 'upgradesFrom'>,
): boolean {
  if (upgradesFrom !== undefined) return semver.satisfies(from, upgradesFrom, { includePrerelease: true });
  return semver.lt(from, version) && semver.major(from) === semver.major(version);
}

/** Notes a switch of version, in the same status write that makes it. */
export function noteSwitch(visit: InstanceVisit, to: string, offering: Offering): void {
  const from = visit.object.status?.version;
  const request = upgradeRequest(visit);
  if (from !== undefined && from !== to) {
    visit.status.previousVersion = from;
    visit.status.upgrade = { from, to, phase: 'Proving', startedTime: visit.now };
    if (request !== undefined) visit.status.upgradeRequestedAt = request;
    return;
  }
  if (request !== undefined && to === (visit.object.spec.version ?? offering.spec.channel))
    visit.status.upgradeRequestedAt = request;
  const asked = visit.object.spec.version ?? offering.spec.channel;
  const { upgrade } = visit.status;
  if (upgrade?.phase === 'RolledBack' && upgrade.to !== asked) visit.status.upgrade = undefined;
}

/** The condition `UpToDate`. */
export function noteHeld(visit: InstanceVisit, held: Held | undefined): void {
  const { upgrade, version } = visit.status;
  if (held) visit.fact('UpToDate', 'False', held.error.reason, held.error.message);
  else if (upgrade?.phase === 'RolledBack')
    visit.fact('UpToDate', 'False', 'UpgradeRolledBack', `Version ${upgrade.to} was given back: ${upgrade.cause}.`);
  else if (upgrade) visit.fact('UpToDate', 'False', 'UpgradeProving', `Version ${upgrade.to} has not answered yet.`);
  else visit.fact('UpToDate', 'True', 'Succeeded', `It runs version ${version}.`);
}

/** The new version answers. */
export function noteProven(visit: InstanceVisit): void {
  if (visit.status.upgrade?.phase !== 'Proving') return;
  visit.status.upgrade = undefined;
  visit.fact('UpToDate', 'True', 'Succeeded', `It runs version ${visit.status.version}.`);
}

/**
 * After a visit that failed: back to the previous version if the new one has had its time. The failure of
 * a system around it speaks against no version.
 *
 * @returns what to throw instead
 */
export function takeBack(visit: InstanceVisit, error: unknown, { store }: Pick<Ports, 'store'>): Waiting | undefined {
  const { upgrade } = visit.status;
  if (upgrade?.phase !== 'Proving' || !(error instanceof Waiting || error instanceof Terminal)) return undefined;
  const telling = visit.facts.some(({ type, status, reason }) => {
    return TELLING_RUNGS.has(type) && status === 'False' && reason === error.reason && !INNOCENT_REASONS.has(reason);
  });
  if (!telling || (error instanceof Waiting && visit.nowMs < windowEndMs(visit, upgrade))) return undefined;
  const previous = store
    .watch('OfferingVersion')
    .get({ name: `${visit.object.spec.offeringRef.name}-${upgrade.from}` });
  if (previous === undefined) return undefined;
  visit.status.version = upgrade.from;
  visit.status.contractDigest = previous.spec.contractDigest;
  visit.status.previousVersion = undefined;
  visit.status.upgrade = { ...upgrade, phase: 'RolledBack', cause: error.reason };
  const message = `Version ${upgrade.to} did not become ready: ${error.reason}; back to ${upgrade.from}.`;
  visit.fact('UpToDate', 'False', 'RollingBack', message);
  return new Waiting(0, 'RollingBack', message);
}

/** One that was paused in between has its time from the resumption on. */
function windowEndMs({ status }: InstanceVisit, { startedTime }: Upgrade): number {
  const runningSince = status.effective?.sinceTime ?? startedTime;
  return Math.max(Date.parse(startedTime), Date.parse(runningSince)) + PROOF_WINDOW_MS;
}
