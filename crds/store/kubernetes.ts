import { isDeepStrictEqual } from 'node:util';
import { isOwnKind } from '../definitions.ts';
import { KINDS, type Kind, type KindMap, type NewMeta } from '../kinds.ts';
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
import { type Call, KubernetesApi } from './kubernetes-api.ts';
import { KubernetesConnection } from './kubernetes-connection.ts';
import { ApiError, storeError } from './kubernetes-errors.ts';
import { fromServer, type ServerObject } from './kubernetes-object.ts';
import { covers, finalizersOf, isApplied, ownsAll, type Part, takeOver } from './kubernetes-ownership.ts';
import { checkMetadata } from './metadata.ts';
import { LIST_TIMEOUT_MS, PAGE_SIZE, Reflector, type StoreLog } from './reflector.ts';

/** Who the API server notes for what `create` and `setFinalizers` write. */
const CREATOR = 'gsv-store';
/** Somebody else writes at the same moment; more often than this means a fight. */
const TAKE_OVER_ATTEMPTS = 5;

const LEASES = `/apis/${KINDS.Lease.apiVersion}/`;
const APPLY = 'application/apply-patch+yaml';
const MERGE = 'application/merge-patch+json';

export interface KubernetesStoreOptions {
  /** Path of a kubeconfig. Absent: `KUBECONFIG`, the home folder's, or the pod's service account. */
  kubeConfig?: string;
  /** Context of it; absent: its current one. */
  context?: string;
  log?: StoreLog;
  /** 0 up to 1: spreads retries. */
  random?: () => number;
  /** A watch on which nothing comes for so long is made anew. Default: 150 s. Milliseconds. */
  silenceMs?: number;
  /** Objects per page of a list. Default: 500. */
  pageSize?: number;
  /**
   * Called right before each attempt of a write, and before each repetition: what it throws is thrown
   * to the caller, and nothing is sent. Not for Leases: by these it is decided who may write.
   */
  beforeWrite?: () => void;
}

/** One part of a document that is about to be applied. */
interface Taking {
  fieldManager: string;
  part: Part;
  next: unknown;
  resourceVersion: string | undefined;
}

const SILENT: StoreLog = { debug: () => undefined, warn: () => undefined };

/**
 * The resource store on a real API server. Writes are bounded in time and repeated only where that
 * is harmless; objects come without `managedFields`.
 */
export class KubernetesStore implements ResourceStore {
  readonly #api: KubernetesApi;
  readonly #options: KubernetesStoreOptions;
  readonly #reflectors = new Map<string, Reflector<Kind>>();

  private constructor(api: KubernetesApi, options: KubernetesStoreOptions) {
    this.#api = api;
    this.#options = options;
  }

  /**
   * Reads the kubeconfig. It does not connect: a store may be opened before its API server is up.
   * @throws StoreError Unavailable when no cluster is configured
   */
  static async open(options: KubernetesStoreOptions = {}): Promise<KubernetesStore> {
    try {
      return new KubernetesStore(
        new KubernetesApi(new KubernetesConnection(options.kubeConfig, options.context), options.random),
        options,
      );
    } catch (cause) {
      throw new StoreError('Unavailable', `No Kubernetes: ${(cause as Error).message}`, [], { cause });
    }
  }

  async get<K extends Kind>(kind: K, key: Key): Promise<KindMap[K] | undefined> {
    this.#assertOpen();
    const live = await this.#live(kind, key);
    return live === undefined ? undefined : fromServer(kind, live);
  }

