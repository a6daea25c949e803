-- Refunds, charge-backs and late payments: an order keeps the share of its grants that it has paid.

-- What the shop said last about an order's money. Kept though the order may be unknown: a refund can come before
-- the order's own delivery.
create table order_settlements (
  shop text not null,
  order_id text not null,
  -- Minor units of the shop's currency; the ledger only ever uses their ratio.
  charged bigint not null check (charged between 0 and 9007199254740991),
  total bigint not null check (total between 0 and 9007199254740991),
  -- When that was so, as the shop dates it; an older word changes nothing.
  as_of timestamptz not null,
  primary key (shop, order_id)
);

-- What settlements hold back of a grant, and from where it was taken, so that each part can go back the way it came.
-- A cache of the entries of operation `settle`; revocations by hand are not in it and are never given back by it.
create table reclaims (
  grant_id bigint primary key references grants,
  credits amount not null default 0,
  debt amount not null default 0,
  written_off amount not null default 0,
  -- Issued a second time to give something back; what the fulfilment granted is grants.amount - restored.
  restored amount not null default 0
);

-- The one rule of rounding: an order keeps, of each wallet's grants, granted x charged / total, rounded up to a whole
-- microcredit. Never more than the refunded share is taken back; nothing charged keeps nothing. An order that costs
-- nothing, or is paid above its total, keeps everything.
create function settled_amount(p_granted numeric, p_charged numeric, p_total numeric) returns bigint
language sql immutable as $$
  select case when p_charged >= p_total then p_granted
    else div(p_granted * p_charged, p_total) + sign(mod(p_granted * p_charged, p_total)) end::bigint
$$;

-- One order at a time, before any wallet: its deliveries and its fulfilments must see each other.
create function lock_order(p_shop text, p_order text) returns void language sql as $$
  select pg_advisory_xact_lock(hashtextextended('gsv_ledger.order ' || p_shop || ' ' || p_order, 0))
$$;

create type settled as (granted bigint, kept bigint, taken_back bigint, debt bigint, written_off bigint, given_back bigint);

