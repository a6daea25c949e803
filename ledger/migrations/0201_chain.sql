-- Append-only for whoever works through the functions; this shows what somebody did who can do more. Every statement
-- that inserts entries adds one link (a batch is one such statement): a digest over the link before it and over all
-- transactions and entries of the statement. Whoever kept a link elsewhere can tell that nothing before it has changed.

create table chain (
  link bigint primary key,
  -- Their ids; mostly one range, because a batch takes its ids together.
  transactions int8multirange not null,
  digest bytea not null check (octet_length(digest) = 32)
);
create trigger append_only before update or delete on chain for each row execute function refuse_change();
create trigger no_truncate before truncate on chain execute function refuse_change();

-- Nothing here depends on the session's settings: times are microseconds, a reason is JSON.
create function chain_digest(p_previous bytea, p_transactions int8multirange) returns bytea
language sql stable security definer set search_path = gsv_ledger, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
  select sha256(p_previous || convert_to(coalesce(string_agg(concat_ws('|', t.id, t.wallet_id, t.operation,
      (extract(epoch from t.at) * 1000000)::bigint, coalesce(t.hold_id, 0), coalesce(t.receipt_id, 0),
      coalesce(to_json(t.reason)::text, 'null'), e.entries), E'\n' order by t.id), ''), 'UTF8'))
    from unnest(p_transactions) r
      join transactions t on t.id >= lower(r) and t.id < upper(r)
      cross join lateral (
        select string_agg(concat_ws(':', id, account_id, coalesce(grant_id, 0), amount), ',' order by id) as entries
          from entries where transaction_id = t.id) e
$$;

-- One commit after the other: the lock is held until the link has become visible, so that no two follow the same one,
-- in however many replicas. Nothing that comes after it in an operation waits for anybody who waits for it.
create function add_link(p_transactions int8multirange) returns void language plpgsql as $$
declare
  v_last chain;
begin
  perform pg_advisory_xact_lock(hashtext('gsv_ledger.chain'));
  select * into v_last from chain order by link desc limit 1;
  insert into chain values (coalesce(v_last.link, 0) + 1, p_transactions,
    chain_digest(coalesce(v_last.digest, ''), p_transactions));
end $$;

create function chain_entries() returns trigger language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v_transactions int8multirange;
begin
  select range_agg(int8range(transaction_id, transaction_id + 1)) into v_transactions
    from (select distinct transaction_id from added) a;
  if v_transactions is not null then perform add_link(v_transactions); end if;
  return null;
end $$;
create trigger chained after insert on entries referencing new table as added
  for each statement execute function chain_entries();

-- What a book of an earlier release has already; the trigger above keeps writers out until this is committed.
do $$
declare
  v_transactions int8multirange;
begin
  for v_transactions in
    select range_agg(int8range(id, id + 1)) from transactions group by id / 10000 order by id / 10000
  loop
    perform add_link(v_transactions);
  end loop;
end $$;

grant select on chain to gsv_ledger_writer;
grant execute on function chain_digest to gsv_ledger_writer;
