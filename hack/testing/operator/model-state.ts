import { createHash } from 'node:crypto';
import type { Instance } from '../../../crds/kinds.ts';
import type { Key } from '../../../crds/store.ts';

/** The world around one Instance, as plain data: it can be copied, compared and gone on from. */
export interface State {
  /** As the API server has it; absent: it is gone. */
  instance?: Instance;
  /** The version before that one: what a cache that lags still shows. */
  before?: Instance;
  /** Of the API server; grows with every write. */
  resourceVersion: number;
  files: Record<string, string>;
  commits: { commit: string; effect: string; retryOf?: string }[];
  policies: string[];
  /** Present version of each secret by its path. */
  secrets: Record<string, number>;
  paid: boolean;
  /** Uid that has claimed the paid unit. */
  claimedBy?: string;
  synced: boolean;
  /** Commit whose retries the delivery has used up. */
  exhausted?: string;
  runs: boolean;
  /** Rotations that were ever asked for. */
  rotations: number;
  /** Version of the generated secret that the last of them must leave behind; 0 = there was none. */
  owed: number;
  /** Writes of status that changed nothing. */
  idleWrites: number;
}

export const KEY: Required<Key> = { namespace: 'gsv-org-acme', name: 'claims' };
export const UID = '00000000-0000-4000-8000-000000000001';

/** An Instance that was just created. */
export function firstState(spec: Instance['spec']): State {
  const metadata = {
    ...KEY,
    uid: UID,
    resourceVersion: '1',
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
  };
  return {
    instance: {
      apiVersion: 'store.gsv.dev/v1alpha1',
      kind: 'Instance',
      metadata,
      spec,
      status: { observedGeneration: -1 },
    } as Instance,
    resourceVersion: 1,
    files: {},
    commits: [],
    policies: [],
    secrets: {},
    paid: false,
    synced: true,
    runs: true,
    rotations: 0,
    owed: 0,
    idleWrites: 0,
  };
}

/** Replaces the Instance as a write does. */
export function write(state: State, instance: Instance | undefined): Instance | undefined {
  if (state.instance === undefined) delete state.before;
  else state.before = state.instance;
  if (instance === undefined) {
    delete state.instance;
    return undefined;
  }
  state.resourceVersion += 1;
  state.instance = {
    ...instance,
    metadata: { ...instance.metadata, resourceVersion: String(state.resourceVersion) },
  };
  return state.instance;
}

/**
 * Equal for states from which the same can happen. Versions, generations and commits count only by how they
 * relate to the present one: that is all that anybody compares.
 */
export function fingerprint(state: State): string {
  const tip = state.commits.at(-1);
  const shape = {
    ...state,
    resourceVersion: 0,
    idleWrites: 0,
    commits: [tip?.effect, tip?.retryOf !== undefined],
    exhausted: state.exhausted === undefined ? 'none' : state.exhausted === tip?.commit,
    instance: state.instance && relative(state.instance, state),
    before: state.before && relative(state.before, state),
  };
  return createHash('sha1').update(JSON.stringify(shape)).digest('base64');
}

function relative({ metadata, spec, status }: Instance, state: State): unknown {
  const { generation, deletionTimestamp, finalizers, annotations } = metadata;
  const now = state.instance?.metadata.generation ?? 0;
  const { observedGeneration = -1, commit, conditions, ...rest } = status ?? {};
  return {
    meta: [now - generation, deletionTimestamp, finalizers, annotations],
    spec,
    observed: observedGeneration === -1 ? 'none' : now - observedGeneration,
    commit: commit === undefined ? 'none' : commit === state.commits.at(-1)?.commit,
    conditions: conditions?.map((each) => [each.type, each.status, each.reason, now - (each.observedGeneration ?? 0)]),
    rest,
  };
}
