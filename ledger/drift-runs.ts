import type { TransactionSql } from './database.ts';
import type { DriftQuery } from './drift.ts';
import type { DriftFindings, DriftKind } from './drift-kinds.ts';

interface Row {
  kind: DriftKind;
  name: string;
  wallet: string | null;
  detail: string;
}

/**
 * Receipts against holds, which are the records of the runs: a captured hold has one receipt, which charges what the
 * hold says, and lines that say the same.
 *
 * @returns how many holds were charged in the period
 */
export async function compareRuns(tx: TransactionSql, query: DriftQuery, findings: DriftFindings): Promise<number> {
  const [from, to, wallet] = [query.from ?? null, query.to ?? null, query.wallet ?? null];
  const rows = await tx<Row[]>`
    with charged as materialized (
      select r.*, w.name as wallet from gsv_ledger.receipts r join gsv_ledger.wallets w on w.id = r.wallet_id
        where (${from}::timestamptz is null or r.at >= ${from}::timestamptz)
          and (${to}::timestamptz is null or r.at < ${to}::timestamptz) and (${wallet}::text is null or w.name = ${wallet})
    ), ended as materialized (
      select h.*, w.name as wallet from gsv_ledger.holds h join gsv_ledger.wallets w on w.id = h.wallet_id
        where h.state = 'captured' and (${from}::timestamptz is null or h.ended_at >= ${from}::timestamptz)
          and (${to}::timestamptz is null or h.ended_at < ${to}::timestamptz) and (${wallet}::text is null or w.name = ${wallet})
    )
    select 'hold_without_receipt' as kind, 'hold_' || h.id as name, h.wallet,
        format('captured %s at %s, run %s', h.captured, gsv_ledger.iso(h.ended_at), coalesce(h.run_id, 'unnamed')) as detail
      from ended h where not exists (select from gsv_ledger.receipts r where r.hold_id = h.id)
    union all
    select 'hold_with_several_receipts', 'hold_' || hold_id, min(wallet),
        format('receipts %s', string_agg('receipt_' || id, ', ' order by id))
      from charged where hold_id is not null group by hold_id having count(*) > 1
    union all
    select 'hold_amount_differs', 'hold_' || h.id, r.wallet,
        format('the hold says %s, receipt_%s charges %s', h.captured, r.id, r.amount)
      from charged r join gsv_ledger.holds h on h.id = r.hold_id
      where h.captured <> r.amount
        and not exists (select from gsv_ledger.receipts x where x.hold_id = r.hold_id and x.id <> r.id)
    union all
    select 'receipt_of_no_run', 'receipt_' || r.id, r.wallet, format('names hold_%s', r.hold_id)
      from charged r where r.hold_id is not null and not exists (select from gsv_ledger.holds h where h.id = r.hold_id)
    union all
    select 'receipt_lines_differ', 'receipt_' || r.id, r.wallet, format('charges %s, its lines sum to %s', r.amount, l.amount)
      from charged r cross join lateral (
        select coalesce(sum(amount), 0) as amount from gsv_ledger.receipt_lines where receipt_id = r.id) l
      where l.amount <> r.amount
    union all
    select 'run_charged_twice', h.run_id, min(h.wallet), format('captured holds %s', string_agg('hold_' || h.id, ', ' order by h.id))
      from ended h where h.run_id is not null group by h.wallet_id, h.run_id having count(*) > 1`;
  for (const { wallet: name, ...row } of rows) findings.add({ ...row, ...(name === null ? {} : { wallet: name }) });
  const [counted] = await tx<{ holds: number }[]>`
    select count(*)::float8 as holds from gsv_ledger.receipts r join gsv_ledger.wallets w on w.id = r.wallet_id
      where r.hold_id is not null and (${from}::timestamptz is null or r.at >= ${from}::timestamptz)
        and (${to}::timestamptz is null or r.at < ${to}::timestamptz) and (${wallet}::text is null or w.name = ${wallet})`;
  return counted?.holds ?? 0;
}
