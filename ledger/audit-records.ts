import type { TransactionSql } from './database.ts';

type Sql = TransactionSql;

interface Finding {
  problem: string;
}

/**
 * Compares what the book's records say besides balances with what the bookings say: whose a hold or grant is, when it
 * began and how it ended, what orders hold back, what a project has spent, of which offering usage is, and which events
 * there must be.
 */
export async function checkRecords(tx: Sql, limit: number): Promise<Finding[]> {
  const problems: Finding[] = [];
  for (const check of [checkHolds, checkOrigins, checkWords, checkSpend, checkOfferings, checkEvents]) {
    problems.push(...(await check(tx, limit)));
  }
  return problems;
}

function checkHolds(tx: Sql, limit: number): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with moved as (
      select hold_id, min(wallet_id) as wallet, max(wallet_id) as other, min(at) filter (where operation = 'hold') as began,
          (array_agg(at order by id desc) filter (where operation <> 'hold'))[1] as ended, bool_or(operation = 'void') as voided,
          bool_or(operation = 'hold_expiry') as expired
        from transactions where hold_id is not null group by hold_id
    ), parts as (
      select t.hold_id, coalesce(sum(e.amount) filter (where a.kind = 'usage'), 0) as charged,
          coalesce(sum(e.amount) filter (where a.kind in ('available', 'breakage') and e.amount > 0), 0) as released
        from transactions t join entries e on e.transaction_id = t.id join accounts a on a.id = e.account_id
        where t.hold_id is not null group by t.hold_id
    )
    select format('hold_%s of %s is %s, began %s, ended %s, was charged %s and gave back %s; its bookings say otherwise',
        h.id, w.name, h.state, h.created_at, h.ended_at, h.captured, h.released) as problem
      from holds h left join wallets w on w.id = h.wallet_id left join moved m on m.hold_id = h.id
        left join parts p on p.hold_id = h.id
      where m.wallet is distinct from h.wallet_id or m.other is distinct from h.wallet_id
        or m.began is distinct from h.created_at or h.captured <> p.charged or h.released <> p.released
        or m.voided <> (h.state = 'voided' and h.amount > 0) or m.expired <> (h.state = 'expired' and h.amount > 0)
        or (h.ended_at is not null and h.amount > 0 and m.ended <> h.ended_at)
        or (h.state = 'expired' and h.ended_at < h.expires_at) or cardinality(h.reserved) % 2 = 1
    limit ${limit}`;
}

function checkOrigins(tx: Sql, limit: number): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with issued as (
      select e.grant_id, min(t.at) as at from transactions t join entries e on e.transaction_id = t.id
        where t.operation = 'grant' and e.grant_id is not null group by e.grant_id
    )
    select format('grant_%s was made at %s, its booking says %s', g.id, g.created_at, i.at) as problem
      from grants g left join issued i on i.grant_id = g.id where i.at is distinct from g.created_at
    union all
    select format('grant_%s names fulfilment_%s, which is not there, of another wallet or of another time', g.id, g.fulfilment_id)
      from grants g left join fulfilments f on f.id = g.fulfilment_id
      where g.fulfilment_id is not null
        and (f.id is null or f.wallet_id <> g.wallet_id or f.created_at <> g.created_at)
    union all
    select format('fulfilment_%s names a wallet or a fulfilment that is not there', f.id)
      from fulfilments f left join wallets w on w.id = f.wallet_id left join fulfilments r on r.id = f.renews
      where w.id is null or (f.renews is not null and r.wallet_id is distinct from f.wallet_id)
    union all
    select format('fulfilment_%s is claimed at %s by %s', id, claimed_at, coalesce(instance_uid, 'nobody'))
      from fulfilments where (claimed_at is null) <> (instance_uid is null)
    union all
    select format('link_%s is of a format %s that does not exist', link, format) from chain where format not in (1, 2)
    union all
    select format('%s names accounts that are not its own', w.name) from wallets w
      where not exists (select from accounts where id = w.available_account and wallet_id = w.id and kind = 'available')
        or not exists (select from accounts where id = w.held_account and wallet_id = w.id and kind = 'held')
        or not exists (select from accounts where id = w.debt_account and wallet_id = w.id and kind = 'debt')
    limit ${limit}`;
}