  async list<K extends Kind>(kind: K, { namespace, labels }: ListOptions = {}): Promise<KindMap[K][]> {
    this.#assertOpen();
    if (namespace !== undefined && !nameable({ name: namespace })) return [];
    const query = { limit: this.#options.pageSize ?? PAGE_SIZE, labelSelector: selector(labels) };
    const found: KindMap[K][] = [];
    let next: string | undefined;
    do {
      const page = (await this.#call(`the list of ${kind}`, 'GET', collection(kind, namespace), {
        query: { ...query, continue: next },
        timeoutMs: LIST_TIMEOUT_MS,
        repeat: 'always',
      })) as { items?: unknown[] | null; metadata?: { continue?: string } };
      for (const item of page.items ?? []) found.push(fromServer(kind, item));
      next = page.metadata?.continue || undefined;
    } while (next !== undefined);
    return found;
  }

  watch<K extends Kind>(kind: K, selection: Selection = {}): ResourceCache<K> {
    this.#assertOpen();
    const id = `${kind} ${selectionText(selection)}`;
    let reflector = this.#reflectors.get(id);
    if (reflector === undefined) {
      const { log = SILENT, random = Math.random, silenceMs, pageSize } = this.#options;
      const path = collection(kind, selection.namespace);
      const labelSelector = selector(selection.labels);
      reflector = new Reflector({ kind, api: this.#api, path, labelSelector, log, random, silenceMs, pageSize });
      this.#reflectors.set(id, reflector);
    }
    return reflector as unknown as ResourceCache<K>;
  }

  async create<K extends Kind>(kind: K, desired: Desired<K>): Promise<KindMap[K]> {
    this.#assertOpen();
    const { metadata } = desired;
    this.#checkName(kind, metadata);
    const made = await this.#call(`${kind} ${keyText(metadata)}`, 'POST', collection(kind, metadata.namespace), {
      query: { fieldManager: CREATOR, fieldValidation: 'Strict' },
      body: document(kind, desired),
      repeat: 'refused',
    });
    return fromServer(kind, made);
  }

  async apply<K extends Kind>(
    kind: K,
    desired: Desired<K>,
    { fieldManager, resourceVersion }: { fieldManager: string; resourceVersion?: string },
  ): Promise<KindMap[K]> {
    this.#assertOpen();
    this.#checkName(kind, desired.metadata);
    if (kind === 'Event' && resourceVersion === undefined) {
      // Written whole, by one writer, and often: it is not read before.
      return fromServer(kind, await this.#apply(kind, document(kind, desired), fieldManager, ''));
    }
    const live = await this.#ours(kind, desired.metadata, {
      fieldManager,
      part: 'spec',
      next: desired.spec,
      resourceVersion,
    });
    if (live !== undefined && isApplied(live, desired, fieldManager)) return fromServer(kind, live);
    const finalizers = [...new Set([...(desired.metadata.finalizers ?? []), ...finalizersOf(live, fieldManager)])];
    const metadata = {
      ...desired.metadata,
      ...(finalizers.length > 0 ? { finalizers } : {}),
      // The uid, too: some core kinds (Lease) are created by an apply with a version when they are gone.
      ...(resourceVersion === undefined || live === undefined
        ? {}
        : { resourceVersion: live.metadata.resourceVersion, uid: live.metadata.uid }),
    };
    const applied = await this.#apply(kind, { ...document(kind, desired), metadata }, fieldManager, '');
    return fromServer(kind, applied);
  }

  async applyStatus<K extends Kind>(
    kind: K,
    key: Key,
    status: NonNullable<KindMap[K]['status']>,
    { fieldManager, resourceVersion }: { fieldManager: string; resourceVersion?: string },
  ): Promise<KindMap[K]> {
    this.#assertOpen();
    const { apiVersion } = KINDS[kind];
    if (!nameable(key)) throw this.#nobody(kind, key);
    const write = (version: string | undefined) => {
      const metadata = { ...keyOf(key), ...(version === undefined ? {} : { resourceVersion: version }) };
      return this.#apply(kind, { apiVersion, kind, metadata, status }, fieldManager, '/status');
    };
    const applied = await write(resourceVersion);
    if (covers(status, applied.status)) return fromServer(kind, applied);
    // Somebody else has written status, too. It is ours alone, so what they left goes.
    const live = await this.#ours(kind, key, {
      fieldManager,
      part: 'status',
      next: status,
      resourceVersion: undefined,
    });
    return fromServer(kind, await write(resourceVersion === undefined ? undefined : live?.metadata.resourceVersion));
  }

  async setFinalizers<K extends Kind>(
    kind: K,
    key: Key,
    finalizers: string[],
    { resourceVersion }: { resourceVersion: string },
  ): Promise<KindMap[K] | undefined> {
    const list = [...new Set(finalizers)];
    const patched = await this.#merge(kind, key, { metadata: { resourceVersion, finalizers: list } }, 'refused');
    const gone = patched.metadata.deletionTimestamp !== undefined && list.length === 0;
    return gone ? undefined : fromServer(kind, patched);
  }

  async annotate(kind: 'Application', key: Key, annotations: Record<string, string>): Promise<void> {
    await this.#merge(kind, key, { metadata: { annotations } }, 'always');
  }

  async terminateOperation(kind: 'Application', key: Key, options: { resourceVersion: string }): Promise<void> {
    const { resourceVersion } = options;
    // An Application has no subresource for its status.
    const body = { metadata: { resourceVersion }, status: { operationState: { phase: 'Terminating' } } };
    await this.#merge(kind, key, body, 'refused');
  }

  async delete(kind: Kind, key: Key, options: { uid?: string } = {}): Promise<void> {
    this.#assertOpen();
    if (!nameable(key)) return;
    const preconditions = options.uid === undefined ? {} : { preconditions: { uid: options.uid } };
    try {
      await this.#call(`${kind} ${keyText(key)}`, 'DELETE', item(kind, key), {
        body: { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', ...preconditions },
        // Without a uid the second attempt could meet another object of the name.
        repeat: options.uid === undefined ? 'refused' : 'always',
      });
    } catch (error) {
      const { code } = error as StoreError;
      if (code === 'NotFound' || (code === 'Conflict' && options.uid !== undefined)) return;
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const reflector of this.#reflectors.values()) reflector.stop();
    await this.#api.close();
  }

  #assertOpen(): void {
    if (this.#api.closed) throw new StoreError('Unavailable', 'The store is closed.');
  }

  #checkName(kind: Kind, key: Key): void {
    const message = KINDS[kind].namespaced ? `a ${kind} lives in a namespace` : `a ${kind} has no namespace`;
    const wrong =
      KINDS[kind].namespaced === (key.namespace !== undefined) ? [] : [{ field: 'metadata.namespace', message }];
    // Both enter the path of the call.
    const place = checkMetadata({ name: key.namespace ?? 'default' }).map((cause) => ({
      ...cause,
      field: 'metadata.namespace',
    }));
    const causes = [...wrong, ...checkMetadata({ name: key.name }), ...place];
    const [first] = causes;
    if (first !== undefined) throw new StoreError('Invalid', `${kind} ${keyText(key)}: ${first.message}.`, causes);
  }

  #nobody(kind: Kind, key: Key): StoreError {
    return new StoreError('NotFound', `There is no ${kind} ${keyText(key)}.`);
  }

  #conflict(kind: Kind, key: Key): StoreError {
    return new StoreError('Conflict', `${kind} ${keyText(key)} has changed meanwhile: read it again.`);
  }

  /** As the server has it, with `managedFields`. */
  async #live(kind: Kind, key: Key): Promise<ServerObject | undefined> {
    if (!nameable(key)) return undefined;
    try {
      return (await this.#call(`${kind} ${keyText(key)}`, 'GET', item(kind, key), {
        repeat: 'always',
      })) as ServerObject;
    } catch (error) {
      if (error instanceof StoreError && error.code === 'NotFound') return undefined;
      throw error;
    }
  }

  /**
   * Reads the object and, where the manager's next document leaves out what others wrote, makes that
   * part the manager's own, so that server-side apply takes it away. Values do not change by this.
   * @throws StoreError Conflict when the object is not at `resourceVersion`
   */
  async #ours(
    kind: Kind,
    key: Key,
    { fieldManager, part, next, resourceVersion }: Taking,
  ): Promise<ServerObject | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      const live = await this.#live(kind, key);
      if (resourceVersion !== undefined && live?.metadata.resourceVersion !== resourceVersion) {
        throw this.#conflict(kind, key);
      }
      if (live === undefined || !isOwnKind(kind) || covers(next, live[part])) return live;
      if (ownsAll(live, fieldManager, part)) return live;
      const managedFields = takeOver(live, { manager: fieldManager, apiVersion: KINDS[kind].apiVersion, part });
      try {
        const taken = await this.#call(`${kind} ${keyText(key)}`, 'PATCH', item(kind, key), {
          query: { fieldManager },
          contentType: MERGE,
          body: { metadata: { resourceVersion: live.metadata.resourceVersion, managedFields } },
          repeat: 'refused',
        });
        return taken as ServerObject;
      } catch (error) {
        const moved = error instanceof StoreError && error.code === 'Conflict';
        if (!moved || resourceVersion !== undefined || attempt >= TAKE_OVER_ATTEMPTS) throw error;
      }
    }
  }

  async #apply(
    kind: Kind,
    body: { metadata: object; [field: string]: unknown },
    fieldManager: string,
    subresource: string,
  ) {
    const { resourceVersion, ...key } = body.metadata as Key & { resourceVersion?: string };
    try {
      return (await this.#call(`${kind} ${keyText(key)}`, 'PATCH', `${item(kind, key)}${subresource}`, {
        query: { fieldManager, force: true, fieldValidation: 'Strict' },
        contentType: APPLY,
        body,
        // With a version the second attempt would find it used up by the first.
        repeat: resourceVersion === undefined ? 'always' : 'refused',
      })) as ServerObject;
    } catch (error) {
      const gone = error instanceof StoreError && error.code === 'NotFound' && subresource === '';
      if (gone && resourceVersion !== undefined) throw this.#conflict(kind, key);
      throw error;
    }
  }

  /** A merge patch of what is given. */
  async #merge(kind: Kind, key: Key, body: object, repeat: NonNullable<Call['repeat']>): Promise<ServerObject> {
    this.#assertOpen();
    if (!nameable(key)) throw this.#nobody(kind, key);
    const call: Call = { query: { fieldManager: CREATOR }, contentType: MERGE, body, repeat };
    return (await this.#call(`${kind} ${keyText(key)}`, 'PATCH', item(kind, key), call)) as ServerObject;
  }

  async #call(what: string, method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, call: Call): Promise<unknown> {
    const guarded = method !== 'GET' && !path.startsWith(LEASES);
    try {
      return await this.#api.call(method, path, guarded ? { ...call, admit: this.#options.beforeWrite } : call);
    } catch (error) {
      throw error instanceof ApiError ? storeError(error, what) : error;
    }
  }
}

