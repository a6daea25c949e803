/**
 * Receipts get their number before they are committed. No receipt is skipped, however transactions overlap; the control
 * sends what is higher than the last one sent, as a plain reader would, and loses one.
 */
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import { Outbox } from './outbox.ts';

/** Takes what may be told now, as a sender does whose OpenMeter takes everything. */
async function drain(outbox: Outbox): Promise<number[]> {
  const told: number[] = [];
  for (let looks = 0; looks < 2; looks += 1) {
    const round = await outbox.claim('one');
    assert.ok(round);
    if (!round) return told;
    told.push(...round.ready.map(({ id }) => id));
    assert.ok(await outbox.advance('one', round, []));
  }
  return told;
}

/**
 * A debit of nothing whose transaction has its wallet and its receipt's number, as one that decides has before it takes
 * the lock of the chain. It stays open until `end`.
 */
async function slowDebit(book: Book, wallet: string): Promise<{ end(how: 'commit' | 'rollback'): Promise<void> }> {
  const connection = await book.database.admin.reserve();
  await connection`begin`;
  const [row] = await connection<{ wallet: string; receipt: string }[]>`
    select id as wallet, nextval('gsv_ledger.receipt_ids') as receipt
      from (select id from gsv_ledger.wallets where name = ${wallet} for update) w`;
  if (!row) throw new Error(`there is no wallet ${wallet}`);
  return {
    end: async (how) => {
      await connection`insert into gsv_ledger.journal (wallet_id, at, receipt_id, operation, lines)
        values (${row.wallet}, ${book.at(0)}, ${row.receipt}, 'debit', '[["run", 1, 0]]')`;
      await connection.unsafe(how);
      connection.release();
    },
  };
}

const quickDebit = (book: Book, wallet = 'quick') => book.operations.debit({ wallet, lines: [line(1)] }, book.key());

test('a receipt that is numbered first and committed last is told after it is committed', async () => {
  const book = await openBook();
  try {
    const outbox = new Outbox(book.database.sql, { now: () => new Date(book.at(0)) });
    for (const wallet of ['slow', 'quick']) await book.wallet(wallet, 10);
    const slow = await slowDebit(book, 'slow');
    await quickDebit(book);
    assert.equal(await drain(outbox), [], 'receipt 2 is there, receipt 1 may still come');
    assert.equal(await drain(outbox), []);
    await slow.end('commit');
    assert.equal(await drain(outbox), [1, 2]);
  } finally {
    await book.close();
  }
});

test('a number that is never used holds nothing up', async () => {
  const book = await openBook();
  try {
    const outbox = new Outbox(book.database.sql, { now: () => new Date(book.at(0)) });
    for (const wallet of ['slow', 'quick']) await book.wallet(wallet, 10);
    const slow = await slowDebit(book, 'slow');
    await quickDebit(book);
    await slow.end('rollback');
    assert.equal(await drain(outbox), [2]);
  } finally {
    await book.close();
  }
});

test('control: higher than the last one told, the same receipt is never told', async () => {
  const book = await openBook();
  try {
    await book.database.admin.unsafe(`create or replace function gsv_ledger.outbox_claim(p_holder text, p_lease_seconds
      integer, p_now timestamptz) returns setof gsv_ledger.outbox language sql security definer set search_path = gsv_ledger as
      $$ update outbox set holder = p_holder, safe = (select max(id) from receipts) returning * $$`);
    const outbox = new Outbox(book.database.sql, { now: () => new Date(book.at(0)) });
    for (const wallet of ['slow', 'quick']) await book.wallet(wallet, 10);
    const slow = await slowDebit(book, 'slow');
    await quickDebit(book);
    const told = await drain(outbox);
    await slow.end('commit');
    told.push(...(await drain(outbox)));
    assert.equal(told, [2], 'receipt 1 was skipped');
  } finally {
    await book.close();
  }
});

const WRITERS = 8;
const DEBITS = 40;

test('a sender beside eight writers, slow ones among them, tells every receipt once', async () => {
  const book = await openBook({ max: WRITERS + 2 });
  try {
    const outbox = new Outbox(book.database.sql, { now: () => new Date(book.at(0)) });
    const wallets = Array.from({ length: WRITERS }, (_, index) => `w${index}`);
    for (const wallet of [...wallets, 'slow']) await book.wallet(wallet, 1_000);
    const told: number[] = [];
    let early = 0;
    let writing = true;
    const sender = (async () => {
      for (;;) {
        const last = !writing;
        const some = await drain(outbox);
        told.push(...some);
        if (writing) early += some.length;
        if (last && some.length === 0) return;
      }
    })();
    const stalls = (async () => {
      for (let i = 0; i < 10; i += 1) {
        const slow = await slowDebit(book, 'slow');
        await quickDebit(book, 'w0');
        await slow.end(i % 3 === 0 ? 'rollback' : 'commit');
      }
    })();
    await Promise.all(
      wallets.map(async (wallet) => {
        for (let done = 0; done < DEBITS; done += 1) {
          if (done % 4 === 0) {
            const hold = await book.hold(wallet, 2);
            await book.operations.capture(hold, { lines: [line(done % 8 === 0 ? 0 : 1)] }, book.key());
          } else await quickDebit(book, wallet);
        }
      }),
    );
    await stalls;
    writing = false;
    await sender;
    const all = await book.database.sql<{ id: number }[]>`select id::float8 as id from gsv_ledger.receipts order by id`;
    assert.equal(
      told.toSorted((a, b) => a - b),
      all.map(({ id }) => id),
    );
    assert.ok(all.length >= WRITERS * DEBITS);
    assert.ok(early > 0, 'it was told while it was written');
  } finally {
    await book.close();
  }
});
