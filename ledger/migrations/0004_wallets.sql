-- Operations on wallets. Like every operation: (target, body, key, payload hash, now, epoch) -> outcome.

create function grant_body(g grants) returns jsonb language sql stable as $$
  select jsonb_build_object('grant', 'grant_' || g.id, 'kind', g.kind, 'priority', g.priority, 'expiresAt', iso(g.expires_at),
    'scope', case when g.offerings is not null or g.projects is not null
      then jsonb_strip_nulls(jsonb_build_object('offerings', to_jsonb(g.offerings), 'projects', to_jsonb(g.projects))) end,
    'amount', g.amount, 'remaining', g.remaining, 'held', g.held)
$$;

create function wallet_body(w wallets) returns jsonb language sql stable as $$
  select jsonb_build_object('wallet', w.name, 'ownerUid', w.owner_uid, 'state', w.state,
    'available', w.available, 'held', w.held, 'debt', w.debt,
    'debtPolicy', jsonb_build_object('floor', w.floor, 'repayFirst', w.repay_first),
    'thresholds', to_jsonb(w.thresholds), 'caps', w.caps,
    'grants', (select coalesce(jsonb_agg(grant_body(g) order by g.priority, g.expires_at nulls last, g.id), '[]')
      from grants g where g.wallet_id = w.id and g.remaining > 0))
$$;

create function put_wallet(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v_stale outcome := stale(p_epoch);
  w wallets;
  v_id bigint;
  v_accounts bigint[];
begin
  if v_stale.status is not null then return v_stale; end if;
  select * into w from wallets where name = p_target and state = 'open' for update;
  if w.id is null then
    v_id := nextval(pg_get_serial_sequence('gsv_ledger.wallets', 'id'));
    with added as (insert into accounts (wallet_id, kind) values (v_id, 'available'), (v_id, 'held'), (v_id, 'debt') returning id)
      select array_agg(id order by id) into v_accounts from added;
    begin
      insert into wallets (id, name, owner_uid, available_account, held_account, debt_account, created_at)
        overriding system value
        values (v_id, p_target, p_body ->> 'ownerUid', v_accounts[1], v_accounts[2], v_accounts[3], p_now)
        returning * into w;
    exception when unique_violation then
      -- Somebody made it meanwhile; start anew and find it.
      raise exception 'wallet created meanwhile' using errcode = 'serialization_failure';
    end;
  end if;
  if w.owner_uid <> p_body ->> 'ownerUid' then
    return problem(409, 'owner_mismatch', format('the wallet %s belongs to another owner; close it first', p_target));
  end if;
  if book_due(w.id, p_now) then perform emit_levels(w, p_now); end if;
  update wallets set
      floor = coalesce((p_body #>> '{debtPolicy,floor}')::bigint, 0),
      repay_first = coalesce((p_body #>> '{debtPolicy,repayFirst}')::boolean, true),
      thresholds = array(select t::bigint from jsonb_array_elements_text(coalesce(p_body -> 'thresholds', '[]')) t),
      caps = coalesce(p_body -> 'caps', '[]')
    where id = w.id returning * into w;
  return row(200, wallet_body(w), false)::outcome;
end $$;

create function close_wallet(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  v_forfeit boolean := coalesce((p_body ->> 'forfeit')::boolean, false);
  v_moves move[];
begin
  if o.status is not null then return o; end if;
  w := lock_wallet(p_target);
  if w.id is null then return no_wallet(p_target); end if;
  o := replay(w.owner_uid, 'close', p_key, p_hash);
  if o.status is not null then return o; end if;
  if w.state = 'closed' then return problem(409, 'wallet_closed', format('the wallet %s is closed', p_target)); end if;
  if book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
  if exists (select from holds where wallet_id = w.id and state = 'open') then
    return problem(409, 'wallet_not_empty', 'the wallet has open holds; end them first',
      jsonb_build_object('available', w.available, 'held', w.held, 'debt', w.debt));
  end if;
  if w.available + w.debt > 0 and not v_forfeit then
    return problem(409, 'wallet_not_empty', 'the wallet has money or debt; spend it, or close it with "forfeit": true',
      jsonb_build_object('available', w.available, 'held', w.held, 'debt', w.debt));
  end if;
  select coalesce(array_agg(row('available', 'breakage', id, remaining)::move), '{}') into v_moves
    from grants where wallet_id = w.id and remaining > 0;
  perform post(w.id, 'close', p_now, v_moves || row('written_off', 'debt', null, w.debt)::move);
  perform emit_levels(w, p_now);
  update wallets set state = 'closed', closed_at = p_now where id = w.id;
  return remember(w.owner_uid, 'close', p_key, p_hash, 200, jsonb_build_object('wallet', w.name, 'state', 'closed',
    'forfeited', w.available, 'writtenOff', w.debt), p_now);
end $$;

-- Before a read: books what is due. Takes no lock when nothing is.
create function settle_wallet(p_wallet text, p_now timestamptz) returns boolean
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  w wallets;
begin
  if not exists (select from wallets x where x.name = p_wallet and x.state = 'open' and (
      exists (select from holds where wallet_id = x.id and state = 'open' and expires_at <= p_now)
      or exists (select from grants where wallet_id = x.id and remaining > 0 and remaining > held and expires_at <= p_now))) then
    return false;
  end if;
  select * into w from wallets where name = p_wallet and state = 'open' for update;
  if w.id is null or not book_due(w.id, p_now) then return false; end if;
  perform emit_levels(w, p_now);
  return true;
end $$;

-- The sweeper: wallets with something due that nobody else works on. Skipping locked ones makes it safe in several
-- replicas and free of deadlocks though it locks many wallets.
create function expire_due(p_now timestamptz, p_limit integer) returns integer
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  w wallets;
  v_count integer := 0;
begin
  for w in
    select x.* from wallets x where x.state = 'open' and x.id in (
        select wallet_id from holds where state = 'open' and expires_at <= p_now
        union select wallet_id from grants where remaining > held and expires_at <= p_now)
      order by x.id limit p_limit for update skip locked
  loop
    if book_due(w.id, p_now) then
      perform emit_levels(w, p_now);
      v_count := v_count + 1;
    end if;
  end loop;
  return v_count;
end $$;

grant execute on function iso, grant_body, wallet_body, put_wallet, close_wallet, settle_wallet, expire_due to gsv_ledger_writer;
