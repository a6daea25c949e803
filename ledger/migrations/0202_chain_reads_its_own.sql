-- As in 0201, but bound to look up each range by index. As a join, the planner took the ranges to be large, and every
-- link read all transactions of the book.
create or replace function chain_digest(p_previous bytea, p_transactions int8multirange) returns bytea
language sql stable security definer set search_path = gsv_ledger, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
  select sha256(p_previous || convert_to(coalesce(string_agg(concat_ws('|', t.id, t.wallet_id, t.operation,
      (extract(epoch from t.at) * 1000000)::bigint, coalesce(t.hold_id, 0), coalesce(t.receipt_id, 0),
      coalesce(to_json(t.reason)::text, 'null'), e.entries), E'\n' order by t.id), ''), 'UTF8'))
    from unnest(p_transactions) r
      cross join lateral (select * from transactions where id >= lower(r) and id < upper(r) offset 0) t
      cross join lateral (
        select string_agg(concat_ws(':', x.id, x.account_id, coalesce(x.grant_id, 0), x.amount), ',' order by x.id) as entries
          from (select * from entries where transaction_id = t.id offset 0) x) e
$$;
