import { checkChain } from './audit-chain.ts';
import { checkRecords } from './audit-records.ts';
import { checkSettlements } from './audit-settlements.ts';
import { type LedgerSql, type TransactionSql, withDatabase } from './database.ts';
import type { AuditReply } from './wire.ts';

/** More findings than this say nothing new; the first ones name where to look. */
const MAX_PROBLEMS = 100;

/** Transactions that one statement sums, so that progress can be told. */
const CHUNK = 200_000;

type Sql = TransactionSql;

interface Finding {
  problem: string;
}

/**
 * Recomputes every sum of the book in one snapshot and compares: transactions and the whole book sum to zero,
 * wallets and grants hold what their entries say, holds reserve what their grants say, receipts charge what
 * their lines and entries say, and every link of the hash chain what its transactions say. Reads only.
 *
 * @param onProgress called with the number of entries checked so far
 * @returns problems that name wallet and account, grant, hold, receipt, or transaction and entries
 */
export async function audit(sql: LedgerSql, onProgress?: (checkedEntries: number) => void): Promise<AuditReply> {
  return await withDatabase(() =>
    sql.begin('isolation level repeatable read read only', async (tx) => {
      // It reads everything, which may take longer than an operation may.
      await tx`set local statement_timeout = 0`;
      const { chain, problems: broken } = await checkChain(tx);
      const { checkedEntries, problems } = await checkSums(tx, onProgress).catch((error: Error) => {
        if (broken.length === 0) throw error;
        // Somebody wrote what is no booking, and it stops every look at the book. The broken links say where it is.
        const problem = `the book cannot be read: ${error.message}`;
        return { checkedEntries: 0, problems: [{ problem }] };
      });
      problems.push(...broken);
      return {
        ok: problems.length === 0,
        checkedEntries,
        chain,
        problems: problems.slice(0, MAX_PROBLEMS).map(({ problem }) => problem),
      };
    }),
  );
}

async function checkSums(
  tx: Sql,
  onProgress: ((checked: number) => void) | undefined,
): Promise<{ checkedEntries: number; problems: Finding[] }> {
  const { checkedEntries, problems } = await checkTransactions(tx, onProgress);
  for (const check of [checkReferences, checkAccounts, checkWallets, checkGrants, checkHolds, checkReceipts]) {
    problems.push(...(await check(tx)));
  }
  problems.push(...(await checkSettlements(tx, MAX_PROBLEMS)));
  problems.push(...(await checkRecords(tx, MAX_PROBLEMS)));
  return { checkedEntries, problems };
}

async function checkTransactions(
  tx: Sql,
  onProgress: ((checked: number) => void) | undefined,
): Promise<{ checkedEntries: number; problems: Finding[] }> {
  const [last] = await tx<{ id: number }[]>`select coalesce(max(id), 0)::float8 as id from transactions`;
  const problems: Finding[] = [];
  let checkedEntries = 0;
  for (let from = 0; from < (last?.id ?? 0); from += CHUNK) {
    const [chunk] = await tx<{ entries: number; problems: string[] }[]>`
      with sums as (
        select t.id, count(e.id) as entries, coalesce(sum(e.amount), 0) as total,
            string_agg('entry_' || e.id, ', ' order by e.id) as names
          from transactions t left join entries e on e.transaction_id = t.id
          where t.id > ${from} and t.id <= ${from + CHUNK} group by t.id
      )
      select coalesce(sum(entries), 0)::float8 as entries, coalesce(array_agg(case
          when entries = 0 then format('transaction_%s has no entries', id)
          else format('transaction_%s sums to %s instead of 0 (%s)', id, total, names) end order by id)
            filter (where entries = 0 or total <> 0), '{}') as problems
        from sums`;
    checkedEntries += chunk?.entries ?? 0;
    problems.push(...(chunk?.problems ?? []).map((problem) => ({ problem })));
    onProgress?.(checkedEntries);
  }
  return { checkedEntries, problems };
}

