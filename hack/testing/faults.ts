import type { Kind, KindMap } from '../../crds/kinds.ts';
import {
  type Key,
  keyText,
  type ListOptions,
  type ResourceCache,
  type ResourceStore,
  type Selection,
  selectionText,
} from '../../crds/store.ts';

/** What goes wrong. The same plan over the same calls goes wrong at the same places. */
export interface FaultPlan {
  /** Any 32-bit number; printed with every failure, so that the run can be repeated. */
  seed: number;
  /** Share of reads from a cache, 0 to 1, that answer with what was there one change ago. */
  staleReads?: number;
  /** Share of changes, 0 to 1, that a watch misses: neither its cache nor its listeners learn of them. */
  droppedEvents?: number;
  /** The process dies at its k-th write, counted from 1: just before it, or after it took effect. */
  crash?: { write: number; when: 'before' | 'after' };
}

/** How often each fault has happened: a test of faults that did not fire has shown nothing. */
export interface FaultCounts {
  staleReads: number;
  droppedEvents: number;
  /** Changes that came while a watch was silent. */
  silentEvents: number;
  crashes: number;
}

/** Thrown at the crash and by every call after it: a dead process does nothing more. */
export class CrashError extends Error {
  constructor(plan: FaultPlan) {
    super(`the process crashed ${plan.crash?.when} write ${plan.crash?.write} (seed ${plan.seed})`);
    this.name = 'CrashError';
  }
}

/** Numbers from 0 up to 1 that depend on the seed alone (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * One process's view of a store, with faults. A restart after a crash is a new one over the same
 * inner store. Without faults in the plan it behaves as the inner store does.
 */
export class FaultyStore implements ResourceStore {
  readonly fired: FaultCounts = { staleReads: 0, droppedEvents: 0, silentEvents: 0, crashes: 0 };
  readonly #inner: ResourceStore;
  readonly #plan: FaultPlan;
  readonly #random: () => number;
  readonly #caches = new Map<string, FaultyCache<Kind>>();
  #writes = 0;
  #silent = false;

  constructor(inner: ResourceStore, plan: FaultPlan) {
    this.#inner = inner;
    this.#plan = plan;
    this.#random = seeded(plan.seed);
  }

  /** Writes that were tried so far: the range of `crash.write` worth trying. */
  get writes(): number {
    return this.#writes;
  }

  /** From now on no watch tells anything, as on a connection that is half open, until the next {@link relist}. */
  silence(): void {
    this.#silent = true;
  }

  /** What a reflector does now and then, and after a silence: every cache learns all that it missed, and tells it. */
  relist(): void {
    this.#silent = false;
    for (const cache of this.#caches.values()) cache.relist();
  }

  async get<K extends Kind>(kind: K, key: Key): Promise<KindMap[K] | undefined> {
    this.#assertAlive();
    return this.#inner.get(kind, key);
  }

  async list<K extends Kind>(kind: K, options?: ListOptions): Promise<KindMap[K][]> {
    this.#assertAlive();
    return this.#inner.list(kind, options);
  }

  watch<K extends Kind>(kind: K, selection?: Selection): ResourceCache<K> {
    this.#assertAlive();
    const id = `${kind} ${selectionText(selection)}`;
    let cache = this.#caches.get(id);
    if (cache === undefined) {
      cache = new FaultyCache(this.#inner.watch<Kind>(kind, selection), {
        dropped: () => this.#isSilent() || this.#happens('droppedEvents'),
        stale: () => this.#happens('staleReads'),
      });
      this.#caches.set(id, cache);
    }
    return cache as unknown as ResourceCache<K>;
  }

  create: ResourceStore['create'] = (...call) => this.#write(() => this.#inner.create(...call));
  apply: ResourceStore['apply'] = (...call) => this.#write(() => this.#inner.apply(...call));
  applyStatus: ResourceStore['applyStatus'] = (...call) => this.#write(() => this.#inner.applyStatus(...call));
  setFinalizers: ResourceStore['setFinalizers'] = (...call) => this.#write(() => this.#inner.setFinalizers(...call));
  annotate: ResourceStore['annotate'] = (...call) => this.#write(() => this.#inner.annotate(...call));
  terminateOperation: ResourceStore['terminateOperation'] = (...call) =>
    this.#write(() => this.#inner.terminateOperation(...call));
  delete: ResourceStore['delete'] = (...call) => this.#write(() => this.#inner.delete(...call));

