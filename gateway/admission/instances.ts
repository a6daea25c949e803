import { type Condition, REASONS } from '../../crds/conditions.ts';
import { type Instance, organizationNamespace } from '../../crds/kinds.ts';
import { type ResourceCache, type ResourceStore, StoreError } from '../../crds/store.ts';
import { problem } from '../errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { Entitlements, Membership } from './entitlement.ts';

/** The same Instance is read live at most this often, however many requests find it missing or not ready. */
const LIVE_READ_PAUSE_MS = 1_000;
const MAX_PAUSES = 10_000;

export interface FoundInstance {
  instance: Instance;
  membership: Membership;
}

/** Instances from the watch cache, with a live read where the cache may lag behind. */
export class Instances {
  readonly #store: ResourceStore;
  readonly #cache: ResourceCache<'Instance'>;
  readonly #entitlements: Entitlements;
  readonly #clock: () => number;
  readonly #readAt = new Map<string, number>();

  constructor(store: ResourceStore, entitlements: Entitlements, clock: () => number) {
    this.#store = store;
    this.#cache = store.watch('Instance');
    this.#entitlements = entitlements;
    this.#clock = clock;
  }

  synced(): Promise<void> {
    return this.#cache.synced;
  }

  /**
   * An Instance that the caller may see. Membership comes first, so that strangers cause no live read.
   * @throws Problem `instance_not_found` for whatever is absent, foreign or in a Project of others
   */
  async find(caller: Caller, organization: string, name: string): Promise<FoundInstance> {
    const membership = this.#entitlements.member(caller, organization, 'instance_not_found');
    const key = { namespace: organizationNamespace(organization), name };
    const instance = this.#cache.get(key) ?? (await this.#live(key));
    if (!instance || !membership.sees(instance.spec.projectRef.name, name)) throw problem('instance_not_found');
    return { instance, membership };
  }

  /**
   * The Instance, able to run. The cached state is believed when it is good; otherwise one live read
   * decides, so that the first call after the order sees what the operator has just written.
   * @throws Problem `instance_paused`, `instance_not_ready`, `instance_terminated`
   */
  async ready(instance: Instance): Promise<Instance> {
    if (obstacle(instance) === undefined) return instance;
    const { namespace, name } = instance.metadata;
    const live = (await this.#live({ ...(namespace === undefined ? {} : { namespace }), name })) ?? instance;
    const reason = obstacle(live);
    if (reason) throw problem(reason.code, { detail: reason.message, extra: { reason: reason.reason } });
    return live;
  }

  /** The Instances of an Organization as the cache has them, by name. */
  list(organization: string): Instance[] {
    const found = this.#cache.list({ namespace: organizationNamespace(organization) });
    return found.sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  }

  async #live(key: { namespace?: string; name: string }): Promise<Instance | undefined> {
    const text = `${key.namespace}/${key.name}`;
    const now = this.#clock();
    if (now - (this.#readAt.get(text) ?? Number.NEGATIVE_INFINITY) < LIVE_READ_PAUSE_MS) return this.#cache.get(key);
    if (this.#readAt.size >= MAX_PAUSES) this.#readAt.clear();
    this.#readAt.set(text, now);
    try {
      return await this.#store.get('Instance', key);
    } catch (error) {
      if (error instanceof StoreError && error.code === 'Unavailable')
        throw problem('store_unavailable', { cause: error });
      throw error;
    }
  }
}

interface Obstacle {
  code: 'instance_paused' | 'instance_not_ready' | 'instance_terminated';
  reason: string;
  message: string;
}

/** Why this Instance cannot run now; undefined when it can. */
export function obstacle(instance: Instance): Obstacle | undefined {
  const { lifecycle, effective, conditions, contractDigest, version } = instance.status ?? {};
  const removal = instance.metadata.deletionTimestamp !== undefined;
  if (removal || (lifecycle === 'Terminating' && effective?.state !== 'Terminated'))
    return { code: 'instance_not_ready', reason: 'Terminating', message: 'this Instance is being removed' };
  if (effective?.state === 'Terminated' || lifecycle === 'Terminated')
    return {
      code: 'instance_terminated',
      reason: 'Terminated',
      message: 'this Instance was ended when its grace was over',
    };
  const ready = conditions?.find((condition) => condition.type === 'Ready');
  if (instance.spec.suspend === true)
    return { code: 'instance_paused', reason: 'Suspended', message: 'this Instance is paused by its owner' };
  const cause = effective?.state === 'Paused' ? effective.cause : undefined;
  // Whether the credits suffice is the ledger's answer: 402 with the amounts, or a run if some were just bought.
  if (cause !== undefined && cause !== 'CreditsExhausted')
    return { code: 'instance_paused', reason: cause, message: REASONS[cause].meaning };
  if (lifecycle === 'Paused' && cause === undefined && ready?.reason !== 'CreditsExhausted')
    return { code: 'instance_paused', reason: ready?.reason ?? 'Paused', message: ready?.message || 'paused' };
  if (ready?.status !== 'True' && !servesAnyway(instance))
    return {
      code: 'instance_not_ready',
      reason: ready?.reason ?? 'Requested',
      message: ready?.message || 'this Instance is still being prepared',
    };
  if (contractDigest === undefined || version === undefined)
    return { code: 'instance_not_ready', reason: 'ContractUnbound', message: 'this Instance has no contract yet' };
  return undefined;
}

/** Rungs that bring manifests to a cluster. What runs already goes on running while they wait. */
const DELIVERY_RUNGS = new Set(['Committed', 'Synced', 'RuntimeReady']);

/**
 * Ready also turns False when the operator cannot reach one of its systems, and Unknown while it works
 * on a new generation. An Instance that was ready keeps serving through both; what its owner has to
 * mend, or a run itself needs (contract, funds, secrets), stops it.
 */
function servesAnyway({ status }: Instance): boolean {
  const { lifecycle, conditions = [] } = status ?? {};
  if (lifecycle !== 'Active' && lifecycle !== 'Paused') return false;
  const reason = conditions.find(({ type }) => type === 'Ready')?.reason;
  if (keepsItsVersion(conditions, reason)) return true;
  if (conditions.some(({ type, status: value }) => type === 'Stalled' && value === 'True')) return false;
  if (reason === undefined || !isReason(reason)) return false;
  const { treatment } = REASONS[reason];
  if (treatment === 'Transient' || treatment === 'Info' || lifecycle === 'Paused') return true;
  return conditions.some((rung) => DELIVERY_RUNGS.has(rung.type) && rung.status === 'False' && rung.reason === reason);
}

/** Another version is asked for and cannot be had: what the Instance is bound to fits and goes on running. */
function keepsItsVersion(conditions: readonly Condition[], reason: string | undefined): boolean {
  const upToDate = conditions.find(({ type }) => type === 'UpToDate');
  const accepted = conditions.find(({ type }) => type === 'Accepted');
  return upToDate?.status === 'False' && upToDate.reason === reason && accepted?.status === 'True';
}

function isReason(text: string): text is keyof typeof REASONS {
  return Object.hasOwn(REASONS, text);
}
