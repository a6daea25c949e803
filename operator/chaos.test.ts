/**
 * Random days of a store, compared with the same day without a fault: people order, change and delete, a fleet gets a
 * version that does not work for everybody, outside systems fail at random calls, and of two operators the one that
 * leads stands still, loses the API server or dies.
 *
 *   npm test -- operator/chaos                              a few seeds
 *   GSV_PROOF_SEEDS=500 npm run soak:operator               many
 *   GSV_PROOF_SEED=17 npm test -- operator/chaos            one of them again, as a failure names it
 */
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Day, day } from '../hack/testing/operator/day.ts';
import { differences } from '../hack/testing/operator/picture.ts';
import type { Leader } from './runtime/leader.ts';

const MANY = process.env.GSV_PROOF_SEEDS;
/** Three in which every fault fires, and a rollout of either end; a day takes about a second. */
const FEW = [9, 10, 11];
const ONLY = process.env.GSV_PROOF_SEED;
/** One test stays within its time limit, however many seeds there are. */
const BATCH = 4;
/** Days whose controls do harm. */
const CARELESS_SEED = 3;
const DEPOSED_SEED = 11;
/** Doors that refuse a lower epoch. */
const FENCED = /^(git|ledger)\./;

const many = MANY === undefined ? FEW : Array.from({ length: Number(MANY) }, (_, at) => at + 1);
const seeds = ONLY === undefined ? many : [Number(ONLY)];

/** What has happened in all days so far. */
const totals: Record<string, number> = {};
const count = (what: string, times = 1) => {
  totals[what] = (totals[what] ?? 0) + times;
};

for (let from = 0; from < seeds.length; from += BATCH) {
  const batch = seeds.slice(from, from + BATCH);
  test(`days of seeds ${batch[0]} to ${batch.at(-1)} end as they do without a fault`, async (t) => {
    for (const seed of batch) {
      const calm = await day({ weather: 'calm', seed });
      for (const weather of ['alone', 'pair'] as const) {
        const stormy = await day({ weather, seed });
        const replay = `GSV_PROOF_SEED=${seed} npm test -- operator/chaos (${weather})`;
        assert.equal([replay, ...faultsOf(stormy), ...differences(stormy.end, calm.end)], [replay]);
        for (const [fault, times] of Object.entries(stormy.fired)) count(fault, times);
        count(`rollout${stormy.rollout}`);
        count('takenBack', stormy.rolledBack);
        count('late', stormy.late.length);
      }
    }
    t.diagnostic(`${batch.length} seeds, ${2 * batch.length} days with faults`);
  });
}

test('each kind of fault has fired in these days, and the rollout has ended in either way', (t) => {
  t.diagnostic(`${seeds.length} seeds: ${JSON.stringify(totals)}`);
  if (ONLY === undefined)
    for (const what of [...Object.keys(totals), 'rolloutHalted', 'rolloutComplete'])
      assert.ok((totals[what] ?? 0) > 0, `${what} never happened`);
});

/**
 * What no day may show, whatever befell it. What was under way at a takeover may still arrive before the new leader's
 * marker, which then lies on it; never after.
 */
function faultsOf({ halfway, effectsTwice, stale, epochs }: Day): string[] {
  return [
    ...halfway,
    ...effectsTwice.map((effect) => `effect ${effect} was committed twice`),
    ...stale.map(({ call }) => `${call} was let out although another led`),
    ...(isRising(epochs) ? [] : ['a commit of an older epoch lies on one of a newer']),
  ];
}

function isRising(epochs: readonly number[]): boolean {
  return epochs.every((epoch, at) => epoch >= (epochs[at - 1] ?? 0));
}

test('the comparison is not blind: an operator that forgets secrets, or writes Git carelessly, is caught', async () => {
  const given = { weather: 'alone', seed: CARELESS_SEED } as const;
  const calm = await day({ ...given, weather: 'calm' });
  const forgetful = await day({
    ...given,
    sabotage: (world) => {
      world.secrets.destroyTree = async () => undefined;
    },
  });
  assert.ok(differences(forgetful.end, calm.end).length > 0);
  const careless = await day({
    ...given,
    sabotage: (world) => {
      world.git.careless = true;
    },
  });
  assert.ok(careless.effectsTwice.length > 0);
});

test('the control: a deposed leader that does not know it does harm, the more so where nobody looks at epochs', async (t) => {
  const harmOf = async (fences: boolean) => {
    const { stale } = await day({ weather: 'pair', seed: DEPOSED_SEED, guard: neverDeposed, fences });
    const effects = stale.filter(({ tookEffect }) => tookEffect).map(({ call }) => call);
    return { effects: effects.length, fenced: effects.filter((call) => FENCED.test(call)).length };
  };
  const [guardless, defenceless] = [await harmOf(true), await harmOf(false)];
  t.diagnostic(`without guard: ${JSON.stringify(guardless)}; without guard and fences: ${JSON.stringify(defenceless)}`);
  assert.ok(guardless.effects > 0, 'the stops do hit writes');
  assert.is(guardless.fenced, 0, 'Git and the ledger refuse an old epoch by themselves');
  assert.ok(defenceless.fenced > 0, 'the fences are what keeps it so');
});

/** It believes that its term never ends. */
function neverDeposed(leader: Leader): Leader {
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
