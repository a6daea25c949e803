import { type Outcome, REASONS } from '../../crds/conditions.ts';
import type { InstanceStatus } from '../../crds/generated/kinds.ts';
import type { DeliveryTarget } from '../delivery/delivery.ts';
import type { Ports } from '../ports.ts';
import { workloadNamespace } from '../render/paths.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import { type Accepted, accept, begun, type InstanceVisit } from './accept.ts';
import { commit, render } from './commit.ts';
import { type Effective, effectiveState, type Lack, since } from './effective.ts';
import { type Funding, fund } from './fund.ts';
import { probe, workload } from './probe.ts';
import { prove, retire, rotate, untilDueMs } from './rotate.ts';
import { declaredSecrets, type SecretVersions, secrets } from './secrets.ts';
import { type Standing, standingOf } from './standing.ts';
import { sync } from './sync.ts';
import { terminate } from './terminate.ts';
import { noteHeld, noteProven, noteSwitch, takeBack } from './upgrade.ts';

type Suspended = Extract<Outcome, { kind: 'Suspended' }>;

/** Credits may come at any time; the ledger's `wallet.recovered` wakes it at once. */
const CREDITS_RETRY_MS = 60_000;

/** accept -> bind -> fund -> secrets -> render -> commit -> sync -> probe -> Ready, or to the end of a pause. */
export async function climb(visit: InstanceVisit, ports: Ports): Promise<Suspended | undefined> {
  const standing = standingOf(visit, ports);
  // The end is final: what was destroyed does not come back with the money.
  if (visit.object.status?.effective?.state === 'Terminated') return terminate(visit, ports);
  settleOn(visit, standing, lackBefore(visit));
  if (standing.suspend && !begun(visit.object)) {
    visit.status.lifecycle = 'Paused';
    return { kind: 'Suspended' };
  }
  try {
    return await reach(visit, standing, ports);
  } catch (error) {
    visit.status.lifecycle = lifecycleAfter(visit);
    throw takeBack(visit, error, ports) ?? error;
  }
}

async function reach(visit: InstanceVisit, standing: Standing, ports: Ports): Promise<Suspended | undefined> {
  const { accepted, target, funding } = await ground(visit, ports);
  const effective = settleOn(visit, standing, funding.lack);
  if (effective.state === 'Terminated') return terminate(visit, ports);
  const delivered = await build(visit, accepted, target, effective, ports);
  if (effective.state === 'Running')
    await visit.check('RuntimeReady', 'The runner can run it.', async () => {
      await workload(delivered, ports.delivery);
      prove(visit, await probe(target.organization, target.instance, accepted.contractDigest, ports.probe));
    });
  await retire(visit, declaredSecrets(accepted), target.workloadNamespace, ports);
  if (effective.state === 'Paused') return rest(visit, effective, standing, funding.lack, accepted);
  noteProven(visit);
  visit.status.lifecycle = 'Active';
  reached(visit, 'ready', ports);
  if (accepted.held?.pinned) throw accepted.held.error;
  return undefined;
}

interface Ground {
  accepted: Accepted;
  target: Omit<DeliveryTarget, 'commit'>;
  funding: Funding;
}

/** The rungs below which nothing is built: each is a condition, and a time in the timeline when it is reached first. */
async function ground(visit: InstanceVisit, ports: Ports): Promise<Ground> {
  const accepted = await visit.check('Accepted', describe, () => accept(visit, ports));
  reached(visit, 'accepted', ports);
  const target = bind(visit, accepted, ports);
  await visit.persistFinalizer();
  const funding = await visit.check('Funded', sentenceOf, () => fund(visit, accepted, ports));
  if (funding.lack) visit.fact('Funded', 'False', funding.lack.reason, funding.lack.message);
  else reached(visit, 'funded', ports);
  visit.againAfterMs = funding.againAfterMs;
  return { accepted, target, funding };
}

/** The rungs that bring manifests to the cluster: those of a workload that runs, or of one that rests. */
async function build(
  visit: InstanceVisit,
  accepted: Accepted,
  target: Omit<DeliveryTarget, 'commit'>,
  { state }: Effective,
  ports: Ports,
): Promise<DeliveryTarget> {
  const versions = await keep(visit, accepted, target.workloadNamespace, state, ports);
  reached(visit, 'secretsReady', ports);
  noteKnowledge(visit, accepted);
  const change = render(visit, accepted, versions, state === 'Paused' ? 'Paused' : 'Running', ports);
  const written = await visit.check('Committed', 'The manifests are in Git.', () => commit(change, ports));
  visit.status.commit = written.commit;
  reached(visit, 'committed', ports);
  const delivered = { ...target, commit: written.commit, objects: change.objects };
  const recommit = async (force: string) => (await commit({ ...change, force }, ports)).commit;
  const synced = await visit.check('Synced', 'The commit is applied.', () =>
    sync({ target: delivered, committedNow: written.changed, recommit }, ports.delivery),
  );
  visit.fact('Synced', 'True', synced.reason, synced.message);
  reached(visit, 'synced', ports);
  return delivered;
}

