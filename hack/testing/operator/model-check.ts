import { Registry } from 'prom-client';
import { createLogger } from '../../../config/log.ts';
import { findCondition, isReady } from '../../../crds/conditions.ts';
import { keyText } from '../../../crds/store.ts';
import { obstacle } from '../../../gateway/admission/instances.ts';
import { instanceController } from '../../../operator/controllers/instance.ts';
import { LedgerFeed } from '../../../operator/controllers/ledger-feed.ts';
import { defaultPlatform } from '../../../operator/render/platform.ts';
import type { Result } from '../../../operator/runtime/controller.ts';
import { controllerMetrics } from '../../../operator/runtime/metrics.ts';
import { writeViolations } from './conformance.ts';
import { aroundCalls, type Doors } from './crash.ts';
import { doorsOver, type Ground, type View } from './model-doors.ts';
import { fingerprint, KEY, type State, UID } from './model-state.ts';

/** Something that happens outside the operator; undefined = it cannot happen here. */
export interface Change {
  name: string;
  apply: (state: State) => boolean;
}

/** What is explored: where it begins, what may happen, and what is broken on purpose. */
export interface Model {
  first: State;
  ground: Ground;
  unit: View['unit'];
  changes: readonly Change[];
  /** Cures everything outside, for the question whether the operator gets there then. */
  cure: (state: State) => void;
  /** What is wrong with the end of a run without faults; empty when nothing is. */
  unfinished: (state: State) => string[];
  /** A control: the doors, or the state behind them, made wrong. */
  sabotage?: (doors: Doors, state: State) => Doors;
}

export interface Explored {
  states: number;
  transitions: number;
  depth: number;
  /** First broken invariants, each with the way to it. */
  broken: string[];
}

/** How one visit is disturbed. */
interface Disturbance {
  stale?: boolean;
  /** At the `at`-th effect, from 1. */
  at?: number;
  what?: 'dies before' | 'dies after' | Change;
}

/** Visits after the cure: far more than the rungs. */
const CURE_VISITS = 12;
/** More would only repeat the first. */
const SHOWN = 5;
const STOOD_STILL = new Date('2026-01-01T00:00:00Z').getTime();

class Died extends Error {}

/**
 * Breadth first through everything that can happen to one Instance, to a depth: visits by the real controller
 * with its real steps, undisturbed, on a stale cache, dead before or after each of its effects, and with each
 * outside change in the middle of each; and the outside changes between them. Every visit is a process of its
 * own, so each is also a restart. States that were seen before are not gone on from.
 */
export async function explore(model: Model, depth: number): Promise<Explored> {
  const explored: Explored = { states: 1, transitions: 0, depth, broken: [] };
  const seen = new Set([fingerprint(model.first)]);
  let frontier: { state: State; way: string[] }[] = [{ state: model.first, way: [] }];
  for (let level = 0; level < depth && explored.broken.length < SHOWN; level++) {
    const next: typeof frontier = [];
    for (const { state, way } of frontier) {
      for await (const { name, after, broken } of successors(model, state)) {
        explored.transitions += 1;
        const path = [...way, name];
        explored.broken.push(...broken.map((each) => `${each}\n    after: ${path.join(' | ')}`));
        const print = fingerprint(after);
        if (seen.has(print)) continue;
        seen.add(print);
        const stuck = await progress(model, after);
        explored.broken.push(...stuck.map((each) => `no progress: ${each}\n    after: ${path.join(' | ')}`));
        next.push({ state: after, way: path });
        if (explored.broken.length >= SHOWN) break;
      }
      if (explored.broken.length >= SHOWN) break;
    }
    frontier = next;
    explored.states = seen.size;
  }
  return explored;
}

interface Step {
  name: string;
  after: State;
  broken: string[];
}

async function* successors(model: Model, state: State): AsyncGenerator<Step> {
  for (const change of model.changes) {
    const after = structuredClone(state);
    if (change.apply(after)) yield { name: change.name, after, broken: invariants(after) };
  }
  if (state.instance === undefined) return;
  const calm = await visit(model, state, {});
  yield { name: 'visit', ...calm };
  if (state.before !== undefined)
    yield { name: 'visit on a stale cache', ...(await visit(model, state, { stale: true })) };
  for (let at = 1; at <= calm.effects; at++) {
    for (const what of ['dies before', 'dies after'] as const)
      yield { name: `visit ${what} effect ${at}`, ...(await visit(model, state, { at, what })) };
    for (const change of model.changes) {
      if (!change.apply(structuredClone(state))) continue;
      yield {
        name: `visit, before effect ${at}: ${change.name}`,
        ...(await visit(model, state, { at, what: change })),
      };
    }
  }
}

interface Visited {
  after: State;
  broken: string[];
  effects: number;
  result: Result | undefined;
}