/** What no foreign key guards, because looking it up again with every debit would cost more than the debit. */
function checkReferences(tx: Sql): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    select format('entry_%s of transaction_%s names account %s and %s, one of which is not there', e.id,
        e.transaction_id, e.account_id, coalesce('grant_' || e.grant_id, 'no grant')) as problem
      from entries e left join accounts a on a.id = e.account_id left join grants g on g.id = e.grant_id
      where a.id is null or (e.grant_id is not null and g.id is null)
    union all
    select format('transaction_%s names a wallet or hold that is not there', j.id)
      from journal j left join wallets w on w.id = j.wallet_id left join holds h on h.id = j.hold_id
      where w.id is null or (j.hold_id is not null and h.id is null)
    union all
    select format('transaction_%s is a %s without a receipt', id, operation)
      from journal where operation in ('debit', 'capture') and receipt_id is null
    union all
    select format('receipt_%s is of more than one hold or debit', receipt_id)
      from journal where receipt_id is not null group by receipt_id
      having count(distinct hold_id) > 1 or (count(*) > 1 and count(*) > count(hold_id))
    union all
    select format('hold_%s names a wallet or receipt that is not there', h.id)
      from holds h left join wallets w on w.id = h.wallet_id
      where w.id is null or (h.receipt_id is not null and not exists (select from journal j where j.receipt_id = h.receipt_id))
    union all
    select format('hold_%s names receipt_%s, its receipt is receipt_%s', h.id, coalesce(h.receipt_id, 0), j.receipt_id)
      from journal j join holds h on h.id = j.hold_id where j.receipt_id is not null and h.receipt_id is distinct from j.receipt_id
    union all
    select format('hold_%s reserves of grant_%s, one of which is not there', k.hold_id, k.grant_id)
      from hold_grants k left join holds h on h.id = k.hold_id left join grants g on g.id = k.grant_id
      where h.id is null or g.id is null
    limit ${MAX_PROBLEMS}`;
}

/** The book as a whole, and entries in places where they cannot belong. */
function checkAccounts(tx: Sql): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    select format('all entries sum to %s instead of 0', sum(amount)) as problem from entries having sum(amount) <> 0
    union all
    select format('entry_%s of transaction_%s names no transaction', e.id, e.transaction_id)
      from entries e left join transactions t on t.id = e.transaction_id where t.id is null
    union all
    select format('entry_%s moves money of another wallet than transaction_%s', e.id, t.id)
      from entries e join transactions t on t.id = e.transaction_id join accounts a on a.id = e.account_id
      where a.wallet_id <> t.wallet_id
    limit ${MAX_PROBLEMS}`;
}

