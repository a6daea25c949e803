-- Group commit: many callers' debits, holds, captures and voids in one call, hence in one commit. It works on arrays:
-- one look at wallets, grants, keys and holds, one pass over the items in the order they came, one write per table.
-- What it does not do itself (expiries that are due, caps, overruns, what an earlier capture left open) it leaves out
-- of its answer, and the caller runs that item through the item's own function.

-- Every row of these tables is written by a function in this schema together with what it names, and the writer role
-- cannot write them otherwise. Looking each reference up again was most of what a debit cost; the audit does it now.
alter table entries
  drop constraint entries_transaction_id_fkey,
  drop constraint entries_account_id_fkey,
  drop constraint entries_grant_id_fkey;
alter table transactions
  drop constraint transactions_wallet_id_fkey,
  drop constraint transactions_hold_id_fkey,
  drop constraint transactions_receipt_id_fkey;
alter table receipts
  drop constraint receipts_wallet_id_fkey,
  drop constraint receipts_hold_id_fkey;
alter table receipt_lines drop constraint receipt_lines_receipt_id_fkey;
alter table hold_grants
  drop constraint hold_grants_hold_id_fkey,
  drop constraint hold_grants_grant_id_fkey;
alter table holds
  drop constraint holds_wallet_id_fkey,
  drop constraint holds_receipt_id_fkey;

-- An update that changes no indexed column stays on its page and touches no index. remaining and held were part of the
-- indexes' conditions; whether anything remains changes once.
alter table grants add column live boolean not null generated always as (remaining > 0) stored;
drop index grants_burn_order;
create index grants_burn_order on grants (wallet_id, priority, expires_at, id) where live;
drop index grants_expiry;
create index grants_expiry on grants (expires_at) where live;
-- Nobody looks for the holds of a grant.
drop index hold_grants_grant;
alter table grants set (fillfactor = 60);
alter table wallets set (fillfactor = 60);

-- As in 0003 and 0004, with the condition of the new indexes.
create or replace function usable(p_wallet bigint, p_offering text, p_project text, p_now timestamptz)
returns table (grant_id bigint, free bigint, before bigint) language sql stable as $$
  select id, remaining - held, (sum(remaining - held) over burn - (remaining - held))::bigint
    from grants
    where wallet_id = p_wallet and live and remaining > held and (expires_at is null or expires_at > p_now)
      and (offerings is null or p_offering = any (offerings)) and (projects is null or p_project = any (projects))
    window burn as (order by priority, expires_at nulls last, id rows unbounded preceding)
$$;

create or replace function book_due(p_wallet bigint, p_now timestamptz) returns boolean language plpgsql as $$
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
    from grants where wallet_id = p_wallet and live and remaining > held and expires_at <= p_now;
  if v_moves is not null then
    v_any := true;
    perform post(p_wallet, 'grant_expiry', p_now, v_moves);
  end if;
  return v_any;
end $$;

create or replace function settle_wallet(p_wallet text, p_now timestamptz) returns boolean
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  w wallets;
begin
  if not exists (select from wallets x where x.name = p_wallet and x.state = 'open' and (
      exists (select from holds where wallet_id = x.id and state = 'open' and expires_at <= p_now)
      or exists (select from grants where wallet_id = x.id and live and remaining > held and expires_at <= p_now))) then
    return false;
  end if;
  select * into w from wallets where name = p_wallet and state = 'open' for update;
  if w.id is null or not book_due(w.id, p_now) then return false; end if;
  perform emit_levels(w, p_now);
  return true;
end $$;

create or replace function expire_due(p_now timestamptz, p_limit integer) returns integer
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  w wallets;
  v_count integer := 0;
begin
  for w in
    select x.* from wallets x where x.state = 'open' and x.id in (
        select wallet_id from holds where state = 'open' and expires_at <= p_now
        union select wallet_id from grants where live and remaining > held and expires_at <= p_now)
      order by x.id limit p_limit for update skip locked
  loop
    if book_due(w.id, p_now) then
      perform emit_levels(w, p_now);
      v_count := v_count + 1;
    end if;
  end loop;
  return v_count;
