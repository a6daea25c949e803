import { randomUUID } from 'node:crypto';
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isOwnKind } from '../definitions.ts';
import { KINDS, type Kind, type KindMap, type ObjectMeta } from '../kinds.ts';
import {
  type Desired,
  type Key,
  keyText,
  type ListOptions,
  type ResourceCache,
  type ResourceStore,
  type Selection,
  StoreError,
  selectionText,
} from '../store.ts';
import { validateObject, validateStatus } from '../validate.ts';
import { inKeyOrder, matches, WatchCache } from './cache.ts';
import { Journal, type Recovered, type Stored } from './journal.ts';
import { applyMetadata, checkMetadata, type FieldCause, type Managers, ownedKeys } from './metadata.ts';

/** The rules of the kinds: JSON Schema and CEL of the CRDs. An empty list means valid. */
export interface Validation {
  object(kind: Kind, object: unknown, old?: unknown): readonly FieldCause[];
  status(kind: Kind, status: unknown, old?: unknown): readonly FieldCause[];
}

export interface EmbeddedStoreOptions {
  /** Default: the rules of the CRDs in `crds/*.yaml`. */
  validate?: Validation;
  /** File that keeps the objects over restarts. Absent: they live as long as the process. */
  journal?: string;
  now?: () => Date;
  /** The uid of a new object, another one at each call. Absent: random. */
  uid?: (kind: Kind, key: Key) => string;
}

/** A cache, and what it holds. */
interface Watched {
  selection: Selection;
  cache: WatchCache<Kind>;
}

const CRD_RULES: Validation = { object: validateObject, status: validateStatus };

/** Objects as anything may be: the kind is checked at the public methods, by their types. */
type Any = KindMap[Kind];

/**
 * The resource store of the quickstart and of fast tests. It keeps the promises of the port and of
 * `contract.suite.ts` and nothing more; it is no API server. Every write runs to its end without
 * giving way, so writers need no lock.
 */
export class EmbeddedStore implements ResourceStore {
  readonly #validate: Validation;
  readonly #now: () => Date;
  readonly #uid: (kind: Kind, key: Key) => string;
  readonly #journal: Journal | undefined;
  readonly #objects = new Map<Kind, Map<string, Stored>>();
  readonly #caches = new Map<Kind, Map<string, Watched>>();
  #resourceVersion: number;
  #closed = false;

  private constructor(options: EmbeddedStoreOptions, journal: Journal | undefined, recovered: Recovered) {
    this.#validate = options.validate ?? CRD_RULES;
    this.#now = options.now ?? (() => new Date());
    this.#uid = options.uid ?? (() => randomUUID());
    this.#journal = journal;
    this.#resourceVersion = recovered.resourceVersion;
    for (const { kind, stored } of recovered.objects)
      this.#of(kind).set(keyText(stored.object.metadata), freeze(stored));
  }

