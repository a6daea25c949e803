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
  const hash = "'0123456789abcdef0123456789abcdef'";
  await admin.unsafe(`
    insert into gsv_ledger.journal (wallet_id, at, first_entry, receipt_id, answered, key, payload, operation, entries, lines)
      select 1 + n % ${wallets}, now(), setval('gsv_ledger.entry_ids', nextval('gsv_ledger.entry_ids') + 1) - 1,
          nextval('gsv_ledger.receipt_ids'), 0, gen_random_uuid(), ${hash}::uuid, 'debit',
          array[u.id, 0, 1, o.id, 0, -1], '[["run", 1, 1]]'
        from generate_series(1, ${debits}) n, gsv_ledger.accounts u, gsv_ledger.accounts o
        where u.wallet_id is null and u.kind = 'usage' and u.offering = '' and o.wallet_id is null and o.kind = 'written_off'`);
}
