import { createHash } from 'node:crypto';
import type { BlobStore } from '../config/artifacts.ts';
import { ACCOUNT_COLUMNS, AccountStatements } from './account-statements.ts';
import { toCsv } from './csv.ts';
import { type LedgerSql, withDatabase } from './database.ts';
import { OrderStatements } from './order-statements.ts';
import type { AccountStatementItem, OrderStatement } from './wire-finance.ts';

/** Transactions of one file: some 30 MB of CSV, which a process holds at a time. */
const TRANSACTIONS_PER_FILE = 50_000;

const ENTRY_COLUMNS = [
  'entry',
  'transaction',
  'at',
  'operation',
  'account',
  'amount',
  'grant',
  'hold',
  'receipt',
  'reason',
];
const ORDER_COLUMNS = [
  'shop',
  'order',
  'recordedAt',
  'units',
  'charged',
  'total',
  'asOf',
  'granted',
  'takenBack',
  'kept',
];

/** Says what was wrong with the month; nothing was written. */
export class ArchiveError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ArchiveError';
  }
}

/** What an archived month consists of; written last, so a month with a manifest is whole. */
export interface ArchiveManifest {
  month: string;
  /** Newest link of the chain when it was archived: whoever keeps it can tell that nothing before has changed. */
  chain: { link: number; digest: string };
  entries: number;
  orders: OrderStatement['totals'];
  /** The trial balance of the month. */
  accounts: AccountStatementItem[];
  files: { key: string; sha256: string; sizeBytes: number }[];
}

interface EntryRow {
  entry: string;
  last: number;
}

/**
 * Writes a month that is over (UTC) to the blob store under `ledger/periods/<YYYY-MM>/`: every entry, the orders, the trial balance and
 * a manifest with the head of the chain. Doing it again answers the first manifest; an archive is never rewritten.
 *
 * @throws ArchiveError for what is no month, or one that is not over
 */
export async function archiveMonth(
  month: string,
  { sql, blobs, now }: { sql: LedgerSql; blobs: BlobStore; now: () => Date },
): Promise<ArchiveManifest> {
  const { from, to } = monthBounds(month);
  if (now().getTime() < to.getTime()) throw new ArchiveError(`${month} is not over`);
  const folder = `ledger/periods/${month}`;
  const present = await blobs.get(`${folder}/manifest.json`);
  if (present) return JSON.parse(new TextDecoder().decode(present)) as ArchiveManifest;

  const files: ArchiveManifest['files'] = [];
  const write = async (name: string, text: string): Promise<void> => {
    const bytes = new TextEncoder().encode(text);
    const key = `${folder}/${name}`;
    await blobs.put(key, bytes);
    files.push({ key, sha256: createHash('sha256').update(bytes).digest('hex'), sizeBytes: bytes.length });
  };
  const period = { from: from.toISOString(), to: to.toISOString() };
  const orders = await new OrderStatements(sql).whole(period);
  if (orders.status !== 200) throw new ArchiveError(String(orders.body.detail));
  const { items, totals } = orders.body as unknown as OrderStatement;
  await write('orders.csv', toCsv(ORDER_COLUMNS, items));
  const accounts = (await new AccountStatements(sql).read(period)).items;
  await write('accounts.csv', toCsv(ACCOUNT_COLUMNS, accounts));
  const before = files.length;
  let entries = 0;
  for (let after = 0; ; ) {
    const rows = await entriesAfter(sql, after, from, to);
    const last = rows.at(-1);
    if (last === undefined) break;
    entries += rows.length;
    await write(`entries-${String(files.length - before + 1).padStart(4, '0')}.csv`, toCsv(ENTRY_COLUMNS, rows));
    after = last.last;
  }
  const manifest: ArchiveManifest = { month, chain: await chainHead(sql), entries, orders: totals, accounts, files };
  await blobs.put(`${folder}/manifest.json`, new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`));
  return manifest;
}

function monthBounds(month: string): { from: Date; to: Date } {
  const [, year, number] = /^([1-9]\d{3})-(0[1-9]|1[0-2])$/.exec(month) ?? [];
  if (year === undefined || number === undefined) throw new ArchiveError(`${month} is no month like 2026-10`);
  return {
    from: new Date(Date.UTC(Number(year), Number(number) - 1, 1)),
    to: new Date(Date.UTC(Number(year), Number(number), 1)),
  };
}

function entriesAfter(sql: LedgerSql, after: number, from: Date, to: Date): Promise<EntryRow[]> {
  return withDatabase(
    () => sql<EntryRow[]>`
      select 'entry_' || e.id as entry, 'transaction_' || t.id as transaction, gsv_ledger.iso(t.at) as at, t.operation,
          concat_ws('/', coalesce(w.name, 'store'), a.kind, nullif(a.offering, '')) as account, e.amount::float8 as amount, 'grant_' || e.grant_id as grant,
          'hold_' || t.hold_id as hold, 'receipt_' || t.receipt_id as receipt, t.reason, t.id::float8 as last
        from (select * from gsv_ledger.transactions
            where id > ${after} and at >= ${from} and at < ${to} order by id limit ${TRANSACTIONS_PER_FILE}) t
          join gsv_ledger.entries e on e.transaction_id = t.id join gsv_ledger.accounts a on a.id = e.account_id
          left join gsv_ledger.wallets w on w.id = a.wallet_id
        order by t.id, e.id`,
  );
}

async function chainHead(sql: LedgerSql): Promise<ArchiveManifest['chain']> {
  const [head] = await withDatabase(
    () => sql<{ link: number; digest: string }[]>`
      select link::float8 as link, encode(digest, 'hex') as digest from gsv_ledger.chain order by link desc limit 1`,
  );
  return head ? { link: head.link, digest: head.digest } : { link: 0, digest: '' };
}