end $$;

-- One item as it comes. amount is the sum of the lines, or what a hold reserves.
create type batch_item as (
  item integer, operation text, wallet text, hold bigint, amount bigint, offering text, project text, instance_uid text,
  max_concurrent bigint, ttl_seconds integer, key text, hash text, context jsonb, lines jsonb, result_ref text, reason text);

-- Every plan is the same whatever the tables hold: look up by index, row by row. Without the settings the first calls
-- of a young database would fix plans that read whole tables.
create function run_batch(p_items json, p_now timestamptz, p_epoch bigint)
returns table (item integer, status integer, body jsonb, replayed boolean)
language plpgsql security definer set search_path = gsv_ledger, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan
as $$
declare
  v_stale outcome := stale(p_epoch);
  v_month date := date_trunc('month', p_now at time zone 'UTC')::date;
  v_usage bigint;
  v_items batch_item[];
  -- By position of the item.
  v_item_wallet bigint[];
  -- Locked wallets, in order of their id.
  w_id bigint[]; w_name text[]; w_owner text[]; w_open boolean[]; w_capped boolean[]; w_thresholds text[]; w_debt bigint[];
  w_available bigint[]; w_held bigint[]; w_available_account bigint[]; w_held_account bigint[]; w_due boolean[];
  -- The first of its grants.
  w_grants integer[];
  w_changed boolean[];
  -- Their grants in burn order, and what becomes of them.
  g_id bigint[]; g_wallet integer[]; g_free bigint[]; g_offerings text[]; g_projects text[];
  g_scoped boolean[]; g_expired boolean[]; g_remaining bigint[]; g_held bigint[]; g_spent bigint[];
  g_count integer;
  -- Open holds that this batch added to an Instance.
  c_added integer[] := '{}';
  -- Rows to write.
  t_wallet bigint[] := '{}'; t_operation text[] := '{}'; t_hold bigint[] := '{}'; t_receipt bigint[] := '{}';
  t_reason text[] := '{}'; t_id bigint[]; t integer := 0;
  e_transaction integer[] := '{}'; e_account bigint[] := '{}'; e_grant bigint[] := '{}'; e_amount bigint[] := '{}'; e integer := 0;
  h_item integer[] := '{}'; h_id bigint[] := '{}'; h integer := 0;
  k_hold bigint[] := '{}'; k_grant bigint[] := '{}'; k_amount bigint[] := '{}'; k integer := 0;
  x_hold bigint[] := '{}'; x_state text[] := '{}'; x_receipt bigint[] := '{}'; x_captured bigint[] := '{}';
  x_released bigint[] := '{}'; x_result text[] := '{}'; x_reason text[] := '{}'; x integer := 0;
  r_id bigint[] := '{}'; r_wallet bigint[] := '{}'; r_hold bigint[] := '{}'; r_amount bigint[] := '{}';
  r_context jsonb[] := '{}'; r_lines jsonb[] := '{}'; r_project text[] := '{}'; r integer := 0;
  f_instance text[] := '{}'; f_receipt bigint[] := '{}'; f integer := 0;
  v_won bigint[];
  n_wallet bigint[] := '{}'; n_type text[] := '{}'; n_receipt bigint[] := '{}'; n_data jsonb[] := '{}'; n integer := 0;
  o_item integer[] := '{}'; o_status integer[] := '{}'; o_body jsonb[] := '{}'; o_replayed boolean[] := '{}';
  -- The key of what is to be remembered. No element may be left out: an array begins at the first that is set.
  o_owner text[] := '{}'; o_operation text[] := '{}'; o_key text[] := '{}'; o_hash text[] := '{}'; o integer := 0;
  v_written integer;
  i record;
  w integer;
  g integer;
  v_rest bigint;
  v_part bigint;
  v_used bigint;
  v_held bigint;
  v_place integer;
  v_places integer[];
  v_expired boolean;
  v_id bigint;
  v_running bigint;
  v_funds bigint;
  v_threshold bigint;
  v_body jsonb;
  v_status integer;