/** Where finance has revoked nothing by hand, an order holds back exactly what is not paid of it. */
function checkWords(tx: Sql, limit: number): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with orders as (
      select f.shop, f.order_id, w.name, sum(g.amount - coalesce(r.restored, 0)) as granted,
          coalesce(sum(r.credits + r.debt + r.written_off), 0) as reclaimed,
          sum(g.revoked + g.clawed_back - coalesce(r.credits + r.debt + r.written_off + r.restored, 0)) as by_hand
        from fulfilments f join grants g on g.fulfilment_id = f.id join wallets w on w.id = f.wallet_id
          left join reclaims r on r.grant_id = g.id
        where w.state = 'open' group by f.shop, f.order_id, w.id
    )
    select format('order %s of %s: %s holds back %s of %s, paid are %s of %s', o.order_id, o.shop, o.name, o.reclaimed,
        o.granted, coalesce(s.charged::text, 'nobody knows what'), coalesce(s.total::text, 'what')) as problem
      from orders o left join order_settlements s on s.shop = o.shop and s.order_id = o.order_id
      where o.reclaimed <> case when s.shop is null then 0 else o.granted - settled_amount(o.granted, s.charged, s.total) end
        and (o.by_hand <= 0 or s.shop is null)
    limit ${limit}`;
}

/** A debit does not say for which project it was, so what a project has spent lies between two sums. */
function checkSpend(tx: Sql, limit: number): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with charged as (
      select t.wallet_id, h.project, date_trunc('month', t.at at time zone 'UTC')::date as month, sum(e.amount) as amount
        from transactions t join entries e on e.transaction_id = t.id
          join accounts a on a.id = e.account_id and a.kind = 'usage' left join holds h on h.id = t.hold_id
        group by 1, 2, 3
    ), runs as (
      select wallet_id, project, month, amount from charged where project is not null
    ), others as (
      select wallet_id, month, sum(amount) filter (where project is null) as amount from charged group by 1, 2
    )
    select format('%s: project %s has spent %s in %s; its runs were charged %s, and no more than %s can be added',
        coalesce(w.name, 'wallet_' || s.wallet_id),
        coalesce(s.project, r.project), coalesce(s.amount, 0), coalesce(s.month, r.month), coalesce(r.amount, 0),
        coalesce(o.amount, 0)) as problem
      from project_spend s full join runs r on r.wallet_id = s.wallet_id and r.project = s.project and r.month = s.month
        left join others o on o.wallet_id = coalesce(s.wallet_id, r.wallet_id) and o.month = coalesce(s.month, r.month)
        left join wallets w on w.id = coalesce(s.wallet_id, r.wallet_id)
      where coalesce(s.amount, 0) < coalesce(r.amount, 0)
        or coalesce(s.amount, 0) > coalesce(r.amount, 0) + coalesce(o.amount, 0)
    limit ${limit}`;
}

/** Each expired hold and each first receipt was announced once, in its own wallet's name. */
/** Usage that is older than the accounts of offerings is in the one of none. */
function checkOfferings(tx: Sql, limit: number): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    select format('transaction_%s books usage of %s, hold_%s is of %s', t.id, a.offering, h.id, coalesce(h.offering, 'none'))
        as problem
      from holds h join transactions t on t.hold_id = h.id join entries e on e.transaction_id = t.id
        join accounts a on a.id = e.account_id and a.offering <> ''
      where h.captured > 0 and a.offering is distinct from h.offering
    limit ${limit}`;
}

function checkEvents(tx: Sql, limit: number): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with told as (
      select wallet_id, data ->> 'hold' as hold, at, count(*) as times from events where type = 'hold.expired' group by 1, 2, 3
    ), first as (
      select data ->> 'receipt' as receipt, data ->> 'instanceUid' as instance, count(*) as times
        from events where type = 'receipt.first' group by 1, 2
    ), moved as (
      select wallet_id, operation, at, count(*) as times from transactions where operation = 'revoke' group by 1, 2, 3
    )
    select format('hold_%s has expired, which was announced %s times', h.id, coalesce(t.times, 0)) as problem
      from holds h full join told t on t.hold = 'hold_' || h.id and t.wallet_id = h.wallet_id and t.at = h.ended_at
      where (h.state = 'expired' and t.times is distinct from 1) or (h.state is distinct from 'expired' and t.times > 0)
    union all
    select format('receipt_%s was the first of %s, which was announced %s times', coalesce(r.receipt_id::text, f.receipt),
        coalesce(r.instance_uid, f.instance), coalesce(f.times, 0))
      from first_receipts r full join first f on f.receipt = 'receipt_' || r.receipt_id and f.instance = r.instance_uid
      where r.receipt_id is null or f.times is distinct from 1
    union all
    select format('event_%s names no wallet', e.id) from events e left join wallets w on w.id = e.wallet_id where w.id is null
    union all
    select format('%s: a revocation at %s was announced %s times', w.name, m.at, (select count(*) from events e
        where e.wallet_id = m.wallet_id and e.type = 'grant.revoked' and e.at = m.at and not e.data ? 'order'))
      from moved m left join wallets w on w.id = m.wallet_id
      where m.times > (select count(*) from events e
        where e.wallet_id = m.wallet_id and e.type = 'grant.revoked' and e.at = m.at and not e.data ? 'order')
    limit ${limit}`;
}