function checkWallets(tx: Sql): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with booked as (
      select a.wallet_id, a.kind, coalesce(sum(e.amount), 0) as amount
        from accounts a left join entries e on e.account_id = a.id where a.wallet_id is not null group by a.id
    ), cached as (
      select w.id, w.name, k.kind, k.amount from wallets w,
        lateral (values ('available', w.available::numeric), ('held', w.held), ('debt', -w.debt)) k (kind, amount)
    ), granted as (
      select wallet_id, sum(remaining) as remaining, sum(held) as held from grants group by wallet_id
    )
    select format('%s/%s holds %s, its entries say %s', c.name, c.kind, c.amount, coalesce(b.amount, 0)) as problem
      from cached c left join booked b on b.wallet_id = c.id and b.kind = c.kind
      where c.amount <> coalesce(b.amount, 0)
    union all
    select format('%s has available %s and held %s, its grants say %s and %s', w.name, w.available, w.held,
        coalesce(g.remaining - g.held, 0), coalesce(g.held, 0))
      from wallets w left join granted g on g.wallet_id = w.id
      where w.available <> coalesce(g.remaining - g.held, 0) or w.held <> coalesce(g.held, 0)
    limit ${MAX_PROBLEMS}`;
}

function checkGrants(tx: Sql): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with booked as (
      select e.grant_id,
          -coalesce(sum(e.amount) filter (where a.kind in ('issued', 'promotions')), 0) as amount,
          coalesce(sum(e.amount) filter (where a.kind in ('available', 'held')), 0) as remaining,
          coalesce(sum(e.amount) filter (where a.kind = 'held'), 0) as held,
          coalesce(sum(e.amount) filter (where a.kind = 'breakage'), 0) as expired,
          coalesce(sum(e.amount) filter (where a.kind = 'revoked'), 0) as revoked,
          coalesce(sum(e.amount) filter (where a.kind = 'clawed_back'), 0) as clawed_back
        from entries e join accounts a on a.id = e.account_id where e.grant_id is not null group by e.grant_id
    ), reserved as (
      select grant_id, sum(amount) as amount from hold_grants group by grant_id
    )
    select format('grant_%s of %s: %s is %s, its entries say %s', g.id, w.name, k.name, k.cached, k.booked) as problem
      from grants g join wallets w on w.id = g.wallet_id left join booked b on b.grant_id = g.id,
        lateral (values ('amount', g.amount::numeric, b.amount), ('remaining', g.remaining, b.remaining),
          ('held', g.held, b.held), ('expired', g.expired, b.expired), ('revoked', g.revoked, b.revoked),
          ('clawed_back', g.clawed_back, b.clawed_back)) k (name, cached, booked)
      where k.cached <> coalesce(k.booked, 0)
    union all
    select format('grant_%s: held is %s, open holds reserve %s', g.id, g.held, coalesce(r.amount, 0))
      from grants g left join reserved r on r.grant_id = g.id where g.held <> coalesce(r.amount, 0)
    limit ${MAX_PROBLEMS}`;
}

function checkHolds(tx: Sql): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with reserved as (
      select hold_id, sum(amount) as amount from hold_grants group by hold_id
    ), booked as (
      select t.hold_id, sum(e.amount) as amount
        from transactions t join entries e on e.transaction_id = t.id join accounts a on a.id = e.account_id
        where t.hold_id is not null and a.kind = 'held' group by t.hold_id
    )
    select format('hold_%s is %s and should reserve %s; its grants say %s, its entries %s', h.id, h.state, k.expected,
        coalesce(r.amount, 0), coalesce(b.amount, 0)) as problem
      from holds h left join reserved r on r.hold_id = h.id left join booked b on b.hold_id = h.id,
        lateral (select case when h.state = 'open' then h.amount else 0 end) k (expected)
      where k.expected <> coalesce(r.amount, 0) or k.expected <> coalesce(b.amount, 0)
    limit ${MAX_PROBLEMS}`;
}

function checkReceipts(tx: Sql): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with listed as (
      select j.receipt_id, sum(coalesce(l.line ->> 2, l.line ->> 'amount')::bigint) as amount
        from journal j cross join lateral json_array_elements(j.lines) l (line)
        where j.receipt_id is not null group by j.receipt_id
    ), booked as (
      select j.receipt_id, min(j.hold_id) as hold_id, coalesce(sum(e.amount) filter (where a.kind = 'usage'), 0) as amount
        from journal j left join entries e on e.transaction_id = j.id left join accounts a on a.id = e.account_id
        where j.receipt_id is not null group by j.receipt_id
    )
    select format('receipt_%s charges %s; its lines say %s', b.receipt_id, b.amount, coalesce(l.amount, 0)) as problem
      from booked b left join listed l on l.receipt_id = b.receipt_id where b.amount <> coalesce(l.amount, 0)
    union all
    select format('hold_%s was charged %s, its receipt says %s', h.id, h.captured, b.amount)
      from booked b join holds h on h.id = b.hold_id where h.captured <> b.amount
    limit ${MAX_PROBLEMS}`;
}