/** One visit of the real controller, in a process of its own. */
async function visit(model: Model, from: State, { stale = false, at, what }: Disturbance): Promise<Visited> {
  const state = structuredClone(from);
  const broken: string[] = [];
  let effects = 0;
  let dead = false;
  const die = (): never => {
    dead = true;
    throw new Died('the process dies here');
  };
  const honest = doorsOver({ state, ground: model.ground, unit: model.unit, stale });
  const doors = aroundCalls(model.sabotage?.(honest, state) ?? honest, async (effect, run) => {
    if (dead) throw new Died('the process is dead');
    if (effect === undefined) return run();
    effects += 1;
    if (effects === at && what === 'dies before') die();
    if (effects === at && typeof what === 'object') what.apply(state);
    const before = structuredClone(state);
    const answer = await run();
    broken.push(...effectInvariants(effect, before, state), ...invariants(state));
    if (effects === at && what === 'dies after') die();
    return answer;
  });
  const controller = instanceController(
    {
      ports: {
        ...doors,
        publicUrl: 'https://store.example.com',
        platform: defaultPlatform('https://git.example.com/gsv.git', 'main'),
        clock: { now: () => STOOD_STILL, after: () => () => undefined },
        log: createLogger({ part: 'operator', level: 'silent' }),
      },
      metrics: controllerMetrics(new Registry()),
    },
    new LedgerFeed(),
  );
  const result = await controller.reconcile(keyText(KEY)).catch((error: unknown) => {
    if (error instanceof TypeError || error instanceof RangeError || error instanceof ReferenceError) throw error;
    return undefined;
  });
  return { after: state, broken: [...new Set(broken)], effects, result };
}

/** From here, with everything outside cured and no more faults: does the operator get there? */
async function progress(model: Model, from: State): Promise<string[]> {
  const { state, broken } = await run(model, from);
  return broken.length > 0 ? broken : model.unfinished(state);
}

/** Where a run without faults ends that begins at `model.first`. */
export async function settled(model: Model): Promise<State> {
  const { state, broken } = await run(model, model.first);
  if (broken.length > 0) throw new Error(broken.join('; '));
  return state;
}

/** Everything outside is there, and nothing goes wrong any more. */
async function run(model: Model, from: State): Promise<{ state: State; broken: string[] }> {
  let state = structuredClone(from);
  model.cure(state);
  for (let n = 0; n < CURE_VISITS && state.instance !== undefined; n++) {
    const { after, broken } = await visit(model, state, {});
    if (broken.length > 0) return { state, broken };
    if (fingerprint(after) === fingerprint(state)) break;
    state = after;
  }
  return { state, broken: [] };
}

/** What holds of every state, in the middle of a visit too. */
function invariants(state: State): string[] {
  const { instance } = state;
  const files = JSON.stringify(state.files);
  const left =
    files.includes(UID) || state.policies.length > 0 || Object.keys(state.secrets).some((path) => path.includes(UID));
  if (instance === undefined) return left ? ['something outside remains and the finalizer is gone'] : [];
  const found: string[] = [];
  const { metadata, spec, status } = instance;
  const held = metadata.finalizers?.includes('store.gsv.dev/instance') ?? false;
  const touched = files.includes(UID) || state.policies.length > 0 || state.claimedBy === UID;
  if (touched && !held) found.push('something outside was touched before the finalizer was there');
  if (
    isReady(instance) &&
    findCondition(status?.conditions, 'Ready')?.observedGeneration !== metadata.generation &&
    !spec.suspend
  )
    found.push('Ready by an old generation');
  const funded = findCondition(status?.conditions, 'Funded')?.status === 'True';
  if (funded && state.claimedBy !== UID) found.push('funded by a unit that belongs to another');
  if ((spec.suspend || metadata.deletionTimestamp !== undefined) && obstacle(instance) === undefined)
    found.push('the edge would run what is paused or going');
  for (const [path, version] of Object.entries(state.secrets))
    if (path.endsWith('signing-key') && version > 1 + state.rotations)
      found.push('a generated secret was rewritten without a request');
  return found;
}

/** What holds of every effect. */
function effectInvariants(effect: string, before: State, after: State): string[] {
  const found: string[] = [];
  if (effect === 'store.applyStatus' && after.instance !== undefined)
    found.push(...writeViolations('Instance', after.instance, before.instance));
  const [commit, last] = [after.commits.at(-1), before.commits.at(-1)];
  if (after.commits.length > before.commits.length && commit?.effect === last?.effect && commit?.retryOf === undefined)
    found.push(`two commits for the effect ${commit?.effect}`);
  if (after.idleWrites > before.idleWrites) found.push('status was written and did not differ');
  if (after.commits.length > before.commits.length + 1) found.push('one call made several commits');
  return found;
}
