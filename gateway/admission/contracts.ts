import { type Contract, contractDigest, parseContract } from '../../crds/contract.ts';
import type { Instance, OfferingVersion } from '../../crds/kinds.ts';
import { type ResourceCache, type ResourceStore, StoreError } from '../../crds/store.ts';
import { problem } from '../errors.ts';

/** Contracts kept parsed; more distinct ones than this at once means thousands of offerings. */
const MAX_PARSED = 2_000;

/** Contracts by OfferingVersion, parsed and checked against their digest once. */
export class Contracts {
  readonly #store: ResourceStore;
  readonly #cache: ResourceCache<'OfferingVersion'>;
  readonly #parsed = new Map<string, Contract>();

  constructor(store: ResourceStore) {
    this.#store = store;
    this.#cache = store.watch('OfferingVersion');
  }

  synced(): Promise<void> {
    return this.#cache.synced;
  }

  /**
   * The contract that a ready Instance is bound to. A version that no longer carries that digest is
   * not run: what was promised, what runs and what is charged must be one document.
   * @throws Problem `instance_not_ready`
   */
  async ofInstance(instance: Instance): Promise<Contract> {
    const version = await this.version(instance.spec.offeringRef.name, instance.status?.version ?? '');
    const contract = version && this.parse(version);
    if (contract && version.spec.contractDigest === instance.status?.contractDigest) return contract;
    throw problem('instance_not_ready', {
      detail: 'the contract of this Instance cannot be found',
      extra: { reason: 'ContractMissing' },
    });
  }

  /** The OfferingVersion object of an offering's version; undefined when there is none. */
  async version(offering: string, version: string): Promise<OfferingVersion | undefined> {
    const key = { name: `${offering}-${version}` };
    const cached = this.#cache.get(key);
    if (cached) return cached;
    try {
      return await this.#store.get('OfferingVersion', key);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'Unavailable')
        throw problem('store_unavailable', { cause: error });
      throw error;
    }
  }

  /** Like {@link version}, from the cache only: for lists. */
  cachedVersion(offering: string, version: string): OfferingVersion | undefined {
    return this.#cache.get({ name: `${offering}-${version}` });
  }

  /** Undefined when the version has no contract, or one that is not what its digest says. */
  parse(version: OfferingVersion): Contract | undefined {
    const digest = version.spec.contractDigest;
    if (digest === undefined || version.spec.contract === undefined) return undefined;
    const known = this.#parsed.get(digest);
    if (known) return known;
    const contract = read(version.spec.contract, digest);
    if (!contract) return undefined;
    if (this.#parsed.size >= MAX_PARSED) this.#parsed.clear();
    this.#parsed.set(digest, contract);
    return contract;
  }
}

function read(document: Record<string, unknown>, digest: string): Contract | undefined {
  try {
    const contract = parseContract(document);
    return contractDigest(contract) === digest ? contract : undefined;
  } catch {
    return undefined;
  }
}