  /**
   * Opens the store, reading the journal if there is one.
   * @throws StoreError Unavailable when the journal is damaged or another process has it
   */
  static async open(options: EmbeddedStoreOptions = {}): Promise<EmbeddedStore> {
    if (options.journal === undefined)
      return new EmbeddedStore(options, undefined, { resourceVersion: 0, objects: [] });
    const { journal, recovered } = Journal.open(resolve(options.journal));
    const store = new EmbeddedStore(options, journal, recovered);
    for (const { object } of [...store.#of('Namespace').values()]) store.#emptyNamespace(object);
    return store;
  }

  async get<K extends Kind>(kind: K, key: Key): Promise<KindMap[K] | undefined> {
    this.#assertOpen();
    const stored = this.#of(kind).get(keyText(key));
    return stored === undefined ? undefined : copy(stored.object as KindMap[K]);
  }

  async list<K extends Kind>(kind: K, options: ListOptions = {}): Promise<KindMap[K][]> {
    this.#assertOpen();
    const found = [...this.#of(kind).values()].map((stored) => stored.object as KindMap[K]);
    return inKeyOrder(found.filter((object) => matches(object, options))).map(copy);
  }

  watch<K extends Kind>(kind: K, selection: Selection = {}): ResourceCache<K> {
    this.#assertOpen();
    const caches = this.#caches.get(kind) ?? new Map<string, Watched>();
    this.#caches.set(kind, caches);
    let watched = caches.get(selectionText(selection));
    if (watched === undefined) {
      const present = [...this.#of(kind).values()].map((stored) => stored.object);
      watched = { selection, cache: new WatchCache(present.filter((object) => matches(object, selection))) };
      caches.set(selectionText(selection), watched);
    }
    return watched.cache as unknown as ResourceCache<K>;
  }

  async create<K extends Kind>(kind: K, desired: Desired<K>): Promise<KindMap[K]> {
    this.#assertOpen();
    const given = plain(desired);
    this.#checkScope(kind, given.metadata);
    if (this.#of(kind).has(keyText(given.metadata))) {
      throw new StoreError('AlreadyExists', `${kind} ${keyText(given.metadata)} exists already.`);
    }
    return copy(this.#createNew(kind, given, {}) as KindMap[K]);
  }

  async apply<K extends Kind>(
    kind: K,
    desired: Desired<K>,
    { fieldManager, resourceVersion }: { fieldManager: string; resourceVersion?: string },
  ): Promise<KindMap[K]> {
    this.#assertOpen();
    const given = plain(desired);
    this.#checkScope(kind, given.metadata);
    const stored = this.#of(kind).get(keyText(given.metadata));
    if (stored === undefined) {
      if (resourceVersion !== undefined) throw conflict(kind, given.metadata);
      const owned = ownedKeys(given.metadata);
      return copy(this.#createNew(kind, given, owned.length > 0 ? { [fieldManager]: owned } : {}) as KindMap[K]);
    }
    const { object } = stored;
    if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion) {
      throw conflict(kind, given.metadata);
    }
    const { meta, managers } = applyMetadata(object.metadata, stored.managers, given.metadata, fieldManager);
    const specChanged = !isDeepStrictEqual(given.spec, object.spec);
    if (!specChanged && managers === stored.managers && isDeepStrictEqual(meta, object.metadata)) {
      return copy(object as KindMap[K]);
    }
    if (specChanged) meta.generation += 1;
    const next = { ...object, metadata: meta, spec: given.spec } as Any;
    this.#checkFinalizers(object.metadata, meta.finalizers ?? []);
    this.#check(kind, next, object);
    return copy(this.#put(kind, next, managers) as KindMap[K]);
  }

  async applyStatus<K extends Kind>(
    kind: K,
    key: Key,
    status: NonNullable<KindMap[K]['status']>,
    { resourceVersion }: { fieldManager: string; resourceVersion?: string },
  ): Promise<KindMap[K]> {
    this.#assertOpen();
    const { object, managers } = this.#existing(kind, key, resourceVersion);
    const next = withDefaults(kind, plain(status));
    if (isDeepStrictEqual(next, object.status)) return copy(object as KindMap[K]);
    refuseInvalid(kind, key, this.#validate.status(kind, next, object.status));
    return copy(this.#put(kind, { ...object, status: next } as Any, managers) as KindMap[K]);
  }

  async setFinalizers<K extends Kind>(
    kind: K,
    key: Key,
    finalizers: string[],
    { resourceVersion }: { resourceVersion: string },
  ): Promise<KindMap[K] | undefined> {
    this.#assertOpen();
    const { object, managers } = this.#existing(kind, key, resourceVersion);
    if (isDeepStrictEqual(finalizers, object.metadata.finalizers ?? [])) return copy(object as KindMap[K]);
    this.#checkFinalizers(object.metadata, finalizers);
    const { finalizers: _, ...rest } = object.metadata;
    const metadata: ObjectMeta = finalizers.length > 0 ? { ...rest, finalizers: [...new Set(finalizers)] } : rest;
    const next = this.#put(kind, { ...object, metadata } as Any, managers);
    return this.#collect(kind, next) ? undefined : copy(next as KindMap[K]);
  }

  async annotate(kind: 'Application', key: Key, annotations: Record<string, string>): Promise<void> {
    this.#assertOpen();
    const { object, managers } = this.#existing(kind, key, undefined);
    const present = object.metadata.annotations ?? {};
    const metadata = { ...object.metadata, annotations: { ...present, ...annotations } };
    if (isDeepStrictEqual(metadata.annotations, present)) return;
    refuseInvalid(kind, key, checkMetadata(metadata));
    this.#put(kind, { ...object, metadata } as Any, managers);
  }

  async terminateOperation(kind: 'Application', key: Key, options: { resourceVersion: string }): Promise<void> {
    this.#assertOpen();
    const { object, managers } = this.#existing(kind, key, options.resourceVersion);
    const status = (object as KindMap['Application']).status ?? {};
    const ended = { ...status, operationState: { ...status.operationState, phase: 'Terminating' as const } };
    this.#put(kind, { ...object, status: ended } as Any, managers);
  }

  async delete(kind: Kind, key: Key, options: { uid?: string } = {}): Promise<void> {
    this.#assertOpen();
    const stored = this.#of(kind).get(keyText(key));
    // Where another object has taken the name, the one that is meant is gone already.
    if (stored === undefined || (options.uid ?? stored.object.metadata.uid) !== stored.object.metadata.uid) return;
    this.#markDeleted(kind, stored);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const caches of this.#caches.values()) for (const { cache } of caches.values()) cache.stop();
    this.#journal?.close();
  }

  #of(kind: Kind): Map<string, Stored> {
    let objects = this.#objects.get(kind);
    if (objects === undefined) {
      objects = new Map();
      this.#objects.set(kind, objects);
    }
    return objects;
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError('Unavailable', 'The store is closed.');
  }

  #existing(kind: Kind, key: Key, resourceVersion: string | undefined): Stored {
    const stored = this.#of(kind).get(keyText(key));
    if (stored === undefined) throw new StoreError('NotFound', `There is no ${kind} ${keyText(key)}.`);
    if (resourceVersion !== undefined && resourceVersion !== stored.object.metadata.resourceVersion) {
      throw conflict(kind, key);
    }
    return stored;
  }

  #checkScope(kind: Kind, { namespace, name }: Key): void {
    if (KINDS[kind].namespaced === (namespace !== undefined)) return;
    const message = KINDS[kind].namespaced ? `a ${kind} lives in a namespace` : `a ${kind} has no namespace`;
    throw new StoreError('Invalid', `${kind} ${name}: ${message}.`, [{ field: 'metadata.namespace', message }]);
  }

  #check(kind: Kind, object: Any, old?: Any): void {
    const causes = checkMetadata(object.metadata);
    refuseInvalid(kind, object.metadata, causes.length > 0 ? causes : this.#validate.object(kind, object, old));
  }

  /** As the API server: an object that is going takes no new finalizer, or it would never go. */
  #checkFinalizers(metadata: ObjectMeta, finalizers: readonly string[]): void {
    if (metadata.deletionTimestamp === undefined) return;
    const added = finalizers.find((each) => !metadata.finalizers?.includes(each));
    if (added === undefined) return;
    const message = `"${added}" cannot be added: the object is being deleted`;
    throw new StoreError('Invalid', `${message}.`, [{ field: 'metadata.finalizers', message }]);
  }

  #checkNamespace(name: string | undefined): void {
    if (name === undefined) return;
    const namespace = this.#of('Namespace').get(name)?.object;
    if (namespace === undefined) throw new StoreError('NotFound', `There is no Namespace ${name}.`);
    if (namespace.metadata.deletionTimestamp === undefined) return;
    throw new StoreError('Forbidden', `Namespace ${name} is being deleted: nothing can be created in it.`);
  }

  #createNew(kind: Kind, { metadata, spec }: Desired<Kind>, managers: Managers): Any {
    const { name, namespace, labels, annotations, finalizers } = metadata;
    const meta: ObjectMeta = {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      uid: this.#uid(kind, metadata),
      resourceVersion: '',
      generation: 1,
      creationTimestamp: this.#time(),
      ...(labels && Object.keys(labels).length > 0 ? { labels } : {}),
      ...(annotations && Object.keys(annotations).length > 0 ? { annotations } : {}),
      ...(finalizers && finalizers.length > 0 ? { finalizers: [...new Set(finalizers)] } : {}),
    };
    const status = withDefaults(kind, kind === 'Namespace' ? { phase: 'Active' } : {});
    const object = { apiVersion: KINDS[kind].apiVersion, kind, metadata: meta, spec } as Any;
    this.#checkNamespace(namespace);
    this.#check(kind, object);
    return this.#put(kind, { ...object, status } as Any, managers);
  }

  /** Kubernetes keeps whole seconds. */
  #time(): string {
    return this.#now()
      .toISOString()
      .replace(/\.\d+Z$/, 'Z');
  }

  #put(kind: Kind, object: Any, managers: Managers): Any {
    const resourceVersion = this.#resourceVersion + 1;
    const metadata = { ...object.metadata, resourceVersion: String(resourceVersion) };
    const stored = freeze({ object: { ...object, metadata } as Any, managers });
    this.#journal?.append({ resourceVersion, kind, put: stored });
    this.#resourceVersion = resourceVersion;
    const before = this.#of(kind).get(keyText(metadata));
    this.#of(kind).set(keyText(metadata), stored);
    for (const { selection, cache } of this.#caches.get(kind)?.values() ?? []) {
      if (matches(stored.object, selection)) cache.push(metadata, stored.object);
      else if (before !== undefined && matches(before.object, selection)) cache.push(metadata, undefined);
    }
    return stored.object;
  }

