import { findCondition } from '../../crds/conditions.ts';
import { type Contract, ContractError, parseContract, validateConfig } from '../../crds/contract.ts';
import type { Instance, Offering, OfferingVersion, Organization, Project, Wallet } from '../../crds/kinds.ts';
import { organizationOf } from '../../crds/kinds.ts';
import { effectiveLifecycle } from '../../crds/lifecycle.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import type { Visit } from '../runtime/visit.ts';
import { throughLedger } from './doors.ts';
import { checkNewSecrets } from './secrets.ts';
import { successorOf } from './standing.ts';
import { checkUpgrade, type Held, wantedVersion } from './upgrade.ts';

export type InstanceVisit = Visit<'Instance'>;

/** Everything an Instance stands on, found and fitting together. */
export interface Accepted {
  organization: Organization;
  project: Project;
  wallet: Wallet;
  offering: Offering;
  version: OfferingVersion;
  contract: Contract;
  contractDigest: string;
  /** Set when another version is asked for than this one. */
  held?: Held;
}

type Terms = Pick<Accepted, 'version' | 'contract' | 'contractDigest'>;

/** A watch wakes the Instance as soon as the missing thing appears; this is the safety net. */
const DEPENDENCY_RETRY_MS = 60_000;

const INSTANCE_FINALIZER = 'store.gsv.dev/instance';

/** Messages name at most this many broken rules of a config. */
const SHOWN_VIOLATIONS = 5;

/** `accept`: offering sellable, version and plan exist, config valid, project and wallet allowed. */
export async function accept(visit: InstanceVisit, ports: Ports): Promise<Accepted> {
  const organization = findOrganization(visit, ports);
  if (organization.spec.suspend && !begun(visit.object))
    throw new Terminal('OrganizationSuspended', `Organization ${organization.metadata.name} is suspended.`);
  const project = findProject(visit, ports);
  const offering = await findOffering(visit, ports);
  const terms = await chooseTerms(visit, offering, project, ports);
  const wallet = findWallet(visit, ports);
  checkQuota(visit, project, ports);
  return { organization, project, wallet, offering, ...terms };
}

/** What is asked for where it fits; else what the Instance is bound to: nothing that runs breaks for a version that does not fit. */
async function chooseTerms(
  visit: InstanceVisit,
  offering: Offering,
  project: Project,
  ports: Ports,
): Promise<Terms & { held?: Held }> {
  const bound = visit.object.status?.version;
  const wanted = wantedVersion(visit, offering);
  if (bound === undefined || wanted === bound) return fitting(visit, offering, wanted, project, ports);
  try {
    const terms = fitting(visit, offering, wanted, project, ports);
    checkUpgrade(visit, bound, terms.contract);
    await checkNewSecrets(visit, { ...terms, project }, ports);
    return terms;
  } catch (error) {
    if (!(error instanceof Terminal || error instanceof Waiting)) throw error;
    const held = { error, pinned: visit.object.spec.version !== undefined };
    return { ...fitting(visit, offering, bound, project, ports), held };
  }
}

/** A version whose plan, profile and config fit the Instance. */
function fitting(
  visit: InstanceVisit,
  offering: Offering,
  wanted: string | undefined,
  project: Project,
  ports: Ports,
): Terms {
  const { spec } = visit.object;
  const version = findVersion(offering, wanted, ports);
  const { contract, contractDigest } = readContract(version);
  if (!contract.plans.some((plan) => plan.name === spec.plan))
    throw new Terminal(
      'PlanNotFound',
      `Version ${contract.version} of ${contract.offering} has no plan "${spec.plan}".`,
    );
  checkProfile(contract, project);
  checkConfig(contract, spec.config ?? {});
  return { version, contract, contractDigest };
}

/** Has it ever been accepted? What is not sold any more still runs for those who have it. */
function wasAccepted(instance: Instance): boolean {
  return instance.status?.timeline?.accepted !== undefined;
}

/** Whether there may be anything of it outside the cluster API: that can be paused, the rest only refused. */
export function begun({ metadata }: Instance): boolean {
  return metadata.finalizers?.includes(INSTANCE_FINALIZER) === true;
}

function missing(reason: ConstructorParameters<typeof Waiting>[1], message: string): Waiting {
  return new Waiting(DEPENDENCY_RETRY_MS, reason, message);
}

function findOrganization(visit: InstanceVisit, { store }: Ports): Organization {
  const name = organizationOf(visit.key.namespace);
  const organization = name === undefined ? undefined : store.watch('Organization').get({ name });
  if (organization === undefined)
    throw missing('OrganizationNotFound', `No Organization owns the namespace ${visit.key.namespace}.`);
  return organization;
}

function findProject(visit: InstanceVisit, { store }: Ports): Project {
  const { name } = visit.object.spec.projectRef;
  const project = store.watch('Project').get({ ...visit.key, name });
  if (project === undefined) throw missing('ProjectNotFound', `There is no Project "${name}".`);
  const committed = project.status?.workloadNamespace !== undefined && project.status.commit !== undefined;
  if (!committed || project.metadata.deletionTimestamp !== undefined)
    throw missing('ProjectNotReady', `Project "${name}" is not ready.`);
  return project;
}

