import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { seeded } from '../hack/testing/faults.ts';
import { epochsOf } from '../hack/testing/operator/branch-log.ts';
import { type Book, Rival, type StaleCall } from '../hack/testing/operator/rivals.ts';
import { NS, World } from '../hack/testing/operator/world.ts';
import { ensureBareRemote } from './git/remote.ts';
import { GitWriter } from './git/writer.ts';
import { LEADER_TIMES, type Leader } from './runtime/leader.ts';

const { leaseMs, retryMs } = LEADER_TIMES;
/** Each is a run of two operators over a real Git repository. */
const SEEDS = Array.from({ length: 16 }, (_, n) => n + 1);
/** Enough for the control: each of them does harm. */
const CONTROL_SEEDS = SEEDS.slice(0, 6);
/** A visit of an Instance makes about so many calls; the stop falls on one of them. */
const CALLS = 60;
/** So many of them change something. */
const CHANGES = 12;

interface Run {
  stale: StaleCall[];
  /** Let out before the stop, and with the others only after the takeover. */
  late: StaleCall[];
  /** Trailers `Gsv-Epoch` from the oldest commit. */
  epochs: number[];
  /** Conditions of the Instances at the end. */
  ready: string[];
  firstState: string;
}

/** The first operator leads, stands still in the middle of its work, is followed, and goes on. */
async function run(seed: number, guard?: (leader: Leader) => Leader): Promise<Run> {
  const random = seeded(seed);
  const folder = await mkdtemp(join(tmpdir(), 'gsv-rivals-'));
  const remote = join(folder, 'remote.git');
  await ensureBareRemote(remote, 'main');
  const world = await World.open();
  const clock = () => new Date(world.clock.now());
  const writers = await Promise.all(
    ['one', 'two'].map((name) => GitWriter.open({ directory: join(folder, name), remote, branch: 'main', clock })),
  );
  const rivals = ['one', 'two'].map((name) => new Rival(world, name));
  const [first, second] = rivals as [Rival, Rival];
  const book: Book = { epoch: 0 };
  const settle = () => settled(world, rivals);
  world.settle = settle;
  // The commits lie in the real repository.
  world.delivery.state = async () => ({ synced: true, reason: 'LocalDelivery', message: 'It is there.' });
  const pass = async (ms: number) => {
    for (let left = ms; left > 0; left -= 1_000) await world.clock.advance(Math.min(left, 1_000), settle);
  };
  try {
    await world.store.create('Namespace', { metadata: { name: 'gsv-system' }, spec: {} });
    rivals.forEach((rival, at) => {
      rival.start({ git: writers[at] as GitWriter, book, ...(rival === first && guard ? { guard } : {}) });
    });
    await pass(leaseMs + 2 * retryMs);
    assert.is(first.leader.state, 'leading');
    await world.catalog();
    await settle();
    // Each second one stops with a change on the wire.
    if (seed % 2 === 0) first.stopAfter(1 + Math.floor(random() * CHANGES), 'asked');
    else first.stopAfter(1 + Math.floor(random() * CALLS));
    for (const name of ['a', 'b', 'c'])
      await world.order(name, { fulfilment: world.pay(rivals.length + name.charCodeAt(0)) });
    await settle();
    if (!first.process.stopped) first.process.stop();
    first.watchFor(() => second.leader.state === 'leading');
    await pass(leaseMs + 4 * retryMs);
    assert.is(second.leader.state, 'leading');
    await world.order('late', { fulfilment: world.pay(1_000) });
    await pass(30_000);
    first.process.goOn();
    await settle();
    await pass(60_000);
    const ready = await Promise.all(
      ['a', 'b', 'c', 'late'].map((name) => world.condition('Instance', { namespace: NS, name })),
    );
    return {
      stale: first.stale,
      late: first.late,
      epochs: await epochsOf(remote),
      ready,
      firstState: first.leader.state,
    };
  } finally {
    for (const rival of rivals) await rival.close();
    for (const writer of writers) await writer.close();
    await world.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Waits for real Git where an operator waits for it. */
async function settled(world: World, rivals: readonly Rival[]): Promise<void> {
  let quiet = 0;
  for (let turn = 0; quiet < 8; turn += 1) {
    if (turn > 20_000) throw new Error('the operators do not come to rest');
    await new Promise((resolve) => (turn < 100 ? setImmediate(resolve) : setTimeout(resolve, 1)));
    quiet = rivals.every((rival) => rival.idle && !rival.takesOver) ? quiet + 1 : 0;
    if (world.clock.step(0)) quiet = 0;
  }
}

for (const seed of SEEDS) {
  test(`a leader that stood still and goes on changes nothing any more (seed ${seed})`, async (t) => {
    const { stale, late, epochs, ready, firstState } = await run(seed);
    t.diagnostic(
      `seed ${seed}: ${stale.length} stale calls, ${late.length} late, commits by epoch ${JSON.stringify(tally(epochs))}`,
    );
    assert.equal(stale, [], 'the guard lets nothing out');
    const harm = late.filter(({ call, tookEffect }) => tookEffect && /^(git|ledger)\./.test(call));
    assert.equal(harm, [], 'what was on the wire is refused');
    assert.is(firstState, 'deposed');
    assert.equal(
      epochs,
      [...epochs].sort((a, b) => a - b),
      'no commit of an older epoch on top of a newer one',
    );
    assert.ok(epochs.includes(2), 'the second has led');
    assert.equal(ready, Array(4).fill('True/Succeeded'));
  });
}

test('the control: without the guard the same stops do harm, except where an epoch is refused', async (t) => {
  const calls: StaleCall[] = [];
  for (const seed of CONTROL_SEEDS) {
    const { stale, epochs } = await run(seed, unguarded);
    calls.push(...stale);
    assert.equal(
      epochs,
      [...epochs].sort((a, b) => a - b),
      `the fence of Git holds by itself (seed ${seed})`,
    );
  }
  const harmful = calls.filter(({ tookEffect }) => tookEffect).map(({ call }) => call);
  const refused = calls.filter(({ tookEffect }) => !tookEffect).map(({ call }) => call);
  t.diagnostic(`without the guard: ${harmful.length} stale effects, ${refused.length} refused`);
  assert.ok(harmful.length > 0, 'the stops do hit writes');
  assert.not.ok(
    harmful.some((call) => /^(git|ledger)\./.test(call)),
    'Git and the ledger refuse an old epoch',
  );
  assert.ok(
    refused.some((call) => /^(git|ledger)\./.test(call)),
    'their fences were tried',
  );
});

/** The broken control: it believes that its term never ends. */
function unguarded(leader: Leader): Leader {
  const never = new AbortController().signal;
  return new Proxy(leader, {
    get: (target, property) => {
      if (property === 'signal') return never;
      if (property === 'assert') return () => undefined;
      if (property === 'depose') return (why: string) => new Error(why);
      const member: unknown = Reflect.get(target, property, target);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

function tally(epochs: readonly number[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const epoch of epochs) counts[epoch] = (counts[epoch] ?? 0) + 1;
  return counts;
}
