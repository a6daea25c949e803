import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../../config/log.ts';
import type { Condition } from '../../crds/conditions.ts';
import {
  type Fact,
  type FactType,
  findCondition,
  nextConditions,
  type Outcome,
  type Reason,
} from '../../crds/conditions.ts';
import type { KindMap, OwnKind } from '../../crds/kinds.ts';
import { type Key, keyText, parseKey, type ResourceCache, type ResourceStore, StoreError } from '../../crds/store.ts';
import { type Clock, rfc3339 } from './clock.ts';
import type { Result } from './controller.ts';
import { outcomeOf } from './errors.ts';
import { dropFinalizer, ensureFinalizer } from './finalizer.ts';
import type { ControllerMetrics } from './metrics.ts';

/** Who writes status. */
export const FIELD_MANAGER = 'gsv-operator';

/** Only the message depends on it: that the object has gone is an event of its own. */
const OTHERS_RETRY_MS = 60_000;

interface Observed {
  observedGeneration?: number;
  conditions?: Condition[];
}

/** Kinds with conditions in status: those that a controller can be written for. */
export type Reconciled = {
  [K in OwnKind]: NonNullable<KindMap[K]['status']> extends Observed ? K : never;
}[OwnKind];

/** What steps may set in status; conditions and observedGeneration follow from the outcome. */
export type StatusFields<K extends Reconciled> = {
  [F in Exclude<keyof NonNullable<KindMap[K]['status']>, keyof Observed>]?:
    | NonNullable<KindMap[K]['status']>[F]
    | undefined;
};

/** One visit of one object: what the steps read, and what they found out. Written to status once, at the end. */
export class Visit<K extends Reconciled> {
  readonly key: Key;
  /** RFC 3339 time of the visit: one visit has one time. */
  readonly now: string;
  readonly nowMs: number;
  readonly facts: Fact[] = [];
  /** Starts as the present status; a member set to undefined disappears. */
  readonly status: StatusFields<K>;
  /** Where no retry is due: come back this soon, if the next resync is later. */
  againAfterMs: number | undefined;
  object: KindMap[K];
  readonly #persistFinalizer: (object: KindMap[K]) => Promise<KindMap[K]>;

  constructor(key: Key, object: KindMap[K], nowMs: number, persist: (object: KindMap[K]) => Promise<KindMap[K]>) {
    this.key = key;
    this.object = object;
    this.nowMs = nowMs;
    this.now = rfc3339(nowMs);
    const { conditions: _c, observedGeneration: _g, ...fields } = structuredClone(object.status ?? {}) as Observed;
    this.status = fields as StatusFields<K>;
    this.#persistFinalizer = persist;
  }

  /** To be awaited before the first effect outside the cluster API. */
  async persistFinalizer(): Promise<void> {
    this.object = await this.#persistFinalizer(this.object);
  }

  fact(type: FactType, status: Condition['status'], reason: Reason, message: string): void {
    this.facts.push({ type, status, reason, message });
  }

  /**
   * Runs one step and shows its end as a condition: True with `message`, or False with the step's
   * reason. A passing failure disproves nothing, so it leaves the condition as it was.
   */
  async check<T>(type: FactType, message: string | ((value: T) => string), step: () => Promise<T> | T): Promise<T> {
    try {
      const value = await step();
      this.fact(type, 'True', 'Succeeded', typeof message === 'string' ? message : message(value));
      return value;
    } catch (error) {
      const outcome = outcomeOf(error);
      if (outcome.kind === 'Waiting' || outcome.kind === 'Terminal')
        this.fact(type, 'False', outcome.reason, outcome.message);
      throw error;
    }
  }
}

export interface ReconcilerOptions<K extends Reconciled> {
  store: ResourceStore;
  kind: K;
  /** Needed by kinds with effects outside the cluster API. */
  finalizer?: string;
  /**
   * If given, `Progressing` is written before the first attempt at a generation, for kinds whose steps
   * take long; false = not for this object. It may set fields of that status.
   */
  announce?: (visit: Visit<K>) => boolean;
  clock: Clock;
  log: Logger;
  metrics: ControllerMetrics;
  /** Makes the object so; returns `Suspended` instead of succeeding where the spec says so. */
  up: (visit: Visit<K>) => Promise<Extract<Outcome, { kind: 'Suspended' }> | undefined>;
  /** Undoes all outside effects; when it returns the finalizer goes. */
  down?: (visit: Visit<K>) => Promise<void>;
}

/** Turns a kind's steps into the `reconcile` of a controller: read, run, one status write. */
export function reconciler<K extends Reconciled>(options: ReconcilerOptions<K>): (key: string) => Promise<Result> {
  const { store, kind, finalizer, clock } = options;
  const reader = new OwnWriteReader(store, kind);
  const persist = async (object: KindMap[K]): Promise<KindMap[K]> => {
    if (finalizer === undefined) throw new Error(`${kind} has no finalizer`);
    return reader.wrote(await ensureFinalizer(store, kind, object, finalizer));
  };
  return async (text) => {
    const key = parseKey(text);
    const object = await reader.read(key);
    if (object === undefined) return { kind: 'Gone' };
    const visit = new Visit<K>(key, object, clock.now(), persist);
    const outcome =
      object.metadata.deletionTimestamp === undefined
        ? await goUp(options, visit)
        : await goDown(options, visit, reader);
    if (outcome === undefined) return { kind: 'Gone' };
    const there = await writeStatus(options, visit, outcome, reader);
    if (!there) return { kind: 'Gone' };
    return visit.againAfterMs === undefined ? outcome : { ...outcome, againAfterMs: visit.againAfterMs };
  };
}

