-- Helpers of the operations. None of them is granted to the writer role.

create function iso(p_at timestamptz) returns text language sql stable as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') ||
    case when extract(milliseconds from p_at)::bigint % 1000 = 0 then 'Z'
         else to_char(p_at at time zone 'UTC', '.MS"Z"') end
$$;

-- 'hold_42' -> 42; null for anything else.
create function local_id(p_prefix text, p_id text) returns bigint language sql immutable as $$
  select case when p_id ~ ('^' || p_prefix || '_[1-9][0-9]{0,17}$') then substr(p_id, length(p_prefix) + 2)::bigint end
$$;

create function problem(p_status integer, p_code text, p_detail text, p_extra jsonb default '{}')
returns outcome language sql immutable as $$
  select row(p_status, jsonb_build_object('code', p_code, 'detail', p_detail) || p_extra, false)::outcome
$$;

-- Refuses a caller whose epoch is lower than one that was seen. Holding the row until commit makes it impossible
-- that a stale caller commits after a newer one. Taken before any wallet: a fixed order of locks.
create function stale(p_epoch bigint) returns outcome language plpgsql as $$
declare
  v_seen bigint;
begin
  if p_epoch is null then return null; end if;
  select epoch into v_seen from fencing;
  if v_seen is null or p_epoch > v_seen then
    insert into fencing (epoch) values (p_epoch)
      on conflict (singleton) do update set epoch = greatest(fencing.epoch, excluded.epoch);
  end if;
  select epoch into v_seen from fencing for share;
  if p_epoch < v_seen then
    return problem(409, 'stale_leader', format('epoch %s has been followed by %s; stop', p_epoch, v_seen));
  end if;
  return null;
end $$;

-- The open wallet of that name, else the one closed last; locked.
create function lock_wallet(p_name text) returns wallets language plpgsql as $$
declare
  w wallets;
begin
  select * into w from wallets where name = p_name order by (state = 'open') desc, id desc limit 1 for update;
  return w;
end $$;

create function no_wallet(p_name text) returns outcome language sql immutable as $$
  select problem(404, 'wallet_not_found', format('there is no wallet %s', p_name))
$$;

-- What the key answered before, or null. Called under the wallet's lock.
create function replay(p_owner text, p_operation text, p_key text, p_hash text) returns outcome language plpgsql as $$
declare
  v idempotency;
begin
  select * into v from idempotency where owner_uid = p_owner and operation = p_operation and key = p_key;
  if not found then return null; end if;
  if v.payload_hash <> p_hash then
    return problem(422, 'idempotency_conflict', 'this Idempotency-Key was used for another payload');
  end if;
  return row(v.status, v.body, true)::outcome;
end $$;

create function remember(p_owner text, p_operation text, p_key text, p_hash text, p_status integer, p_body jsonb,
  p_now timestamptz) returns outcome language plpgsql as $$
begin
  if coalesce(p_key, '') = '' then raise exception 'an operation without key'; end if;
  insert into idempotency values (p_owner, p_operation, p_key, p_hash, p_status, p_body, p_now) on conflict do nothing;
  -- Only two wallets of one owner can race here; the loser starts anew and replays.
  if not found then raise exception 'key taken meanwhile' using errcode = 'serialization_failure'; end if;
  return row(p_status, p_body, false)::outcome;
end $$;

-- Books one transaction: the entries, and from the very same moves the caches of wallet and grants, so that they
-- cannot differ. The wallet must be locked. Returns null when there is nothing to move.
create function post(p_wallet bigint, p_operation text, p_now timestamptz, p_moves move[], p_hold bigint default null,
  p_receipt bigint default null, p_reason text default null) returns bigint language plpgsql as $$
declare
  v_moves move[];
  v_transaction bigint;
  v_wanted integer;
  v_written integer;
