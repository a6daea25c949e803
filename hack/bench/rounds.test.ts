import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { zipf } from './ledger-load.ts';
import { findPgbench, latencyOf, tpsOf } from './pgbench.ts';
import { median, report, spread } from './rounds.ts';

test('the median is a measured value, whatever the order', () => {
  assert.is(median([5, 1, 3]), 3);
  assert.is(median([4, 1, 3, 2]), 2);
  assert.is(spread([3, 1, 2], 1), '2.0 (1.0 .. 3.0)');
  assert.throws(() => median([]), /no value/);
});

test('a row says which target its median meets, in its own direction', () => {
  const row = (better: 'higher' | 'lower', ratios: number[]) => {
    const [reach, aim] = better === 'higher' ? [2, 5] : [5, 2];
    return report([{ what: 'w', beside: 'b', better, reach, aim, ratios }])
      .split('|')
      .at(-2)
      ?.trim();
  };
  const cases = [
    { better: 'higher', ratio: 1.9, met: 'short' },
    { better: 'higher', ratio: 2, met: 'reach' },
    { better: 'higher', ratio: 5, met: 'aim' },
    { better: 'lower', ratio: 5.1, met: 'short' },
    { better: 'lower', ratio: 5, met: 'reach' },
    { better: 'lower', ratio: 2, met: 'aim' },
  ] as const;
  for (const { better, ratio, met } of cases) assert.is(row(better, [ratio]), met, `${better} ${ratio}`);
});

test('the popular wallets are drawn more often, and every seed draws the same again', () => {
  const draws = (seed: number) => {
    const draw = zipf(100, seed);
    return Array.from({ length: 5_000 }, () => draw());
  };
  assert.equal(draws(1), draws(1));
  const counts = draws(2).reduce((sums, rank) => sums.set(rank, (sums.get(rank) ?? 0) + 1), new Map<number, number>());
  const [first = 0, tenth = 0] = [counts.get(0), counts.get(9)];
  assert.ok(first > 4 * tenth && tenth > 0, `${first} and ${tenth}`);
  assert.ok([...counts.keys()].every((rank) => rank >= 0 && rank < 100));
});

test('what pgbench prints is read; a run with failed transactions is no figure', () => {
  assert.is(tpsOf('latency average = 1 ms\ntps = 1234.5 (without initial connection time)\n'), 1234.5);
  assert.throws(() => tpsOf('number of failed transactions: 3 (1%)\ntps = 9.0 (x)\n'), /did not finish/);
  assert.throws(() => tpsOf('pgbench: error: connection refused'), /did not finish/);
  assert.is(latencyOf(['0 1 2500 0 1 1', '0 2 1500 0 1 1', '0 3 9000 0 1 1']), 2.5);
});

test('a missing pgbench is named with its package', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-pgbench-'));
  try {
    const error = await findPgbench({ GSV_TEST_PG_BIN: folder }).catch((thrown: unknown) => thrown);
    assert.match(String(error), /postgresql-15.*GSV_TEST_PG_BIN/);
    await writeFile(join(folder, 'pgbench'), '');
    assert.is(await findPgbench({ GSV_TEST_PG_BIN: folder }), join(folder, 'pgbench'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
