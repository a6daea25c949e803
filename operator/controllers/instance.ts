import { type Outcome, REASONS, type Reason } from '../../crds/conditions.ts';
import type { InstanceStatus } from '../../crds/generated/kinds.ts';
import { organizationNamespace } from '../../crds/kinds.ts';
import type { DeliveryEvent, DeliveryTarget } from '../delivery/delivery.ts';
import type { Ports } from '../ports.ts';
import { workloadNamespace } from '../render/paths.ts';
import { outcomeOf } from '../runtime/errors.ts';
import { ReferenceIndex } from '../runtime/source.ts';
import { reconciler } from '../runtime/visit.ts';
import { type Accepted, accept, type InstanceVisit } from '../steps/accept.ts';
import { commit, declaredObjects, render } from '../steps/commit.ts';
import { type Funding, fund } from '../steps/fund.ts';
import { probe, workload } from '../steps/probe.ts';
import { remove } from '../steps/remove.ts';
import { declaredSecrets, type SecretVersions, secrets } from '../steps/secrets.ts';
import { sync } from '../steps/sync.ts';
import { type ControllerContext, type Definition, dependency, finalizerOf, own } from './definition.ts';
import type { LedgerFeed } from './ledger-feed.ts';
import { reference, referencesOf } from './references.ts';

/** Instances are many and each waits for several systems in turn. */
const CONCURRENCY = 16;

/** Reasons that pause an Instance which has been ready: nobody may use it until they are gone. */
const PAUSING: ReadonlySet<Reason> = new Set([
  'OfferingEndOfLife',
  'OrganizationSuspended',
  'CreditsExhausted',
  'FulfilmentExpired',
]);

/** Instance: accept -> bind -> fund -> secrets -> render -> commit -> sync -> probe -> Ready. */
export function instanceController({ ports, metrics }: ControllerContext, feed: LedgerFeed): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'Instance',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'Instance',
      finalizer: finalizerOf('Instance'),
      announce: ({ object, status }) => {
        status.lifecycle ??= 'Requested';
        return !object.spec.suspend;
      },
      clock,
      log,
      metrics,
      up: (visit) => up(visit, ports, feed),
      down: (visit) => remove(visit, ports),
    }),
    watch: (add) => {
      const index = new ReferenceIndex(store.watch('Instance'), referencesOf);
      const wake = (name: string) => index.referring(name);
      const versions = store.watch('OfferingVersion');
      return [
        index.close,
        own(store, 'Instance', add),
        dependency(store, 'Organization', add, ({ name }) => wake(reference.organization(name))),
        dependency(store, 'Project', add, (key) => wake(reference.project(key))),
        dependency(store, 'Wallet', add, (key) => wake(reference.wallet(key))),
        dependency(store, 'Offering', add, ({ name }) => wake(reference.offering(name))),
        dependency(store, 'OfferingVersion', add, (key) => {
          const offering = versions.get(key)?.spec.offeringRef.name;
          return offering === undefined ? [] : wake(reference.offering(offering));
        }),
        ports.delivery.onChange((event) => {
          for (const key of wokenBy(event, index)) add(key);
        }),
        feed.onFirstReceipt((uid) => wake(reference.uid(uid)).forEach(add)),
        feed.onWallet((key) => wake(reference.wallet(key)).forEach(add)),
      ];
    },
  };
}

/** Whom a change of what was delivered concerns. */
function wokenBy(event: DeliveryEvent, index: ReferenceIndex<'Instance'>): readonly string[] {
  if ('instanceUid' in event) return index.referring(reference.uid(event.instanceUid));
  const { organization, project } = event;
  return index.referring(reference.project({ namespace: organizationNamespace(organization), name: project }));
}

async function up(
  visit: InstanceVisit,
  ports: Ports,
  feed: LedgerFeed,
): Promise<Extract<Outcome, { kind: 'Suspended' }> | undefined> {
  noteFirstResult(visit, feed);
  if (visit.object.spec.suspend) {
    visit.status.lifecycle = 'Paused';
    return { kind: 'Suspended' };
  }
  try {
    await provision(visit, ports);
    visit.status.lifecycle = 'Active';
    reached(visit, 'ready', ports);
    return undefined;
  } catch (error) {
    visit.status.lifecycle = lifecycleAfter(visit, outcomeOf(error));
    throw error;
  }
}