begin
  select array_agg(m::move) into v_moves from unnest(p_moves) m where m.amount <> 0;
  if v_moves is null then return null; end if;
  if exists (select from unnest(v_moves) m where m.amount < 0 or m.from_kind = m.to_kind
    or (m.grant_id is null and (m.from_kind in ('available', 'held') or m.to_kind in ('available', 'held')))) then
    raise exception 'impossible move in %: %', p_operation, v_moves;
  end if;
  insert into transactions (wallet_id, operation, at, hold_id, receipt_id, reason)
    values (p_wallet, p_operation, p_now, p_hold, p_receipt, p_reason) returning id into v_transaction;
  with legs as (
    select from_kind as kind, grant_id, -amount as amount from unnest(v_moves)
    union all select to_kind, grant_id, amount from unnest(v_moves)
  ), sums as (
    select kind, grant_id, sum(amount)::bigint as amount from legs group by kind, grant_id having sum(amount) <> 0
  ), written as (
    insert into entries (transaction_id, account_id, grant_id, amount)
      select v_transaction, a.id, s.grant_id, s.amount from sums s
        join accounts a on a.kind = s.kind
          and a.wallet_id is not distinct from case when s.kind in ('available', 'held', 'debt') then p_wallet end
      order by a.id, s.grant_id
      returning 1
  ), wallet as (
    update wallets w set available = w.available + d.available, held = w.held + d.held, debt = w.debt - d.debt
      from (select coalesce(sum(amount) filter (where kind = 'available'), 0) as available,
                   coalesce(sum(amount) filter (where kind = 'held'), 0) as held,
                   coalesce(sum(amount) filter (where kind = 'debt'), 0) as debt from sums) d
      where w.id = p_wallet
  ), granted as (
    update grants g set amount = g.amount + d.issued, remaining = g.remaining + d.remaining, held = g.held + d.held,
        spent = g.spent + d.spent, expired = g.expired + d.expired, revoked = g.revoked + d.revoked,
        clawed_back = g.clawed_back + d.clawed_back
      from (select grant_id,
          coalesce(sum(amount) filter (where from_kind = 'issued'), 0) as issued,
          coalesce(sum(amount) filter (where to_kind in ('available', 'held')), 0)
            - coalesce(sum(amount) filter (where from_kind in ('available', 'held')), 0) as remaining,
          coalesce(sum(amount) filter (where to_kind = 'held'), 0)
            - coalesce(sum(amount) filter (where from_kind = 'held'), 0) as held,
          coalesce(sum(amount) filter (where to_kind in ('usage', 'debt')), 0) as spent,
          coalesce(sum(amount) filter (where to_kind = 'breakage'), 0)
            - coalesce(sum(amount) filter (where from_kind = 'breakage'), 0) as expired,
          coalesce(sum(amount) filter (where to_kind = 'revoked'), 0) as revoked,
          coalesce(sum(amount) filter (where to_kind = 'clawed_back'), 0) as clawed_back
        from unnest(v_moves) where grant_id is not null group by grant_id) d
      where g.id = d.grant_id
  )
  select (select count(*) from sums), (select count(*) from written) into v_wanted, v_written;
  if v_wanted <> v_written then raise exception '% names an account that does not exist', p_operation; end if;
  return v_transaction;
end $$;

-- Grants that this scope may use, in burn order, with what is free of each and how much lies before it.
create function usable(p_wallet bigint, p_offering text, p_project text, p_now timestamptz)
returns table (grant_id bigint, free bigint, before bigint) language sql stable as $$
  select id, remaining - held, (sum(remaining - held) over burn - (remaining - held))::bigint
    from grants
    where wallet_id = p_wallet and remaining > 0 and remaining > held and (expires_at is null or expires_at > p_now)
      and (offerings is null or p_offering = any (offerings)) and (projects is null or p_project = any (projects))
    window burn as (order by priority, expires_at nulls last, id rows unbounded preceding)
$$;

create function usable_total(p_wallet bigint, p_offering text, p_project text, p_now timestamptz) returns bigint
language sql stable as $$
  select coalesce(sum(free), 0)::bigint from usable(p_wallet, p_offering, p_project, p_now)
$$;

create function take_available(p_wallet bigint, p_offering text, p_project text, p_now timestamptz, p_amount bigint,
  p_to text) returns move[] language sql stable as $$
  select coalesce(array_agg(row('available', p_to, grant_id, least(free, p_amount - before))::move), '{}')
    from usable(p_wallet, p_offering, p_project, p_now) where before < p_amount
$$;

-- What a hold reserved, taken in burn order; a grant that has expired since may still be used.
create function take_held(p_hold bigint, p_amount bigint, p_to text) returns move[] language sql stable as $$
  select coalesce(array_agg(row('held', p_to, r.grant_id, least(r.amount, p_amount - r.before))::move), '{}')
    from (select h.grant_id, h.amount,
        (sum(h.amount) over (order by g.priority, g.expires_at nulls last, g.id rows unbounded preceding) - h.amount)::bigint as before
      from hold_grants h join grants g on g.id = h.grant_id where h.hold_id = p_hold) r
    where r.before < p_amount
