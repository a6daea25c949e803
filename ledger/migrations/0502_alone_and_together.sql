-- One item alone does without what a batch needs, and plans fit a young book and an old one. Where two indexes could
-- answer, a plan that was made while both were empty may read the wrong one for as long as it is kept: one of them must
-- be the only one that fits.

-- Of a wallet or an Instance one asks for state = 'open'; of all that is due, for what has not ended.
drop index holds_due;
create index holds_due on holds (expires_at) where ended_at is null;

create or replace function expire_due(p_now timestamptz, p_limit integer) returns integer
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  w wallets;
  v_count integer := 0;
begin
  for w in
    select x.* from wallets x where x.state = 'open' and x.id in (
        select wallet_id from holds where ended_at is null and expires_at <= p_now
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

drop function run_batch;

-- What rows of these two must be, asked in one function for each table: PostgreSQL reads the expression of a check anew
-- in every statement, and reading eight of them took as long as the rest of the two updates of a debit.
create function broken_rule(p_table text, p_rule text) returns boolean language plpgsql immutable as $$
begin
  raise exception 'new row for relation "%" violates check constraint "%"', p_table, p_rule
    using errcode = 'check_violation', schema = 'gsv_ledger', table = p_table, constraint = p_rule;
end $$;

create function wallet_is_sound(w wallets) returns boolean language plpgsql immutable as $$
begin
  if w.available + w.held <= 9007199254740991 and w.floor between -9007199254740991 and 0 and (w.state = 'open'
      or (w.state = 'closed' and w.closed_at is not null and w.available + w.held + w.debt = 0)) then
    return true;
  end if;
  return gsv_ledger.broken_rule('wallets', case when w.available + w.held > 9007199254740991 then 'funds_fit_json'
    when w.floor not between -9007199254740991 and 0 then 'wallets_floor_check'
    when w.state not in ('open', 'closed') then 'wallets_state_check' else 'closed_is_empty' end);
end $$;

create function grant_is_sound(g grants) returns boolean language plpgsql immutable as $$
begin
  if g.amount = g.remaining + g.spent + g.expired + g.revoked and g.held <= g.remaining
      and g.revoked + g.clawed_back <= g.amount
      and g.kind in ('purchased', 'included', 'trial', 'promotional', 'manual') then
    return true;
  end if;
  return gsv_ledger.broken_rule('grants', case when g.amount <> g.remaining + g.spent + g.expired + g.revoked then 'nothing_lost'
    when g.held > g.remaining then 'held_is_part_of_remaining'
    when g.revoked + g.clawed_back > g.amount then 'not_revoked_twice' else 'grants_kind_check' end);
end $$;

alter table wallets drop constraint wallets_state_check, drop constraint wallets_floor_check, drop constraint funds_fit_json,
  drop constraint closed_is_empty, add constraint sound check (wallet_is_sound(wallets));
alter table grants drop constraint grants_kind_check, drop constraint nothing_lost, drop constraint held_is_part_of_remaining,
  drop constraint not_revoked_twice, add constraint sound check (grant_is_sound(grants));

-- As whole_lines writes them; one line is the rule.
create function told_lines(p_lines jsonb) returns text language sql immutable as $$
  select case when jsonb_array_length(p_lines) = 1 and jsonb_typeof(p_lines -> 0) = 'array'
    then '[{"units": ' || (p_lines #>> '{0,1}') || ', "amount": ' || (p_lines #>> '{0,2}') || ', "dimension": '
      || (p_lines #> '{0,0}')::text || '}]'
    else whole_lines(p_lines::text::json)::text end
$$;

-- An outcome in one text: what it takes to send and to read a row of three columns is more than that.
create function told(p_status integer, p_body text, p_replayed boolean default false) returns text language sql immutable as $$
  select '{"status": ' || p_status || ', "replayed": ' || p_replayed || ', "body": ' || p_body || '}'
$$;

-- Empty in a book that is younger than the journal: then nobody need look key by key.
create index idempotency_before_journal on idempotency (operation) where operation in ('debit', 'hold', 'capture', 'void');

-- Group commit (0200) over the journal: one row for each item, one statement for each table, and each look-up by itself.
create function run_many(p_items json, p_now timestamptz)
returns table (item integer, status integer, body json, replayed boolean)
language plpgsql as $$
declare
  v_told outcome;
  v_items batch_item[];
  -- By position of the item.
  v_item_wallet bigint[];
  v_limited boolean;
  v_old boolean := exists (select from idempotency where operation in ('debit', 'hold', 'capture', 'void'));
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
  -- Accounts of the usage of each offering that was asked for so far.
  u_offerings text[] := '{}'; u_id bigint[] := '{}'; v_usage bigint; v_offering text; u integer;
  -- Open holds that this batch added to an Instance; looked at only where an item is limited.
  c_names text[] := '{}'; c_added integer[] := '{}'; c integer;
  -- Rows to write. first_entry counts from 1 within the batch.
  v_rows journal[] := '{}'; j journal; r integer := 0; e integer := 0;
  h_item integer[] := '{}'; h_id bigint[] := '{}'; h_reserved text[] := '{}'; h integer := 0;
  x_hold bigint[] := '{}'; x_state text[] := '{}'; x_receipt bigint[] := '{}'; x_captured bigint[] := '{}';
  x_released bigint[] := '{}'; x_result text[] := '{}'; x_reason text[] := '{}'; x integer := 0;
  s_wallet bigint[] := '{}'; s_project text[] := '{}'; s_amount bigint[] := '{}'; s integer := 0;
  f_instance text[] := '{}'; f_receipt bigint[] := '{}'; f integer := 0;
  v_won bigint[];
  n_wallet bigint[] := '{}'; n_type text[] := '{}'; n_receipt bigint[] := '{}'; n_data jsonb[] := '{}'; n integer := 0;
  o_item integer[] := '{}'; o_status integer[] := '{}'; o_body text[] := '{}'; o_replayed boolean[] := '{}'; o integer := 0;
  i record;
  w integer;
  g integer;
  v_rest bigint;
  v_part bigint;
  v_used bigint;
  v_held bigint;
  v_places integer[];
  v_reserved bigint[];
  v_expired boolean;
  v_running bigint;
  v_funds bigint;
  v_threshold bigint;
  v_first bigint;
  v_entry bigint;
  v_none text;
  v_ttl integer;
  v_expires text;
begin
  -- Which wallet an item is about, and whether anything in the batch needs the rarer tables.
  select array_agg(row(a.item, a.operation, a.wallet, a.hold, a.amount, a.offering, a.project, a.instance_uid, a.max_concurrent,
          a.ttl_seconds, a.key, a.hash, a.context, a.lines, a.result_ref, a.reason)::batch_item order by a.position),
      array_agg(case when a.hold is not null then (select wallet_id from holds where id = a.hold)
        else coalesce((select id from wallets where name = a.wallet and state = 'open'),
          (select id from wallets where name = a.wallet order by id desc limit 1)) end order by a.position),
      bool_or(a.max_concurrent is not null and a.instance_uid is not null)
    into v_items, v_item_wallet, v_limited
    from rows from (json_populate_recordset(null::batch_item, p_items)) with ordinality a (item, operation, wallet, hold,
      amount, offering, project, instance_uid, max_concurrent, ttl_seconds, key, hash, context, lines, result_ref, reason, position);
  if v_limited then
    perform lock_instance(l.instance_uid) from (
      select distinct instance_uid collate "C" as instance_uid from unnest(v_items)
        where max_concurrent is not null and instance_uid is not null order by 1) l;
  end if;

  -- The wallets, locked in the order of their ids, so that two batches never wait for each other.
  select array_agg(l.id), array_agg(l.name), array_agg(l.owner_uid), array_agg(l.state = 'open'), array_agg(l.caps <> '[]'),
      array_agg(case when l.thresholds <> '{}' then l.thresholds::text end), array_agg(l.debt), array_agg(l.available),
      array_agg(l.held), array_agg(l.available_account), array_agg(l.held_account), array_agg(false)
    into w_id, w_name, w_owner, w_open, w_capped, w_thresholds, w_debt, w_available, w_held, w_available_account,
      w_held_account, w_changed
    from (select * from wallets where id = any (v_item_wallet) order by id for update) l;
  if w_id is null then return; end if;

  -- From here every statement sees what those committed who had the locks before.
  select array_agg(coalesce((select true from holds where wallet_id = a.id and state = 'open' and expires_at <= p_now limit 1), false)
      order by a.position)
    into w_due
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
  for q in reverse g_count .. 1 loop
    w_grants[g_wallet[q]] := q;
    if g_expired[q] and g_free[q] > 0 then w_due[g_wallet[q]] := true; end if;
  end loop;

  for i in
    select a.*, width_bucket(a.wallet_id, w_id) as wallet_rank, k.digest, k.payload, m.status as old_status, m.body as old_body,
        m.payload_hash as old_hash, (select q from journal q where q.key = k.digest) as old, d.state as hold_state, d.amount as hold_amount, d.offering as hold_offering,
        d.project as hold_project, d.instance_uid as hold_instance, d.run_id, d.context ->> 'instance' as hold_name,
        d.receipt_id as hold_receipt, d.reserved,
        -- Looked up only for those who need it.
        case when a.max_concurrent is not null then (select count(*) filter (where z.expires_at > p_now) from holds z
          where z.instance_uid = a.instance_uid and z.state = 'open') end as running
      from rows from (unnest(v_items), unnest(v_item_wallet)) with ordinality a (item, operation, wallet, hold, amount,
        offering, project, instance_uid, max_concurrent, ttl_seconds, key, hash, context, lines, result_ref, reason,
        wallet_id, position)
      -- w_id is sorted, so this is a binary search.
      cross join lateral (select key_digest(w_owner[width_bucket(a.wallet_id, w_id)], a.operation, a.key) as digest,
        payload_digest(a.hash) as payload offset 0) k
      -- Each look-up by itself, or a plan of an empty table reads all of it for every item.
      left join lateral (select * from idempotency where v_old and owner_uid = w_owner[width_bucket(a.wallet_id, w_id)]
        and operation = a.operation and key = a.key offset 0) m on true
      left join lateral (select * from holds where id = a.hold offset 0) d on true
      order by a.position
  loop
    w := i.wallet_rank;
    -- No wallet: its own function knows what to say.
    continue when i.wallet_id is null;
    -- What the key answered before.
    if i.old_hash is not null or (i.old).id is not null then
      o := o + 1;
      o_item[o] := i.item;
      if i.old_hash is not null and i.old_hash = i.hash then
        o_status[o] := i.old_status; o_body[o] := i.old_body::text; o_replayed[o] := true;
      elsif i.old_hash is null and (i.old).payload = i.payload then
        v_told := journal_reply(i.old, true);
        o_status[o] := v_told.status; o_body[o] := v_told.body::text; o_replayed[o] := true;
      else
        o_status[o] := 422; o_replayed[o] := false;
        o_body[o] := (problem(422, 'idempotency_conflict', 'this Idempotency-Key was used for another payload')).body::text;
      end if;
      continue;
    end if;
    continue when not w_open[w] or w_due[w];
    j := null;
    if i.operation in ('debit', 'capture') then
      v_offering := coalesce(case i.operation when 'debit' then i.offering else i.hold_offering end, '');
      u := array_position(u_offerings, v_offering);
      if u is null then
        u := cardinality(u_id) + 1;
        u_offerings[u] := v_offering;
        u_id[u] := (select id from accounts where wallet_id is null and kind = 'usage' and offering = v_offering);
      end if;
      v_usage := u_id[u];
      -- The first usage of an offering makes its account.
      continue when v_usage is null;
    end if;

    if i.operation in ('debit', 'hold') then
      continue when i.project is not null and w_capped[w];
      if i.operation = 'hold' and i.max_concurrent is not null and i.instance_uid is not null then
        v_running := i.running + coalesce(c_added[array_position(c_names, i.instance_uid)], 0);
        if v_running >= i.max_concurrent then
          o := o + 1;
          o_item[o] := i.item; o_status[o] := 429; o_replayed[o] := false;
          o_body[o] := (problem(429, 'too_many_runs',
            format('%s runs of this Instance are under way; wait for one to end', v_running))).body::text;
          continue;
        end if;
      end if;
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
        o := o + 1;
        o_item[o] := i.item; o_status[o] := 402; o_replayed[o] := false;
        o_body[o] := (problem(402, 'insufficient_credits', format('%s microcredits are needed and %s are available here',
          i.amount, i.amount - v_rest), jsonb_build_object('available', i.amount - v_rest, 'required', i.amount))).body::text;
        continue;
      end if;
      v_rest := i.amount;
      g := w_grants[w];
      v_reserved := '{}';
      while v_rest > 0 loop
        if g_free[g] > 0 and (not g_scoped[g] or (coalesce(i.offering = any (g_offerings[g]::text[]), g_offerings[g] is null)
            and coalesce(i.project = any (g_projects[g]::text[]), g_projects[g] is null))) then
          v_part := least(g_free[g], v_rest);
          v_rest := v_rest - v_part;
          g_free[g] := g_free[g] - v_part;
          if i.operation = 'hold' then
            j.entries := j.entries || array[w_available_account[w], g_id[g], -v_part, w_held_account[w], g_id[g], v_part];
            v_reserved := v_reserved || array[g_id[g], v_part];
            g_held[g] := g_held[g] + v_part;
          else
            j.entries := j.entries || array[v_usage, g_id[g], v_part, w_available_account[w], g_id[g], -v_part];
            g_remaining[g] := g_remaining[g] - v_part;
            g_spent[g] := g_spent[g] + v_part;
          end if;
        end if;
        g := g + 1;
      end loop;
      v_funds := w_available[w] + w_held[w];
      w_available[w] := w_available[w] - i.amount;
      o := o + 1;
      o_item[o] := i.item; o_status[o] := 201; o_replayed[o] := false;
      if i.operation = 'hold' then
        w_held[w] := w_held[w] + i.amount;
        j.hold_id := nextval('holds_id_seq');
        j.answered := i.ttl_seconds;
        if v_ttl is distinct from i.ttl_seconds then
          v_ttl := i.ttl_seconds;
          v_expires := iso(p_now + make_interval(secs => v_ttl));
        end if;
        h := h + 1;
        h_item[h] := i.position; h_id[h] := j.hold_id; h_reserved[h] := v_reserved::text;
        if v_limited and i.instance_uid is not null then
          c := coalesce(array_position(c_names, i.instance_uid), cardinality(c_names) + 1);
          c_names[c] := i.instance_uid;
          c_added[c] := coalesce(c_added[c], 0) + 1;
        end if;
        o_body[o] := '{"hold": "hold_' || j.hold_id || '", "state": "open", "amount": ' || i.amount || ', "wallet": '
          || to_json(w_name[w]) || ', "expiresAt": "' || v_expires || '"}';
      else
        j.receipt_id := nextval('receipt_ids');
        j.answered := w_available[w];
        j.lines := i.lines::text::json;
        j.context := nullif(i.context, '{}');
        if i.project is not null and i.amount > 0 then
          s := s + 1;
          s_wallet[s] := i.wallet_id; s_project[s] := i.project; s_amount[s] := i.amount;
        end if;
        o_body[o] := '{"amount": ' || i.amount || ', "receipt": "receipt_' || j.receipt_id || '", "available": ' || j.answered || '}';
      end if;
    else
      -- A capture or void that ends a hold within what the hold reserves.
      continue when i.hold_state is distinct from 'open' or i.reserved is null;
      continue when i.operation = 'capture' and (i.amount > i.hold_amount or i.hold_receipt is not null);
      v_used := case when i.operation = 'capture' then i.amount else 0 end;
      -- In burn order; what an expired grant gets back is breakage, and no business of a batch.
      v_expired := false;
      v_places := '{}';
      g := w_grants[w];
      while cardinality(v_places) < cardinality(i.reserved) loop
        if g is null or g > g_count or g_wallet[g] <> w then
          raise exception 'hold % reserves of a grant that has nothing left', i.hold;
        end if;
        for q in 1 .. cardinality(i.reserved) by 2 loop
          if i.reserved[q] = g_id[g] then
            v_places := v_places || array[g, q + 1];
            v_expired := v_expired or g_expired[g];
          end if;
        end loop;
        g := g + 1;
      end loop;
      continue when v_expired;
      v_rest := v_used;
      for q in 1 .. cardinality(v_places) by 2 loop
        g := v_places[q];
        v_held := i.reserved[v_places[q + 1]];
        v_part := least(v_rest, v_held);
        v_rest := v_rest - v_part;
        g_held[g] := g_held[g] - v_held;
        if v_part > 0 then
          j.entries := j.entries || array[v_usage, g_id[g], v_part];
          g_remaining[g] := g_remaining[g] - v_part;
          g_spent[g] := g_spent[g] + v_part;
        end if;
        if v_part < v_held then
          j.entries := j.entries || array[w_available_account[w], g_id[g], v_held - v_part];
          g_free[g] := g_free[g] + v_held - v_part;
        end if;
        j.entries := j.entries || array[w_held_account[w], g_id[g], -v_held];
      end loop;
      v_funds := w_available[w] + w_held[w];
      w_held[w] := w_held[w] - i.hold_amount;
      w_available[w] := w_available[w] + i.hold_amount - v_used;
      if v_limited and i.hold_instance is not null then
        c := coalesce(array_position(c_names, i.hold_instance), cardinality(c_names) + 1);
        c_names[c] := i.hold_instance;
        c_added[c] := coalesce(c_added[c], 0) - 1;
      end if;
      j.hold_id := i.hold;
      j.reason := i.reason;
      x := x + 1;
      x_hold[x] := i.hold; x_released[x] := i.hold_amount - v_used; x_captured[x] := v_used; x_result[x] := i.result_ref;
      x_receipt[x] := null; x_reason[x] := i.reason;
      o := o + 1;
      o_item[o] := i.item; o_status[o] := 200; o_replayed[o] := false;
      if i.operation = 'void' then
        x_state[x] := 'voided';
        o_body[o] := '{"hold": "hold_' || i.hold || '", "state": "voided", "released": ' || i.hold_amount || '}';
      else
        x_state[x] := 'captured';
        j.receipt_id := nextval('receipt_ids');
        j.answered := w_available[w];
        j.lines := i.lines::text::json;
        x_receipt[x] := j.receipt_id;
        if i.hold_project is not null and v_used > 0 then
          s := s + 1;
          s_wallet[s] := i.wallet_id; s_project[s] := i.hold_project; s_amount[s] := v_used;
        end if;
        if i.hold_instance is not null then
          f := f + 1;
          f_instance[f] := i.hold_instance; f_receipt[f] := j.receipt_id;
          n := n + 1;
          n_wallet[n] := i.wallet_id; n_type[n] := 'receipt.first'; n_receipt[n] := j.receipt_id;
          n_data[n] := jsonb_strip_nulls(jsonb_build_object('instanceUid', i.hold_instance, 'instance', i.hold_name,
            'receipt', 'receipt_' || j.receipt_id, 'hold', 'hold_' || i.hold, 'runId', i.run_id, 'amount', v_used));
        end if;
        o_body[o] := '{"hold": "hold_' || i.hold || '", "lines": ' || told_lines(i.lines) || ', "state": "captured", "amount": '
          || v_used || ', "overrun": {"debt": 0, "writtenOff": 0, "fromAvailable": 0}, "receipt": "receipt_' || j.receipt_id
          || '", "released": ' || i.hold_amount - v_used || ', "available": ' || j.answered || '}';
      end if;
    end if;
    w_changed[w] := true;
    j.wallet_id := i.wallet_id;
    j.operation := i.operation;
    j.key := i.digest;
    j.payload := i.payload;
    if j.entries is not null then
      j.first_entry := e + 1;
      e := e + cardinality(j.entries) / 3;
    end if;
    r := r + 1;
    v_rows[r] := j;

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
  end loop;

  if s > 0 then
    insert into project_spend
      select a.wallet, a.project, date_trunc('month', p_now at time zone 'UTC')::date, sum(a.amount)
        from unnest(s_wallet, s_project, s_amount) a (wallet, project, amount)
        group by a.wallet, a.project order by a.wallet, a.project
      on conflict (wallet_id, project, month) do update set amount = project_spend.amount + excluded.amount;
  end if;
  if h > 0 then
    insert into holds (id, wallet_id, amount, offering, project, instance_uid, run_id, context, created_at, expires_at, reserved)
        overriding system value
      select a.id, v_item_wallet[a.position], b.amount, b.offering, b.project, b.instance_uid, b.context ->> 'runId',
          coalesce(b.context, '{}'), p_now, p_now + make_interval(secs => b.ttl_seconds), a.reserved::bigint[]
        from unnest(h_id, h_item, h_reserved) a (id, position, reserved), lateral (select (v_items[a.position]).*) b;
  end if;
  if x > 0 then
    update holds d set state = a.state, receipt_id = coalesce(a.receipt, d.receipt_id), captured = d.captured + a.captured,
        released = a.released, result_ref = coalesce(a.result, d.result_ref), reason = coalesce(a.reason, d.reason),
        reserved = null, ended_at = p_now
      from unnest(x_hold, x_state, x_receipt, x_captured, x_released, x_result, x_reason)
        a (hold, state, receipt, captured, released, result, reason)
      where d.id = a.hold;
  end if;
  if e > 0 then
    update wallets d set available = a.available, held = a.held
      from unnest(w_id, w_available, w_held, w_changed) a (id, available, held, changed) where a.changed and d.id = a.id;
    update grants d set remaining = d.remaining + a.remaining, held = d.held + a.held, spent = d.spent + a.spent
      from unnest(g_id, g_remaining, g_held, g_spent) a (id, remaining, held, spent)
      where d.id = a.id and (a.remaining <> 0 or a.held <> 0);
  end if;
  if r > 0 then
    -- Ids are given under the lock of the chain, each kind in one range.
    v_none := pg_advisory_xact_lock(hashtext('gsv_ledger.chain'))::text;
    v_first := nextval('journal_id_seq');
    if r > 1 then v_rest := setval('journal_id_seq', v_first + r - 1); end if;
    if e > 0 then
      v_entry := nextval('entry_ids');
      v_rest := setval('entry_ids', v_entry + e - 1);
    end if;
    insert into journal (id, wallet_id, at, first_entry, receipt_id, hold_id, answered, key, payload, operation, entries, lines,
          context, reason) overriding system value
      select v_first + a.position - 1, a.wallet_id, p_now, v_entry + a.first_entry - 1, a.receipt_id, a.hold_id, a.answered,
          a.key, a.payload, a.operation, a.entries, a.lines, a.context, a.reason
        from unnest(v_rows) with ordinality a (id, wallet_id, at, first_entry, receipt_id, hold_id, answered, key, payload,
          partial, operation, entries, lines, context, reason, entry_ids, position);
  end if;
  -- After the lock of the chain, as in every other function: two may wait for one Instance here.
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
  return query select a.item, a.status, a.body::json, a.replayed from unnest(o_item, o_status, o_body, o_replayed)
    a (item, status, body, replayed);
end $$;

-- Every plan is the same whatever the tables hold: look up by index, row by row. What the planner thinks a switched-off
-- way costs must not have the plan compiled either.
create function run_batch(p_items json, p_now timestamptz, p_epoch bigint)
returns table (item integer, status integer, body json, replayed boolean)
language plpgsql security definer set search_path = gsv_ledger, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
  v_told outcome;
begin
  if p_epoch is not null then
    v_told := stale(p_epoch);
    if v_told.status is not null then
      return query select a.item, v_told.status, v_told.body::json, false from json_to_recordset(p_items) a (item integer);
      return;
    end if;
  end if;
  return query select * from run_many(p_items, p_now);
end $$;

-- One item that came alone, which is what a caller waits for when nobody else is there: a few statements with one row
-- each. The plain case is decided here; where a line says "exit plain", nothing has been changed, and run_many decides.
-- The answer is what `told` makes; null when the item was left alone.
create function run_one(p_operation text, p_wallet text, p_hold bigint, p_amount bigint, p_offering text, p_project text,
  p_instance_uid text, p_max_concurrent bigint, p_ttl_seconds integer, p_key text, p_hash text, p_context jsonb, p_lines jsonb,
  p_result_ref text, p_reason text, p_now timestamptz, p_epoch bigint) returns text
language plpgsql security definer set search_path = gsv_ledger, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan set jit = off
as $$
declare
  -- What leaves the wallet for good.
  v_used bigint := case when p_operation in ('debit', 'capture') then p_amount else 0 end;
  w_id bigint; w_state text; w_owner text; w_name text; w_capped boolean; w_thresholds bigint[]; w_available bigint;
  w_held bigint; w_available_account bigint; w_held_account bigint;
  h holds;
  v_told outcome;
  v_key uuid;
  v_other boolean;
  v_grant bigint;
  v_free bigint;
  v_usage bigint;
  v_receipt bigint;
  v_left bigint;
  v_answered bigint;
  v_entries bigint[];
  v_none text;
begin
  if p_epoch is not null then
    v_told := stale(p_epoch);
    if v_told.status is not null then return told(v_told.status, v_told.body::text); end if;
  end if;
  <<plain>>
  begin
    if p_hold is null then
      exit plain when p_max_concurrent is not null or p_amount < 1;
      select id, state, owner_uid, name, caps <> '[]', thresholds, available, held, available_account, held_account,
          key_digest(owner_uid, p_operation, p_key)
        into w_id, w_state, w_owner, w_name, w_capped, w_thresholds, w_available, w_held, w_available_account, w_held_account,
          v_key
        from wallets where name = p_wallet and state = 'open' for update;
    else
      select id, state, owner_uid, name, caps <> '[]', thresholds, available, held, available_account, held_account,
          key_digest(owner_uid, p_operation, p_key)
        into w_id, w_state, w_owner, w_name, w_capped, w_thresholds, w_available, w_held, w_available_account, w_held_account,
          v_key
        from wallets where id = (select wallet_id from holds where id = p_hold) for update;
      -- From here every statement sees what those committed who had the lock before.
      select * into h from holds where id = p_hold;
      exit plain when h.state <> 'open' or cardinality(h.reserved) is distinct from 2 or v_used > h.amount
        or (p_operation = 'capture' and h.receipt_id is not null);
    end if;
    -- What crosses a threshold is announced; run_many does that.
    exit plain when w_id is null or w_state <> 'open' or (p_project is not null and w_capped)
      or (v_used > 0 and w_available + w_held <= v_used);
    if v_used > 0 and w_thresholds <> '{}' then
      perform from unnest(w_thresholds) t where w_available + w_held >= t and w_available + w_held - v_used < t;
      exit plain when found;
    end if;
    -- The first grant that may pay, or the one that is reserved; and whether the key is known or anything is due.
    select coalesce((select true from journal where key = v_key),
          (select true from idempotency where owner_uid = w_owner and operation = p_operation and key = p_key),
          (select true from holds where wallet_id = w_id and state = 'open' and expires_at <= p_now limit 1),
          (select true from grants where wallet_id = w_id and live and remaining > held and expires_at + interval '0' <= p_now
            limit 1)), id, remaining - held,
        (select id from accounts where wallet_id is null and kind = 'usage'
          and offering = case when p_hold is null then coalesce(p_offering, '') else coalesce(h.offering, '') end) as usage
      into v_other, v_grant, v_free, v_usage
      from grants
      where wallet_id = w_id and live and (expires_at is null or expires_at > p_now)
        and case when p_hold is not null then id = h.reserved[1] else remaining > held
          and (offerings is null or p_offering = any (offerings)) and (projects is null or p_project = any (projects)) end
      order by priority, expires_at nulls last, id limit 1;
    -- The first usage of an offering makes its account; its own function does that.
    exit plain when v_other or v_grant is null or (p_hold is null and v_free < p_amount)
      or (v_usage is null and p_operation in ('debit', 'capture'));

    if p_operation = 'debit' then
      update wallets set available = available - p_amount where id = w_id;
      update grants set remaining = remaining - p_amount, spent = spent + p_amount where id = v_grant;
      if p_project is not null then perform count_spend(w_id, p_project, p_now, p_amount); end if;
      -- Ids are given under the lock of the chain: the two or three entries of a row follow each other.
      v_none := pg_advisory_xact_lock(hashtext('gsv_ledger.chain'))::text;
      insert into journal (wallet_id, at, first_entry, receipt_id, answered, key, payload, operation, entries, lines, context)
        values (w_id, p_now, least(nextval('entry_ids'), nextval('entry_ids')), nextval('receipt_ids'), w_available - p_amount, v_key,
          payload_digest(p_hash), p_operation, array[v_usage, v_grant, p_amount, w_available_account, v_grant, -p_amount],
          p_lines::text::json, nullif(p_context, '{}'))
        returning receipt_id into v_receipt;
      return told(201, '{"amount": ' || p_amount || ', "receipt": "receipt_' || v_receipt || '", "available": '
        || w_available - p_amount || '}');
    end if;

    if p_operation = 'hold' then
      v_entries := array[w_available_account, v_grant, -p_amount, w_held_account, v_grant, p_amount];
      update wallets set available = available - p_amount, held = held + p_amount where id = w_id;
      update grants set held = held + p_amount where id = v_grant;
      insert into holds (wallet_id, amount, offering, project, instance_uid, run_id, context, created_at, expires_at, reserved)
        values (w_id, p_amount, p_offering, p_project, p_instance_uid, p_context ->> 'runId', coalesce(p_context, '{}'), p_now,
          p_now + make_interval(secs => p_ttl_seconds), array[v_grant, p_amount])
        returning id into h.id;
      v_answered := p_ttl_seconds;
    else
      v_left := w_available + h.amount - v_used;
      if v_used > 0 then v_entries := array[v_usage, v_grant, v_used]; end if;
      if v_used < h.amount then v_entries := v_entries || array[w_available_account, v_grant, h.amount - v_used]; end if;
      v_entries := v_entries || array[w_held_account, v_grant, -h.amount];
      update wallets set available = v_left, held = held - h.amount where id = w_id;
      update grants set remaining = remaining - v_used, spent = spent + v_used, held = held - h.amount where id = v_grant;
      if p_operation = 'capture' then
        v_answered := v_left;
        v_receipt := nextval('receipt_ids');
        if h.project is not null then perform count_spend(w_id, h.project, p_now, v_used); end if;
      end if;
      update holds set state = case p_operation when 'capture' then 'captured' else 'voided' end,
          receipt_id = coalesce(v_receipt, receipt_id), captured = captured + v_used, released = h.amount - v_used,
          result_ref = coalesce(p_result_ref, result_ref), reason = coalesce(p_reason, reason), reserved = null, ended_at = p_now
        where id = h.id;
    end if;

    v_none := pg_advisory_xact_lock(hashtext('gsv_ledger.chain'))::text;
    insert into journal (wallet_id, at, first_entry, receipt_id, hold_id, answered, key, payload, operation, entries, lines, reason)
      values (w_id, p_now, least(nextval('entry_ids'), nextval('entry_ids'),
          case when cardinality(v_entries) = 9 then nextval('entry_ids') end), v_receipt, h.id, v_answered, v_key,
        payload_digest(p_hash), p_operation, v_entries, case when v_receipt is not null then p_lines::text::json end, p_reason);
    if p_operation = 'hold' then
      return told(201, '{"hold": "hold_' || h.id || '", "state": "open", "amount": ' || p_amount || ', "wallet": '
        || to_json(w_name) || ', "expiresAt": "' || iso(p_now + make_interval(secs => p_ttl_seconds)) || '"}');
    elsif p_operation = 'void' then
      return told(200, '{"hold": "hold_' || h.id || '", "state": "voided", "released": ' || h.amount || '}');
    end if;
    -- As everywhere after the lock of the chain: two may wait for one Instance here.
    if h.instance_uid is not null then
      perform announce_first_receipt(w, h, v_receipt, v_used, p_now) from wallets w where w.id = w_id;
    end if;
    return told(200, '{"hold": "hold_' || h.id || '", "lines": ' || told_lines(p_lines) || ', "state": "captured", "amount": '
      || v_used || ', "overrun": {"debt": 0, "writtenOff": 0, "fromAvailable": 0}, "receipt": "receipt_' || v_receipt
      || '", "released": ' || h.amount - v_used || ', "available": ' || v_left || '}');
  end;
  return (select told(m.status, m.body::text, m.replayed)
    from run_many(json_build_array(json_build_object('item', 0, 'operation', p_operation, 'wallet', p_wallet, 'hold', p_hold,
      'amount', p_amount, 'offering', p_offering, 'project', p_project, 'instance_uid', p_instance_uid,
      'max_concurrent', p_max_concurrent, 'ttl_seconds', p_ttl_seconds, 'key', p_key, 'hash', p_hash, 'context', p_context,
      'lines', p_lines, 'result_ref', p_result_ref, 'reason', p_reason)), p_now) m);
end $$;

grant execute on function run_batch, run_one to gsv_ledger_writer;
