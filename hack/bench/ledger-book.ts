/** A book with wallets, and as many entries as one asks for, on the server of the benchmark. */
import type { Sql } from 'postgres';
import { audit } from '../../ledger/audit.ts';
import { type LedgerSql, openDatabase } from '../../ledger/database.ts';
import { migrate } from '../../ledger/migrate.ts';
import { LedgerOperations } from '../../ledger/operations.ts';
import { Load } from './ledger-load.ts';

/** Enough that no run of the benchmark empties a wallet. */
const CREDITS = 1_000_000_000_000;

/** Entries that one statement writes, so that a large book does not need large memory. */
const CHUNK = 200_000;

export interface BenchBook {
  sql: LedgerSql;
  load: Load;
  walletName(index: number): string;
  /** Bytes of all tables and indexes. */
  bytes(): Promise<number>;
  /** @throws Error with the problems when the book is not in order */
  check(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Makes a database of that name with that many wallets. `entries` more of them are written before, with the
 * receipts and keys that as many debits leave behind.
 */
export async function makeBook(
  admin: Sql,
  options: { url: string; wallets: number; entries: number },
): Promise<BenchBook> {
  await migrate(options.url);
  const sql = await openDatabase(options.url);
  const walletName = (index: number): string => `wallet-${index}`;
  await admin`select count(w) from generate_series(0, ${options.wallets - 1}) n,
    gsv_ledger.put_wallet('wallet-' || n, jsonb_build_object('ownerUid', 'owner-' || n), '', '', now(), null) w`;
  // Plans that were made for an empty table would read all accounts for each grant.
  await admin`analyze`;
  await admin`select count(g) from generate_series(0, ${options.wallets - 1}) n,
    gsv_ledger.create_grant('wallet-' || n, jsonb_build_object('amount', ${CREDITS}::bigint, 'kind', 'purchased'),
      'grant-' || n, 'none', now(), null) g`;
  for (let written = 0; written < options.entries; written += CHUNK) {
    await addHistory(admin, Math.min(CHUNK, options.entries - written), options.wallets);
  }
  await admin`vacuum analyze`;
  const load = new Load(new LedgerOperations(sql));
  return {
    sql,
    load,
    walletName,
    async bytes() {
      const [row] = await admin<{ bytes: number }[]>`
        select sum(pg_total_relation_size(oid))::float8 as bytes from pg_class
          where relnamespace = 'gsv_ledger'::regnamespace and relkind = 'r'`;
      return row?.bytes ?? 0;
    },
    async check() {
      const { ok, problems } = await audit(sql);
      if (!ok) throw new Error(`the audit found: ${problems.join('; ')}`);
    },
    close: () => sql.end({ timeout: 5 }),
  };
}

/** What old debits leave: between two accounts of the store, so that no balance of a wallet needs to move. */
async function addHistory(admin: Sql, entries: number, wallets: number): Promise<void> {
  const debits = Math.ceil(entries / 2);
  await admin`
    with numbers as (
      select n, 1 + n % ${wallets} as wallet_id from generate_series(1, ${debits}::integer) n
    ), charged as (
      insert into gsv_ledger.receipts (wallet_id, at, amount, context)
        select wallet_id, now(), 0, '{}' from numbers returning id, wallet_id
    ), listed as (
      insert into gsv_ledger.receipt_lines select id, 1, 'run', 1, 0 from charged
    ), remembered as (
      insert into gsv_ledger.idempotency
        select 'owner-' || wallet_id, 'debit', 'history-' || id, md5(id::text) || md5(id::text), 201,
          jsonb_build_object('receipt', 'receipt_' || id, 'amount', 0, 'available', 0), now() from charged
    ), booked as (
      insert into gsv_ledger.transactions (wallet_id, operation, at) select wallet_id, 'debit', now() from charged
        returning id
    )
    insert into gsv_ledger.entries (transaction_id, account_id, amount)
      select b.id, a.id, case a.kind when 'usage' then 1 else -1 end
        from booked b, gsv_ledger.accounts a where a.wallet_id is null and a.kind in ('usage', 'written_off')`;
}
