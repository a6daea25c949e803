import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { type BatchOutcomes, BatchQueue, type BatchRow } from './batch.ts';
import { WalletHalves } from './wallet-halves.ts';

const debit = (wallet: string): BatchRow => ({ operation: 'debit', wallet, key: `k-${wallet}`, hash: 'h' });
const capture = (hold: string): BatchRow => ({ operation: 'capture', hold, key: `c-${hold}`, hash: 'h' });
const made = (hold: string) => ({ status: 201, body: { hold: `hold_${hold}` }, replayed: false });

test('wallets are spread over both halves, each always in the same', () => {
  const halves = new WalletHalves();
  const names = Array.from({ length: 1_000 }, (_, n) => `wallet-${n}`);
  const first = names.map((name) => halves.of(debit(name)));
  assert.equal(
    names.map((name) => halves.of(debit(name))),
    first,
  );
  const inFirst = first.filter((half) => half === 0).length;
  assert.ok(inFirst > 400 && inFirst < 600, `${inFirst} of 1,000 are in one half`);
});

test('a hold is in the half of its wallet until it has ended', () => {
  const halves = new WalletHalves();
  // By their digits alone about half of these would be elsewhere.
  for (let n = 1; n <= 100; n += 1) {
    const row: BatchRow = { ...debit(`wallet-${n % 7}`), operation: 'hold' };
    halves.learn(row, made(String(n)));
    assert.is(halves.of(capture(String(n))), halves.of(row));
  }
});

/** Callers of 40 wallets at once, and the batches that were under way together. */
async function batchesOf(callers: number, wallets: number): Promise<string[][]> {
  const batches: string[][] = [];
  const held: (() => void)[] = [];
  const queue = new BatchQueue(async (rows): Promise<BatchOutcomes> => {
    batches.push(rows.map(({ wallet }) => wallet ?? ''));
    await new Promise<void>((resolve) => held.push(resolve));
    return new Map(rows.map((_, position) => [position, made('1')]));
  });
  const all = Array.from({ length: callers }, (_, n) =>
    queue.add({ ...debit(`wallet-${n % wallets}`), key: `k-${n}` }, undefined, () => {
      throw new Error('nothing was left alone');
    }),
  );
  await new Promise((resolve) => setImmediate(resolve));
  const together = [...batches];
  const done = Promise.all(all);
  const release = setInterval(() => held.shift()?.(), 1);
  await done;
  clearInterval(release);
  return together;
}

test('two batches under way share no wallet when many callers ask', async () => {
  const [first = [], second = [], ...others] = await batchesOf(200, 40);
  assert.is(others.length, 0);
  assert.is(first.length + second.length, 200);
  assert.ok(second.length > 0, 'both halves work at once');
  assert.equal(
    second.filter((wallet) => first.includes(wallet)),
    [],
  );
});

test('few callers share one commit, and callers of one wallet still fill two batches', async () => {
  assert.is((await batchesOf(60, 40)).length, 1);
  for (const [callers, sizes] of [
    [400, [200, 200]],
    [401, [201, 200]],
    [1_000, [256, 256]],
  ] as const) {
    const hot = await batchesOf(callers, 1);
    assert.equal(
      hot.map((batch) => batch.length),
      sizes,
      `${callers} callers`,
    );
  }
});

test('callers whom a batch has answered share the next one, however many promises they are away', async () => {
  const sizes: number[] = [];
  const queue = new BatchQueue(async (rows): Promise<BatchOutcomes> => {
    sizes.push(rows.length);
    await new Promise((resolve) => setImmediate(resolve));
    return new Map(rows.map((_, position) => [position, made('1')]));
  });
  const call = async (caller: number, depth: number): Promise<void> => {
    await queue.add({ ...debit(`wallet-${caller}`), key: `k-${caller}` }, undefined, () => {
      throw new Error('nothing was left alone');
    });
    for (let hop = 0; hop < depth; hop += 1) await undefined;
  };
  await Promise.all(
    Array.from({ length: 30 }, async (_, caller) => {
      for (let round = 0; round < 3; round += 1) await call(caller, caller);
    }),
  );
  assert.equal(sizes, [30, 30, 30]);
});
