import { and, asc, desc, eq, gt, lte, type SQL, sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/pg-proxy';
import { accountName } from './accounts.ts';
import { type LedgerSql, withDatabase } from './database.ts';
import type { OperationResult } from './operations.ts';
import { accounts, entries, events, fulfilments, holds, receipts, transactions, wallets } from './schema.ts';
import type { ConsumerPosition, Entry, Fulfilment, Hold, LedgerEvent, Line, Page, Receipt, Wallet } from './wire.ts';

/** Items of one page. */
const MAX_PAGE = 100;

export interface PageQuery {
  cursor?: string | undefined;
  /** 1..100; absent = 100. */
  limit?: number | undefined;
}

export interface FulfilmentQuery extends PageQuery {
  shop?: string | undefined;
  order?: string | undefined;
  line?: string | undefined;
  ordinal?: number | undefined;
}

/**
 * Reads of the book. Each reply comes from one statement and hence from one moment. Reads of a wallet, a hold or
 * a run first book what is due in that wallet, so that nothing is shown that has expired.
 *
 * Every method may throw `DatabaseUnavailable`.
 */
export class LedgerQueries {
  readonly #sql: LedgerSql;
  readonly #now: () => Date;
  readonly #db: ReturnType<typeof drizzle>;

  constructor(client: LedgerSql, options: { now?: () => Date } = {}) {
    this.#sql = client;
    this.#now = options.now ?? (() => new Date());
    // The proxy driver, so that drizzle's reads go the way of all others.
    this.#db = drizzle(async (text, params) => ({
      rows: await withDatabase(() => client.values(text, params)),
    }));
  }

  /** The open wallet of that name, else the one closed last. 404 `wallet_not_found`. */
  async wallet(name: string): Promise<OperationResult> {
    await this.#settle(name);
    const [row] = await this.#db
      .select({ body: sql<Wallet>`gsv_ledger.wallet_body(wallets)` })
      .from(wallets)
      .where(eq(wallets.name, name))
      .orderBy(sql`(${wallets.state} = 'open') desc`, desc(wallets.id))
      .limit(1);
    return row ? found(row.body) : missing('wallet_not_found', `there is no wallet ${name}`);
  }

  /** Open wallets, oldest first: names and owners. Nothing is booked, so there are no balances. */
  async wallets(query: PageQuery = {}): Promise<OperationResult> {
    const after = query.cursor === undefined ? [0] : cursorOf(query.cursor, 1);
    if (after === undefined) return badCursor();
    const limit = pageLimit(query);
    const rows = await this.#db
      .select({ id: wallets.id, wallet: wallets.name, ownerUid: wallets.ownerUid })
      .from(wallets)
      .where(and(gt(wallets.id, after[0] ?? 0), eq(wallets.state, 'open')))
      .orderBy(asc(wallets.id))
      .limit(limit + 1);
    const body = ({ wallet, ownerUid }: (typeof rows)[number]) => ({ wallet, ownerUid });
    return found(toPage(rows, limit, ({ id }) => String(id), body));
  }

  /** 404 `hold_not_found`. */
  async hold(hold: string): Promise<OperationResult> {
    const id = localId('hold', hold);
    const body = id === undefined ? undefined : await this.#hold(eq(holds.id, id));
    return body ? found(body) : missing('hold_not_found', `there is no hold ${hold}`);
  }

  /** The hold whose context named that run; the latest one. 404 `run_not_found`. */
  async run(runId: string): Promise<OperationResult> {
    const body = await this.#hold(eq(holds.runId, runId));
    return body ? found(body) : missing('run_not_found', `there is no run ${runId}`);
  }

  /**
   * Open holds of an Instance, or of all, oldest first. What has expired is not among them; of one Instance it is booked
   * before, of all by the sweeper.
   */
  async openHolds(instanceUid?: string, query: PageQuery = {}): Promise<OperationResult> {
    const after = query.cursor === undefined ? [0] : cursorOf(query.cursor, 1);
    if (after === undefined) return badCursor();
    const limit = pageLimit(query);
    const open = and(
      instanceUid === undefined ? undefined : eq(holds.instanceUid, instanceUid),
      eq(holds.state, 'open'),
    );
    if (instanceUid !== undefined) await this.#settlePayers(open);
    const notDue = gt(holds.expiresAt, this.#now());
    const rows = await this.#holds(and(open, notDue, gt(holds.id, after[0] ?? 0)), asc(holds.id), limit + 1);
    return found(toPage(rows, limit, ({ hold }) => String(hold.id), holdBody));
  }

  async #settlePayers(open: SQL | undefined): Promise<void> {
    const payers = await this.#db
      .selectDistinct({ wallet: wallets.name })
      .from(holds)
      .innerJoin(wallets, eq(wallets.id, holds.walletId))
      .where(and(open, lte(holds.expiresAt, this.#now())));
    for (const { wallet } of payers) await this.#settle(wallet);
  }

  async #hold(where: SQL): Promise<Hold | undefined> {
    const read = () => this.#holds(where, desc(holds.id), 1);
    let [row] = await read();
    if (row?.hold.state === 'open' && (await this.#settle(row.wallet))) [row] = await read();
    return row && holdBody(row);
  }

  #holds(where: SQL | undefined, order: SQL, limit: number): Promise<HoldRow[]> {
    return this.#db
      .select({ hold: holds, wallet: wallets.name })
      .from(holds)
      .innerJoin(wallets, eq(wallets.id, holds.walletId))
      .where(where)
      .orderBy(order)
      .limit(limit);
  }

  /** All captures of a hold, or one debit. 404 `receipt_not_found`. */
  async receipt(receipt: string): Promise<OperationResult> {
    const id = localId('receipt', receipt);
    const [row] =
      id === undefined
        ? []
        : await this.#db
            .select({
              receipt: receipts,
              hold: holds,
              wallet: wallets.name,
              available: wallets.available,
              lines: receiptLinesJson,
              grants: receiptGrantsJson,
            })
            .from(receipts)
            .innerJoin(wallets, eq(wallets.id, receipts.walletId))
            .leftJoin(holds, eq(holds.id, receipts.holdId))
            .where(eq(receipts.id, id));
    if (!row) return missing('receipt_not_found', `there is no receipt ${receipt}`);
    const { hold } = row;
    const body: Receipt = {
      receipt,
      wallet: row.wallet,
      amount: row.receipt.amount,
      ...(hold ? { hold: `hold_${hold.id}`, state: hold.state, released: hold.released } : {}),
      overrun: {
        fromAvailable: row.receipt.fromAvailable,
        debt: row.receipt.debt,
        writtenOff: row.receipt.writtenOff,
      },
      lines: row.lines,
      available: row.available,
      at: time(row.receipt.at),
      context: (hold?.context ?? row.receipt.context ?? {}) as Record<string, unknown>,
      grants: row.grants,
    };
    return found(body);
  }

  /** The book of a wallet from its beginning, contra entries included; whole transactions sum to zero. */
  async entries(name: string, page: PageQuery = {}): Promise<OperationResult> {
    await this.#settle(name);
    const wallet = await this.#walletId(name);
    if (wallet === undefined) return missing('wallet_not_found', `there is no wallet ${name}`);
    const after = page.cursor === undefined ? [0, 0] : cursorOf(page.cursor, 2);
    if (after === undefined) return badCursor();
    const limit = pageLimit(page);
    const rows = await this.#db
      .select({
        entry: entries.id,
        amount: entries.amount,
        transaction: transactions,
        account: { kind: accounts.kind, offering: accounts.offering },
        accountWallet: accounts.walletId,
        context: sql<Record<string, unknown> | null>`coalesce(${holds.context}, ${transactions.context})`,
      })
      .from(transactions)
      .innerJoin(entries, eq(entries.transactionId, transactions.id))
      .innerJoin(accounts, eq(accounts.id, entries.accountId))
      .leftJoin(holds, eq(holds.id, transactions.holdId))
      .where(
        and(
          eq(transactions.walletId, wallet),
          sql`(${transactions.id}, ${entries.id}) > (${after[0]}::bigint, ${after[1]}::bigint)`,
        ),
      )
      .orderBy(asc(transactions.id), asc(entries.id))
      .limit(limit + 1);
    return found(
      toPage(
        rows,
        limit,
        (row) => `${row.transaction.id}.${row.entry}`,
        ({ entry, amount, transaction, account, accountWallet, context }): Entry =>
          present({
            entry: `entry_${entry}`,
            transaction: `transaction_${transaction.id}`,
            operation: transaction.operation,
            account: accountName(account, accountWallet === null ? null : name),
            amount,
            at: time(transaction.at),
            hold: transaction.holdId === null ? null : `hold_${transaction.holdId}`,
            receipt: transaction.receiptId === null ? null : `receipt_${transaction.receiptId}`,
            context,
          }),
      ),
    );
  }

  /** Fulfilments that match every field that is given, oldest first. */
  async fulfilments(query: FulfilmentQuery = {}): Promise<OperationResult> {
    const after = query.cursor === undefined ? [0] : cursorOf(query.cursor, 1);
    if (after === undefined) return badCursor();
    const limit = pageLimit(query);
    const rows = await this.#db
      .select({ id: fulfilments.id, body: sql<Fulfilment>`gsv_ledger.fulfilment_body(fulfilments)` })
      .from(fulfilments)
      .where(
        and(
          gt(fulfilments.id, after[0] ?? 0),
          query.shop === undefined ? undefined : eq(fulfilments.shop, query.shop),
          query.order === undefined ? undefined : eq(fulfilments.orderId, query.order),
          query.line === undefined ? undefined : eq(fulfilments.line, query.line),
          query.ordinal === undefined ? undefined : eq(fulfilments.ordinal, query.ordinal),
        ),
      )
      .orderBy(asc(fulfilments.id))
      .limit(limit + 1);
    return found(
      toPage(
        rows,
        limit,
        ({ id }) => String(id),
        ({ body }) => body,
      ),
    );
  }

  /**
   * Events with a higher `seq` than `after`, in order. Reading on after the highest one misses nothing: `seq` is
   * given at commit, under a lock, so a lower one never appears later.
   */
  async events(after: number, limit: number): Promise<LedgerEvent[]> {
    const rows = await this.#db
      .select({ event: events, wallet: wallets.name })
      .from(events)
      .innerJoin(wallets, eq(wallets.id, events.walletId))
      .where(gt(events.seq, after))
      .orderBy(asc(events.seq))
      .limit(limit);
    return rows.map(({ event, wallet }) => ({
      seq: event.seq ?? 0,
      type: event.type,
      wallet,
      at: time(event.at),
      data: event.data as Record<string, unknown>,
    }));
  }

  /** Where a reader of the feed stands; one that never said so stands at 0. */
  async consumer(name: string): Promise<OperationResult> {
    const [row] = await withDatabase(
      () => this.#sql<{ body: ConsumerPosition | null; last: number }[]>`
        select (select gsv_ledger.consumer_body(c) from gsv_ledger.consumers c where name = ${name}) as body,
          (select coalesce(max(seq), 0)::float8 from gsv_ledger.events) as last`,
    );
    return found(row?.body ?? { consumer: name, position: 0, last: row?.last ?? 0 });
  }

  /** Books what is due in a wallet; takes no lock when nothing is. True when something was. */
  async #settle(name: string): Promise<boolean> {
    const [row] = await withDatabase(
      () => this.#sql<{ settled: boolean }[]>`select gsv_ledger.settle_wallet(${name}, ${this.#now()}) as settled`,
    );
    return row?.settled ?? false;
  }

  async #walletId(name: string): Promise<number | undefined> {
    const [row] = await this.#db
      .select({ id: wallets.id })
      .from(wallets)
      .where(eq(wallets.name, name))
      .orderBy(sql`(${wallets.state} = 'open') desc`, desc(wallets.id))
      .limit(1);
    return row?.id;
  }
}

const receiptLinesJson = sql<Line[]>`(
  select coalesce(json_agg(json_build_object('dimension', l.dimension, 'units', l.units, 'amount', l.amount)
      order by l.position), '[]')
    from gsv_ledger.receipt_lines l where l.receipt_id = ${receipts.id})`;

/** What of the charge each grant paid, and with which order line it was bought; the rest is debt and write-off. */
const receiptGrantsJson = sql<Receipt['grants']>`(
  select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('grant', 'grant_' || g.grant_id, 'amount', g.amount,
      'kind', x.kind, 'shop', f.shop, 'order', f.order_id, 'line', f.line)) order by g.grant_id), '[]')
    from (select e.grant_id, sum(e.amount)::bigint as amount
        from gsv_ledger.transactions t
          join gsv_ledger.entries e on e.transaction_id = t.id
          join gsv_ledger.accounts a on a.id = e.account_id and a.wallet_id is null and a.kind = 'usage'
        where t.receipt_id = ${receipts.id} and e.grant_id is not null group by e.grant_id) g
      join gsv_ledger.grants x on x.id = g.grant_id left join gsv_ledger.fulfilments f on f.id = x.fulfilment_id)`;

interface HoldRow {
  hold: typeof holds.$inferSelect;
  wallet: string;
}

function holdBody({ hold, wallet }: HoldRow): Hold {
  return present({
    hold: `hold_${hold.id}`,
    wallet,
    amount: hold.amount,
    state: hold.state,
    expiresAt: time(hold.expiresAt),
    offering: hold.offering,
    project: hold.project,
    instanceUid: hold.instanceUid,
    receipt: hold.receiptId === null ? null : `receipt_${hold.receiptId}`,
    resultRef: hold.resultRef,
    reason: hold.reason,
    context: hold.context,
  });
}

function found(body: object): OperationResult {
  return { status: 200, body: body as Record<string, unknown>, replayed: false };
}

function missing(code: string, detail: string): OperationResult {
  return { status: 404, body: { code, detail }, replayed: false };
}

function badCursor(): OperationResult {
  return {
    status: 422,
    body: { code: 'invalid_request', detail: 'the cursor is not one of ours; start without it' },
    replayed: false,
  };
}

/** `hold_42` -> 42. */
function localId(prefix: string, id: string): number | undefined {
  const [, digits] = new RegExp(`^${prefix}_([1-9]\\d{0,14})$`).exec(id) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

function cursorOf(cursor: string, parts: number): number[] | undefined {
  const numbers = cursor.split('.');
  return numbers.length === parts && numbers.every((part) => /^\d{1,15}$/.test(part)) ? numbers.map(Number) : undefined;
}

function pageLimit({ limit }: PageQuery): number {
  return limit === undefined || !Number.isFinite(limit) ? MAX_PAGE : Math.min(MAX_PAGE, Math.max(1, Math.trunc(limit)));
}

function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  cursor: (row: Row) => string,
  item: (row: Row) => Item,
): Page<Item> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return { items: shown.map(item), next: rows.length > limit && last !== undefined ? cursor(last) : null };
}

/** RFC 3339, without a fraction when it is zero, like the SQL functions write it. */
function time(at: Date): string {
  return at.toISOString().replace('.000Z', 'Z');
}

/** Leaves out what is null: absent fields are absent in our replies. */
function present<T>(fields: Record<string, unknown>): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) as T;
}