  #remove(kind: Kind, { namespace, name }: Key): void {
    const key: Key = namespace === undefined ? { name } : { namespace, name };
    const resourceVersion = this.#resourceVersion + 1;
    this.#journal?.append({ resourceVersion, kind, remove: key });
    this.#resourceVersion = resourceVersion;
    const gone = this.#of(kind).get(keyText(key));
    this.#of(kind).delete(keyText(key));
    for (const { selection, cache } of this.#caches.get(kind)?.values() ?? []) {
      if (gone !== undefined && matches(gone.object, selection)) cache.push(key, undefined);
    }
  }

  #markDeleted(kind: Kind, { object, managers }: Stored): void {
    if (object.metadata.deletionTimestamp !== undefined) return;
    if (kind !== 'Namespace' && (object.metadata.finalizers ?? []).length === 0) {
      this.#remove(kind, object.metadata);
      this.#collectNamespace(object.metadata.namespace);
      return;
    }
    // The API server counts the wish to be gone as a change of what is desired.
    const generation = object.metadata.generation + 1;
    const metadata = { ...object.metadata, generation, deletionTimestamp: this.#time() };
    const status = kind === 'Namespace' ? { ...object.status, phase: 'Terminating' } : object.status;
    const next = this.#put(kind, { ...object, metadata, status } as Any, managers);
    if (kind === 'Namespace') this.#emptyNamespace(next);
  }

  /** Deletes what is in a Namespace that is going; what has finalizers keeps it until they are gone. */
  #emptyNamespace(namespace: Any): void {
    if (namespace.metadata.deletionTimestamp === undefined) return;
    for (const [kind, stored] of this.#contents(namespace.metadata.name)) this.#markDeleted(kind, stored);
    this.#collectNamespace(namespace.metadata.name);
  }

  #contents(namespace: string): [Kind, Stored][] {
    return [...this.#objects].flatMap(([kind, objects]) =>
      [...objects.values()]
        .filter((stored) => stored.object.metadata.namespace === namespace)
        .map((stored): [Kind, Stored] => [kind, stored]),
    );
  }

  #hasContents(namespace: string): boolean {
    for (const objects of this.#objects.values()) {
      for (const { object } of objects.values()) if (object.metadata.namespace === namespace) return true;
    }
    return false;
  }

  #collectNamespace(name: string | undefined): void {
    const namespace = name === undefined ? undefined : this.#of('Namespace').get(name);
    if (namespace !== undefined) this.#collect('Namespace', namespace.object);
  }

  /** Removes an object that is to go and that nothing holds any more. */
  #collect(kind: Kind, object: Any): boolean {
    const { deletionTimestamp, finalizers = [], name, namespace } = object.metadata;
    if (deletionTimestamp === undefined || finalizers.length > 0) return false;
    if (kind === 'Namespace' && this.#hasContents(name)) return false;
    this.#remove(kind, object.metadata);
    this.#collectNamespace(namespace);
    return true;
  }
}

/** `status.observedGeneration` has the CRD default -1: nobody has looked yet (kstatus). */
function withDefaults(kind: Kind, status: object): object {
  return !isOwnKind(kind) ? status : { observedGeneration: -1, ...status };
}

function conflict(kind: Kind, key: Key): StoreError {
  return new StoreError('Conflict', `${kind} ${keyText(key)} has changed meanwhile: read it again.`);
}

function refuseInvalid(kind: Kind, key: Key, causes: readonly FieldCause[]): void {
  if (causes.length === 0) return;
  const text = causes.map((cause) => `${cause.field}: ${cause.message}`).join('; ');
  throw new StoreError('Invalid', `${kind} ${keyText(key)} is invalid: ${text}`, causes);
}

/** What JSON keeps of a value: the caller's objects stay the caller's, and `undefined` is absent. */
function plain<T>(value: T): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function copy<T>(value: T): T {
  return structuredClone(value);
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const child of Object.values(value)) freeze(child);
  return Object.freeze(value);
}