async function findOffering(visit: InstanceVisit, ports: Ports): Promise<Offering> {
  const { name } = visit.object.spec.offeringRef;
  const offering = ports.store.watch('Offering').get({ name });
  if (offering === undefined) throw missing('OfferingNotFound', `There is no Offering "${name}".`);
  if (wasAccepted(visit.object)) return offering;
  switch (effectiveLifecycle(offering.spec, visit.nowMs)) {
    case 'Draft':
      throw missing('OfferingNotPublished', `Offering "${name}" is a draft.`);
    case 'Paused':
      throw missing('OfferingPaused', `Offering "${name}" takes no new Instances at present.`);
    case 'EndOfSale':
      if (await wasSold(visit, ports)) return offering;
      throw new Terminal('OfferingEndOfSale', `Offering "${name}" is not sold any more${successorOf(offering)}.`);
    case 'EndOfLife':
      throw new Terminal('OfferingEndOfLife', `Offering "${name}" has ended${successorOf(offering)}.`);
    case 'Published':
      return offering;
  }
}

/**
 * Whether it claims a paid unit of the Offering that nobody else has used. The order worker makes units only of orders
 * that were placed while it was sold, whenever it comes to work on them; the rest of the claim is looked at by `fund`.
 */
async function wasSold({ object: { spec, metadata } }: InstanceVisit, { ledger }: Ports): Promise<boolean> {
  const { fulfilment: claim, offeringRef, plan } = spec;
  if (claim === undefined) return false;
  const units = await throughLedger(() => ledger.findFulfilments(claim));
  return units.some(
    (unit) =>
      unit.line === claim.line &&
      unit.ordinal === claim.ordinal &&
      unit.offering === offeringRef.name &&
      unit.plan === plan &&
      (unit.instanceUid === undefined || unit.instanceUid === metadata.uid),
  );
}

function findVersion(offering: Offering, wanted: string | undefined, { store }: Ports): OfferingVersion {
  if (wanted === undefined)
    throw new Terminal('ChannelMissing', `Offering "${offering.metadata.name}" names no version for new Instances.`);
  const name = `${offering.metadata.name}-${wanted}`;
  const version = store.watch('OfferingVersion').get({ name });
  if (version === undefined || version.spec.offeringRef.name !== offering.metadata.name)
    throw missing('VersionNotFound', `There is no OfferingVersion "${name}".`);
  const { verified } = version.status ?? {};
  if (verified === undefined || verified.contractDigest !== version.spec.contractDigest) {
    const ready = findCondition(version.status?.conditions, 'Ready');
    throw missing(
      'VersionNotVerified',
      `OfferingVersion "${name}" is not verified: ${ready?.reason ?? 'Progressing'}.`,
    );
  }
  return version;
}

function readContract(version: OfferingVersion): { contract: Contract; contractDigest: string } {
  const { contract, contractDigest } = version.spec;
  try {
    if (contractDigest !== undefined) return { contract: parseContract(contract), contractDigest };
  } catch (error) {
    if (!(error instanceof ContractError)) throw error;
  }
  throw new Terminal('ContractDigestMismatch', `OfferingVersion "${version.metadata.name}" carries no valid contract.`);
}

function checkProfile(contract: Contract, project: Project): void {
  const profile = project.spec.runtimeProfile ?? 'Shared';
  if (contract.minimumRuntimeProfile === 'Namespace' && profile === 'Shared')
    throw new Terminal(
      'RuntimeProfileTooLow',
      `The version needs the runtime profile Namespace, Project "${project.metadata.name}" has Shared.`,
    );
}

function checkConfig(contract: Contract, config: Record<string, unknown>): void {
  const violations = validateConfig(contract, config);
  if (violations.length === 0) return;
  const shown = violations.slice(0, SHOWN_VIOLATIONS).map(({ pointer, rule, message }) => {
    return `${pointer || '/'} breaks ${rule}: ${message}`;
  });
  const more = violations.length - shown.length;
  throw new Terminal('ConfigInvalid', `${shown.join('; ')}${more > 0 ? `; and ${more} more` : ''}`);
}

function findWallet(visit: InstanceVisit, { store }: Ports): Wallet {
  const { walletRef, projectRef } = visit.object.spec;
  const wallet = store.watch('Wallet').get({ ...visit.key, name: walletRef.name });
  if (wallet === undefined) throw missing('WalletNotFound', `There is no Wallet "${walletRef.name}".`);
  if (wallet.status?.balance === undefined || wallet.metadata.deletionTimestamp !== undefined)
    throw missing('WalletNotReady', `Wallet "${walletRef.name}" is not ready.`);
  const { allowedProjects } = wallet.spec;
  if (allowedProjects !== undefined && !allowedProjects.includes(projectRef.name))
    throw new Terminal('WalletNotAllowed', `Wallet "${walletRef.name}" does not allow Project "${projectRef.name}".`);
  return wallet;
}

/** Those accepted before count, and among newcomers the older ones: every replica comes to the same order. */
function checkQuota(visit: InstanceVisit, project: Project, { store }: Ports): void {
  const limit = project.spec.quota?.maxInstances;
  const self = visit.object;
  if (limit === undefined || wasAccepted(self)) return;
  const ahead = store
    .watch('Instance')
    .list(visit.key.namespace === undefined ? {} : { namespace: visit.key.namespace })
    .filter(
      (other) =>
        other.metadata.uid !== self.metadata.uid &&
        other.spec.projectRef.name === project.metadata.name &&
        other.metadata.deletionTimestamp === undefined &&
        (wasAccepted(other) || isOlder(other, self)),
    );
  if (ahead.length >= limit)
    throw missing('QuotaExceeded', `Project "${project.metadata.name}" allows ${limit} Instances and has them.`);
}

function isOlder(a: Instance, b: Instance): boolean {
  const [x, y] = [a.metadata, b.metadata];
  return x.creationTimestamp === y.creationTimestamp ? x.name < y.name : x.creationTimestamp < y.creationTimestamp;
}
