/**
 * Every interleaving of what can happen to one Instance, to a fixed depth, over the real controller and steps:
 * see `hack/testing/operator/model-check.ts`. One level deeper: `GSV_PROOF_DEEPER=1 npm test -- operator/controllers/ladder-model`.
 */
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Instance, Kind, KindMap } from '../../crds/kinds.ts';
import { secretCapability } from '../../hack/testing/operator/catalog.ts';
import { type Change, explore, type Model, settled } from '../../hack/testing/operator/model-check.ts';
import { firstState, type State, UID, write } from '../../hack/testing/operator/model-state.ts';
import { World } from '../../hack/testing/operator/world.ts';
import { workloadNamespace } from '../render/paths.ts';

/** Levels more than the default, each of which takes about ten times as long. */
const DEEPER = Number(process.env.GSV_PROOF_DEEPER ?? 0);
const ROTATE = 'store.gsv.dev/rotate-requested-at';
const GROUND: Kind[] = ['Organization', 'Project', 'Wallet', 'Offering', 'OfferingVersion'];

function edit(state: State, change: (instance: Instance) => void): boolean {
  if (state.instance === undefined || state.instance.metadata.deletionTimestamp !== undefined) return false;
  const next = structuredClone(state.instance);
  const spec = JSON.stringify(next.spec);
  change(next);
  if (JSON.stringify(next.spec) !== spec) next.metadata.generation += 1;
  write(state, next);
  return true;
}

function changesOf(buyerPath: string): Change[] {
  return [
    {
      name: 'the buyer edits the config',
      apply: (state) =>
        edit(state, ({ spec }) => {
          spec.config = { tone: spec.config?.tone === 'calm' ? 'brisk' : 'calm' };
        }),
    },
    {
      name: 'the owner pauses or resumes',
      apply: (state) =>
        edit(state, ({ spec }) => {
          spec.suspend = spec.suspend !== true;
        }),
    },
    { name: 'it is deleted', apply: remove },
    {
      name: 'the unit is paid',
      apply: (state) => {
        if (state.paid) return false;
        state.paid = true;
        return true;
      },
    },
    {
      name: 'another claims the unit',
      apply: (state) => {
        if (!state.paid || state.claimedBy !== undefined) return false;
        state.claimedBy = 'rival';
        return true;
      },
    },
    {
      name: 'the buyer sets the secret',
      apply: (state) => {
        // The edge knows its place from status, and refuses for what is going.
        const { metadata, status } = state.instance ?? {};
        if (status?.workloadNamespace === undefined || metadata?.deletionTimestamp !== undefined) return false;
        if (state.secrets[buyerPath] !== undefined) return false;
        state.secrets[buyerPath] = 1;
        return true;
      },
    },
    {
      name: 'the delivery stops or goes on',
      apply: (state) => {
        state.synced = !state.synced;
        return true;
      },
    },
    {
      name: 'the delivery gives up',
      apply: (state) => {
        const tip = state.commits.at(-1)?.commit;
        if (tip === undefined || state.exhausted === tip) return false;
        state.exhausted = tip;
        return true;
      },
    },
    {
      name: 'the runtime goes or comes back',
      apply: (state) => {
        state.runs = !state.runs;
        return true;
      },
    },
    {
      name: 'a rotation is asked for',
      apply: (state) =>
        state.rotations < 1 &&
        edit(state, ({ metadata, status }) => {
          state.rotations += 1;
          state.owed = status?.secretVersions?.find(({ name }) => name === 'signing-key')?.version ?? 0;
          metadata.annotations = { [ROTATE]: '2026-01-01T00:00:00Z' };
        }),
    },
  ];
}

/** As the API server does it. */
function remove(state: State): boolean {
  const { instance } = state;
  if (instance === undefined || instance.metadata.deletionTimestamp !== undefined) return false;
  const kept = (instance.metadata.finalizers ?? []).length > 0;
  const { generation } = instance.metadata;
  const metadata = { ...instance.metadata, generation: generation + 1, deletionTimestamp: '2026-01-01T00:00:00Z' };
  write(state, kept ? { ...instance, metadata } : undefined);
  return true;
}

async function model(): Promise<Model> {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog({ capability: secretCapability() });
    const claim = world.pay();
    const [unit] = world.ledger.fulfilments;
    if (unit === undefined) throw new Error('nothing was paid');
    const ground = new Map<Kind, KindMap[Kind][]>();
    for (const kind of GROUND) ground.set(kind, await world.store.list(kind));
    const [project] = (ground.get('Project') ?? []) as KindMap['Project'][];
    const buyerPath = `t/${workloadNamespace('acme', 'default', project?.metadata.uid ?? '')}/${UID}/crm-token`;
    const spec: Instance['spec'] = {
      projectRef: { name: 'default' },
      offeringRef: { name: 'claims-agent' },
      plan: 'starter',
      walletRef: { name: 'main' },
      config: {},
      fulfilment: claim,
    };
    return {
      first: firstState(spec),
      ground,
      unit,
      changes: changesOf(buyerPath),
      cure: (state) => {
        state.paid = true;
        state.synced = true;
        state.runs = true;
        delete state.exhausted;
        if (state.instance !== undefined) state.secrets[buyerPath] ??= 1;
      },
      unfinished,
    };
  } finally {
    await world.close();
  }
}

