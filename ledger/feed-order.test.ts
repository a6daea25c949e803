/**
 * A reader that goes on after the highest `seq` it saw misses nothing, however writers' transactions overlap. The
 * control gives `seq` when the event is written, as a plain sequence would, and shows the gap that this prevents.
 */
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from 'postgres';
import * as assert from 'uvu/assert';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import type { LedgerEvent } from './wire.ts';

/** What a careless migration would do: number events when they are inserted. */
const NUMBERED_AT_INSERT = `
  set local search_path = gsv_ledger;
  alter table events disable trigger give_seq;
  alter table events alter column seq set default nextval('gsv_ledger.events_seq');`;

/** Emits one event of a wallet in a transaction that stays open until `commit`. */
async function slowWriter(admin: Sql, wallet: string): Promise<{ commit: () => Promise<void> }> {
  const connection = await admin.reserve();
  await connection`begin`;
  await connection`insert into gsv_ledger.events (type, wallet_id, at, data)
    select 'slow', id, ${new Date(0)}, '{}' from gsv_ledger.wallets where name = ${wallet}`;
  return {
    commit: async () => {
      await connection`commit`;
      connection.release();
    },
  };
}

/** A slow writer begins first, a quick one ends first, a reader looks in between and goes on from there. */
async function readAcrossOverlap(book: Book): Promise<{ seen: LedgerEvent[]; feed: LedgerEvent[] }> {
  await book.wallet('slow.main', 0);
  await book.wallet('quick.main', 0);
  const slow = await slowWriter(book.database.admin, 'slow.main');
  await book.grant('quick.main', { amount: 1 });
  const first = await book.queries.events(0, 100);
  await slow.commit();
  const rest = await book.queries.events(first.at(-1)?.seq ?? 0, 100);
  return { seen: [...first, ...rest], feed: await book.events() };
}

test('an event that was written first and committed last comes after those that a reader has seen', async () => {
  const book = await openBook();
  try {
    const { seen, feed } = await readAcrossOverlap(book);
    assert.equal(seen, feed);
    assert.equal(
      seen.map(({ type }) => type),
      ['wallet.recovered', 'slow'],
    );
  } finally {
    await book.close();
  }
});

test('control: numbered when written, the same event is never seen', async () => {
  const book = await openBook();
  try {
    await book.database.admin.begin((tx) => tx.unsafe(NUMBERED_AT_INSERT));
    const { seen, feed } = await readAcrossOverlap(book);
    assert.is(feed.length, 2);
    assert.is(seen.length, 1, 'the reader has skipped it');
  } finally {
    await book.database.close();
  }
});

const WRITERS = 8;
const OPERATIONS = 30;

test('a reader beside eight writers sees every event once and in order', async () => {
  const book = await openBook({ max: WRITERS + 2 });
  try {
    const wallets = Array.from({ length: WRITERS }, (_, index) => `w${index}.main`);
    for (const wallet of wallets) await book.wallet(wallet, OPERATIONS + 1, { thresholds: [1, 5, 10, 20] });
    const seen: LedgerEvent[] = [];
    let writing = true;
    const reader = (async () => {
      for (;;) {
        const last = !writing;
        const events = await book.queries.events(seen.at(-1)?.seq ?? 0, 7);
        seen.push(...events);
        if (last && events.length === 0) return;
      }
    })();
    const stalls = (async () => {
      for (const wallet of wallets) {
        const slow = await slowWriter(book.database.admin, wallet);
        await delay(10);
        await slow.commit();
      }
    })();
    await Promise.all(
      wallets.map(async (wallet) => {
        for (let done = 0; done <= OPERATIONS; done += 1)
          await book.operations.debit({ wallet, lines: [line(1)] }, book.key());
      }),
    );
    await stalls;
    writing = false;
    await reader;
    assert.equal(seen, await book.events());
    assert.is(seen.filter(({ type }) => type === 'slow').length, WRITERS);
    for (const wallet of wallets) {
      const lows = seen.filter((event) => event.wallet === wallet && event.type === 'wallet.low');
      assert.equal(
        lows.map(({ data }) => data.threshold),
        [20, 10, 5, 1],
        'each threshold once',
      );
    }
  } finally {
    await book.close();
  }
});

test('a threshold that is crossed again after new credits is told again, one that is only touched is not', async () => {
  const book = await openBook();
  try {
    await book.wallet('a', 20, { thresholds: [10] });
    const debit = (amount: number) => book.operations.debit({ wallet: 'a', lines: [line(amount)] }, book.key());
    for (const amount of [10, 1, 1, 1]) await debit(amount);
    await book.grant('a', { amount: 10 });
    await debit(9);
    const lows = await book.events('wallet.low');
    assert.equal(
      lows.map(({ data }) => data.available),
      [9, 8],
    );
  } finally {
    await book.close();
  }
});
