import { type LedgerSql, withDatabase } from './database.ts';
import type { OperationResult } from './operations.ts';
import type { PageQuery } from './queries.ts';
import { MAX_CSV_ROWS, type Period } from './statements.ts';
import type { OrderStatement, OrderStatementItem } from './wire-finance.ts';

export interface OrderStatementQuery extends Period, PageQuery {
  shop?: string | undefined;
  limit: number;
}

interface Row {
  items: (OrderStatementItem & { id: number })[];
  totals: OrderStatement['totals'];
}

/**
 * Orders whose first unit was recorded in a period: what the shop says is paid of each, beside the credits that were
 * granted for it and that it keeps. This is what finance ties the shop's payments to.
 *
 * Every method may throw `DatabaseUnavailable`.
 */
export class OrderStatements {
  readonly #sql: LedgerSql;

  constructor(sql: LedgerSql) {
    this.#sql = sql;
  }

  /** A page, oldest first; `totals` are of the whole period. 422 a cursor that is not ours. */
  async page(query: OrderStatementQuery): Promise<OperationResult> {
    const { cursor, limit } = query;
    if (cursor !== undefined && !/^\d{1,15}$/.test(cursor)) {
      return refused('the cursor is not one of ours; start without it');
    }
    const { items, totals } = await this.#read(query, Number(cursor ?? 0), limit);
    const shown = items.slice(0, limit);
    const next = items.length > limit ? String(shown.at(-1)?.id) : null;
    const body: OrderStatement = { totals, items: shown.map(({ id: _, ...item }) => item), next };
    return { status: 200, body: { ...body }, replayed: false };
  }

  /** The whole of a period. 422 when it has more than {@link MAX_CSV_ROWS} orders. */
  async whole(query: Omit<OrderStatementQuery, 'limit' | 'cursor'>): Promise<OperationResult> {
    const read = await this.page({ ...query, limit: MAX_CSV_ROWS });
    return read.body.next === null
      ? read
      : refused(`the period has more than ${MAX_CSV_ROWS} orders; ask for a shorter one`);
  }

  async #read(query: OrderStatementQuery, after: number, limit: number): Promise<Row> {
    const [shop, from, to] = [query.shop ?? null, query.from ?? null, query.to ?? null];
    const [row] = await withDatabase(
      () => this.#sql<Row[]>`
        with sold as (
          select f.shop, f.order_id, min(f.id) as id, min(f.created_at) as at, count(*) as units,
              coalesce(sum(g.granted), 0) as granted, coalesce(sum(g.taken_back), 0) as taken_back,
              coalesce(sum(g.remaining), 0) as remaining
            from gsv_ledger.fulfilments f
              left join lateral (
                select sum(x.amount - coalesce(r.restored, 0)) as granted, sum(x.remaining) as remaining,
                    sum(r.credits + r.debt + r.written_off) as taken_back
                  from gsv_ledger.grants x left join gsv_ledger.reclaims r on r.grant_id = x.id
                  where x.fulfilment_id = f.id) g on true
            -- Trials are nobody's payment.
            where f.shop <> 'trial' and (${shop}::text is null or f.shop = ${shop}::text)
            group by f.shop, f.order_id
            having (${from}::timestamptz is null or min(f.created_at) >= ${from}::timestamptz)
              and (${to}::timestamptz is null or min(f.created_at) < ${to}::timestamptz)
        ), listed as (
          select o.*, s.charged, s.total, s.as_of from sold o
              left join gsv_ledger.order_settlements s on s.shop = o.shop and s.order_id = o.order_id
            where o.id > ${after} order by o.id limit ${limit + 1}
        )
        select (select jsonb_build_object('orders', count(*), 'unconfirmed', count(*) filter (where not exists (
                select from gsv_ledger.order_settlements s where s.shop = sold.shop and s.order_id = sold.order_id)), 'granted', coalesce(sum(granted), 0),
              'takenBack', coalesce(sum(taken_back), 0), 'kept', coalesce(sum(granted - taken_back), 0)) from sold) as totals,
          (select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('id', id, 'shop', shop, 'order', order_id,
              'recordedAt', gsv_ledger.iso(at), 'units', units, 'charged', charged, 'total', total,
              'asOf', gsv_ledger.iso(as_of), 'granted', granted, 'takenBack', taken_back,
              'kept', granted - taken_back, 'remaining', remaining)) order by id), '[]') from listed) as items`,
    );
    if (row === undefined) throw new Error('the order statement answered nothing');
    return row;
  }
}

function refused(detail: string): OperationResult {
  return { status: 422, body: { code: 'invalid_request', detail }, replayed: false };
}
