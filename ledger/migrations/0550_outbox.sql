-- How far OpenMeter has been told of what was charged. There is no row per event: the receipts are the outbox, and this
-- is the place in them. Receipts get their number before they are committed, so "higher than the last one sent" would
-- skip a number that is committed later. A number is safe once every transaction that can have a lower one has ended.

create table outbox (
  singleton boolean primary key default true check (singleton),
  -- Part of the events' source, so that two books may feed one OpenMeter.
  book uuid not null default gen_random_uuid(),
  -- Every receipt up to it has been sent, or waits in outbox_receipts.
  position bigint not null default 0,
  safe bigint not null default 0,
  -- The next number that becomes safe, and a transaction that began after everybody who can have a lower one.
  mark bigint not null default 0,
  mark_xid xid8,
  holder text,
  lease_until timestamptz,
  -- Failures in a row; nobody sends before retry_at.
  failures integer not null default 0,
  retry_at timestamptz,
  last_error text,
  sent_at timestamptz,
  constraint never_beyond_safe check (position <= safe)
);
insert into outbox default values;

-- What the position has passed without sending: a hold that may be captured again, and what OpenMeter refuses.
create table outbox_receipts (
  receipt_id bigint primary key,
  state text not null check (state in ('open', 'parked')),
  -- The refused events, and what OpenMeter said about the last of them.
  events text[] not null default '{}',
  reason text,
  since timestamptz not null
);
create index outbox_receipts_parked on outbox_receipts (receipt_id) where state = 'parked';

-- A charge with its lines and what its hold says of the run: what an event says. Numbers of rows are as JSON knows them.
create view charged_receipts as
  select r.id as receipt_id, r.id::float8 as id, r.at, w.name as wallet, w.owner_uid as "ownerUid",
      coalesce(h.state = 'open', false) as open, r.hold_id::float8 as hold, h.offering, h.project,
      h.instance_uid as "instanceUid", h.run_id as "runId", coalesce(h.context, r.context) as context,
      (select coalesce(json_agg(json_build_object('position', l.position, 'dimension', l.dimension, 'units', l.units,
          'amount', l.amount) order by l.position), '[]') from receipt_lines l where l.receipt_id = r.id) as lines
    from receipts r join wallets w on w.id = r.wallet_id left join holds h on h.id = r.hold_id;

-- Takes or renews the lease and moves `safe` on. No row: another sender has it, or it is too early to try again.
create function outbox_claim(p_holder text, p_lease_seconds integer, p_now timestamptz) returns setof outbox
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v_last bigint;
begin
  -- Whoever has a number up to v_last had the wallet's lock, hence a transaction id, before v_last was committed. The
  -- id that the update below takes is therefore higher than theirs; it must not be there yet.
  if pg_current_xact_id_if_assigned() is not null then
    raise exception 'outbox_claim must be the first that its transaction does';
  end if;
  select coalesce(max(receipt_id), 0) into v_last from journal;
  if exists (select from outbox where holder <> p_holder and lease_until > p_now) then return; end if;
  return query update outbox o set holder = p_holder, lease_until = p_now + make_interval(secs => p_lease_seconds),
      safe = case when k.reached then o.mark else o.safe end,
      mark = case when k.reached or o.mark_xid is null then greatest(v_last, o.mark) else o.mark end,
      mark_xid = case when k.reached or o.mark_xid is null then pg_current_xact_id() else o.mark_xid end
    from (select coalesce(mark_xid <= pg_snapshot_xmin(pg_current_snapshot()), false) as reached from outbox) k
    where (o.holder is null or o.holder = p_holder or o.lease_until <= p_now)
      and (o.retry_at is null or o.retry_at <= p_now)
    returning o.*;
end $$;

-- After OpenMeter has taken what lies between: false when the lease was lost meanwhile, and nothing is changed then.
-- p_open have to be looked at again, p_done have been; p_parked is [{receipt, events, reason}].
create function outbox_advance(p_holder text, p_from bigint, p_to bigint, p_open jsonb, p_done jsonb,
  p_parked jsonb, p_now timestamptz) returns boolean
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
begin
  update outbox set position = p_to, failures = 0, retry_at = null, last_error = null, sent_at = p_now
    where holder = p_holder and position = p_from and p_to >= p_from;
  if not found then return false; end if;
  delete from outbox_receipts where receipt_id in (select d::bigint from jsonb_array_elements(p_done) d);
  insert into outbox_receipts (receipt_id, state, since) select o::bigint, 'open', p_now from jsonb_array_elements(p_open) o;
  insert into outbox_receipts (receipt_id, state, events, reason, since)
    select (p ->> 'receipt')::bigint, 'parked', array(select jsonb_array_elements_text(p -> 'events')), p ->> 'reason', p_now
      from jsonb_array_elements(p_parked) p
    on conflict (receipt_id) do update set state = 'parked', events = excluded.events, reason = excluded.reason;
  return true;
end $$;

create function outbox_failed(p_holder text, p_retry_at timestamptz, p_error text) returns void
language sql security definer set search_path = gsv_ledger, pg_temp as $$
  update outbox set failures = failures + 1, retry_at = p_retry_at, last_error = left(p_error, 500) where holder = p_holder
$$;

-- A sender that stops lets the next one begin at once.
create function outbox_release(p_holder text) returns void
language sql security definer set search_path = gsv_ledger, pg_temp as $$
  update outbox set holder = null, lease_until = null where holder = p_holder
$$;

-- What is parked is tried again, all of it, and so is what waits for its time.
create function outbox_retry() returns integer
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v_count integer;
begin
  update outbox_receipts set state = 'open' where state = 'parked';
  get diagnostics v_count = row_count;
  update outbox set failures = 0, retry_at = null;
  return v_count;
end $$;

grant select on outbox, outbox_receipts, charged_receipts to gsv_ledger_writer;
grant execute on function outbox_claim, outbox_advance, outbox_failed, outbox_release, outbox_retry to gsv_ledger_writer;
