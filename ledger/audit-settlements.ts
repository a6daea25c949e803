import type { TransactionSql } from './database.ts';

/**
 * Recomputes from the entries what settlements hold back of each grant, and that no wallet holds back other than
 * the share of an order that is not paid (less where finance had revoked by hand before).
 */
export function checkSettlements(tx: TransactionSql, limit: number): PromiseLike<{ problem: string }[]> {
  return tx<{ problem: string }[]>`
    with booked as (
      select e.grant_id, coalesce(sum(e.amount) filter (where a.kind in ('revoked', 'clawed_back')), 0) as taken,
          -coalesce(sum(e.amount) filter (where a.kind in ('issued', 'promotions')), 0) as restored
        from transactions t join entries e on e.transaction_id = t.id join accounts a on a.id = e.account_id
        where t.operation = 'settle' and e.grant_id is not null group by e.grant_id
    ), cached as (
      select coalesce(b.grant_id, r.grant_id) as grant_id, coalesce(r.credits + r.debt + r.written_off, 0) as reclaimed,
          coalesce(r.restored, 0) as restored, coalesce(b.taken - b.restored, 0) as booked, coalesce(b.restored, 0) as again
        from reclaims r full join booked b on b.grant_id = r.grant_id
    ), orders as (
      select s.shop, s.order_id, w.name, sum(g.amount - coalesce(r.restored, 0)) as granted, s.charged, s.total,
          coalesce(sum(r.credits + r.debt + r.written_off), 0) as reclaimed
        from order_settlements s join fulfilments f on f.shop = s.shop and f.order_id = s.order_id
          join grants g on g.fulfilment_id = f.id join wallets w on w.id = g.wallet_id left join reclaims r on r.grant_id = g.id
        where w.state = 'open' group by s.shop, s.order_id, w.id
    )
    select format('grant_%s: settlements hold back %s and gave %s again, the entries say %s and %s', grant_id, reclaimed,
        restored, booked, again) as problem
      from cached where reclaimed <> booked or restored <> again
    union all
    select format('order %s of %s: %s holds back %s of %s, paid are %s of %s', order_id, shop, name, reclaimed, granted,
        charged, total)
      from orders where reclaimed > granted - settled_amount(granted, charged, total)
    limit ${limit}`;
}