  async close(): Promise<void> {
    for (const cache of this.#caches.values()) cache.stop();
    await this.#inner.close();
  }

  #assertAlive(): void {
    if (this.fired.crashes > 0) throw new CrashError(this.#plan);
  }

  async #write<T>(act: () => Promise<T>): Promise<T> {
    this.#assertAlive();
    this.#writes += 1;
    const { crash } = this.#plan;
    if (crash?.write !== this.#writes) return act();
    // Dead from here on for all others, also while the fatal write is still under way.
    this.fired.crashes += 1;
    for (const cache of this.#caches.values()) cache.stop();
    if (crash.when === 'after') await act();
    throw new CrashError(this.#plan);
  }

  #isSilent(): boolean {
    if (this.#silent) this.fired.silentEvents += 1;
    return this.#silent;
  }

  #happens(fault: 'staleReads' | 'droppedEvents'): boolean {
    const happens = this.#random() < (this.#plan[fault] ?? 0);
    if (happens) this.fired[fault] += 1;
    return happens;
  }
}

interface Decisions {
  dropped: () => boolean;
  stale: () => boolean;
}

type Seen<K extends Kind> = KindMap[K] | undefined;

class FaultyCache<K extends Kind> implements ResourceCache<K> {
  readonly synced: Promise<void>;
  readonly #inner: ResourceCache<K>;
  readonly #decide: Decisions;
  readonly #listeners = new Set<(key: Key) => void>();
  readonly #end: () => void;
  /** What this watch has learned, and for each key what it knew before. */
  readonly #present = new Map<string, KindMap[K]>();
  readonly #before = new Map<string, Seen<K>>();
  #first = true;

  constructor(inner: ResourceCache<K>, decide: Decisions) {
    this.#inner = inner;
    this.#decide = decide;
    this.#end = inner.onChange((key) => this.#take(key));
    this.synced = inner.synced.then(() => {
      // A list is never cut short: only changes after it can be missed.
      for (const { metadata } of inner.list()) this.#learn(metadata);
      this.#first = false;
    });
  }

  get(key: Key): Seen<K> {
    return this.#read(keyText(key));
  }

  list({ namespace, labels = {} }: ListOptions = {}): KindMap[K][] {
    const keys = new Set([...this.#present.keys(), ...this.#before.keys()]);
    return [...keys]
      .sort()
      .map((text) => this.#read(text))
      .filter((object): object is KindMap[K] => object !== undefined)
      .filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace)
      .filter(({ metadata }) => Object.entries(labels).every(([name, value]) => metadata.labels?.[name] === value));
  }

  onChange(listener: (key: Key) => void): () => void {
    this.#listeners.add(listener);
    const known = [...this.#present.values()].map(({ metadata }) => keyOf(metadata));
    setImmediate(() => {
      for (const key of known) if (this.#listeners.has(listener)) listener(key);
    });
    return () => this.#listeners.delete(listener);
  }

  /** A list that was asked for is no older than the question: nothing that was before it can be read any more. */
  async refresh(): Promise<void> {
    await this.#inner.refresh();
    this.relist();
    this.#before.clear();
  }

  relist(): void {
    const keys = new Map(
      [...this.#inner.list(), ...this.#present.values()].map((each) => [keyText(each.metadata), each]),
    );
    for (const { metadata } of keys.values()) if (this.#learn(metadata)) this.#tell(metadata);
  }

  stop(): void {
    this.#end();
    this.#listeners.clear();
  }

  #take(key: Key): void {
    const news = this.#inner.get(key) !== this.#present.get(keyText(key));
    if (news && !this.#first && this.#decide.dropped()) return;
    this.#learn(key);
    this.#tell(key);
  }

  /** True when something was new. */
  #learn(key: Key): boolean {
    const text = keyText(key);
    const [old, now] = [this.#present.get(text), this.#inner.get(key)];
    if (old === now) return false;
    this.#before.set(text, old);
    if (now === undefined) this.#present.delete(text);
    else this.#present.set(text, now);
    return true;
  }

  #tell(key: Key): void {
    for (const listener of [...this.#listeners]) listener(keyOf(key));
  }

  /** Only a key that has a past can be stale, so every counted fault was a different answer. */
  #read(text: string): Seen<K> {
    const stale = this.#before.has(text) && this.#decide.stale();
    return stale ? this.#before.get(text) : this.#present.get(text);
  }
}

function keyOf({ namespace, name }: Key): Key {
  return namespace === undefined ? { name } : { namespace, name };
}