/** `secrets`: all are there, and of those that are to change the next version. What rests proves nothing, so it rotates nothing. */
async function keep(
  visit: InstanceVisit,
  accepted: Accepted,
  workloadNamespace: string,
  state: Effective['state'],
  ports: Ports,
): Promise<SecretVersions> {
  const declared = declaredSecrets(accepted);
  return visit.check('SecretsReady', 'Every secret has a value.', async () => {
    const present = await secrets(visit, declared, workloadNamespace, ports);
    if (state !== 'Running') return [...present].map(([name, { version }]) => ({ name, version }));
    const versions = await rotate(visit, declared, present, workloadNamespace, ports);
    visit.status.secretVersions = versions.length > 0 ? versions : undefined;
    soonest(visit, untilDueMs(declared, present, visit.nowMs));
    return versions;
  });
}

function soonest(visit: InstanceVisit, ms: number | undefined): void {
  if (ms !== undefined) visit.againAfterMs = Math.min(ms, visit.againAfterMs ?? ms);
}

/** The end of a pause: its workload is gone from the cluster, all else is kept, and Ready says who ends the pause. */
function rest(
  visit: InstanceVisit,
  { cause }: Effective,
  standing: Standing,
  lack: Lack | undefined,
  { held }: Accepted,
): Suspended {
  visit.status.lifecycle = 'Paused';
  // A pin that is refused still stalls it.
  if (cause === 'Suspended') return held?.pinned ? { kind: 'Suspended' } : { kind: 'Suspended', reached: true };
  if (lack && cause === lack.reason) throw new Waiting(CREDITS_RETRY_MS, lack.reason, lack.message);
  throw standing.refusal ?? new Terminal('Progressing', 'It rests.');
}

/** Written into status now: whatever becomes of the rungs, the edge must know. */
function settleOn(visit: InstanceVisit, standing: Standing, lack: Lack | undefined): Effective {
  const { suspend, organizationSuspended, offeringEnded } = standing;
  const next = effectiveState({ suspend, organizationSuspended, offeringEnded, lack });
  const effective = since(next, visit.object.status?.effective, visit.now);
  visit.status.effective = effective;
  return effective;
}

/** What the credits lacked at the last visit, until this one has asked the ledger. */
function lackBefore({ object }: InstanceVisit): Lack | undefined {
  const { state, cause } = object.status?.effective ?? {};
  if (state !== 'Paused' || (cause !== 'CreditsExhausted' && cause !== 'FulfilmentExpired')) return undefined;
  return { reason: cause, message: REASONS[cause].meaning, rung: 'Pause' };
}

function describe({ contract }: Accepted): string {
  return `Version ${contract.version} of ${contract.offering} with this plan and config.`;
}

/** `bind`: which contract holds from here on, and where the Instance lives and answers. */
function bind(visit: InstanceVisit, accepted: Accepted, { publicUrl }: Ports): Omit<DeliveryTarget, 'commit'> {
  const { organization, project, contract, contractDigest, offering, held } = accepted;
  noteSwitch(visit, contract.version, offering);
  const { name, uid } = visit.object.metadata;
  const org = organization.metadata.name;
  const namespace = workloadNamespace(org, project.metadata.name, project.metadata.uid);
  visit.status.version = contract.version;
  visit.status.contractDigest = contractDigest;
  visit.status.workloadNamespace = namespace;
  noteHeld(visit, held);
  visit.status.url = `${publicUrl}/v1/instances/${org}/${name}/runs`;
  return {
    organization: org,
    project: project.metadata.name,
    instance: name,
    instanceUid: uid,
    workloadNamespace: namespace,
  };
}

function sentenceOf(funding: Funding): string {
  return funding.by === 'Fulfilment' ? 'A paid unit covers it.' : 'The Wallet covers it.';
}

function noteKnowledge(visit: InstanceVisit, { contract }: Accepted): void {
  if (contract.knowledge)
    visit.fact('KnowledgeReady', 'False', 'KnowledgeNotOffered', REASONS.KnowledgeNotOffered.meaning);
}

/** The first time counts and never moves; a later outage does not rewrite history. */
function reached(visit: InstanceVisit, phase: keyof NonNullable<InstanceStatus['timeline']>, { clock }: Ports): void {
  const timeline = visit.status.timeline;
  if (timeline?.[phase] !== undefined) return;
  visit.status.timeline = { ...timeline, [phase]: new Date(clock.now()).toISOString() };
}

/** A passing failure changes nothing for those who use the Instance; a pause does, until the way up is done. */
function lifecycleAfter(visit: InstanceVisit): NonNullable<InstanceStatus['lifecycle']> {
  const { lifecycle, timeline, effective } = visit.status;
  if (effective?.state === 'Terminated') return lifecycle === 'Terminated' ? 'Terminated' : 'Terminating';
  const everReady = timeline?.ready !== undefined;
  if (everReady && (effective?.state === 'Paused' || lifecycle === 'Paused')) return 'Paused';
  if (everReady) return 'Active';
  return timeline?.accepted === undefined ? 'Requested' : 'Provisioning';
}