begin
  if v_stale.status is not null then
    return query select a.item, v_stale.status, v_stale.body, false from json_to_recordset(p_items) a (item integer);
    return;
  end if;
  select array_agg(a) into v_items from json_populate_recordset(null::batch_item, p_items) a;

  -- The wallets, locked in the order of their ids, so that two batches never wait for each other.
  select array_agg(case when a.hold is not null then (select wallet_id from holds where id = a.hold)
      else (select id from wallets where name = a.wallet order by (state = 'open') desc, id desc limit 1) end order by a.position)
    into v_item_wallet
    from unnest(v_items) with ordinality a (item, operation, wallet, hold, amount, offering, project, instance_uid,
      max_concurrent, ttl_seconds, key, hash, context, lines, result_ref, reason, position);
  select array_agg(l.id), array_agg(l.name), array_agg(l.owner_uid), array_agg(l.state = 'open'), array_agg(l.caps <> '[]'),
      array_agg(case when l.thresholds <> '{}' then l.thresholds::text end), array_agg(l.debt), array_agg(l.available),
      array_agg(l.held), array_agg(l.available_account), array_agg(l.held_account), array_agg(false)
    into w_id, w_name, w_owner, w_open, w_capped, w_thresholds, w_debt, w_available, w_held, w_available_account,
      w_held_account, w_changed
    from (select * from wallets where id = any (v_item_wallet) order by id for update) l;
  if w_id is null then return; end if;

  -- From here every statement sees what those committed who had the locks before.
  select array_agg(coalesce((select true from holds where wallet_id = a.id and state = 'open' and expires_at <= p_now limit 1), false)
      order by a.position) into w_due
    from unnest(w_id) with ordinality a (id, position);
  select array_agg(b.id), array_agg(b.position::integer), array_agg(b.remaining - b.held), array_agg(b.offerings::text),
      array_agg(b.projects::text), array_agg(b.offerings is not null or b.projects is not null),
      array_agg(coalesce(b.expires_at <= p_now, false)), array_agg(0::bigint), array_agg(0::bigint), array_agg(0::bigint)
    into g_id, g_wallet, g_free, g_offerings, g_projects, g_scoped, g_expired, g_remaining, g_held, g_spent
    from (select a.position, c.* from unnest(w_id) with ordinality a (id, position)
        cross join lateral (select * from grants where wallet_id = a.id and live offset 0) c
      order by a.position, c.priority, c.expires_at nulls last, c.id) b;
  g_count := coalesce(array_length(g_id, 1), 0);
  w_grants := array_fill(null::integer, array[array_length(w_id, 1)]);
  for j in reverse g_count .. 1 loop
    w_grants[g_wallet[j]] := j;
    if g_expired[j] and g_free[j] > 0 then w_due[g_wallet[j]] := true; end if;
  end loop;
  select id into v_usage from accounts where wallet_id is null and kind = 'usage';

  for i in
    select a.*, b.wallet_rank as wallet_rank, m.status as old_status, m.body as old_body, m.payload_hash as old_hash,
        d.state as hold_state, d.amount as hold_amount, d.offering as hold_offering, d.project as hold_project,
        d.instance_uid as hold_instance, d.run_id, d.context ->> 'instance' as hold_name, d.receipt_id as hold_receipt,
        
        -- Looked up only for those who need it.
        case when a.hold is not null then (select array_agg(v.grant_id order by v.grant_id)
          from hold_grants v where v.hold_id = a.hold) end as grants,
        case when a.hold is not null then (select array_agg(v.amount order by v.grant_id)
          from hold_grants v where v.hold_id = a.hold) end as amounts,
        case when a.max_concurrent is not null then (select count(*) from holds z
          where z.instance_uid = a.instance_uid and z.state = 'open' and z.expires_at > p_now) end as running,
        dense_rank() over (order by coalesce(a.instance_uid, d.instance_uid) collate "C")::integer as instance
      from rows from (unnest(v_items), unnest(v_item_wallet)) with ordinality a (item, operation, wallet, hold, amount,
        offering, project, instance_uid, max_concurrent, ttl_seconds, key, hash, context, lines, result_ref, reason,
        wallet_id, position)
      -- w_id is sorted, so this is a binary search.
      cross join lateral (select width_bucket(a.wallet_id, w_id) as wallet_rank) b
      left join idempotency m on m.owner_uid = w_owner[b.wallet_rank] and m.operation = a.operation and m.key = a.key
      left join holds d on d.id = a.hold
      order by a.position
  loop
    w := i.wallet_rank;
    -- No wallet: its own function knows what to say.
    continue when i.wallet_id is null;
    v_status := null;
    o_owner[o + 1] := w_owner[w]; o_operation[o + 1] := i.operation; o_hash[o + 1] := i.hash;
    if i.old_hash = i.hash then
      o := o + 1;
      o_item[o] := i.item; o_status[o] := i.old_status; o_body[o] := i.old_body; o_replayed[o] := true; o_key[o] := null;
      continue;
    elsif i.old_hash is not null then
      v_body := (problem(422, 'idempotency_conflict', 'this Idempotency-Key was used for another payload')).body;
      o := o + 1;
      o_item[o] := i.item; o_status[o] := 422; o_body[o] := v_body; o_replayed[o] := false; o_key[o] := null;
      continue;
    end if;
    continue when not w_open[w] or w_due[w];

    if i.operation in ('debit', 'hold') then
      continue when i.project is not null and w_capped[w];
      if i.operation = 'hold' and i.max_concurrent is not null and i.instance_uid is not null then
        v_running := i.running + coalesce(c_added[i.instance], 0);
        if v_running >= i.max_concurrent then
          v_status := 429;
          v_body := (problem(429, 'too_many_runs',
            format('%s runs of this Instance are under way; wait for one to end', v_running))).body;
        end if;
      end if;
      if v_status is null then
        -- First whether the grants of this scope suffice, then which of them pay.
        v_rest := i.amount;
        g := w_grants[w];
        while v_rest > 0 and g <= g_count and g_wallet[g] = w loop
          if not g_scoped[g] or (coalesce(i.offering = any (g_offerings[g]::text[]), g_offerings[g] is null)
              and coalesce(i.project = any (g_projects[g]::text[]), g_projects[g] is null)) then
            v_rest := v_rest - g_free[g];
          end if;
          g := g + 1;
        end loop;
        if v_rest > 0 then
          v_status := 402;
          v_body := (problem(402, 'insufficient_credits', format('%s microcredits are needed and %s are available here',
            i.amount, i.amount - v_rest), jsonb_build_object('available', i.amount - v_rest, 'required', i.amount))).body;
        end if;
      end if;
      if v_status is not null then
        o := o + 1;
        o_item[o] := i.item; o_status[o] := v_status; o_body[o] := v_body; o_replayed[o] := false; o_key[o] := null;
        continue;
      end if;
      if i.amount > 0 then
        t := t + 1;
        t_wallet[t] := i.wallet_id; t_operation[t] := i.operation; t_hold[t] := null; t_receipt[t] := null; t_reason[t] := null;
      end if;
      if i.operation = 'hold' then
        v_id := nextval('holds_id_seq');
        t_hold[t] := v_id;
        h := h + 1;
        h_item[h] := i.position; h_id[h] := v_id;
        if i.instance_uid is not null then c_added[i.instance] := coalesce(c_added[i.instance], 0) + 1; end if;
      else
        v_id := nextval('receipts_id_seq');
        if i.amount > 0 then t_receipt[t] := v_id; end if;
        r := r + 1;
        r_id[r] := v_id; r_wallet[r] := i.wallet_id; r_hold[r] := null; r_amount[r] := i.amount;
        r_context[r] := coalesce(i.context, '{}'); r_lines[r] := i.lines; r_project[r] := i.project;
      end if;
      v_rest := i.amount;
      g := w_grants[w];
      while v_rest > 0 loop
        if g_free[g] > 0 and (not g_scoped[g] or (coalesce(i.offering = any (g_offerings[g]::text[]), g_offerings[g] is null)
            and coalesce(i.project = any (g_projects[g]::text[]), g_projects[g] is null))) then
          v_part := least(g_free[g], v_rest);
          v_rest := v_rest - v_part;
          g_free[g] := g_free[g] - v_part;
          e := e + 1;
          e_transaction[e] := t; e_account[e] := w_available_account[w]; e_grant[e] := g_id[g]; e_amount[e] := -v_part;
          e := e + 1;
          e_transaction[e] := t; e_grant[e] := g_id[g]; e_amount[e] := v_part;
          if i.operation = 'hold' then
            e_account[e] := w_held_account[w];
            g_held[g] := g_held[g] + v_part;
            k := k + 1;
            k_hold[k] := v_id; k_grant[k] := g_id[g]; k_amount[k] := v_part;
          else
            e_account[e] := v_usage;
            g_remaining[g] := g_remaining[g] - v_part;
            g_spent[g] := g_spent[g] + v_part;
          end if;
        end if;
        g := g + 1;
      end loop;
      v_funds := w_available[w] + w_held[w];
      w_available[w] := w_available[w] - i.amount;
      if i.operation = 'hold' then
        w_held[w] := w_held[w] + i.amount;
        v_body := jsonb_build_object('hold', 'hold_' || v_id, 'wallet', w_name[w], 'amount', i.amount, 'state', 'open',
          'expiresAt', iso(p_now + make_interval(secs => i.ttl_seconds)));
      else
        v_body := jsonb_build_object('receipt', 'receipt_' || v_id, 'amount', i.amount, 'available', w_available[w]);
      end if;
      v_status := 201;
    else
      -- A capture or void that ends a hold within what the hold reserves.
      continue when i.hold_state is distinct from 'open' or i.grants is null;
      continue when i.operation = 'capture' and (i.amount > i.hold_amount or i.hold_receipt is not null);
      v_used := case when i.operation = 'capture' then i.amount else 0 end;
      -- In burn order; what an expired grant gets back is breakage, and no business of a batch.
      v_places := '{}';
      v_expired := false;
      g := w_grants[w];
      for p in 1 .. array_length(i.grants, 1) loop
        loop
          v_place := array_position(i.grants, g_id[g]);
          exit when v_place is not null;
          g := g + 1;
          if g > g_count then raise exception 'hold % reserves of a grant that has nothing left', i.hold; end if;
        end loop;
        v_places[p] := v_place;
        v_expired := v_expired or g_expired[g];
        g := g + 1;
      end loop;
      continue when v_expired;
      t := t + 1;
      t_wallet[t] := i.wallet_id; t_operation[t] := i.operation; t_hold[t] := i.hold; t_receipt[t] := null; t_reason[t] := i.reason;
      v_rest := v_used;
      g := w_grants[w];
      foreach v_place in array v_places loop
        while g_id[g] <> i.grants[v_place] loop g := g + 1; end loop;
        v_held := i.amounts[v_place];
        v_part := least(v_rest, v_held);
        v_rest := v_rest - v_part;
        e := e + 1;
        e_transaction[e] := t; e_account[e] := w_held_account[w]; e_grant[e] := g_id[g]; e_amount[e] := -v_held;
        g_held[g] := g_held[g] - v_held;
        if v_part > 0 then
          e := e + 1;
          e_transaction[e] := t; e_account[e] := v_usage; e_grant[e] := g_id[g]; e_amount[e] := v_part;
          g_remaining[g] := g_remaining[g] - v_part;
          g_spent[g] := g_spent[g] + v_part;
        end if;
        if v_part < v_held then
          e := e + 1;
          e_transaction[e] := t; e_account[e] := w_available_account[w]; e_grant[e] := g_id[g]; e_amount[e] := v_held - v_part;
          g_free[g] := g_free[g] + v_held - v_part;
        end if;
      end loop;
      v_funds := w_available[w] + w_held[w];
      w_held[w] := w_held[w] - i.hold_amount;
      w_available[w] := w_available[w] + i.hold_amount - v_used;
      if i.hold_instance is not null then c_added[i.instance] := coalesce(c_added[i.instance], 0) - 1; end if;
      x := x + 1;
      x_hold[x] := i.hold; x_released[x] := i.hold_amount - v_used; x_captured[x] := v_used; x_result[x] := i.result_ref;
      x_receipt[x] := null; x_reason[x] := i.reason;
      if i.operation = 'void' then
        x_state[x] := 'voided';
        v_body := jsonb_build_object('hold', 'hold_' || i.hold, 'state', 'voided', 'released', i.hold_amount);
      else
        x_state[x] := 'captured';
        v_id := nextval('receipts_id_seq');
        x_receipt[x] := v_id;
        t_receipt[t] := v_id;
        r := r + 1;
        r_id[r] := v_id; r_wallet[r] := i.wallet_id; r_hold[r] := i.hold; r_amount[r] := v_used; r_context[r] := null;
        r_lines[r] := i.lines; r_project[r] := i.hold_project;
        if i.hold_instance is not null then
          f := f + 1;
          f_instance[f] := i.hold_instance; f_receipt[f] := v_id;
          n := n + 1;
          n_wallet[n] := i.wallet_id; n_type[n] := 'receipt.first'; n_receipt[n] := v_id;
          n_data[n] := jsonb_strip_nulls(jsonb_build_object('instanceUid', i.hold_instance, 'instance', i.hold_name,
            'receipt', 'receipt_' || v_id, 'hold', 'hold_' || i.hold, 'runId', i.run_id, 'amount', v_used));
        end if;
        v_body := jsonb_build_object('receipt', 'receipt_' || v_id, 'hold', 'hold_' || i.hold, 'state', 'captured',
          'amount', v_used, 'released', i.hold_amount - v_used,
          'overrun', jsonb_build_object('fromAvailable', 0, 'debt', 0, 'writtenOff', 0),
          'lines', i.lines, 'available', w_available[w]);
      end if;
      v_status := 200;
    end if;
    w_changed[w] := true;

    -- As emit_levels does it; funds only fall here.
    if w_available[w] + w_held[w] < v_funds then
      if w_thresholds[w] is not null then
        for v_threshold in select a from unnest(w_thresholds[w]::bigint[]) a
            where v_funds >= a and w_available[w] + w_held[w] < a order by a desc loop
          n := n + 1;
          n_wallet[n] := i.wallet_id; n_type[n] := 'wallet.low'; n_receipt[n] := null;
          n_data[n] := jsonb_build_object('threshold', v_threshold, 'available', w_available[w], 'held', w_held[w]);
        end loop;
      end if;
      if w_available[w] + w_held[w] = 0 then
        n := n + 1;
        n_wallet[n] := i.wallet_id; n_type[n] := 'wallet.exhausted'; n_receipt[n] := null;
        n_data[n] := jsonb_build_object('available', 0, 'debt', w_debt[w]);
      end if;
    end if;
    o := o + 1;
    o_item[o] := i.item; o_status[o] := v_status; o_body[o] := v_body; o_replayed[o] := false; o_key[o] := i.key;
  end loop;

  if r > 0 then
    insert into receipts (id, wallet_id, hold_id, at, amount, context) overriding system value
      select a.id, a.wallet, a.hold, p_now, a.amount, a.context
        from unnest(r_id, r_wallet, r_hold, r_amount, r_context) a (id, wallet, hold, amount, context);
    insert into receipt_lines
      select a.id, l.position, l.line ->> 'dimension', (l.line ->> 'units')::bigint, (l.line ->> 'amount')::bigint
        from unnest(r_id, r_lines) a (id, lines), jsonb_array_elements(a.lines) with ordinality l (line, position);
    insert into project_spend
      select a.wallet, a.project, v_month, sum(a.amount) from unnest(r_wallet, r_project, r_amount) a (wallet, project, amount)
        where a.project is not null and a.amount > 0 group by a.wallet, a.project order by a.wallet, a.project
      on conflict (wallet_id, project, month) do update set amount = project_spend.amount + excluded.amount;
  end if;
  if h > 0 then
    insert into holds (id, wallet_id, amount, offering, project, instance_uid, run_id, context, created_at, expires_at)
        overriding system value
      select a.id, v_item_wallet[a.position], b.amount, b.offering, b.project, b.instance_uid, b.context ->> 'runId',
          coalesce(b.context, '{}'), p_now, p_now + make_interval(secs => b.ttl_seconds)
        from unnest(h_id, h_item) a (id, position), lateral (select (v_items[a.position]).*) b;
    insert into hold_grants select * from unnest(k_hold, k_grant, k_amount);
  end if;
  if x > 0 then
    delete from hold_grants where hold_id = any (x_hold);
    update holds d set state = a.state, receipt_id = a.receipt, captured = d.captured + a.captured, released = a.released,
        result_ref = coalesce(a.result, d.result_ref), reason = coalesce(a.reason, d.reason), ended_at = p_now
      from unnest(x_hold, x_state, x_receipt, x_captured, x_released, x_result, x_reason)
        a (hold, state, receipt, captured, released, result, reason)
      where d.id = a.hold;
  end if;
  if t > 0 then
    select array_agg(nextval('transactions_id_seq')) into t_id from generate_series(1, t);
    insert into transactions (id, wallet_id, operation, at, hold_id, receipt_id, reason) overriding system value
      select a.id, a.wallet, a.operation, p_now, a.hold, a.receipt, a.reason
        from unnest(t_id, t_wallet, t_operation, t_hold, t_receipt, t_reason) a (id, wallet, operation, hold, receipt, reason);
    insert into entries (transaction_id, account_id, grant_id, amount)
      select t_id[a.transaction], a.account, a.grant_id, a.amount
        from unnest(e_transaction, e_account, e_grant, e_amount) a (transaction, account, grant_id, amount)
        order by a.transaction, a.account, a.grant_id;
    update wallets d set available = a.available, held = a.held
      from unnest(w_id, w_available, w_held, w_changed) a (id, available, held, changed) where a.changed and d.id = a.id;
    update grants d set remaining = d.remaining + a.remaining, held = d.held + a.held, spent = d.spent + a.spent
      from unnest(g_id, g_remaining, g_held, g_spent) a (id, remaining, held, spent)
      where d.id = a.id and (a.remaining <> 0 or a.held <> 0);
  end if;
  if n > 0 then
    if f > 0 then
      with first as (
        insert into first_receipts
          select distinct on (a.instance) a.instance, a.receipt from unnest(f_instance, f_receipt) a (instance, receipt)
            order by a.instance, a.receipt
          on conflict do nothing returning receipt_id
      )
      select array_agg(receipt_id) into v_won from first;
    end if;
    insert into events (wallet_id, type, at, data)
      select a.wallet, a.type, p_now, a.data
        from unnest(n_wallet, n_type, n_receipt, n_data) with ordinality a (wallet, type, receipt, data, position)
        where a.receipt is null or a.receipt = any (v_won) order by a.position;
  end if;
  insert into idempotency
    select a.owner, a.operation, a.key, a.hash, a.status, a.body, p_now
      from unnest(o_owner, o_operation, o_key, o_hash, o_status, o_body) a (owner, operation, key, hash, status, body)
      where a.key is not null
      on conflict do nothing;
  get diagnostics v_written = row_count;
  -- Only two wallets of one owner can race here; everything is tried again, one by one.
  if v_written <> (select count(*) from unnest(o_key) a where a is not null) then
    raise exception 'key taken meanwhile' using errcode = 'serialization_failure';
  end if;
  return query select * from unnest(o_item, o_status, o_body, o_replayed);
end $$;

grant execute on function run_batch to gsv_ledger_writer;
