import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { line, openBook } from '../hack/testing/book.ts';
import { makeOld } from '../hack/testing/old-book.ts';
import { createTestDatabase } from '../hack/testing/postgres.ts';
import { audit } from './audit.ts';
import { openDatabase } from './database.ts';
import { migrate } from './migrate.ts';
import { LedgerOperations } from './operations.ts';

test('replicas that write at once, in batches and one by one, make one chain', async () => {
  const book = await openBook();
  const other = await openDatabase(book.database.url, { max: 4 });
  try {
    const clock = { now: () => new Date(book.at(0)) };
    const replicas = [book.operations, new LedgerOperations(other, clock)];
    for (const name of ['a', 'b', 'c']) await book.wallet(name, 1_000);
    await Promise.all(
      replicas.flatMap((operations) =>
        Array.from({ length: 60 }, async (_, n) => {
          const wallet = ['a', 'b', 'c'][n % 3] as string;
          // A grant has a call of its own; debits share theirs.
          if (n % 4 === 0) await operations.grant(wallet, { amount: 1, kind: 'manual' }, book.key());
          await operations.debit({ wallet, lines: [line(1)] }, book.key());
        }),
      ),
    );
    const { ok, problems, chain } = await audit(book.database.sql);
    assert.equal([ok, problems], [true, []]);
    const [row] = await book.database.sql<{ links: number; transactions: number }[]>`
      select (select count(*)::integer from chain) as links, count(*)::integer as transactions from transactions`;
    assert.is(chain.links, row?.links);
    assert.is(row?.transactions, 3 + 2 * (60 + 15));
    assert.ok(chain.links < (row?.transactions ?? 0), 'a batch is one link');
  } finally {
    await other.end({ timeout: 1 });
    await book.close();
  }
});

test('the head moves with every booking and with nothing else', async () => {
  const book = await openBook();
  try {
    assert.equal((await audit(book.database.sql)).chain, { links: 0, head: '' });
    await book.wallet('a', 10);
    const first = (await audit(book.database.sql)).chain;
    assert.match(first.head, /^[0-9a-f]{64}$/);
    // Refused, hence not booked.
    await book.operations.debit({ wallet: 'a', lines: [line(11)] }, book.key());
    assert.equal((await audit(book.database.sql)).chain, first);
    await book.operations.debit({ wallet: 'a', lines: [line(1)] }, book.key());
    const second = (await audit(book.database.sql)).chain;
    assert.is(second.links, 2);
    assert.is.not(second.head, first.head);
  } finally {
    await book.close();
  }
});

test('a book of a release without a chain is chained by the migration', async () => {
  const database = await createTestDatabase();
  try {
    await makeOld(database.admin, 200);
    const call = database.admin;
    await call`select gsv_ledger.put_wallet('a', '{"ownerUid": "o"}', '', '', now(), null)`;
    await call`select gsv_ledger.create_grant('a', '{"amount": 100, "kind": "manual"}', 'g', 'h', now(), null)`;
    const body = JSON.stringify({ wallet: 'a', lines: [line(1)] });
    for (let n = 0; n < 5; n += 1)
      await call`select gsv_ledger.debit('', ${body}::text::jsonb, ${`k${n}`}, ${'0'.repeat(64)}, now(), null)`;
    await migrate(database.url);
    const debit = { wallet: 'a', lines: [line(1)] };
    await new LedgerOperations(database.sql).debit(debit, { key: 'new' });
    const { problems, chain } = await audit(database.sql);
    assert.equal([problems, chain.links], [[], 2]);
  } finally {
    await database.close();
  }
});

test('a link reads its own bookings, however many the book has', async () => {
  const book = await openBook();
  try {
    await book.wallet('a', 1_000);
    const { admin } = book.database;
    await admin`alter table gsv_ledger.journal disable trigger chained`;
    await admin`insert into gsv_ledger.journal (wallet_id, at, operation, first_entry, entries)
      select 1, now(), 'debit', 2 * n, '{1,0,1,2,0,-1}' from generate_series(1, 60000) n`;
    // Statistics that make reading everything look cheap.
    await admin`analyze`;
    const readBy = (digest: string) =>
      admin.begin(async (tx) => {
        const read = async (): Promise<number> => {
          const [row] = await tx<{ read: number }[]>`
            select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::integer as read from pg_stat_xact_user_tables
              where schemaname = 'gsv_ledger' and relname = 'journal'`;
          return row?.read ?? 0;
        };
        const before = await read();
        await tx.unsafe(`select gsv_ledger.chain_digest('', '{[2,4)}'${digest})`);
        return (await read()) - before;
      });
    assert.is(await readBy(', 2::smallint'), 2);
    // Of before: each of the two once as a transaction, once for its entries.
    assert.is(await readBy(''), 4);
  } finally {
    await book.database.close();
  }
});
