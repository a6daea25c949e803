import { type Contract, type ContractSecret, contractDigest, parseContract } from '../../crds/contract.ts';
import { type Instance, type Kind, type KindMap, organizationNamespace } from '../../crds/kinds.ts';
import type { Key, ResourceCache, ResourceStore } from '../../crds/store.ts';
import type { RunTicket } from '../ticket.ts';
import { runnerProblem } from './problems.ts';

/** Contracts kept parsed; each is some kilobytes, and a store has a few versions per offering in use. */
const CONTRACTS_KEPT = 1_000;

/** Everything that a run needs to know about its Instance. */
export interface Binding {
  organization: string;
  instance: Instance;
  contract: Contract;
  contractDigest: string;
}

type Reader = <K extends Kind>(kind: K, key: Key) => Promise<KindMap[K] | undefined>;

/** Finds Instances and the contracts they are bound to: from the watch caches, live where those are behind. */
export class Bindings {
  readonly #store: ResourceStore;
  readonly #instances: ResourceCache<'Instance'>;
  readonly #versions: ResourceCache<'OfferingVersion'>;
  readonly #projects: ResourceCache<'Project'>;
  readonly #contracts = new Map<string, Contract>();

  constructor(store: ResourceStore) {
    this.#store = store;
    this.#instances = store.watch('Instance');
    this.#versions = store.watch('OfferingVersion');
    this.#projects = store.watch('Project');
  }

  /** Resolves once the caches hold their first list. */
  async synced(): Promise<void> {
    await Promise.all([this.#instances.synced, this.#versions.synced, this.#projects.synced]);
  }

  /**
   * The Instance that a ticket names, under exactly the contract that the edge priced.
   *
   * @throws Problem `instance_not_found`, `instance_not_ready`, `contract_mismatch`
   */
  async forTicket(ticket: RunTicket): Promise<Binding> {
    const { organization, name, uid } = ticket.instance;
    const key = { namespace: organizationNamespace(organization), name };
    const fits = (each: Instance | undefined): boolean =>
      each?.metadata.uid === uid && each.status?.contractDigest === ticket.contractDigest;
    const cached = this.#instances.get(key);
    const instance = fits(cached) ? cached : await this.#store.get('Instance', key);
    if (!instance || instance.metadata.uid !== uid) throw notFound(organization, name);
    if (ticket.contractDigest === undefined || instance.status?.contractDigest !== ticket.contractDigest)
      throw runnerProblem('contract_mismatch', 'the Instance is bound to another contract than the run was priced by');
    return this.#bind(organization, instance, instance.status.version, this.#read);
  }

  /**
   * The Instance as it stands, for the probe and for buyer secrets. While the operator's first pass has
   * not written status yet, the version is the one that it will choose: the pin, or the channel's.
   *
   * @throws Problem `instance_not_found`, `instance_not_ready`, `contract_mismatch`
   */
  async present(organization: string, name: string): Promise<Binding> {
    const live: Reader = (kind, key) => this.#store.get(kind, key);
    const instance = await live('Instance', { namespace: organizationNamespace(organization), name });
    if (!instance) throw notFound(organization, name);
    const pinned = instance.status?.version ?? instance.spec.version;
    const version = pinned ?? (await live('Offering', { name: instance.spec.offeringRef.name }))?.spec.channel;
    return this.#bind(organization, instance, version, live);
  }

  /** Whether its Project gives each Instance a runtime of its own (profile Namespace). */
  async hasOwnRuntime({ instance }: Binding): Promise<boolean> {
    const key = projectKey(instance);
    const project = this.#projects.get(key) ?? (await this.#store.get('Project', key));
    return project?.spec.runtimeProfile === 'Namespace';
  }

  /** @throws Problem `instance_not_ready` */
  async workloadNamespace({ instance }: Binding): Promise<string> {
    const known = instance.status?.workloadNamespace;
    if (known) return known;
    const project = await this.#store.get('Project', projectKey(instance));
    if (project?.status?.workloadNamespace) return project.status.workloadNamespace;
    throw runnerProblem('instance_not_ready', 'the Project of the Instance has no workload namespace yet');
  }

  /**
   * Secrets of the contract that holds, and of the version that the Instance is to take next: what that one
   * asks for has to be set before it is switched to.
   */
  async declaredSecrets({ instance, contract }: Binding): Promise<readonly ContractSecret[]> {
    const { offeringRef, version: pinned } = instance.spec;
    const wanted = pinned ?? (await this.#store.get('Offering', { name: offeringRef.name }))?.spec.channel;
    if (wanted === undefined || wanted === contract.version) return contract.secrets;
    const next = await this.#read('OfferingVersion', { name: `${offeringRef.name}-${wanted}` });
    const { contract: document, contractDigest: digest } = next?.spec ?? {};
    if (document === undefined || digest === undefined) return contract.secrets;
    return [...contract.secrets, ...this.#contract(digest, document).secrets];
  }

  async #bind(organization: string, instance: Instance, version: string | undefined, read: Reader): Promise<Binding> {
    if (version === undefined)
      throw runnerProblem('instance_not_ready', 'the Instance is not bound to a version of its offering yet');
    const object = await read('OfferingVersion', { name: `${instance.spec.offeringRef.name}-${version}` });
    const digest = object?.spec.contractDigest;
    if (!object?.spec.contract || digest === undefined)
      throw runnerProblem('instance_not_ready', `version ${version} of the offering is missing or not compiled`);
    if (instance.status?.contractDigest !== undefined && instance.status.contractDigest !== digest)
      throw runnerProblem(
        'contract_mismatch',
        `version ${version} does not carry the contract the Instance is bound to`,
      );
    return {
      organization,
      instance,
      contract: this.#contract(digest, object.spec.contract),
      contractDigest: digest,
    };
  }

  readonly #read: Reader = async (kind, key) => {
    const cached = kind === 'OfferingVersion' ? this.#versions.get(key) : undefined;
    return (cached as KindMap[typeof kind] | undefined) ?? this.#store.get(kind, key);
  };

  /** Proves the digest once per document: what runs is what was promised. */
  #contract(digest: string, document: Record<string, unknown>): Contract {
    const known = this.#contracts.get(digest);
    if (known) return known;
    let contract: Contract;
    try {
      contract = parseContract(document);
    } catch (error) {
      throw runnerProblem('contract_mismatch', 'the compiled contract cannot be read', { cause: error });
    }
    if (contractDigest(contract) !== digest)
      throw runnerProblem('contract_mismatch', 'the compiled contract does not have the digest it is published under');
    if (this.#contracts.size >= CONTRACTS_KEPT) this.#contracts.clear();
    this.#contracts.set(digest, contract);
    return contract;
  }
}

function projectKey({ metadata: { namespace }, spec }: Instance): Key {
  return { ...(namespace === undefined ? {} : { namespace }), name: spec.projectRef.name };
}

function notFound(organization: string, name: string) {
  return runnerProblem('instance_not_found', `there is no Instance ${organization}/${name}`);
}