/** What a run without faults has to end with. */
function unfinished({ instance, claimedBy, secrets, rotations, owed }: State): string[] {
  if (instance === undefined) return [];
  const { metadata, spec, status } = instance;
  if (metadata.deletionTimestamp !== undefined) return ['it does not go'];
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const said = `${ready?.status}/${ready?.reason}, ${status?.lifecycle}`;
  const seen = status?.observedGeneration === metadata.generation;
  if (claimedBy !== UID && claimedBy !== undefined)
    return ready?.reason === 'FulfilmentAlreadyClaimed' || spec.suspend
      ? []
      : [`another has the unit, and it says ${said}`];
  if (spec.suspend) return seen && status?.lifecycle === 'Paused' ? [] : [`paused, and it says ${said}`];
  if (!seen || ready?.status !== 'True' || status?.lifecycle !== 'Active')
    return [`everything is there, and it says ${said}`];
  const [, version = 0] = Object.entries(secrets).find(([path]) => path.endsWith('signing-key')) ?? [];
  const echoed = rotations === 0 || status.rotation?.requestedAt === metadata.annotations?.[ROTATE];
  return echoed && version > owed ? [] : [`a rotation was asked for at version ${owed}, the key has ${version}`];
}

/** Where it begins: after a run without faults, or before anything; then these changes; and how deep by default. */
const ROOTS: { name: string; settle: boolean; changes: string[]; depth: number }[] = [
  { name: 'a new Instance', settle: false, changes: [], depth: 3 },
  { name: 'one that runs', settle: true, changes: [], depth: 3 },
  { name: 'one that is paused', settle: true, changes: ['the owner pauses or resumes'], depth: 2 },
  { name: 'one that is deleted', settle: true, changes: ['it is deleted'], depth: 3 },
];

const MODEL = await model();

async function rooted({ settle, changes }: (typeof ROOTS)[number]): Promise<Model> {
  const first = settle ? await settled(MODEL) : structuredClone(MODEL.first);
  for (const name of changes) MODEL.changes.find((each) => each.name === name)?.apply(first);
  return { ...MODEL, first };
}

for (const root of ROOTS) {
  const depth = root.depth + DEEPER;
  test(`every interleaving of ${depth} things that happen to ${root.name} keeps the invariants and gets there`, async (t) => {
    const started = performance.now();
    const { states, transitions, broken } = await explore(await rooted(root), depth);
    const ms = Math.round(performance.now() - started);
    t.diagnostic(`${root.name}: ${states} states, ${transitions} transitions, depth ${depth}, ${ms} ms`);
    assert.equal(broken, []);
    assert.ok(states >= 50 && transitions >= 200, `only ${states} states, ${transitions} transitions`);
  });
}

const CONTROLS: { name: string; root: number; says: RegExp; sabotage: NonNullable<Model['sabotage']> }[] = [
  {
    name: 'effects before the finalizer is persisted',
    root: 0,
    says: /before the finalizer was there/,
    sabotage: (doors, state) => ({
      ...doors,
      store: {
        ...doors.store,
        setFinalizers: async (_kind, _key, finalizers) => {
          const { instance } = state;
          return instance && ({ ...instance, metadata: { ...instance.metadata, finalizers } } as never);
        },
      },
    }),
  },
  {
    name: 'status that is written twice',
    root: 0,
    says: /status was written and did not differ/,
    sabotage: (doors) => ({
      ...doors,
      store: {
        ...doors.store,
        applyStatus: async (kind, key, status, options) => {
          await doors.store.applyStatus(kind, key, status, options);
          return doors.store.applyStatus(kind, key, status, { fieldManager: options.fieldManager });
        },
      },
    }),
  },
  {
    name: 'status that calls an old generation ready',
    root: 1,
    says: /old generation/,
    sabotage: (doors, state) => ({
      ...doors,
      store: {
        ...doors.store,
        applyStatus: (kind, key, status, options) => {
          const lie = { ...(status as Instance['status']), observedGeneration: state.instance?.metadata.generation };
          const old = state.instance?.status?.conditions;
          return doors.store.applyStatus(kind, key, { ...lie, conditions: old } as typeof status, options);
        },
      },
    }),
  },
  {
    name: 'a writer that commits the same twice',
    root: 0,
    says: /several commits|two commits/,
    sabotage: (doors, state) => ({
      ...doors,
      git: {
        ...doors.git,
        commit: async (change) => {
          const written = await doors.git.commit(change);
          const last = state.commits.at(-1);
          if (written.changed && last) state.commits.push({ ...last, commit: 'f'.repeat(40) });
          return written;
        },
      },
    }),
  },
  {
    name: 'generated secrets that are written at every visit',
    root: 1,
    says: /rewritten without a request/,
    sabotage: (doors) => ({
      ...doors,
      secrets: {
        ...doors.secrets,
        metadata: async (path) => (path.endsWith('signing-key') ? undefined : doors.secrets.metadata(path)),
        write: (path, data) => doors.secrets.write(path, data),
      },
    }),
  },
  {
    name: 'secrets that are forgotten on the way down',
    root: 3,
    says: /remains and the finalizer is gone/,
    sabotage: (doors) => ({ ...doors, secrets: { ...doors.secrets, destroyTree: async () => undefined } }),
  },
  {
    name: 'an operator that never gets there',
    root: 0,
    says: /no progress: everything is there/,
    sabotage: (doors) => ({
      ...doors,
      probe: { probe: async () => ({ ok: false, code: 'artifact_rejected', detail: 'it cannot be built' }) },
    }),
  },
];

for (const { name, root, says, sabotage } of CONTROLS)
  test(`the check is not blind: it catches ${name}`, async () => {
    const { broken } = await explore({ ...(await rooted(ROOTS[root] as (typeof ROOTS)[number])), sabotage }, 2);
    assert.ok(
      broken.some((each) => says.test(each)),
      broken.join('; ') || 'nothing was found',
    );
  });