/**
 * Reads from the cache, except where it has not seen our own last write yet: there a stale read
 * would only end in a refused write.
 */
class OwnWriteReader<K extends Reconciled> {
  readonly #store: ResourceStore;
  readonly #kind: K;
  readonly #cache: ResourceCache<K>;
  readonly #unseen = new Map<string, string>();

  constructor(store: ResourceStore, kind: K) {
    this.#store = store;
    this.#kind = kind;
    this.#cache = store.watch(kind);
  }

  async read(key: Key): Promise<KindMap[K] | undefined> {
    const cached = this.#cache.get(key);
    const unseen = this.#unseen.get(keyText(key));
    if (unseen === undefined) return cached;
    if (cached?.metadata.resourceVersion === unseen) {
      this.#unseen.delete(keyText(key));
      return cached;
    }
    const live = await this.#store.get(this.#kind, key);
    if (live === undefined) this.#unseen.delete(keyText(key));
    else this.wrote(live);
    return live;
  }

  wrote(object: KindMap[K]): KindMap[K] {
    this.#unseen.set(keyText(object.metadata), object.metadata.resourceVersion);
    return object;
  }
}

async function goUp<K extends Reconciled>(options: ReconcilerOptions<K>, visit: Visit<K>): Promise<Outcome> {
  if (isNewGeneration(visit.object) && options.announce?.(visit)) return { kind: 'Progressing' };
  try {
    return (await options.up(visit)) ?? { kind: 'Succeeded' };
  } catch (error) {
    return noted(options, visit, error);
  }
}

async function goDown<K extends Reconciled>(
  options: ReconcilerOptions<K>,
  visit: Visit<K>,
  reader: OwnWriteReader<K>,
): Promise<Outcome | undefined> {
  const { finalizer, store, kind } = options;
  if (finalizer === undefined) return undefined;
  if (!visit.object.metadata.finalizers?.includes(finalizer)) return heldByOthers(visit);
  try {
    await options.down?.(visit);
  } catch (error) {
    return noted(options, visit, error);
  }
  const left = await dropFinalizer(store, kind, visit.object, finalizer);
  if (left === undefined || (left.metadata.finalizers ?? []).length === 0) return undefined;
  visit.object = reader.wrote(left);
  return heldByOthers(visit);
}

/** Without this the last words of the removal would stand for as long as somebody else's finalizer does. */
function heldByOthers<K extends Reconciled>({ object }: Visit<K>): Outcome | undefined {
  const others = object.metadata.finalizers ?? [];
  if (others.length === 0) return undefined;
  const message = `Nothing of ours is left; it waits for the finalizers of others: ${[...others].sort().join(', ')}.`;
  return { kind: 'Waiting', reason: 'Terminating', message, retryAfterMs: OTHERS_RETRY_MS };
}

function noted<K extends Reconciled>(options: ReconcilerOptions<K>, visit: Visit<K>, error: unknown): Outcome {
  const outcome = outcomeOf(error);
  if (outcome.kind === 'Transient')
    options.log.warn({ kind: options.kind, key: visit.key, reason: outcome.reason, err: error }, 'a step failed');
  return outcome;
}

function observed(object: { status?: unknown }): Observed {
  return (object.status ?? {}) as Observed;
}

function isNewGeneration(object: { metadata: { generation: number }; status?: unknown }): boolean {
  const { observedGeneration, conditions } = observed(object);
  const { generation } = object.metadata;
  return observedGeneration !== generation && findCondition(conditions, 'Ready')?.observedGeneration !== generation;
}

/** False when the object has gone meanwhile. Writes nothing when status already says so. */
async function writeStatus<K extends Reconciled>(
  options: ReconcilerOptions<K>,
  visit: Visit<K>,
  outcome: Outcome,
  reader: OwnWriteReader<K>,
): Promise<boolean> {
  const { object } = visit;
  const { observedGeneration, conditions } = nextConditions({
    outcome,
    facts: visit.facts,
    generation: object.metadata.generation,
    previous: observed(object),
    now: visit.now,
  });
  const status = withoutUndefined({ ...visit.status, observedGeneration, conditions });
  if (isDeepStrictEqual(status, object.status)) return true;
  try {
    const written = await options.store.applyStatus(
      options.kind,
      visit.key,
      status as NonNullable<KindMap[K]['status']>,
      { fieldManager: FIELD_MANAGER, resourceVersion: object.metadata.resourceVersion },
    );
    reader.wrote(written);
    options.metrics.statusWritten?.(object, written);
  } catch (error) {
    if (error instanceof StoreError && error.code === 'NotFound') return false;
    throw error;
  }
  options.metrics.statusWrites.inc({ controller: options.kind.toLowerCase() });
  return true;
}

function withoutUndefined(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
