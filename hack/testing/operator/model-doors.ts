import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { SecretsError } from '../../../config/secrets.ts';
import type { Instance, Kind, KindMap } from '../../../crds/kinds.ts';
import { type Key, keyText, type ResourceCache, type ResourceStore, StoreError } from '../../../crds/store.ts';
import { LedgerError } from '../../../ledger/client.ts';
import type { Doors } from './crash.ts';
import { type State, UID, write } from './model-state.ts';

/** The objects that an Instance stands on; they do not change in the model. */
export type Ground = ReadonlyMap<Kind, readonly KindMap[Kind][]>;

export interface View {
  state: State;
  ground: Ground;
  /** The cache shows the Instance as it was one write ago. */
  stale: boolean;
  /** What an order line's unit was paid for. */
  unit: Awaited<ReturnType<Doors['ledger']['findFulfilments']>>[number];
}

const unused = (name: string) => async (): Promise<never> => {
  throw new Error(`the model has no ${name}`);
};

/** The doors of the operator over a {@link State}: each keeps the promises of its port, and no more. */
export function doorsOver(view: View): Doors {
  return {
    store: storeOver(view),
    ledger: ledgerOver(view),
    secrets: secretsOver(view),
    git: gitOver(view),
    delivery: deliveryOver(view),
    probe: probeOver(view),
    blobs: { put: unused('put'), get: unused('get'), delete: unused('delete') },
  };
}

function storeOver({ state, ground, stale }: View): ResourceStore {
  const cached = (): Instance | undefined => (stale ? state.before : state.instance);
  const listed = <K extends Kind>(kind: K): KindMap[K][] => {
    const instance = cached();
    if (kind === 'Instance') return (instance === undefined ? [] : [instance]) as KindMap[Kind][] as KindMap[K][];
    return [...(ground.get(kind) ?? [])] as KindMap[K][];
  };
  const present = (resourceVersion: string | undefined): Instance => {
    if (state.instance === undefined) throw new StoreError('NotFound', 'it is gone');
    if (resourceVersion !== undefined && resourceVersion !== state.instance.metadata.resourceVersion)
      throw new StoreError('Conflict', 'it has moved on');
    return state.instance;
  };
  return {
    get: async (kind, key) => {
      if (kind === 'Instance') return state.instance as KindMap[typeof kind] | undefined;
      return listed(kind).find(({ metadata }) => keyText(metadata) === keyText(key));
    },
    list: async (kind) => listed(kind),
    watch: <K extends Kind>(kind: K): ResourceCache<K> => ({
      synced: Promise.resolve(),
      get: (key: Key) => listed(kind).find(({ metadata }) => keyText(metadata) === keyText(key)),
      list: () => listed(kind),
      onChange: () => () => undefined,
      refresh: async () => undefined,
    }),
    applyStatus: async (_kind, _key, status, { resourceVersion }) => {
      const instance = present(resourceVersion);
      if (isDeepStrictEqual(instance.status, status)) state.idleWrites += 1;
      return write(state, { ...instance, status: structuredClone(status) as Instance['status'] & object }) as never;
    },
    setFinalizers: async (_kind, _key, finalizers, { resourceVersion }) => {
      const instance = present(resourceVersion);
      const gone = instance.metadata.deletionTimestamp !== undefined && finalizers.length === 0;
      return write(state, gone ? undefined : { ...instance, metadata: { ...instance.metadata, finalizers } }) as never;
    },
    create: unused('create'),
    apply: unused('apply'),
    annotate: unused('annotate'),
    terminateOperation: unused('terminateOperation'),
    delete: unused('delete'),
    close: async () => undefined,
  };
}

function ledgerOver({ state, unit }: View): Doors['ledger'] {
  const present = () => ({ ...unit, ...(state.claimedBy === undefined ? {} : { instanceUid: state.claimedBy }) });
  return {
    findFulfilments: async () => (state.paid ? [present()] : []),
    claimFulfilment: async (_id: string, { instanceUid }: { instanceUid: string }) => {
      if (state.claimedBy !== undefined && state.claimedBy !== instanceUid)
        throw new LedgerError(409, 'already_claimed', 'already_claimed', {});
      state.claimedBy = instanceUid;
      return present();
    },
    listHolds: async () => ({ items: [], next: null }),
    putWallet: unused('putWallet'),
    getWallet: unused('getWallet'),
    closeWallet: unused('closeWallet'),
    voidHold: unused('voidHold'),
    events: unused('events'),
  } as unknown as Doors['ledger'];
}