/** The ladder. Each rung is a condition, and a time in the timeline when it is reached first. */
async function provision(visit: InstanceVisit, ports: Ports): Promise<void> {
  const accepted = await visit.check('Accepted', describe, () => accept(visit, ports));
  reached(visit, 'accepted', ports);
  const target = bind(visit, accepted, ports);
  await visit.persistFinalizer();
  const funding = await visit.check('Funded', sentenceOf, () => fund(visit, accepted, ports));
  noteFunding(visit, funding);
  reached(visit, 'funded', ports);
  const versions = await visit.check('SecretsReady', 'Every secret has a value.', () =>
    secrets(visit, declaredSecrets(accepted), target.workloadNamespace, ports),
  );
  noteSecrets(visit, versions);
  reached(visit, 'secretsReady', ports);
  noteKnowledge(visit, accepted);
  const change = render(visit, accepted, versions, ports);
  const written = await visit.check('Committed', 'The manifests are in Git.', () => commit(change, ports));
  visit.status.commit = written.commit;
  reached(visit, 'committed', ports);
  const delivered = { ...target, commit: written.commit, objects: declaredObjects(change.files) };
  const recommit = async (force: string) => (await commit({ ...change, force }, ports)).commit;
  const synced = await visit.check('Synced', 'The commit is applied.', () =>
    sync({ target: delivered, committedNow: written.changed, recommit }, ports.delivery),
  );
  visit.fact('Synced', 'True', synced.reason, synced.message);
  reached(visit, 'synced', ports);
  await visit.check('RuntimeReady', 'The runner can run it.', async () => {
    await workload(delivered, ports.delivery);
    await probe(target.organization, target.instance, accepted.contractDigest, ports.probe);
  });
}

function describe({ contract }: Accepted): string {
  return `Version ${contract.version} of ${contract.offering} with this plan and config.`;
}

/** `bind`: which contract holds from here on, and where the Instance lives and answers. */
function bind(visit: InstanceVisit, accepted: Accepted, { publicUrl }: Ports): Omit<DeliveryTarget, 'commit'> {
  const { organization, project, contract, contractDigest } = accepted;
  const { name, uid } = visit.object.metadata;
  const org = organization.metadata.name;
  const namespace = workloadNamespace(org, project.metadata.name, project.metadata.uid);
  visit.status.version = contract.version;
  visit.status.contractDigest = contractDigest;
  visit.status.workloadNamespace = namespace;
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

function noteFunding(visit: InstanceVisit, { warning, againAfterMs }: Funding): void {
  if (warning) visit.fact('Funded', 'False', warning.reason, warning.message);
  visit.againAfterMs = againAfterMs;
}

function noteSecrets(visit: InstanceVisit, versions: SecretVersions): void {
  visit.status.secretVersions = versions.length > 0 ? versions : undefined;
}

function noteKnowledge(visit: InstanceVisit, { contract }: Accepted): void {
  if (contract.knowledge)
    visit.fact('KnowledgeReady', 'False', 'KnowledgeNotOffered', REASONS.KnowledgeNotOffered.meaning);
}

function noteFirstResult(visit: InstanceVisit, feed: LedgerFeed): void {
  const at = feed.firstReceiptOf(visit.object.metadata.uid);
  const timeline = visit.status.timeline;
  if (at !== undefined && timeline?.firstResult === undefined) visit.status.timeline = { ...timeline, firstResult: at };
}

/** The first time counts and never moves; a later outage does not rewrite history. */
function reached(visit: InstanceVisit, phase: keyof NonNullable<InstanceStatus['timeline']>, { clock }: Ports): void {
  const timeline = visit.status.timeline;
  if (timeline?.[phase] !== undefined) return;
  visit.status.timeline = { ...timeline, [phase]: new Date(clock.now()).toISOString() };
}

/** A passing failure changes nothing for those who use the Instance; a pausing reason does. */
function lifecycleAfter(visit: InstanceVisit, outcome: Outcome): NonNullable<InstanceStatus['lifecycle']> {
  const { lifecycle, timeline } = visit.status;
  const everReady = timeline?.ready !== undefined;
  const pausing = 'reason' in outcome && PAUSING.has(outcome.reason);
  if (everReady && (pausing || lifecycle === 'Paused')) return 'Paused';
  if (everReady) return 'Active';
  return timeline?.accepted === undefined ? 'Requested' : 'Provisioning';
}
