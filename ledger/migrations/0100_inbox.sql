-- The durable inbox between the shop's webhook and the order worker. A delivery is stored before it is
-- acknowledged; a worker takes it under a lease, so that a dead worker's item comes back by itself.
-- Times come from the caller, so that tests can move the clock.

create table inbox (
  id bigint generated always as identity primary key,
  shop text not null check (length(shop) between 1 and 1024),
  order_id text check (length(order_id) between 1 and 253),
  event text not null check (length(event) between 1 and 128),
  body_sha256 bytea not null,
  raw bytea not null check (octet_length(raw) between 1 and 1048576),
  state text not null check (state in ('pending', 'deferred', 'ignored', 'claimed', 'done', 'parked')),
  reason text check (length(reason) <= 1024),
  attempts integer not null default 0 check (attempts >= 0),
  received_at timestamptz not null,
  due_at timestamptz not null,
  lease_expires_at timestamptz,
  unique (shop, body_sha256),
  -- The second statement of what the HTTP layer already checks: the key of a delivery is its content.
  check (sha256(raw) = body_sha256),
  check ((state = 'claimed') = (lease_expires_at is not null)),
  check (state <> 'parked' or reason is not null)
);

-- Only what a worker may still take: stays small while finished items pile up.
create index inbox_open on inbox (id) where state in ('pending', 'claimed');
create index inbox_open_by_order on inbox (shop, order_id, id) where state in ('pending', 'claimed');
create index inbox_by_state on inbox (state, id);

create function inbox_body(i inbox, p_raw boolean) returns jsonb language sql stable as $$
  select jsonb_build_object('order', i.order_id) || jsonb_strip_nulls(jsonb_build_object(
    'id', 'inbox_' || i.id, 'shop', i.shop, 'event', i.event, 'state', i.state,
    'bodySha256', encode(i.body_sha256, 'hex'), 'attempts', i.attempts, 'reason', i.reason,
    'receivedAt', iso(i.received_at), 'leaseExpiresAt', iso(i.lease_expires_at),
    -- encode() breaks its lines after 76 characters.
    'rawBase64', case when p_raw then translate(encode(i.raw, 'base64'), E'\n', '') end))
$$;

create function inbox_put(p_body jsonb, p_sha256 bytea, p_raw bytea, p_now timestamptz)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  i inbox;
begin
  if p_body ->> 'state' not in ('pending', 'deferred', 'ignored') then
    raise exception 'an item cannot arrive in state %', p_body ->> 'state';
  end if;
  insert into inbox (shop, order_id, event, body_sha256, raw, state, reason, received_at, due_at)
    values (p_body ->> 'shop', p_body ->> 'order', p_body ->> 'event', p_sha256, p_raw, p_body ->> 'state',
      p_body ->> 'reason', p_now, p_now)
    on conflict (shop, body_sha256) do nothing returning * into i;
  if i.id is not null then return row(201, inbox_body(i, false), false)::outcome; end if;
  select * into strict i from inbox where shop = p_body ->> 'shop' and body_sha256 = p_sha256;
  return row(200, inbox_body(i, false), false)::outcome;
end $$;

-- The oldest due item, unless its order is busy: an earlier item of the order is still open, or any item of
-- it is under a running lease (a later one can be, when the earlier one's insert committed after it).
create function inbox_claim(p_lease_seconds integer, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  i inbox;
begin
  if o.status is not null then return o; end if;
  -- One claim at a time: two claims with different snapshots could each take an item of one order.
  perform pg_advisory_xact_lock(hashtext('gsv_ledger.inbox_claim'));
  update inbox t
    set state = 'claimed', attempts = t.attempts + 1, lease_expires_at = p_now + make_interval(secs => p_lease_seconds)
    where t.id = (
      select c.id from inbox c
      where c.state in ('pending', 'claimed')
        and case c.state when 'pending' then c.due_at <= p_now else c.lease_expires_at <= p_now end
        and not exists (
          select from inbox e
          where e.shop = c.shop and e.order_id = c.order_id and e.id <> c.id and e.state in ('pending', 'claimed')
            and (e.id < c.id or (e.state = 'claimed' and e.lease_expires_at > p_now)))
      order by c.id
      limit 1
      -- A row locked here is being finished by its worker at this moment.
      for update skip locked)
    returning * into i;
  return row(200, jsonb_build_object('item', case when i.id is not null then inbox_body(i, true) end), false)::outcome;
end $$;

-- Ends or hands back a claimed item. Doing the same again (a lost reply) answers the same; anything else on
-- an item that is not claimed is refused, because somebody else may hold it by now.
create function inbox_resolve(p_target text, p_state text, p_reason text, p_due timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  i inbox;
begin
  if o.status is not null then return o; end if;
  if p_state not in ('pending', 'done', 'parked') then
    raise exception 'an item cannot be resolved to state %', p_state;
  end if;
  select * into i from inbox where id = local_id('inbox', p_target) for update;
  if i.id is null then
    return problem(404, 'inbox_item_not_found', format('there is no inbox item %s', p_target));
  end if;
  if i.state = 'claimed' then
    update inbox set state = p_state, due_at = coalesce(p_due, i.due_at),
        -- What took effect after all has no reason left why it did not.
        reason = case when p_state <> 'done' then coalesce(p_reason, i.reason) end,
        lease_expires_at = null
      where id = i.id returning * into i;
  elsif i.state <> p_state or i.attempts = 0 then
    return problem(409, 'inbox_item_not_claimed',
      format('the item is %s; only a claimed one can be resolved', i.state), jsonb_build_object('state', i.state));
  end if;
  return row(200, inbox_body(i, false), false)::outcome;
end $$;

-- A person mended what an item was parked for: it is due again. Doing it twice is doing it once.
create function inbox_retry(p_target text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  i inbox;
begin
  if o.status is not null then return o; end if;
  select * into i from inbox where id = local_id('inbox', p_target) for update;
  if i.id is null then
    return problem(404, 'inbox_item_not_found', format('there is no inbox item %s', p_target));
  end if;
  if i.state = 'parked' then
    update inbox set state = 'pending', due_at = p_now where id = i.id returning * into i;
  elsif i.state <> 'pending' then
    return problem(409, 'inbox_item_not_parked', format('the item is %s; only a parked one can be tried again', i.state),
      jsonb_build_object('state', i.state));
  end if;
  return row(200, inbox_body(i, false), false)::outcome;
end $$;

-- Items, newest first. The cursor is the id of the last item of the page before.
create function inbox_list(p_state text, p_before text, p_limit integer, p_raw boolean)
returns setof jsonb language sql stable security definer set search_path = gsv_ledger, pg_temp as $$
  select inbox_body(i, p_raw) from inbox i
  where (p_state is null or i.state = p_state) and (p_before is null or i.id < local_id('inbox', p_before))
  order by i.id desc limit p_limit
$$;

-- New functions are nobody's (0002 took the default away); the table is readable, for its figures.
grant select on inbox to gsv_ledger_writer;
grant execute on function inbox_put, inbox_claim, inbox_resolve, inbox_retry, inbox_list to gsv_ledger_writer;