/** A name that cannot be anybody's must not become a path: `..` would be another collection. */
function nameable({ name, namespace = 'default' }: Key): boolean {
  return checkMetadata({ name }).length === 0 && checkMetadata({ name: namespace }).length === 0;
}

function keyOf({ name, namespace }: Key): Key {
  return namespace === undefined ? { name } : { name, namespace };
}

/** An object that is to be sent. */
interface Document {
  metadata: NewMeta;
  [member: string]: unknown;
}

function document<K extends Kind>(kind: K, { metadata, spec }: Desired<K>): Document {
  const { name, namespace, labels, annotations, finalizers } = metadata;
  const given = { name, namespace, labels, annotations, finalizers } as NewMeta;
  const { apiVersion, flat } = KINDS[kind];
  const empty = !isOwnKind(kind) && isDeepStrictEqual(spec, {});
  return { apiVersion, kind, metadata: given, ...(flat ? spec : empty ? {} : { spec }) };
}

function selector(labels: Record<string, string> = {}): string | undefined {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return pairs.length > 0 ? pairs.join(',') : undefined;
}

function collection(kind: Kind, namespace: string | undefined): string {
  const { apiVersion, plural } = KINDS[kind];
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return namespace === undefined ? `${root}/${plural}` : `${root}/namespaces/${namespace}/${plural}`;
}

function item(kind: Kind, { name, namespace }: Key): string {
  return `${collection(kind, KINDS[kind].namespaced ? namespace : undefined)}/${name}`;
}
