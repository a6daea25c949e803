/**
 * Random days of a store whose outside systems fail at random calls, compared with the same day without a fault.
 *
 *   npm test -- operator/chaos                              a few seeds
 *   GSV_PROOF_SEEDS=500 npm run soak:operator               many
 *   GSV_PROOF_SEED=17 npm test -- operator/chaos            one of them again, as a failure names it
 */
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { InstanceSpec } from '../crds/generated/kinds.ts';
import { seeded } from '../hack/testing/faults.ts';
import { publishedVersion, secretCapability } from '../hack/testing/operator/catalog.ts';
import { Chaos } from '../hack/testing/operator/chaos.ts';
import { NS, World } from '../hack/testing/operator/world.ts';

const SEEDS = Number(process.env.GSV_PROOF_SEEDS ?? 24);
const ONLY = process.env.GSV_PROOF_SEED;
/** One test stays within its time limit, however many seeds there are. */
const BATCH = 24;
/** About one visit in three meets a fault. */
const RATE = 0.06;
const NAMES = ['one', 'two', 'three'];
const OPERATIONS = 14;
/** Longer than the longest backoff. */
const RECOVERY_MS = 600_000;
const ROTATE = 'store.gsv.dev/rotate-requested-at';

const key = (name: string) => ({ namespace: NS, name });

/** People, who know what they want of each Instance, and say it again in the evening, as Argo CD does of CRs in Git. */
class People {
  readonly #world: World;
  readonly #wanted = new Map<string, InstanceSpec>();

  constructor(world: World) {
    this.#world = world;
  }

  /** One thing that somebody does: some of it to Instances that are not there, or not any more. */
  async act(random: () => number, serial: number): Promise<void> {
    const name = NAMES[Math.floor(random() * NAMES.length)] ?? 'one';
    const acts = [
      () => this.#order(name),
      () => this.#order(name),
      () => this.#edit(name, { config: { tone: 'brisk' } }),
      () => this.#edit(name, { config: { tone: 'calm' } }),
      () => this.#edit(name, { suspend: true }),
      () => this.#edit(name, { suspend: false }),
      () => this.#edit(name, { version: '1.1.0' }),
      () => this.#delete(name),
      () => this.#rotate(name, serial),
      () => this.#world.advance(30_000),
    ];
    await acts[Math.floor(random() * acts.length)]?.();
  }

  /** All that were paused go on, and what could not be said during the day is said now. */
  async evening(): Promise<void> {
    for (const name of this.#wanted.keys()) await this.#edit(name, { suspend: false });
  }

  async #order(name: string): Promise<void> {
    if (this.#wanted.has(name)) return;
    const fulfilment = this.#world.pay(this.#world.ledger.fulfilments.length);
    const refs = {
      projectRef: { name: 'default' },
      offeringRef: { name: 'claims-agent' },
      walletRef: { name: 'main' },
    };
    this.#wanted.set(name, { ...refs, plan: 'starter', config: {}, fulfilment });
    await this.#say(name);
  }

  async #edit(name: string, change: Partial<InstanceSpec>): Promise<void> {
    const wanted = this.#wanted.get(name);
    if (wanted === undefined) return;
    this.#wanted.set(name, { ...wanted, ...change });
    await this.#say(name);
  }

  async #delete(name: string): Promise<void> {
    if (this.#wanted.delete(name)) await this.#world.delete('Instance', key(name));
  }

  async #rotate(name: string, serial: number): Promise<void> {
    if (!(await this.#isThere(name))) return;
    await this.#world.annotate({ [ROTATE]: `2026-01-01T00:00:${String(serial).padStart(2, '0')}Z` }, name);
  }

  /** An earlier one of that name that is still going is in the way. */
  async #say(name: string): Promise<void> {
    const present = await this.#world.store.get('Instance', key(name));
    const wanted = this.#wanted.get(name);
    if (present?.metadata.deletionTimestamp === undefined && wanted !== undefined)
      await this.#world.apply('Instance', key(name), wanted);
  }

  async #isThere(name: string): Promise<boolean> {
    const present = await this.#world.store.get('Instance', key(name));
    return present !== undefined && present.metadata.deletionTimestamp === undefined;
  }
}

interface Day {
  /** One fact each. */
  end: string[];
  restarts: number;
  fired: Chaos['fired'] | undefined;
  effectsTwice: string[];
}

async function day(seed: number, rate: number, sabotage: (world: World) => void = () => {}): Promise<Day> {
  const world = await World.open();
  sabotage(world);
  const people = new People(world);
  const random = seeded(seed);
  const totals = new Chaos({ seed, rate: 0 }).fired;
  let restarts = 0;
  let chaos: Chaos | undefined;
  const note = () => {
    for (const [fault, times] of Object.entries(chaos?.figures() ?? {})) totals[fault as 'refused'] += times;
  };
  const startAgain = async () => {
    note();
    await world.stop();
    chaos = rate === 0 ? undefined : new Chaos({ seed: seed * 1_000 + restarts, rate });
    restarts += 1;
    await world.start(chaos?.wrap);
  };
  try {
    await world.start();
    const capability = { ...secretCapability(), secrets: secretCapability().secrets?.slice(1) ?? [] };
    await world.catalog({ capability });
    const next = await publishedVersion(world.blobs, 'claims-agent', '1.1.0', { triage: capability });
    await world.apply('OfferingVersion', { name: 'claims-agent-1.1.0' }, next);
    await startAgain();
    for (let serial = 0; serial < OPERATIONS; serial++) {
      await people.act(random, serial);
      await world.advance(random() * 10_000);
      if (chaos?.dead) await startAgain();
      else if (serial % 5 === 4) chaos?.relist();
    }
    note();
    await world.stop();
    await world.start();
    await world.advance(RECOVERY_MS);
    await people.evening();
    await world.advance(RECOVERY_MS);
    return { end: await picture(world), restarts, fired: totals, effectsTwice: effectsTwice(world) };
  } finally {
    await world.close();
  }
}