-- Takes p_amount back: what is free, in reverse burn order, then what has expired (the store's already), then what was
-- spent or is held: as debt down to the floor, below it as a write-off. No grant gives more than it has left.
create function take_back(w wallets, p_shop text, p_order text, p_amount bigint, p_now timestamptz) returns settled
language plpgsql as $$
declare
  v settled := row(0, 0, 0, 0, 0, 0)::settled;
  v_room bigint := greatest(0, -w.floor - w.debt);
  v_moves move[] := '{}';
  v_spent bigint;
  v_debt bigint;
  g record;
begin
  for g in
    with mine as (
      select x.id, x.priority, x.expires_at, x.amount - x.revoked - x.clawed_back as left_over,
          x.remaining - x.held as free, x.expired
        from grants x join fulfilments f on f.id = x.fulfilment_id
        where f.shop = p_shop and f.order_id = p_order and x.wallet_id = w.id
    ), parts as (
      select id, priority, expires_at, least(free, left_over) as free,
          least(expired, greatest(0, left_over - free)) as expired,
          greatest(0, left_over - free - expired) as spent from mine
    ), ranked as (
      select id, p.part, p.amount, sum(p.amount) over (order by p.part, priority desc, expires_at desc nulls first, id desc
          rows unbounded preceding) - p.amount as before
        from parts, lateral (values (1, free), (2, expired), (3, spent)) p (part, amount) where p.amount > 0
    )
    select id, part, least(amount, p_amount - before)::bigint as amount from ranked where before < p_amount order by before
  loop
    v_spent := case when g.part = 3 then g.amount else 0 end;
    v_debt := least(v_spent, v_room);
    v_room := v_room - v_debt;
    v_moves := v_moves || row(case g.part when 1 then 'available' else 'breakage' end, 'revoked', g.id, g.amount - v_spent)::move
      || row('debt', 'clawed_back', g.id, v_debt)::move || row('written_off', 'clawed_back', g.id, v_spent - v_debt)::move;
    insert into reclaims as r (grant_id, credits, debt, written_off) values (g.id, g.amount - v_spent, v_debt, v_spent - v_debt)
      on conflict (grant_id) do update set credits = r.credits + excluded.credits, debt = r.debt + excluded.debt,
        written_off = r.written_off + excluded.written_off;
    v.taken_back := v.taken_back + g.amount;
    v.debt := v.debt + v_debt;
    v.written_off := v.written_off + v_spent - v_debt;
    perform emit(w.id, 'grant.revoked', p_now, jsonb_strip_nulls(jsonb_build_object('grant', 'grant_' || g.id, 'order', p_order,
      'revoked', g.amount - v_spent, 'debt', v_debt, 'writtenOff', nullif(v_spent - v_debt, 0))));
  end loop;
  perform post(w.id, 'settle', p_now, v_moves, null, null, 'order ' || p_order);
  return v;
end $$;

-- Gives back what settlements took, last taken first: the write-off is undone, then the debt (what of it later grants
-- have paid meanwhile comes back as credits), then credits return to their grant, or to breakage if that has expired.
create function give_back(w wallets, p_shop text, p_order text, p_amount bigint, p_now timestamptz) returns bigint
language plpgsql as $$
declare
  v_left bigint := p_amount;
  v_owed bigint := w.debt;
  v_moves move[] := '{}';
  v_part bigint;
  v_repaid bigint;
  v_free bigint;
  g record;
begin
  for g in
    select x.id, x.expires_at, r.credits, r.debt, r.written_off, p.part
      from reclaims r join grants x on x.id = r.grant_id join fulfilments f on f.id = x.fulfilment_id,
        lateral (values (1, r.written_off), (2, r.debt), (3, r.credits)) p (part, amount)
      where f.shop = p_shop and f.order_id = p_order and x.wallet_id = w.id and p.amount > 0
      order by p.part, x.priority, x.expires_at nulls last, x.id
  loop
    exit when v_left = 0;
    v_part := least(v_left, case g.part when 1 then g.written_off when 2 then g.debt else g.credits end);
    v_repaid := case g.part when 1 then v_part when 2 then least(v_part, v_owed) else 0 end;
    v_free := v_part - v_repaid;
    v_moves := v_moves || row('issued', 'available', g.id, v_part)::move || row('available', 'debt', g.id, v_repaid)::move
      || row('available', 'breakage', g.id, case when g.expires_at <= p_now then v_free else 0 end)::move;
    if g.part = 1 then v_moves := v_moves || row('debt', 'written_off', null, v_part)::move;
    else v_owed := v_owed - v_repaid; end if;
    update reclaims set restored = restored + v_part, credits = credits - case g.part when 3 then v_part else 0 end,
        debt = debt - case g.part when 2 then v_part else 0 end,
        written_off = written_off - case g.part when 1 then v_part else 0 end
      where grant_id = g.id;
    v_left := v_left - v_part;
  end loop;
  perform post(w.id, 'settle', p_now, v_moves, null, null, 'order ' || p_order);
  return p_amount - v_left;
end $$;

-- Moves one wallet's grants of an order to the share that is paid. The wallet must be locked and what is due in it
-- booked. A closed wallet has nothing left to move.
create function settle_in(w wallets, p_shop text, p_order text, p_now timestamptz) returns settled language plpgsql as $$
declare
  s order_settlements;
  v settled := row(0, 0, 0, 0, 0, 0)::settled;
  v_granted bigint;
  v_kept bigint;
  v_reclaimed bigint;
  v_more bigint;
begin
  select * into s from order_settlements where shop = p_shop and order_id = p_order;
  select coalesce(sum(x.amount - coalesce(r.restored, 0)), 0)::bigint,
      coalesce(sum(r.credits + r.debt + r.written_off), 0)::bigint into v_granted, v_reclaimed
    from grants x join fulfilments f on f.id = x.fulfilment_id left join reclaims r on r.grant_id = x.id
    where f.shop = p_shop and f.order_id = p_order and x.wallet_id = w.id;
  v_kept := case when s.shop is null then v_granted else settled_amount(v_granted, s.charged, s.total) end;
  v_more := v_granted - v_kept - v_reclaimed;
  if w.state = 'open' and v_more > 0 then
    v := take_back(w, p_shop, p_order, v_more, p_now);
  elsif w.state = 'open' and v_more < 0 then
    v.given_back := give_back(w, p_shop, p_order, -v_more, p_now);
  end if;
  v.granted := v_granted;
  v.kept := v_kept;
  return v;
end $$;

-- Remembers what an order has paid and moves its grants there. Level-triggered: only the latest word of the shop
-- counts, in whatever order words arrive; of two of one moment the one with less charged. A word without a date is
-- about now.
create function settle_order(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  v_shop text := p_body ->> 'shop';
  v_order text := p_body ->> 'order';
  v_owner text := 'order ' || v_shop || ' ' || v_order;
  v_as_of timestamptz := coalesce((p_body ->> 'asOf')::timestamptz, p_now);
  w wallets;
  v settled;
  v_sum settled := row(0, 0, 0, 0, 0, 0)::settled;
  v_body jsonb;
begin
  if o.status is not null then return o; end if;
  perform lock_order(v_shop, v_order);
  o := replay(v_owner, 'settle', p_key, p_hash);
  if o.status is not null then return o; end if;
  insert into order_settlements as s values (v_shop, v_order, (p_body ->> 'charged')::bigint, (p_body ->> 'total')::bigint, v_as_of)
    on conflict (shop, order_id) do update
      set charged = excluded.charged, total = excluded.total, as_of = greatest(s.as_of, excluded.as_of)
      where not p_body ? 'asOf' or s.as_of < excluded.as_of or (s.as_of = excluded.as_of and s.charged > excluded.charged);
  for w in
    select * from wallets where id in (select wallet_id from fulfilments where shop = v_shop and order_id = v_order)
      order by id for update
  loop
    if w.state = 'open' and book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
    v := settle_in(w, v_shop, v_order, p_now);
    perform emit_levels(w, p_now);
    v_sum := row(v_sum.granted + v.granted, v_sum.kept + v.kept, v_sum.taken_back + v.taken_back, v_sum.debt + v.debt,
      v_sum.written_off + v.written_off, v_sum.given_back + v.given_back)::settled;
  end loop;
  select jsonb_build_object('shop', shop, 'order', order_id, 'charged', charged, 'total', total, 'asOf', iso(as_of),
      'granted', v_sum.granted, 'kept', v_sum.kept, 'takenBack', v_sum.taken_back, 'debt', v_sum.debt,
      'writtenOff', v_sum.written_off, 'givenBack', v_sum.given_back)
    into v_body from order_settlements where shop = v_shop and order_id = v_order;
  return remember(v_owner, 'settle', p_key, p_hash, 200, v_body, p_now);
end $$;

-- As before (0005), and what the shop has said about the order's money holds for a unit that comes late, too.
create or replace function record_fulfilment(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  v_after wallets;
  v_id bigint;
  v_grant jsonb;
  v_total numeric;
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
  if exists (select from order_settlements where shop = p_body ->> 'shop' and order_id = p_body ->> 'order') then
    select * into v_after from wallets where id = w.id;
    perform settle_in(v_after, p_body ->> 'shop', p_body ->> 'order', p_now);
  end if;
  perform emit_levels(w, p_now);
  return remember(w.owner_uid, 'fulfilment', p_key, p_hash, 201, fulfilment_reply(v_id), p_now);
end $$;

grant select on order_settlements, reclaims to gsv_ledger_writer;
-- The audit recomputes with it.
grant execute on function settled_amount, settle_order to gsv_ledger_writer;
