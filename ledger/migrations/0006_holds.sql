-- Reserve, extend, capture, void, and the debit that does without a hold.

create function hold_reply(h holds) returns jsonb language sql stable as $$
  select jsonb_build_object('hold', 'hold_' || h.id, 'wallet', (select name from wallets where id = h.wallet_id),
    'amount', h.amount, 'state', h.state, 'expiresAt', iso(h.expires_at))
$$;

-- Refuses when the scope or the project's monthly cap does not cover the amount; null when it does.
create function unaffordable(w wallets, p_body jsonb, p_amount bigint, p_now timestamptz) returns outcome
language plpgsql stable as $$
declare
  v_left bigint := usable_total(w.id, p_body ->> 'offering', p_body ->> 'project', p_now);
begin
  v_left := least(v_left, cap_left(w, p_body ->> 'project', p_now));
  if p_amount <= v_left then return null; end if;
  return problem(402, 'insufficient_credits', format('%s microcredits are needed and %s are available here', p_amount, v_left),
    jsonb_build_object('available', v_left, 'required', p_amount));
end $$;

create function create_hold(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  h holds;
  v_amount bigint := (p_body ->> 'amount')::bigint;
  v_ttl integer := (p_body ->> 'ttlSeconds')::integer;
  v_running bigint;
  v_moves move[];
begin
  if o.status is not null then return o; end if;
  w := lock_wallet(p_body ->> 'wallet');
  if w.id is null then return no_wallet(p_body ->> 'wallet'); end if;
  o := replay(w.owner_uid, 'hold', p_key, p_hash);
  if o.status is not null then return o; end if;
  if w.state = 'closed' then return problem(409, 'wallet_closed', format('the wallet %s is closed', w.name)); end if;
  if v_amount is null or v_amount < 1 or v_ttl is null or v_ttl < 1 or v_ttl > 86400 then
    raise exception 'a hold of % for % s', v_amount, v_ttl;
  end if;
  if book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
  if p_body ? 'maxConcurrent' and p_body ? 'instanceUid' then
    select count(*) into v_running from holds
      where instance_uid = p_body ->> 'instanceUid' and state = 'open' and expires_at > p_now;
    if v_running >= (p_body ->> 'maxConcurrent')::bigint then
      return problem(429, 'too_many_runs', format('%s runs of this Instance are under way; wait for one to end', v_running));
    end if;
  end if;
  o := unaffordable(w, p_body, v_amount, p_now);
  if o.status is not null then return o; end if;
  v_moves := take_available(w.id, p_body ->> 'offering', p_body ->> 'project', p_now, v_amount, 'held');
  insert into holds (wallet_id, amount, offering, project, instance_uid, run_id, context, created_at, expires_at)
    values (w.id, v_amount, p_body ->> 'offering', p_body ->> 'project', p_body ->> 'instanceUid', p_body #>> '{context,runId}',
      coalesce(p_body -> 'context', '{}'), p_now, p_now + make_interval(secs => v_ttl))
    returning * into h;
  insert into hold_grants select h.id, m.grant_id, m.amount from unnest(v_moves) m;
  perform post(w.id, 'hold', p_now, v_moves, h.id);
  if (select sum(amount) from hold_grants where hold_id = h.id) is distinct from v_amount then
    raise exception 'hold % does not reserve %', h.id, v_amount;
  end if;
  return remember(w.owner_uid, 'hold', p_key, p_hash, 201, hold_reply(h), p_now);
end $$;

-- What extend, capture and void do first: the fence, the wallet's lock, the replay, what is due, and only then the
-- state of the hold. An outcome with a status is the answer already.
create type opened as (outcome outcome, wallet wallets, hold holds);

create function open_hold(p_target text, p_operation text, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns opened language plpgsql as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  h holds;
begin
  if o.status is not null then return row(o, w, h)::opened; end if;
  select x.* into w from wallets x
    where x.id = (select wallet_id from holds where id = local_id('hold', p_target)) for update;
  if w.id is null then
    return row(problem(404, 'hold_not_found', format('there is no hold %s', p_target)), w, h)::opened;
  end if;
  o := replay(w.owner_uid, p_operation, p_key, p_hash);
  if o.status is not null then return row(o, w, h)::opened; end if;
  if book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
  select x.* into h from holds x where x.id = local_id('hold', p_target);
  if h.state <> 'open' then
    o := problem(409, 'already_' || h.state, format('the hold was %s at %s', h.state, iso(h.ended_at)));
  end if;
  return row(o, w, h)::opened;
end $$;

create function extend_hold(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v opened;
  o outcome;
  w wallets;
  h holds;
begin
  v := open_hold(p_target, 'extend', p_key, p_hash, p_now, p_epoch);
  o := v.outcome;
  if o.status is not null then return o; end if;
  w := v.wallet;
  h := v.hold;
  update holds set expires_at = greatest(expires_at, p_now + make_interval(secs => (p_body ->> 'ttlSeconds')::integer))
    where id = h.id returning * into h;
  return remember(w.owner_uid, 'extend', p_key, p_hash, 200, hold_reply(h), p_now);
end $$;

create function void_hold(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v opened;
  o outcome;
  w wallets;
  h holds;
begin
  v := open_hold(p_target, 'void', p_key, p_hash, p_now, p_epoch);
  o := v.outcome;
  if o.status is not null then return o; end if;
  w := v.wallet;
  h := v.hold;
  perform post(w.id, 'void', p_now, release_moves(h.id, p_now), h.id, null, p_body ->> 'reason');
  delete from hold_grants where hold_id = h.id;
  update holds set state = 'voided', released = amount, reason = p_body ->> 'reason', ended_at = p_now where id = h.id;
  perform emit_levels(w, p_now);
  return remember(w.owner_uid, 'void', p_key, p_hash, 200,
    jsonb_build_object('hold', 'hold_' || h.id, 'state', 'voided', 'released', h.amount), p_now);
end $$;

create function lines_total(p_lines jsonb) returns bigint language plpgsql immutable as $$
declare
  v numeric;
begin
  if jsonb_typeof(p_lines) is distinct from 'array'
    or exists (select from jsonb_array_elements(p_lines) l where coalesce((l ->> 'amount')::numeric, -1) < 0) then
    raise exception 'lines are not what they must be';
  end if;
  select coalesce(sum((l ->> 'amount')::numeric), 0) into v from jsonb_array_elements(p_lines) l;
  return case when v <= 9007199254740991 then v::bigint end;
end $$;

create function add_lines(p_receipt bigint, p_lines jsonb) returns void language sql as $$
  insert into receipt_lines
    select p_receipt, coalesce((select max(position) from receipt_lines where receipt_id = p_receipt), 0) + l.position,
        l.line ->> 'dimension', (l.line ->> 'units')::bigint, (l.line ->> 'amount')::bigint
      from jsonb_array_elements(p_lines) with ordinality l (line, position)
$$;

create function announce_first_receipt(w wallets, h holds, p_receipt bigint, p_amount bigint, p_now timestamptz) returns void
language plpgsql as $$
begin
  if h.instance_uid is null then return; end if;
  insert into first_receipts values (h.instance_uid, p_receipt) on conflict do nothing;
  if not found then return; end if;
  perform emit(w.id, 'receipt.first', p_now, jsonb_strip_nulls(jsonb_build_object('instanceUid', h.instance_uid,
    'instance', h.context ->> 'instance', 'receipt', 'receipt_' || p_receipt, 'hold', 'hold_' || h.id, 'runId', h.run_id,
    'amount', p_amount)));
end $$;

-- Charges what was used: from the hold, above it from what is available to the same scope, then as debt down to the
-- floor, then as a booked write-off. Nothing is dropped.
create function capture_hold(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v opened;
  o outcome;
  w wallets;
  h holds;
  v_final boolean := coalesce((p_body ->> 'final')::boolean, true);
  v_total bigint := lines_total(p_body -> 'lines');
  v_used bigint;
  v_available bigint;
  v_debt bigint;
  v_written_off bigint;
  v_released bigint := 0;
  v_receipt bigint;
  v_moves move[];
begin
  v := open_hold(p_target, 'capture', p_key, p_hash, p_now, p_epoch);
  o := v.outcome;
  if o.status is not null then return o; end if;
  w := v.wallet;
  h := v.hold;
  if v_total is null then return problem(422, 'invalid_request', 'the lines sum to more than 9007199254740991'); end if;
  v_used := least(v_total, h.amount);
  v_available := least(v_total - v_used, usable_total(w.id, h.offering, h.project, p_now));
  v_debt := least(v_total - v_used - v_available, greatest(0, -w.floor - w.debt));
  v_written_off := v_total - v_used - v_available - v_debt;

  v_moves := take_held(h.id, v_used, 'usage');
  delete from hold_grants g using unnest(v_moves) m where g.hold_id = h.id and g.grant_id = m.grant_id and g.amount = m.amount;
  update hold_grants g set amount = g.amount - m.amount from unnest(v_moves) m where g.hold_id = h.id and g.grant_id = m.grant_id;
  v_moves := v_moves || take_available(w.id, h.offering, h.project, p_now, v_available, 'usage')
    || row('debt', 'usage', null, v_debt)::move || row('written_off', 'usage', null, v_written_off)::move;
  if v_final then
    v_released := h.amount - v_used;
    v_moves := v_moves || release_moves(h.id, p_now);
    delete from hold_grants where hold_id = h.id;
  end if;

  insert into receipts (wallet_id, hold_id, at, amount, from_available, debt, written_off)
    values (w.id, h.id, p_now, v_total, v_available, v_debt, v_written_off)
    on conflict (hold_id) do update set amount = receipts.amount + excluded.amount,
      from_available = receipts.from_available + excluded.from_available, debt = receipts.debt + excluded.debt,
      written_off = receipts.written_off + excluded.written_off
    returning id into v_receipt;
  perform add_lines(v_receipt, p_body -> 'lines');
  perform post(w.id, 'capture', p_now, v_moves, h.id, v_receipt);
  update holds set receipt_id = v_receipt, captured = captured + v_total, result_ref = coalesce(p_body ->> 'resultRef', result_ref),
      amount = case when v_final then amount else amount - v_used end, released = v_released,
      state = case when v_final then 'captured' else 'open' end, ended_at = case when v_final then p_now end
    where id = h.id;
  perform count_spend(w.id, h.project, p_now, v_total);
  perform announce_first_receipt(w, h, v_receipt, v_total, p_now);
  w := emit_levels(w, p_now);
  return remember(w.owner_uid, 'capture', p_key, p_hash, 200, jsonb_build_object('receipt', 'receipt_' || v_receipt,
    'hold', 'hold_' || h.id, 'state', case when v_final then 'captured' else 'open' end, 'amount', v_total,
    'released', v_released, 'overrun', jsonb_build_object('fromAvailable', v_available, 'debt', v_debt, 'writtenOff', v_written_off),
    'lines', p_body -> 'lines', 'available', w.available), p_now);
end $$;

create function debit(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  v_total bigint := lines_total(p_body -> 'lines');
  v_receipt bigint;
begin
  if o.status is not null then return o; end if;
  w := lock_wallet(p_body ->> 'wallet');
  if w.id is null then return no_wallet(p_body ->> 'wallet'); end if;
  o := replay(w.owner_uid, 'debit', p_key, p_hash);
  if o.status is not null then return o; end if;
  if w.state = 'closed' then return problem(409, 'wallet_closed', format('the wallet %s is closed', w.name)); end if;
  if v_total is null then return problem(422, 'invalid_request', 'the lines sum to more than 9007199254740991'); end if;
  if book_due(w.id, p_now) then w := emit_levels(w, p_now); end if;
  o := unaffordable(w, p_body, v_total, p_now);
  if o.status is not null then return o; end if;
  insert into receipts (wallet_id, at, amount, context) values (w.id, p_now, v_total, coalesce(p_body -> 'context', '{}'))
    returning id into v_receipt;
  perform add_lines(v_receipt, p_body -> 'lines');
  perform post(w.id, 'debit', p_now,
    take_available(w.id, p_body ->> 'offering', p_body ->> 'project', p_now, v_total, 'usage'), null, v_receipt);
  perform count_spend(w.id, p_body ->> 'project', p_now, v_total);
  w := emit_levels(w, p_now);
  return remember(w.owner_uid, 'debit', p_key, p_hash, 201,
    jsonb_build_object('receipt', 'receipt_' || v_receipt, 'amount', v_total, 'available', w.available), p_now);
end $$;

grant execute on function create_hold, extend_hold, capture_hold, void_hold, debit to gsv_ledger_writer;