function secretsOver({ state }: View): Doors['secrets'] {
  const updatedTime = '2026-01-01T00:00:00Z';
  return {
    putPolicy: async (name) => {
      state.policies = [...new Set([...state.policies, name])].sort();
    },
    deletePolicy: async (name) => {
      state.policies = state.policies.filter((each) => each !== name);
    },
    putRole: unused('putRole'),
    deleteRole: unused('deleteRole'),
    write: async (path, _data, { cas } = {}) => {
      const version = state.secrets[path] ?? 0;
      if (cas !== undefined && cas !== version) throw new SecretsError('cas_mismatch', path);
      state.secrets[path] = version + 1;
      return { version: version + 1, updatedTime };
    },
    metadata: async (path) => {
      const version = state.secrets[path];
      return version === undefined ? undefined : { version, updatedTime };
    },
    destroyVersions: async () => undefined,
    destroyTree: async (prefix) => {
      for (const path of Object.keys(state.secrets)) if (path.startsWith(`${prefix}/`)) delete state.secrets[path];
    },
    names: unused('names'),
  };
}

function gitOver({ state }: View): Doors['git'] {
  const tip = (): string => state.commits.at(-1)?.commit ?? '0'.repeat(40);
  const push = (effect: string, retryOf?: string): string => {
    const commit = createHash('sha1').update(String(state.commits.length)).digest('hex');
    state.commits.push({ commit, effect, ...(retryOf === undefined ? {} : { retryOf }) });
    return commit;
  };
  const put: Doors['git']['commit'] = async ({ owns, files, trailers, force }) => {
    const owned = (path: string) => owns.some((root) => path === root || path.startsWith(`${root}/`));
    const kept = Object.entries(state.files).filter(([path]) => !owned(path));
    const next = Object.fromEntries([...kept, ...files].sort(([a], [b]) => (a < b ? -1 : 1)));
    const effect = trailers['Gsv-Effect'] ?? '';
    if (JSON.stringify(next) !== JSON.stringify(state.files)) {
      state.files = next;
      return { commit: push(effect), changed: true };
    }
    if (force === undefined) return { commit: tip(), changed: false };
    const known = state.commits.find(({ retryOf }) => retryOf === force);
    return known ? { commit: known.commit, changed: false } : { commit: push(effect, force), changed: true };
  };
  return {
    commit: put,
    remove: (removal) => put({ ...removal, files: new Map() }),
    claim: unused('claim'),
    contains: unused('contains'),
  };
}

function deliveryOver({ state }: View): Doors['delivery'] {
  return {
    refresh: async () => undefined,
    state: async ({ commit }) => {
      const revision = state.commits.at(-1)?.commit ?? '';
      if (state.exhausted === revision)
        return { synced: false, reason: 'RetriesExhausted', message: 'It is given up.', exhausted: true, revision };
      const there = state.synced && state.commits.some((each) => each.commit === commit);
      return there
        ? { synced: true, reason: 'LocalDelivery', message: 'It is applied.' }
        : { synced: false, reason: 'SyncPending', message: 'It is not applied yet.' };
    },
    workload: async () => ({ ready: true, reason: 'Succeeded', message: 'It works.' }),
    remains: async () =>
      state.synced && !JSON.stringify(state.files).includes(UID)
        ? undefined
        : { reason: 'WorkloadRemains', message: 'Objects of the workload are still there.' },
    onChange: () => () => undefined,
  };
}

function probeOver({ state, ground }: View): Doors['probe'] {
  return {
    probe: async () => {
      if (!state.runs) return { ok: false, code: 'runtime_unavailable', detail: 'the runtime does not answer' };
      const [version] = (ground.get('OfferingVersion') ?? []) as KindMap['OfferingVersion'][];
      const secrets = Object.entries(state.secrets).map(([path, each]) => ({
        name: path.split('/').at(-1) ?? '',
        version: each,
      }));
      return { ok: true, contractDigest: version?.spec.contractDigest ?? '', secrets };
    },
  };
}
