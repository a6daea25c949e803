-- A paid renewal line moves the end of the paid time of the fulfilment that it renews.

-- Which fulfilment a renewal has paid for; null for what is bought anew.
alter table fulfilments add column renews bigint references fulfilments;

-- One period more, from the end of what is paid or, if that is over, from when the renewal was ordered. Under the lock
-- of the wallet, so two renewals of one fulfilment are two periods, in whatever order they come. A day that the month
-- lacks becomes its last.
create function renew(p_wallet bigint, p_fulfilment bigint, p_renews jsonb, p_now timestamptz) returns timestamptz
language plpgsql as $$
declare
  f fulfilments;
begin
  update fulfilments set paid_through =
      (greatest(paid_through, (p_renews ->> 'from')::timestamptz) at time zone 'UTC'
        + case p_renews ->> 'period' when 'Year' then interval '1 year' else interval '1 month' end) at time zone 'UTC'
    where id = p_fulfilment returning * into f;
  perform emit(p_wallet, 'fulfilment.renewed', p_now, jsonb_strip_nulls(jsonb_build_object('fulfilment', 'fulfilment_' || f.id,
    'instanceUid', f.instance_uid, 'paidThrough', iso(f.paid_through))));
  return f.paid_through;
end $$;

create or replace function fulfilment_body(f fulfilments) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('fulfilment', 'fulfilment_' || f.id, 'shop', f.shop, 'order', f.order_id,
    'line', f.line, 'ordinal', f.ordinal, 'sku', f.sku, 'wallet', (select name from wallets where id = f.wallet_id),
    'offering', f.offering, 'plan', f.plan, 'instanceUid', f.instance_uid, 'paidThrough', iso(f.paid_through),
    'renews', 'fulfilment_' || f.renews, 'createdAt', iso(f.created_at)))
$$;

-- As before (0300), and a unit may renew another one: what it includes ends with the period that it pays for.
create or replace function record_fulfilment(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  v_after wallets;
  v_id bigint;
  v_grant jsonb;
  v_total numeric;
  v_renews bigint;
  v_end timestamptz;
begin
  if o.status is not null then return o; end if;
  perform lock_order(p_body ->> 'shop', p_body ->> 'order');
  w := lock_wallet(p_body ->> 'wallet');
  if w.id is null then return no_wallet(p_body ->> 'wallet'); end if;
  o := replay(w.owner_uid, 'fulfilment', p_key, p_hash);
  if o.status is not null then return o; end if;
  if w.state = 'open' then
    if book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
    select coalesce(sum((g ->> 'amount')::numeric), 0) into v_total from jsonb_array_elements(coalesce(p_body -> 'grants', '[]')) g;
    if not grants_fit(w, v_total) then return too_much(); end if;
    if p_body ? 'renews' then
      select id into v_renews from fulfilments where id = local_id('fulfilment', p_body #>> '{renews,fulfilment}') and wallet_id = w.id;
      if v_renews is null then
        return problem(404, 'fulfilment_not_found',
          format('%s has no fulfilment %s to renew', w.name, p_body #>> '{renews,fulfilment}'));
      end if;
    end if;
    -- Under another wallet's lock the same unit may be arriving too: the unique key makes one of us wait and see.
    insert into fulfilments (shop, order_id, line, ordinal, sku, wallet_id, offering, plan, paid_through, renews, created_at)
      values (p_body ->> 'shop', p_body ->> 'order', p_body ->> 'line', (p_body ->> 'ordinal')::integer, p_body ->> 'sku',
        w.id, p_body ->> 'offering', p_body ->> 'plan', (p_body ->> 'paidThrough')::timestamptz, v_renews, p_now)
      on conflict (shop, line, ordinal) do nothing returning id into v_id;
  end if;
  if v_id is null then
    select id into v_id from fulfilments where shop = p_body ->> 'shop' and line = p_body ->> 'line'
      and ordinal = (p_body ->> 'ordinal')::integer;
    if v_id is null then return problem(409, 'wallet_closed', format('the wallet %s is closed', w.name)); end if;
    return row(200, fulfilment_reply(v_id), false)::outcome;
  end if;
  if v_renews is not null then
    v_end := renew(w.id, v_renews, p_body -> 'renews', p_now);
    update fulfilments set paid_through = v_end where id = v_id;
  end if;
  for v_grant in select jsonb_array_elements(coalesce(p_body -> 'grants', '[]')) loop
    if v_renews is not null and v_grant ->> 'kind' = 'included' then
      v_grant := v_grant || jsonb_build_object('expiresAt', v_end);
    end if;
    perform add_grant(w, v_grant, v_id, p_now);
  end loop;
  if exists (select from order_settlements where shop = p_body ->> 'shop' and order_id = p_body ->> 'order') then
    select * into v_after from wallets where id = w.id;
    perform settle_in(v_after, p_body ->> 'shop', p_body ->> 'order', p_now);
  end if;
  perform emit_levels(w, p_now);
  return remember(w.owner_uid, 'fulfilment', p_key, p_hash, 201, fulfilment_reply(v_id), p_now);
end $$;