/** What everybody can see at the end of the day, without what is random by nature. How often a secret changed is no part of it. */
async function picture(world: World): Promise<string[]> {
  const facts: string[] = [];
  for (const name of NAMES) {
    const found = await world.store.get('Instance', key(name));
    if (found === undefined) continue;
    const { metadata, status } = found;
    const current = status?.observedGeneration === metadata.generation;
    // Whoever applies the Instance without the annotation takes the request back.
    const asked = metadata.annotations?.[ROTATE];
    const echoed = asked === undefined || status?.rotation?.requestedAt === asked;
    const claimed = world.ledger.fulfilments.filter(({ instanceUid }) => instanceUid === metadata.uid).length;
    facts.push(
      `${name} ${status?.lifecycle} ${status?.version}, current ${current}, rotated ${echoed}, units ${claimed}`,
    );
    facts.push(`${name} ${metadata.finalizers}`);
    for (const { type, status: value, reason, message } of status?.conditions ?? [])
      facts.push(`${name} ${type} ${value} ${reason}: ${message}`);
  }
  // A uid that YAML would read as a number is quoted.
  const plain = (text: string) =>
    text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8,}/g, '#').replaceAll('"#"', '#');
  for (const [path, content] of world.git.files)
    for (const line of withoutVersions(plain(content)).split('\n')) facts.push(`${plain(path)}: ${line}`);
  facts.push(...[...world.secrets.values.keys()].map(plain), `${world.secrets.policies.size} policies`);
  return facts.sort();
}

/** Facts that only one of the two has, or has more often. */
function differences(one: readonly string[], other: readonly string[]): string[] {
  const missing = (from: readonly string[], of: readonly string[]) => {
    const left = [...from];
    return of.filter((fact) => {
      const at = left.indexOf(fact);
      if (at >= 0) left.splice(at, 1);
      return at < 0;
    });
  };
  return [...missing(one, other).map((fact) => `- ${fact}`), ...missing(other, one).map((fact) => `+ ${fact}`)];
}

/** The versions of secrets count rotations; those asked for during an outage are one. */
function withoutVersions(content: string): string {
  return content.replace(/(version|force-sync|secret-versions)(["']?: *)["']?[\w:.,#=-]*["']?/g, '$1$2*');
}

/** Effects that were committed again right after themselves. */
function effectsTwice(world: World): string[] {
  const last = new Map<string, string>();
  return world.git.commits.flatMap(({ trailers }) => {
    const { 'Gsv-Instance-Uid': uid, 'Gsv-Effect': effect = '', 'Gsv-Retry-Of': retry } = trailers;
    if (uid === undefined || retry !== undefined) return [];
    const again = last.get(uid) === effect;
    last.set(uid, effect);
    return again ? [effect] : [];
  });
}

const seeds = ONLY === undefined ? Array.from({ length: SEEDS }, (_, at) => at + 1) : [Number(ONLY)];

for (let from = 0; from < seeds.length; from += BATCH) {
  const batch = seeds.slice(from, from + BATCH);
  test(`days of seeds ${batch[0]} to ${batch.at(-1)} end as they do without a fault`, async (t) => {
    const totals: Record<string, number> = {};
    let restarts = 0;
    for (const seed of batch) {
      const [calm, stormy] = [await day(seed, 0), await day(seed, RATE)];
      const replay = `GSV_PROOF_SEED=${seed} npm test -- operator/chaos`;
      assert.equal([replay, ...differences(stormy.end, calm.end)], [replay]);
      assert.equal(stormy.effectsTwice, [], replay);
      restarts += stormy.restarts - 1;
      for (const [fault, times] of Object.entries(stormy.fired ?? {})) totals[fault] = (totals[fault] ?? 0) + times;
    }
    t.diagnostic(`${batch.length} seeds, ${restarts} restarts, ${JSON.stringify(totals)}`);
    if (ONLY === undefined)
      for (const [fault, times] of Object.entries(totals)) assert.ok(times > 0, `${fault} never fired`);
  });
}

test('the comparison is not blind: an operator that forgets secrets, or writes Git carelessly, is caught', async () => {
  let [forgot, careless] = [0, 0];
  for (let seed = 1; seed <= 6; seed++) {
    const calm = await day(seed, 0);
    const forgetful = await day(seed, RATE, (world) => {
      world.secrets.destroyTree = async () => undefined;
    });
    if (differences(forgetful.end, calm.end).length > 0) forgot += 1;
    const twice = await day(seed, RATE, (world) => {
      world.git.careless = true;
    });
    careless += twice.effectsTwice.length;
  }
  assert.ok(forgot > 0 && careless > 0, `${forgot} ${careless}`);
});
