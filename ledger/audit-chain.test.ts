import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { line, openBook } from '../hack/testing/book.ts';
import { audit } from './audit.ts';
import { openDatabase } from './database.ts';
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

test('a book of an earlier release is chained by the migration', async () => {
  const book = await openBook();
  try {
    const { admin, sql } = book.database;
    await admin`alter table gsv_ledger.entries disable trigger chained`;
    await book.wallet('a', 100);
    for (let n = 0; n < 5; n += 1) await book.operations.debit({ wallet: 'a', lines: [line(1)] }, book.key());
    await admin`alter table gsv_ledger.entries enable trigger chained`;
    assert.ok((await audit(sql)).problems.includes('transaction_6 is in no link'));
    const migration = await readFile(join(import.meta.dirname, 'migrations/0201_chain.sql'), 'utf8');
    const block = /^do \$\$[\s\S]*?^end \$\$;/m.exec(migration)?.[0] ?? '';
    await admin.begin(async (tx) => {
      await tx`set local search_path = gsv_ledger`;
      await tx.unsafe(block);
    });
    await book.operations.debit({ wallet: 'a', lines: [line(1)] }, book.key());
    const { problems, chain } = await audit(sql);
    assert.equal([problems, chain.links], [[], 2]);
  } finally {
    await book.close();
  }
});

test('a link reads its own transactions, however many the book has', async () => {
  const book = await openBook();
  try {
    await book.wallet('a', 1_000);
    const { admin } = book.database;
    await admin`alter table gsv_ledger.entries disable trigger chained`;
    await admin`with made as (
        insert into gsv_ledger.transactions (wallet_id, operation, at)
          select 1, 'debit', now() from generate_series(1, 60000) returning id
      )
      insert into gsv_ledger.entries (transaction_id, account_id, amount)
        select m.id, 1 + n, 1 - 2 * n from made m, generate_series(0, 1) n`;
    // Statistics that make reading everything look cheap.
    await admin`analyze`;
    const read = await admin.begin(async (tx) => {
      await tx`select gsv_ledger.chain_digest('', '{[2,4)}')`;
      const [row] = await tx<{ read: number }[]>`
        select sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::integer as read from pg_stat_xact_user_tables
          where schemaname = 'gsv_ledger' and relname in ('transactions', 'entries')`;
      return row?.read;
    });
    // Two transactions of two entries each.
    assert.is(read, 6);
  } finally {
    await book.database.close();
  }
});
