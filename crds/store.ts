import type { Kind, KindMap, NewMeta } from './kinds.ts';

/** Identifies one object of a kind. `namespace` is absent for cluster-scoped kinds. */
export interface Key {
  namespace?: string;
  name: string;
}

/** What may be written: metadata without what the store sets, and the desired state. */
export interface Desired<K extends Kind> {
  metadata: NewMeta;
  spec: KindMap[K]['spec'];
}

export interface ListOptions {
  namespace?: string;
  /** All of these labels must be equal. */
  labels?: Record<string, string>;
}

/** Which objects of a kind a cache holds; absent = all of them. */
export type Selection = ListOptions;

/**
 * A synced, read-only view of one kind, kept current by a watch. Objects are shared and deeply
 * frozen in spirit: a reader never changes them. It may be stale; writes are checked by
 * resourceVersion or are idempotent.
 */
export interface ResourceCache<K extends Kind> {
  /** Resolves once the first list is complete. For a kind that the API server does not know: once its CRD is there. */
  readonly synced: Promise<void>;
  get(key: Key): KindMap[K] | undefined;
  list(options?: ListOptions): KindMap[K][];
  /**
   * Calls back with the key of every object that was added, changed or removed, including each
   * object of the first list. Several changes of one object may be told once; what the cache then
   * answers is the last of them. Returns a function that ends the subscription.
   */
  onChange(listener: (key: Key) => void): () => void;
  /**
   * Resolves once the cache knows all that had happened when it was asked, also what a watch has missed that has
   * fallen silent. Costs a list; while the server is away it waits.
   */
  refresh(): Promise<void>;
}

/** Raised by every adapter; `code` is what Kubernetes calls `reason`. */
export class StoreError extends Error {
  readonly code: 'NotFound' | 'AlreadyExists' | 'Conflict' | 'Invalid' | 'Unavailable' | 'Forbidden';
  /** For `Invalid`: each violated rule with the path of its field, e.g. `spec.plan`. */
  readonly causes: readonly { field: string; message: string }[];
  constructor(
    code: StoreError['code'],
    message: string,
    causes: readonly { field: string; message: string }[] = [],
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'StoreError';
    this.code = code;
    this.causes = causes;
  }
}

/**
 * The one door to custom resources. Two adapters: `store/embedded.ts` (quickstart and fast tests)
 * and `store/kubernetes.ts`. Both pass `store/contract.suite.ts`.
 */
export interface ResourceStore {
  /** Live read. Undefined when it is not there. */
  get<K extends Kind>(kind: K, key: Key): Promise<KindMap[K] | undefined>;
  list<K extends Kind>(kind: K, options?: ListOptions): Promise<KindMap[K][]>;
  /**
   * The shared cache of what is selected of a kind; the first call starts the watch. An object that
   * no longer fits the selection is gone for this cache. A kind whose CRD is not installed is an
   * empty cache that is not synced; it fills when the CRD comes.
   */
  watch<K extends Kind>(kind: K, selection?: Selection): ResourceCache<K>;
  /** @throws StoreError AlreadyExists, Invalid, NotFound (namespace), Forbidden (namespace terminating) */
  create<K extends Kind>(kind: K, desired: Desired<K>): Promise<KindMap[K]>;
  /**
   * Creates or replaces spec, labels and annotations of one writer's whole document (server-side
   * apply, forced). An equal document changes nothing, not even resourceVersion. With
   * `resourceVersion` the write is refused (Conflict) when the object has moved on or is gone. Labels
   * and annotations of other writers stay; finalizers are only added, never taken away. A finalizer
   * cannot be added to an object that is being deleted (Invalid).
   * @throws StoreError Conflict, Invalid, NotFound (namespace), Forbidden (namespace terminating)
   */
  apply<K extends Kind>(
    kind: K,
    desired: Desired<K>,
    options: { fieldManager: string; resourceVersion?: string },
  ): Promise<KindMap[K]>;
  /** Replaces status; spec and generation stay. An equal status changes nothing. @throws StoreError NotFound, Conflict, Invalid */
  applyStatus<K extends Kind>(
    kind: K,
    key: Key,
    status: NonNullable<KindMap[K]['status']>,
    options: { fieldManager: string; resourceVersion?: string },
  ): Promise<KindMap[K]>;
  /** Replaces the list of finalizers. An object being deleted goes once the list is empty. @throws StoreError NotFound, Conflict */
  setFinalizers<K extends Kind>(
    kind: K,
    key: Key,
    finalizers: string[],
    options: { resourceVersion: string },
  ): Promise<KindMap[K] | undefined>;
  /**
   * Sets these annotations and touches nothing else: a write to a kind of others. Equal ones
   * change nothing.
   * @throws StoreError NotFound, Invalid
   */
  annotate(kind: 'Application', key: Key, annotations: Record<string, string>): Promise<void>;
  /**
   * Asks Argo CD to end the running operation of an Application, as its own `terminate-op` does. Of another version
   * than the one that was read nothing is changed: its operation may be over.
   * @throws StoreError NotFound, Conflict
   */
  terminateOperation(kind: 'Application', key: Key, options: { resourceVersion: string }): Promise<void>;
  /** Marks for deletion, or removes at once when no finalizer holds it. Absent objects are no error, and neither is another object that has taken the name: with `uid` only the one that is meant goes. */
  delete(kind: Kind, key: Key, options?: { uid?: string }): Promise<void>;
  /** Ends watches and flushes. */
  close(): Promise<void>;
}

/** The same text for the same selection: the key of caches. */
export function selectionText({ namespace = '', labels = {} }: Selection = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return `${namespace}?${pairs.sort().join(',')}`;
}

/** `namespace/name`, or `name`: the key of queues and logs. */
export function keyText(key: Key): string {
  return key.namespace === undefined ? key.name : `${key.namespace}/${key.name}`;
}

/** Inverse of {@link keyText}. */
export function parseKey(text: string): Key {
  const slash = text.indexOf('/');
  return slash < 0 ? { name: text } : { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}
