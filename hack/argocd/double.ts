import { isDeepStrictEqual } from 'node:util';
import { parseAllDocuments } from 'yaml';
import type { ExternalSecretStatus } from '../../crds/foreign.ts';
import type { Application, Kind } from '../../crds/kinds.ts';
import { type Key, keyText, type ListOptions, type ResourceCache, type ResourceStore } from '../../crds/store.ts';
import { externalSecretStatus } from '../eso/double.ts';
import type { FakeGit } from '../testing/operator/fakes.ts';
import type { ManualClock } from '../testing/operator/manual-clock.ts';

/** As seen with a real one, with the pause between waves at 0. Milliseconds. */
const COMPARE_MS = 300;
const APPLY_MS = 200;
const POLL_MS = 120_000;
const BACKOFF_MS = 5_000;
const REFRESH = 'argocd.argoproj.io/refresh';
const WAVE = 'argocd.argoproj.io/sync-wave';
/** Kinds that the double has instead of the store. */
const OWN = new Set<Kind>(['Application', 'ExternalSecret', 'Deployment']);

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: Key & { labels?: Record<string, string>; annotations?: Record<string, string>; finalizers?: string[] };
  spec?: Record<string, unknown>;
}
/** An object in the cluster, and the Application that applies it. */
type Live = Manifest & {
  metadata: Application['metadata'];
  status?: unknown;
  operation?: Application['operation'] | undefined;
  owner: string;
};
type Status = NonNullable<Application['status']>;
/** What became of one object. */
type Result = ReturnType<typeof entryOf> & { message: string; hookPhase?: string };

/**
 * Argo CD and External Secrets as far as the operator meets them, on a manual clock: refresh and poll, compare,
 * waves, retries that end for good, conditions, pruning in reverse, finalizers. How it behaves is what a real
 * one does (`operator/delivery/argocd/argocd.real.ts`), and nothing but that is to be added.
 */
export class ArgoCdDouble {
  /** `Kind/name` -> why the API server refuses the object, and its removal. */
  readonly refused = new Map<string, string>();
  /** Names of ExternalSecrets that cannot be read. */
  readonly unreadable = new Set<string>();
  /** `Kind/name` of what somebody removes as soon as it is applied, before the sync has gone on. */
  readonly removed = new Set<string>();
  /** Names of Applications whose finalizer never ends. */
  readonly stuck = new Set<string>();
  /** Hints received, for the proof that there is no storm. */
  hints = 0;
  readonly #git: FakeGit;
  readonly #clock: ManualClock;
  readonly #objects = new Map<string, Live>();
  readonly #listeners = new Map<string, Set<(key: Key) => void>>();
  #versions = 0;

  /** @param roots names of root Applications */
  constructor(git: FakeGit, clock: ManualClock, roots: readonly string[]) {
    this.#git = git;
    this.#clock = clock;
    const meta = (name: string) => ({ name, namespace: 'argocd' });
    const apiVersion = 'argoproj.io/v1alpha1';
    this.#put({ apiVersion, kind: 'AppProject', metadata: meta('gsv-platform') }, '');
    for (const name of roots) {
      const spec = { project: 'gsv-platform', source: { path: `platform/${name.at(-1)}` } };
      this.#put({ apiVersion, kind: 'Application', metadata: meta(name), spec }, '');
    }
    this.#poll();
  }

