-- Grants and fulfilments: the only ways in which credits come to be.

-- Books one grant into a locked wallet. A grant pays debt first where the policy says so; one that is already
-- past its expiry becomes breakage at once.
create function add_grant(w wallets, p_body jsonb, p_fulfilment bigint, p_now timestamptz) returns grants
language plpgsql as $$
declare
  g grants;
  v_amount bigint := (p_body ->> 'amount')::bigint;
  v_debt bigint;
begin
  if v_amount is null or v_amount < 1 then raise exception 'a grant of %', v_amount; end if;
  insert into grants (wallet_id, fulfilment_id, kind, priority, expires_at, offerings, projects, source, created_at)
    values (w.id, p_fulfilment, p_body ->> 'kind', coalesce((p_body ->> 'priority')::integer, 100),
      (p_body ->> 'expiresAt')::timestamptz,
      case when p_body #> '{scope,offerings}' is not null
        then array(select jsonb_array_elements_text(p_body #> '{scope,offerings}')) end,
      case when p_body #> '{scope,projects}' is not null
        then array(select jsonb_array_elements_text(p_body #> '{scope,projects}')) end,
      p_body -> 'source', p_now)
    returning * into g;
  perform post(w.id, 'grant', p_now, array[row('issued', 'available', g.id, v_amount)::move]);
  if g.expires_at <= p_now then
    perform book_due(w.id, p_now);
  elsif w.repay_first then
    select debt into v_debt from wallets where id = w.id;
    perform post(w.id, 'repayment', p_now, array[row('available', 'debt', g.id, least(v_debt, v_amount))::move]);
  end if;
  select * into g from grants where id = g.id;
  return g;
end $$;

create function grants_fit(w wallets, p_total numeric) returns boolean language sql immutable as $$
  select w.available + w.held + p_total <= 9007199254740991
$$;

create function too_much() returns outcome language sql immutable as $$
  select problem(422, 'invalid_request', 'the wallet would hold more than 9007199254740991 microcredits')
$$;

create function create_grant(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  g grants;
begin
  if o.status is not null then return o; end if;
  w := lock_wallet(p_target);
  if w.id is null then return no_wallet(p_target); end if;
  o := replay(w.owner_uid, 'grant', p_key, p_hash);
  if o.status is not null then return o; end if;
  if w.state = 'closed' then return problem(409, 'wallet_closed', format('the wallet %s is closed', p_target)); end if;
  if book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
  if not grants_fit(w, (p_body ->> 'amount')::numeric) then return too_much(); end if;
  g := add_grant(w, p_body, null, p_now);
  perform emit_levels(w, p_now);
  return remember(w.owner_uid, 'grant', p_key, p_hash, 201, jsonb_build_object('grant', 'grant_' || g.id, 'wallet', w.name,
    'amount', g.amount, 'remaining', g.remaining), p_now);
end $$;

-- Takes back: what is unspent of the grant, then what expired of it (it is the store's already), then what was spent
-- or is held, which becomes debt down to the floor and a booked write-off below it.
create function revoke_grant(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  g grants;
  v_id bigint := local_id('grant', p_target);
  v_amount bigint;
  v_free bigint;
  v_expired bigint;
  v_debt bigint;
  v_written_off bigint;
  v_body jsonb;
begin
  if o.status is not null then return o; end if;
  select * into w from wallets where id = (select wallet_id from grants where id = v_id) for update;
  if w.id is null then return problem(404, 'grant_not_found', format('there is no grant %s', p_target)); end if;
  o := replay(w.owner_uid, 'revoke', p_key, p_hash);
  if o.status is not null then return o; end if;
  if w.state = 'closed' then return problem(409, 'wallet_closed', format('the wallet %s is closed', w.name)); end if;
  if book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
  select * into g from grants where id = v_id;
  v_amount := coalesce((p_body ->> 'amount')::bigint, g.amount - g.revoked - g.clawed_back);
  if v_amount > g.amount - g.revoked - g.clawed_back then
    return problem(422, 'invalid_request', format('only %s of the grant is left to revoke', g.amount - g.revoked - g.clawed_back));
  end if;
  v_free := least(v_amount, g.remaining - g.held);
  v_expired := least(v_amount - v_free, g.expired);
  v_debt := least(v_amount - v_free - v_expired, greatest(0, -w.floor - w.debt));
  v_written_off := v_amount - v_free - v_expired - v_debt;
  perform post(w.id, 'revoke', p_now, array[
    row('available', 'revoked', g.id, v_free)::move, row('breakage', 'revoked', g.id, v_expired)::move,
    row('debt', 'clawed_back', g.id, v_debt)::move, row('written_off', 'clawed_back', g.id, v_written_off)::move],
    null, null, p_body ->> 'reason');
  v_body := jsonb_build_object('revoked', v_free + v_expired, 'debt', v_debt)
    || case when v_written_off > 0 then jsonb_build_object('writtenOff', v_written_off) else '{}' end;
  perform emit(w.id, 'grant.revoked', p_now, v_body || jsonb_build_object('grant', 'grant_' || g.id));
  perform emit_levels(w, p_now);
  return remember(w.owner_uid, 'revoke', p_key, p_hash, 200, v_body, p_now);
end $$;

create function fulfilment_body(f fulfilments) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('fulfilment', 'fulfilment_' || f.id, 'shop', f.shop, 'order', f.order_id,
    'line', f.line, 'ordinal', f.ordinal, 'sku', f.sku, 'wallet', (select name from wallets where id = f.wallet_id),
    'offering', f.offering, 'plan', f.plan, 'instanceUid', f.instance_uid, 'paidThrough', iso(f.paid_through),
    'createdAt', iso(f.created_at)))
$$;

create function fulfilment_reply(p_id bigint) returns jsonb language sql stable as $$
  select jsonb_build_object('fulfilment', 'fulfilment_' || p_id,
    'grants', (select coalesce(jsonb_agg('grant_' || id order by id), '[]') from grants where fulfilment_id = p_id))
$$;

create function record_fulfilment(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  v_id bigint;
  v_grant jsonb;
  v_total numeric;
begin
  if o.status is not null then return o; end if;
  w := lock_wallet(p_body ->> 'wallet');
  if w.id is null then return no_wallet(p_body ->> 'wallet'); end if;
  o := replay(w.owner_uid, 'fulfilment', p_key, p_hash);
  if o.status is not null then return o; end if;
  if w.state = 'open' then
    if book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
    select coalesce(sum((g ->> 'amount')::numeric), 0) into v_total from jsonb_array_elements(coalesce(p_body -> 'grants', '[]')) g;
    if not grants_fit(w, v_total) then return too_much(); end if;
    -- Under another wallet's lock the same unit may be arriving too: the unique key makes one of us wait and see.
    insert into fulfilments (shop, order_id, line, ordinal, sku, wallet_id, offering, plan, paid_through, created_at)
      values (p_body ->> 'shop', p_body ->> 'order', p_body ->> 'line', (p_body ->> 'ordinal')::integer, p_body ->> 'sku',
        w.id, p_body ->> 'offering', p_body ->> 'plan', (p_body ->> 'paidThrough')::timestamptz, p_now)
      on conflict (shop, line, ordinal) do nothing returning id into v_id;
  end if;
  if v_id is null then
    select id into v_id from fulfilments where shop = p_body ->> 'shop' and line = p_body ->> 'line'
      and ordinal = (p_body ->> 'ordinal')::integer;
    if v_id is null then return problem(409, 'wallet_closed', format('the wallet %s is closed', w.name)); end if;
    return row(200, fulfilment_reply(v_id), false)::outcome;
  end if;
  for v_grant in select jsonb_array_elements(coalesce(p_body -> 'grants', '[]')) loop
    perform add_grant(w, v_grant, v_id, p_now);
  end loop;
  perform emit_levels(w, p_now);
  return remember(w.owner_uid, 'fulfilment', p_key, p_hash, 201, fulfilment_reply(v_id), p_now);
end $$;

-- An Instance takes the fulfilment it was bought with; naturally idempotent, one Instance and one fulfilment each.
create function claim_fulfilment(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  f fulfilments;
  v_uid text := p_body ->> 'instanceUid';
begin
  if o.status is not null then return o; end if;
  select * into f from fulfilments where id = local_id('fulfilment', p_target) for update;
  if f.id is null then return problem(404, 'fulfilment_not_found', format('there is no fulfilment %s', p_target)); end if;
  if f.instance_uid is null then
    begin
      update fulfilments set instance_uid = v_uid, claimed_at = p_now where id = f.id returning * into f;
    exception when unique_violation then
      return problem(409, 'already_claimed', 'this Instance has claimed another fulfilment');
    end;
  elsif f.instance_uid <> v_uid then
    return problem(409, 'already_claimed', 'another Instance has claimed this fulfilment');
  end if;
  return row(200, fulfilment_body(f), false)::outcome;
end $$;

grant execute on function fulfilment_body, create_grant, revoke_grant, record_fulfilment, claim_fulfilment to gsv_ledger_writer;
