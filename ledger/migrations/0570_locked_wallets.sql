-- Of these wallets, and of those that these holds are of: the ones that another transaction has locked at this moment.
-- Waits for nobody. A hold is named when its wallet is locked.
create function locked_wallets(p_wallets text[], p_holds bigint[]) returns table (wallet text, hold bigint)
language sql volatile security definer set search_path = gsv_ledger, pg_temp as $$
  with asked as (
    select id, name from wallets where name = any (p_wallets) and state = 'open'
    union select w.id, w.name from holds h join wallets w on w.id = h.wallet_id where h.id = any (p_holds)
  ), free as (
    select id from wallets where id in (select id from asked) order by id for update skip locked
  ), locked as (
    select id, name from asked where id not in (select id from free)
  )
  select name, null::bigint from locked
  union all
  select l.name, h.id from locked l join holds h on h.wallet_id = l.id where h.id = any (p_holds)
$$;
grant execute on function locked_wallets to gsv_ledger_writer;