$$;

-- Gives back all that a hold still reserves: to its grants, or to breakage where the grant has expired.
create function release_moves(p_hold bigint, p_now timestamptz) returns move[] language sql stable as $$
  select coalesce(array_agg(row('held', case when g.expires_at <= p_now then 'breakage' else 'available' end,
      h.grant_id, h.amount)::move), '{}')
    from hold_grants h join grants g on g.id = h.grant_id where h.hold_id = p_hold
$$;

-- What a monthly cap leaves to a project; null without a cap.
create function cap_left(w wallets, p_project text, p_now timestamptz) returns bigint language plpgsql stable as $$
declare
  v_cap bigint;
begin
  select min((c ->> 'amount')::bigint) into v_cap from jsonb_array_elements(w.caps) c where c ->> 'project' = p_project;
  if v_cap is null then return null; end if;
  return greatest(0, v_cap
    - coalesce((select amount from project_spend where wallet_id = w.id and project = p_project
        and month = date_trunc('month', p_now at time zone 'UTC')::date), 0)
    - coalesce((select sum(amount) from holds where wallet_id = w.id and state = 'open' and project = p_project), 0));
end $$;

create function count_spend(p_wallet bigint, p_project text, p_now timestamptz, p_amount bigint) returns void
language sql as $$
  insert into project_spend
    select p_wallet, p_project, date_trunc('month', p_now at time zone 'UTC')::date, p_amount
      where p_project is not null and p_amount > 0
    on conflict (wallet_id, project, month) do update set amount = project_spend.amount + excluded.amount
$$;

create function emit(p_wallet bigint, p_type text, p_now timestamptz, p_data jsonb) returns void language sql as $$
  insert into events (wallet_id, type, at, data) values (p_wallet, p_type, p_now, p_data)
$$;

-- Announces what an operation changed about the wallet's funds. Funds are available + held: a run that merely
-- reserves must not announce an exhausted wallet and a recovered one a second later.
create function emit_levels(p_before wallets, p_now timestamptz) returns wallets language plpgsql as $$
declare
  w wallets;
  v_before bigint := p_before.available + p_before.held;
  v_after bigint;
  v_threshold bigint;
begin
  select * into w from wallets where id = p_before.id;
  v_after := w.available + w.held;
  if v_after < v_before then
    for v_threshold in select t from unnest(w.thresholds) t where v_before >= t and v_after < t order by t desc loop
      perform emit(w.id, 'wallet.low', p_now, jsonb_build_object('threshold', v_threshold, 'available', w.available, 'held', w.held));
    end loop;
    if v_after = 0 then
      perform emit(w.id, 'wallet.exhausted', p_now, jsonb_build_object('available', 0, 'debt', w.debt));
    end if;
  elsif v_after > v_before and (v_before = 0 or exists (select from unnest(w.thresholds) t where v_before < t and v_after >= t)) then
    perform emit(w.id, 'wallet.recovered', p_now, jsonb_build_object('available', w.available, 'held', w.held));
  end if;
  return w;
end $$;

-- Books what is due in a locked wallet: holds past their time, then what is free of grants past theirs.
create function book_due(p_wallet bigint, p_now timestamptz) returns boolean language plpgsql as $$
declare
  h holds;
  v_any boolean := false;
  v_moves move[];
begin
  for h in select * from holds where wallet_id = p_wallet and state = 'open' and expires_at <= p_now order by expires_at, id loop
    v_any := true;
    perform post(p_wallet, 'hold_expiry', p_now, release_moves(h.id, p_now), h.id);
    delete from hold_grants where hold_id = h.id;
    update holds set state = 'expired', released = amount, ended_at = p_now where id = h.id;
    perform emit(p_wallet, 'hold.expired', p_now, jsonb_strip_nulls(jsonb_build_object('hold', 'hold_' || h.id,
      'amount', h.amount, 'instanceUid', h.instance_uid, 'runId', h.run_id)));
  end loop;
  select array_agg(row('available', 'breakage', id, remaining - held)::move) into v_moves
    from grants where wallet_id = p_wallet and remaining > 0 and remaining > held and expires_at <= p_now;
  if v_moves is not null then
    v_any := true;
    perform post(p_wallet, 'grant_expiry', p_now, v_moves);
  end if;
  return v_any;
end $$;
