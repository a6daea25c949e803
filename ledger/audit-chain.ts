import type { TransactionSql } from './database.ts';
import type { ChainHead } from './wire.ts';

type Sql = TransactionSql;

/** Links that one statement recomputes: a full batch each makes half a million transactions. */
const CHUNK = 2_000;

/** More findings than this say nothing new. */
const MAX_FINDINGS = 100;

interface Finding {
  problem: string;
}

/**
 * Recomputes every link of the chain and looks for transactions that are in no link or in two. A changed digest
 * shows in its own link and in the one after it.
 *
 * @returns the last link, for whoever keeps one elsewhere, and problems that name transactions, entries and wallets
 */
export async function checkChain(tx: Sql): Promise<{ chain: ChainHead; problems: Finding[] }> {
  const [head] = await tx<{ links: number; digest: string }[]>`
    select link::float8 as links, encode(digest, 'hex') as digest from chain order by link desc limit 1`;
  const problems: Finding[] = [];
  for (let from = 0; from < (head?.links ?? 0) && problems.length < MAX_FINDINGS; from += CHUNK) {
    problems.push(...(await brokenLinks(tx, from)));
  }
  problems.push(...(await unchained(tx)));
  return { chain: { links: head?.links ?? 0, head: head?.digest ?? '' }, problems };
}

function brokenLinks(tx: Sql, from: number): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with links as (
      select link, transactions, digest, format, lag(digest, 1, ''::bytea) over (order by link) as previous,
          lag(link, 1, 0::bigint) over (order by link) as before
        from chain where link >= ${from} and link <= ${from + CHUNK}
    ), broken as (
      select * from links
        where link > ${from} and (link <> before + 1 or digest <> chain_digest(previous, transactions, format))
    )
    select case when b.link <> b.before + 1 then format('link_%s follows link_%s', b.link, b.before)
        else format('link_%s is not what transaction_%s to transaction_%s say (entry_%s to entry_%s of %s)', b.link,
          lower(b.transactions), upper(b.transactions) - 1, e.first, e.last, coalesce(e.wallets, 'no wallet')) end as problem
      from broken b, lateral (
        select min(x.id) as first, max(x.id) as last, string_agg(distinct w.name, ', ') as wallets
          from unnest(b.transactions) r
            cross join lateral (select * from journal where id >= lower(r) and id < upper(r) offset 0) t
            left join entries x on x.transaction_id = t.id left join wallets w on w.id = t.wallet_id) e
      order by b.link limit ${MAX_FINDINGS}`;
}

function unchained(tx: Sql): PromiseLike<Finding[]> {
  return tx<Finding[]>`
    with covered as (
      select coalesce(range_agg(transactions), '{}') as ids from chain
    ), counted as (
      select coalesce(sum(upper(r) - lower(r)), 0) as links,
          (select coalesce(sum(upper(x) - lower(x)), 0) from covered, unnest(ids) x) as ids
        from chain, unnest(transactions) r
    )
    (select format('transaction_%s is in no link', t.id) as problem
      from journal t, covered c where not c.ids @> t.id order by t.id limit ${MAX_FINDINGS})
    union all
    select format('the links name %s transactions, %s of them twice', ids, links - ids) from counted where links <> ids`;
}
