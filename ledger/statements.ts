import { type LedgerSql, withDatabase } from './database.ts';
import type { OperationResult } from './operations.ts';
import type { PageQuery } from './queries.ts';
import type { Statement, StatementItem } from './wire-finance.ts';

/** Rows of one CSV; a longer statement is taken period by period. A row has some 300 bytes. */
export const MAX_CSV_ROWS = 100_000;

export interface Period {
  /** RFC 3339, included. Absent: from the beginning. */
  from?: string | undefined;
  /** RFC 3339, excluded. Absent: until now. */
  to?: string | undefined;
}

interface Totals {
  wallet: string;
  openingFunds: number;
  openingDebt: number;
  closingFunds: number;
  closingDebt: number;
}

type Row = Record<string, unknown> & { id: number };

/**
 * What happened to the money of one wallet, with the balance after each step, computed from the entries and not
 * from the cached balances. Reservations move nothing out of the wallet, so they are not listed.
 *
 * Every method may throw `DatabaseUnavailable`.
 */
export class Statements {
  readonly #sql: LedgerSql;
  readonly #now: () => Date;

  constructor(sql: LedgerSql, options: { now?: () => Date } = {}) {
    this.#sql = sql;
    this.#now = options.now ?? (() => new Date());
  }

  /** A page of a statement. 404 `wallet_not_found` · 422 a cursor that is not ours. */
  async statement(wallet: string, query: Period & Required<Pick<PageQuery, 'limit'>> & PageQuery) {
    const { cursor, limit } = query;
    if (cursor !== undefined && !/^\d{1,15}$/.test(cursor)) {
      return refused(422, 'invalid_request', 'the cursor is not one of ours; start without it');
    }
    return this.#read(wallet, query, Number(cursor ?? 0), limit ?? 0);
  }

  /** The whole of a period. 404 as above · 422 `invalid_request` when it has more than {@link MAX_CSV_ROWS} rows. */
  async whole(wallet: string, period: Period): Promise<OperationResult> {
    const read = await this.#read(wallet, period, 0, MAX_CSV_ROWS);
    if (read.status !== 200 || read.body.next === null) return read;
    return refused(422, 'invalid_request', `the period has more than ${MAX_CSV_ROWS} rows; ask for a shorter one`);
  }

  async #read(name: string, period: Period, after: number, limit: number): Promise<OperationResult> {
    await withDatabase(() => this.#sql`select gsv_ledger.settle_wallet(${name}, ${this.#now()})`);
    const { from = null, to = null } = period;
    const rows = await withDatabase(
      () => this.#sql<{ totals: Totals; items: Row[] }[]>`
        with wallet as (
          select id, name from gsv_ledger.wallets where name = ${name} order by (state = 'open') desc, id desc limit 1
        ), moves as (
          select t.id, t.at, t.operation, t.hold_id, t.receipt_id, t.reason, t.context,
              coalesce(sum(e.amount) filter (where a.kind <> 'debt'), 0) as change,
              -coalesce(sum(e.amount) filter (where a.kind = 'debt'), 0) as owed
            from wallet w join gsv_ledger.transactions t on t.wallet_id = w.id
              join gsv_ledger.entries e on e.transaction_id = t.id
              join gsv_ledger.accounts a on a.id = e.account_id and a.wallet_id = w.id
            group by t.id, t.at, t.operation, t.hold_id, t.receipt_id, t.reason, t.context
        ), running as (
          select *, sum(change) over so_far as funds, sum(owed) over so_far as debt from moves
            window so_far as (order by id rows unbounded preceding)
        ), listed as (
          select * from running where (change <> 0 or owed <> 0) and id > ${after}
              and (${from}::timestamptz is null or at >= ${from}::timestamptz)
              and (${to}::timestamptz is null or at < ${to}::timestamptz)
            order by id limit ${limit + 1}
        ), described as (
          select r.id, jsonb_strip_nulls(jsonb_build_object('id', r.id, 'transaction', 'transaction_' || r.id,
              'at', gsv_ledger.iso(r.at), 'operation', r.operation, 'change', r.change, 'debtChange', r.owed,
              'balance', r.funds, 'debt', r.debt, 'hold', 'hold_' || r.hold_id, 'receipt', 'receipt_' || r.receipt_id,
              'runId', c.context ->> 'runId', 'instance', c.context ->> 'instance', 'offering', h.offering,
              'project', h.project, 'shop', coalesce(f.shop, c.context ->> 'shop'), 'order', coalesce(f.order_id, c.context ->> 'order'),
              'line', coalesce(f.line, c.context ->> 'line'), 'commit', c.context ->> 'commit',
              'contractDigest', c.context ->> 'contractDigest', 'traceId', c.context ->> 'traceId',
              'reason', coalesce(r.reason, h.reason))) as item
            from listed r
              left join gsv_ledger.holds h on h.id = r.hold_id
              cross join lateral (select coalesce(h.context, r.context) as context) c
              left join lateral (
                select u.shop, u.order_id, u.line from gsv_ledger.entries e
                  join gsv_ledger.grants g on g.id = e.grant_id join gsv_ledger.fulfilments u on u.id = g.fulfilment_id
                  where e.transaction_id = r.id and r.operation in ('grant', 'settle') order by e.id limit 1) f on true
        )
        select jsonb_build_object('wallet', w.name,
            'openingFunds', coalesce((select sum(change) from moves where at < ${from}::timestamptz), 0),
            'openingDebt', coalesce((select sum(owed) from moves where at < ${from}::timestamptz), 0),
            'closingFunds', coalesce((select sum(change) from moves where ${to}::timestamptz is null or at < ${to}::timestamptz), 0),
            'closingDebt', coalesce((select sum(owed) from moves where ${to}::timestamptz is null or at < ${to}::timestamptz), 0)
          ) as totals, (select coalesce(jsonb_agg(item order by id), '[]') from described) as items
          from wallet w`,
    );
    const [row] = rows;
    if (!row) return refused(404, 'wallet_not_found', `there is no wallet ${name}`);
    return { status: 200, body: { ...statementBody(row.totals, row.items, period, limit) }, replayed: false };
  }
}

function statementBody(totals: Totals, rows: readonly Row[], { from, to }: Period, limit: number): Statement {
  const shown = rows.slice(0, limit);
  return {
    wallet: totals.wallet,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
    opening: { balance: totals.openingFunds, debt: totals.openingDebt },
    closing: { balance: totals.closingFunds, debt: totals.closingDebt },
    items: shown.map(({ id: _, ...item }) => item as unknown as StatementItem),
    next: rows.length > limit ? String(shown.at(-1)?.id) : null,
  };
}

function refused(status: number, code: string, detail: string): OperationResult {
  return { status, body: { code, detail }, replayed: false };
}