  /** The store as the operator sees it: with the objects of the double. */
  over = (store: ResourceStore): ResourceStore =>
    new Proxy(store, {
      get: (target, property) => {
        const mine = (this.#doors() as Record<string, unknown>)[String(property)];
        const theirs: unknown = Reflect.get(target, property, target);
        if (typeof theirs !== 'function') return theirs;
        if (typeof mine !== 'function') return theirs.bind(target);
        return (kind: Kind, ...args: unknown[]) => {
          const key = args[0] as Key | undefined;
          const isOurs = OWN.has(kind) || (kind === 'Namespace' && key?.name?.startsWith('gsv-w-'));
          return (isOurs ? mine : theirs).call(target, kind, ...args);
        };
      },
    });

  get(kind: string, name: string, namespace = 'argocd'): Live | undefined {
    return this.#objects.get(idOf(kind, { name, namespace })) ?? this.#objects.get(idOf(kind, { name }));
  }

  names(): string[] {
    return [...this.#objects.keys()].sort();
  }

  #doors() {
    const of = (kind: string) => [...this.#objects.values()].filter((object) => object.kind === kind);
    const fits = (object: Live, { namespace, labels = {} }: ListOptions = {}) =>
      (namespace === undefined || object.metadata.namespace === namespace) &&
      Object.entries(labels).every(([label, value]) => object.metadata.labels?.[label] === value);
    return {
      get: async (kind: string, key: Key) => structuredClone(this.#objects.get(idOf(kind, key))),
      list: async (kind: string, options?: ListOptions) =>
        structuredClone(of(kind).filter((object) => fits(object, options))),
      annotate: async (kind: string, key: Key, annotations: Record<string, string>) => {
        const object = this.#objects.get(idOf(kind, key));
        if (object === undefined) return;
        this.hints += 1;
        object.metadata.annotations = { ...object.metadata.annotations, ...annotations };
        this.#changed(object);
        this.#clock.after(COMPARE_MS, () => this.#compare(object));
      },
      terminateOperation: async (kind: string, key: Key) => {
        const object = this.#objects.get(idOf(kind, key));
        const operation = object && statusOf(object).operationState;
        if (object === undefined || operation?.phase !== 'Running') return;
        const finishedAt = new Date(this.#clock.now()).toISOString();
        Object.assign(operation, { phase: 'Failed', message: 'Operation terminated', finishedAt });
        object.operation = undefined;
        this.#clock.after(APPLY_MS, () => this.#compare(object));
        this.#changed(object);
      },
      watch: (kind: string, options?: ListOptions) =>
        ({
          synced: Promise.resolve(),
          get: (key: Key) => structuredClone(this.#objects.get(idOf(kind, key))),
          list: () => structuredClone(of(kind).filter((object) => fits(object, options))),
          onChange: (listener: (key: Key) => void) => {
            const listeners = this.#listeners.get(kind) ?? new Set();
            this.#listeners.set(kind, listeners.add(listener));
            for (const object of of(kind)) listener(object.metadata);
            return () => listeners.delete(listener);
          },
          refresh: async () => undefined,
        }) as unknown as ResourceCache<Kind>,
    };
  }

  #poll(): void {
    this.#clock.after(POLL_MS, () => {
      for (const object of [...this.#objects.values()]) {
        if (object.kind === 'Application') this.#compare(object);
        if (object.kind === 'ExternalSecret' && !isSynced(object)) this.#readSecret(object.metadata);
      }
      this.#poll();
    });
  }

  /** Reads the tip and says what differs; an automated sync follows, unless this commit was tried and has failed. */
  #compare(application: Live): void {
    const { metadata } = application;
    if (this.#objects.get(idOf('Application', metadata)) !== application) return;
    const { [REFRESH]: _, ...annotations } = metadata.annotations ?? {};
    metadata.annotations = annotations;
    const status = statusOf(application);
    const revision = this.#git.commits.at(-1)?.commit ?? '';
    status.conditions = [];
    const desired = this.#desired(application, status);
    if (desired === undefined) status.sync = { status: 'Unknown', revision };
    else {
      status.resources = this.#resources(metadata.name, desired);
      const same = status.resources.every((entry) => entry.status === 'Synced');
      status.sync = { status: same ? 'Synced' : 'OutOfSync', revision };
      if (!same) this.#sync(application, desired, revision);
    }
    this.#changed(application);
  }

  #desired({ metadata, spec }: Live, status: Status): Manifest[] | undefined {
    const { project = '', source } = (spec ?? {}) as Application['spec'];
    if (this.get('AppProject', project) === undefined) {
      const message = `Application referencing project ${project} which does not exist`;
      status.conditions = [{ type: 'InvalidSpecError', message }];
      return undefined;
    }
    // A root takes every folder that begins with its digit.
    const path = `${source?.path}${metadata.name.startsWith('gsv-platform-') ? '' : '/'}`;
    const files = [...this.#git.files].filter(([file]) => file.startsWith(path));
    const manifests: Manifest[] = [];
    for (const [file, text] of files)
      try {
        for (const document of parseAllDocuments(text)) {
          const [error] = document.errors;
          if (error) throw error;
          manifests.push(document.toJS() as Manifest);
        }
      } catch {
        // What does not look like a manifest is passed over.
        if (!['apiVersion:', 'kind:', 'metadata:'].every((word) => text.includes(word))) continue;
        status.conditions = [{ type: 'ComparisonError', message: `Failed to unmarshal "${file}": it is no YAML` }];
        return undefined;
      }
    return manifests;
  }

  #resources(owner: string, desired: readonly Manifest[]): NonNullable<Status['resources']> {
    const wanted = desired.map((manifest) => {
      const live = this.#objects.get(idOf(manifest.kind, manifest.metadata));
      return entryOf(manifest, live !== undefined && contentOf(live) === contentOf(manifest) ? 'Synced' : 'OutOfSync');
    });
    const ids = new Set(desired.map(({ kind, metadata }) => idOf(kind, metadata)));
    const extra = [...this.#objects].filter(([id, object]) => object.owner === owner && !ids.has(id));
    return [...wanted, ...extra.map(([, object]) => ({ ...entryOf(object, 'OutOfSync'), requiresPruning: true }))];
  }

  #sync(application: Live, desired: Manifest[], revision: string): void {
    const status = statusOf(application);
    const before = status.operationState;
    if (before?.phase === 'Running') return;
    if (before?.phase === 'Failed' && before.syncResult?.revision === revision) {
      status.conditions = [
        { type: 'SyncError', message: `Failed last sync attempt to [${revision}]: ${before.message}` },
      ];
      return;
    }
    const retry = (application.spec as Application['spec'] | undefined)?.syncPolicy?.retry ?? { limit: 5 };
    application.operation = { sync: { revision }, retry };
    const startedAt = new Date(this.#clock.now()).toISOString();
    status.operationState = { phase: 'Running', startedAt, retryCount: 0, operation: application.operation };
    this.#clock.after(APPLY_MS, () => this.#attempt(application, desired, revision));
  }

  #attempt(application: Live, desired: Manifest[], revision: string): void {
    const status = statusOf(application);
    const operation = status.operationState;
    if (operation === undefined || this.#objects.get(idOf('Application', application.metadata)) !== application) return;
    const failed = this.#apply(application.metadata.name, desired) ?? this.#prune(application.metadata.name, desired);
    if (failed?.hookPhase === 'Running') {
      operation.syncResult = { revision, resources: [failed] };
      this.#clock.after(COMPARE_MS, () => this.#compare(application));
      return;
    }
    operation.syncResult = { revision, ...(failed ? { resources: [failed] } : {}) };
    const { retryCount = 0 } = operation;
    const at = new Date(this.#clock.now()).toISOString();
    if (failed === undefined) {
      Object.assign(operation, { phase: 'Succeeded', message: 'successfully synced (all tasks run)', finishedAt: at });
      status.history = [...(status.history ?? []), { revision }];
      application.operation = undefined;
      this.#clock.after(APPLY_MS, () => this.#compare(application));
    } else if (retryCount < (operation.operation?.retry?.limit ?? 0)) {
      const message = `one or more tasks completed unsuccessfully. Retrying attempt #${retryCount + 1} at 9:14PM.`;
      Object.assign(operation, { retryCount: retryCount + 1, finishedAt: at, message });
      this.#clock.after(BACKOFF_MS * 2 ** retryCount, () => this.#attempt(application, desired, revision));
    } else {
      const message = `one or more tasks completed unsuccessfully (retried ${retryCount} times).`;
      Object.assign(operation, { phase: 'Failed', finishedAt: at, message });
      application.operation = undefined;
      this.#clock.after(APPLY_MS, () => this.#compare(application));
    }
    this.#changed(application);
  }

  /** Wave by wave; the first object that is refused, or unhealthy, ends it. */
  #apply(owner: string, desired: readonly Manifest[]): Result | undefined {
    for (const manifest of [...desired].sort((one, other) => waveOf(one) - waveOf(other))) {
      const { kind, metadata } = manifest;
      const refusal = this.refused.get(`${kind}/${metadata.name}`);
      if (refusal !== undefined) return { ...entryOf(manifest), status: 'SyncFailed', message: refusal };
      const live = this.#objects.get(idOf(kind, metadata));
      const isSame = live !== undefined && contentOf(live) === contentOf(manifest);
      if (!isSame && this.removed.delete(`${kind}/${metadata.name}`)) {
        if (live !== undefined) this.#remove(live);
        return { ...entryOf(manifest), status: 'Synced', hookPhase: 'Running', message: 'serverside-applied' };
      }
      if (!isSame) this.#put(manifest, owner);
      const fault = kind === 'ExternalSecret' ? this.#readSecret(metadata) : undefined;
      if (fault !== undefined) return { ...entryOf(manifest), status: 'Synced', hookPhase: 'Failed', message: fault };
    }
    return undefined;
  }

  /** The first object whose removal is refused ends it. */
  #prune(owner: string, desired: readonly Manifest[]): Result | undefined {
    const ids = new Set(desired.map(({ kind, metadata }) => idOf(kind, metadata)));
    const extra = [...this.#objects].filter(([id, object]) => object.owner === owner && !ids.has(id));
    for (const [, object] of extra.sort(([, one], [, other]) => waveOf(other) - waveOf(one))) {
      const refusal = this.refused.get(`${object.kind}/${object.metadata.name}`);
      if (refusal !== undefined) return { ...entryOf(object), status: 'SyncFailed', message: refusal };
      this.#delete(object);
    }
    return undefined;
  }

  #delete(object: Live): void {
    const { kind, metadata } = object;
    if (kind !== 'Application') {
      this.#remove(object);
      return;
    }
    metadata.deletionTimestamp = new Date(this.#clock.now()).toISOString();
    this.#changed(object);
    if (this.stuck.has(metadata.name)) return;
    this.#clock.after(COMPARE_MS, () => {
      for (const owned of [...this.#objects.values()]) if (owned.owner === metadata.name) this.#remove(owned);
      this.#remove(object);
    });
  }

  /** External Secrets looks at a secret. @returns what makes it unhealthy in the eyes of Argo CD */
  #readSecret(key: Key): string | undefined {
    const object = this.#objects.get(idOf('ExternalSecret', key));
    if (object === undefined) return undefined;
    const verdict = this.unreadable.has(key.name) ? 'unreadable' : 'synced';
    const at = new Date(this.#clock.now()).toISOString();
    const status = externalSecretStatus(object.metadata, verdict, object.status as ExternalSecretStatus, at);
    object.status = status;
    this.#changed(object);
    return verdict === 'synced' ? undefined : status.conditions?.[0]?.message;
  }

  #put({ apiVersion, kind, metadata, ...rest }: Manifest, owner: string): void {
    const id = idOf(kind, metadata);
    const present = this.#objects.get(id);
    const generation = (present?.metadata.generation ?? 0) + (isDeepStrictEqual(present?.spec, rest.spec) ? 0 : 1);
    const kept = {
      uid: present?.metadata.uid ?? `uid-${++this.#versions}`,
      creationTimestamp: present?.metadata.creationTimestamp ?? new Date(this.#clock.now()).toISOString(),
      resourceVersion: '',
      generation,
    };
    const status = present?.status === undefined ? {} : { status: present.status };
    const object: Live = { apiVersion, kind, metadata: { ...metadata, ...kept }, ...rest, ...status, owner };
    this.#objects.set(id, object);
    this.#changed(object);
    if (kind === 'Application' && present === undefined) this.#clock.after(COMPARE_MS, () => this.#compare(object));
  }

  #remove({ kind, metadata }: Live): void {
    this.#objects.delete(idOf(kind, metadata));
    this.#tell(kind, metadata);
  }

  #changed(object: Live): void {
    object.metadata.resourceVersion = String(++this.#versions);
    this.#tell(object.kind, object.metadata);
  }

  #tell(kind: string, { name, namespace }: Key): void {
    for (const listener of this.#listeners.get(kind) ?? [])
      listener(namespace === undefined ? { name } : { namespace, name });
  }
}

function idOf(kind: string, { name, namespace }: Key): string {
  return `${kind} ${keyText(namespace === undefined ? { name } : { namespace, name })}`;
}

/** External Secrets tries what it could not read again and again, whatever Argo CD has given up. */
function isSynced({ status }: Live): boolean {
  return (status as ExternalSecretStatus | undefined)?.conditions?.[0]?.status === 'True';
}

function statusOf(application: Live): Status {
  application.status ??= {};
  return application.status as Status;
}

function entryOf({ apiVersion, kind, metadata: { name, namespace } }: Manifest, status = '') {
  const group = apiVersion.split('/').slice(0, -1).join('/');
  const entry = { group, kind, name, status };
  return namespace === undefined ? entry : { ...entry, namespace };
}

function waveOf({ metadata }: Manifest): number {
  return Number(metadata.annotations?.[WAVE] ?? 0);
}

/** What a manifest says, without what the cluster and others add. */
function contentOf(object: Manifest | Live): string {
  const { metadata, ...rest } = object as Live;
  const { [REFRESH]: ___, ...annotations } = metadata.annotations ?? {};
  return JSON.stringify([
    rest.kind,
    metadata.name,
    metadata.labels,
    annotations,
    rest.spec,
    (rest as { data?: unknown }).data,
  ]);
}
