-- One row for one booking. A debit left a receipt, its line, a transaction, two entries and a remembered reply behind,
-- in seven rows and fourteen index entries. All of it is one row of the journal now; the tables of before are views.

-- Nobody may be writing. Whoever is at work finishes first; if one of them waits for us, we let go and start anew.
do $$
begin
  for attempt in 1 .. 100 loop
    begin
      lock table wallets, holds, hold_grants, receipts, receipt_lines, transactions, entries, chain in access exclusive mode;
      return;
    exception when deadlock_detected then
      if attempt = 100 then raise; end if;
    end;
  end loop;
end $$;

create table journal (
  -- Given under the lock of the chain, so the rows of one statement are one range.
  id bigint generated always as identity primary key,
  wallet_id bigint not null,
  at timestamptz not null,
  -- The id of its first entry; the others follow. Null: nothing moved.
  first_entry bigint,
  receipt_id bigint,
  hold_id bigint,
  -- Of a debit or capture: what was available after it. Of a hold: its seconds. The rest of a reply is in the row.
  answered bigint,
  -- Digests of the Idempotency-Key and of what it stands for; see key_digest.
  key uuid,
  payload uuid,
  -- True: a capture that left its hold open.
  partial boolean,
  operation text not null,
  -- account, grant (0 = none), amount; account, grant, amount; ...
  entries bigint[],
  -- [[dimension, units, amount], ...]: text, because it is smaller than jsonb and nobody searches in it.
  lines json,
  -- Of a debit; a hold keeps its own.
  context jsonb,
  reason text,
  -- Ids of entries that do not follow each other; of bookings that are older than the journal.
  entry_ids bigint[]
);
create sequence entry_ids as bigint;
create sequence receipt_ids as bigint;

-- What a book of an earlier release has. A receipt's lines go to the first booking that charged it.
insert into journal (id, wallet_id, at, first_entry, receipt_id, hold_id, operation, entries, lines, context, reason, entry_ids)
    overriding system value
  select t.id, t.wallet_id, t.at, e.first, t.receipt_id, t.hold_id, t.operation, coalesce(e.flat, '{}'),
      case when r.id is not null then coalesce(l.lines, '[]') end, nullif(r.context, '{}'), t.reason, e.ids
    from transactions t
      left join (
        select x.transaction_id, min(x.id) as first, array_agg(p.part order by x.id, p.place) as flat,
            case when max(x.id) - min(x.id) + 1 <> count(distinct x.id)
              then array_agg(x.id order by x.id) filter (where p.place = 1) end as ids
          from entries x, lateral (values (1, x.account_id), (2, coalesce(x.grant_id, 0)), (3, x.amount)) p (place, part)
          group by x.transaction_id) e on e.transaction_id = t.id
      left join (select receipt_id, min(id) as first from transactions where receipt_id is not null group by receipt_id) f
        on f.receipt_id = t.receipt_id
      left join receipts r on r.id = f.receipt_id and f.first = t.id
      left join (
        select receipt_id, jsonb_agg(jsonb_build_array(dimension, units, amount) order by position)::text::json as lines
          from receipt_lines group by receipt_id) l on l.receipt_id = r.id;

select setval(pg_get_serial_sequence('journal', 'id'), greatest(1, (select max(id) from transactions)),
    exists (select from transactions)),
  setval('entry_ids', greatest(1, (select max(id) from entries)), exists (select from entries)),
  setval('receipt_ids', greatest(1, (select max(id) from receipts)), exists (select from receipts));

alter table holds add column reserved bigint[];
update holds h set reserved = g.reserved
  from (select k.hold_id, array_agg(p.part order by k.grant_id, p.place) as reserved
      from hold_grants k, lateral (values (1, k.grant_id), (2, k.amount)) p (place, part) group by k.hold_id) g
  where g.hold_id = h.id;

-- Receipts of nothing, which no transaction names. They get a link of their own below.
insert into journal (wallet_id, at, receipt_id, hold_id, operation, lines, context)
  select r.wallet_id, r.at, r.id, r.hold_id, case when r.hold_id is null then 'debit' else 'capture' end,
      coalesce((select jsonb_agg(jsonb_build_array(dimension, units, amount) order by position)::text::json
        from receipt_lines l where l.receipt_id = r.id), '[]'), nullif(r.context, '{}')
    from receipts r where not exists (select from transactions t where t.receipt_id = r.id) order by r.id;

drop table entries, transactions, receipt_lines, hold_grants, receipts cascade;
drop function chain_entries, add_link, assert_balanced, add_lines;

create index journal_wallet on journal (wallet_id, id);
create index journal_receipt on journal (receipt_id) where receipt_id is not null;
create unique index journal_key on journal (key) where key is not null;
-- Most holds name a run and an Instance; those that do not are in no index of them.
drop index holds_run;
create index holds_run on holds (run_id, id) where run_id is not null;
drop index holds_open_instance;
create index holds_open_instance on holds (instance_uid) where state = 'open' and instance_uid is not null;

create view transactions as
  select id, wallet_id, operation, at, hold_id, receipt_id, reason, context from journal where entries is not null;

create view entries as
  select coalesce(j.entry_ids[n], j.first_entry + n - 1) as id, j.id as transaction_id, j.entries[3 * n - 2] as account_id,
      nullif(j.entries[3 * n - 1], 0) as grant_id, j.entries[3 * n] as amount
    from journal j cross join lateral generate_series(1, cardinality(j.entries) / 3) n;

-- A receipt is all that one hold was charged, or one debit.
create view receipts as
  select j.receipt_id as id, min(j.wallet_id) as wallet_id, min(j.hold_id) as hold_id, min(j.at) as at,
      sum(p.charged)::bigint as amount,
      sum(case when j.operation = 'debit' then 0 else p.from_available end)::bigint as from_available,
      sum(p.debt)::bigint as debt, sum(p.written_off)::bigint as written_off,
      (array_agg(case when j.hold_id is null then coalesce(j.context, '{}') end order by j.id))[1] as context
    from journal j cross join lateral (
        select coalesce(sum(e.amount) filter (where a.kind = 'usage'), 0) as charged,
            coalesce(-sum(e.amount) filter (where a.kind = 'available' and e.amount < 0), 0) as from_available,
            coalesce(-sum(e.amount) filter (where a.kind = 'debt'), 0) as debt,
            coalesce(-sum(e.amount) filter (where a.kind = 'written_off'), 0) as written_off
          from (select j.entries[3 * n - 2] as account_id, j.entries[3 * n] as amount
              from generate_series(1, cardinality(j.entries) / 3) n) e join accounts a on a.id = e.account_id) p
    where j.receipt_id is not null group by j.receipt_id;

-- A line is [dimension, units, amount], or an object where it is more than that.
create view receipt_lines as
  select j.receipt_id, row_number() over (partition by j.receipt_id order by j.id, l.position)::integer as position,
      coalesce(l.line ->> 0, l.line ->> 'dimension') as dimension,
      coalesce(l.line ->> 1, l.line ->> 'units')::bigint as units,
      coalesce(l.line ->> 2, l.line ->> 'amount')::bigint as amount
    from journal j cross join lateral json_array_elements(j.lines) with ordinality l (line, position)
    where j.receipt_id is not null;

-- Which grants a hold has reserved.
create view hold_grants as
  select h.id as hold_id, h.reserved[2 * n - 1] as grant_id, h.reserved[2 * n] as amount
    from holds h cross join lateral generate_series(1, cardinality(h.reserved) / 2) n;

-- The chain goes on over whole rows of the journal: keys, lines and contexts too. Links of before are told by their
-- format, and chain_digest(previous, transactions) reads for them what it always read.
alter table chain add column format smallint not null default 1;
alter table chain alter column format set default 2;

-- A row in PostgreSQL's binary form: every column with its type and length, so that no two rows look alike. With its
-- digest it takes three quarters of the time of a text, in which each character may need a quote. Texts become bytes of
-- UTF-8 first, because binary texts are in the client's encoding; nothing else here depends on a session's settings.
create function journal_bytes(j journal) returns bytea language sql stable as $$
  select record_send(row(j.id, j.wallet_id, j.at, j.first_entry, j.receipt_id, j.hold_id, j.answered, j.key, j.payload,
    j.partial, convert_to(j.operation, 'UTF8'), j.entries, convert_to(j.lines::text, 'UTF8'),
    convert_to(j.context::text, 'UTF8'), convert_to(j.reason, 'UTF8'), j.entry_ids))
$$;

create function chain_digest(p_previous bytea, p_transactions int8multirange, p_format smallint) returns bytea
language plpgsql stable security definer set search_path = gsv_ledger, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
  if p_format = 1 then return chain_digest(p_previous, p_transactions); end if;
  return (select sha256(p_previous || coalesce(string_agg(journal_bytes(j), '' order by j.id), ''))
    from unnest(p_transactions) r
      cross join lateral (select * from journal where id >= lower(r) and id < upper(r) offset 0) j);
end $$;

-- Whether entries sum to zero, and none of them is nothing or more than JSON carries. Nearly all rows have two or three.
create function is_balanced(p_entries bigint[]) returns boolean language plpgsql immutable as $$
begin
  return cardinality(p_entries) % 3 = 0 and (select sum(p_entries[n]) = 0 and bool_and(p_entries[n] <> 0)
      and max(abs(p_entries[n])) <= 9007199254740991 from generate_series(3, cardinality(p_entries), 3) n);
end $$;
create function balanced(e bigint[]) returns boolean language sql immutable as $$
  select case cardinality(e)
    when 6 then e[3] + e[6] = 0 and e[3] <> 0 and abs(e[3]) <= 9007199254740991
    when 9 then e[3] + e[6] + e[9] = 0 and e[3] <> 0 and e[6] <> 0 and e[9] <> 0
      and greatest(abs(e[3]), abs(e[6]), abs(e[9])) <= 9007199254740991
    else gsv_ledger.is_balanced(e) end
$$;

create function refuse_unbalanced(p_id bigint) returns boolean language plpgsql as $$
begin
  raise exception 'transaction % does not sum to zero', p_id using errcode = 'check_violation';
end $$;

create function link_digest(p_previous bytea, p_rows bytea) returns bytea language sql immutable as $$
  select sha256(coalesce(p_previous, '') || p_rows)
$$;

-- Every statement that inserts into the journal: each row sums to zero, and the statement is one link. One commit after
-- the other: the lock is held until the link has become visible, so that no two follow the same one, in however many
-- replicas. Nothing that comes after it in an operation waits for anybody who waits for it.
create function chain_journal() returns trigger language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v_none text;
begin
  v_none := pg_advisory_xact_lock(hashtext('gsv_ledger.chain'))::text;
  -- One row is the rule where somebody waits for it; beginning an aggregate takes longer than all of this.
  insert into chain (link, transactions, digest)
    select coalesce(l.link, 0) + 1, int8multirange(int8range(a.id, a.id + 1)), link_digest(l.digest, journal_bytes(a))
      from added a left join (select link, digest from chain order by link desc limit 1) l on true
      where not exists (select from added offset 1) and (a.entries is null or balanced(a.entries) or refuse_unbalanced(a.id));
  if found then return null; end if;
  insert into chain (link, transactions, digest)
    select coalesce(l.link, 0) + 1, case when b.last - b.first + 1 = b.count then int8multirange(int8range(b.first, b.last + 1))
        else (select range_agg(int8range(id, id + 1)) from added) end, link_digest(l.digest, b.bytes)
      from (select min(a.id) as first, max(a.id) as last, count(*), string_agg(journal_bytes(a), '' order by a.id) as bytes
          from added a where a.entries is null or balanced(a.entries) or refuse_unbalanced(a.id)) b
        left join (select link, digest from chain order by link desc limit 1) l on true
      where b.first is not null;
  return null;
end $$;
create trigger chained after insert on journal referencing new table as added
  for each statement execute function chain_journal();
create trigger append_only before update or delete on journal for each row execute function refuse_change();
create trigger no_truncate before truncate on journal execute function refuse_change();

insert into chain (link, transactions, digest)
  select coalesce(l.link, 0) + 1, i.ids, chain_digest(coalesce(l.digest, ''), i.ids, 2::smallint)
    from (select range_agg(int8range(id, id + 1)) as ids from journal where entries is null) i
      left join (select * from chain order by link desc limit 1) l on true
    where i.ids is not null;

-- 128 bits of a sha256: whoever finds two keys of his own with one digest has fooled himself.
create function key_digest(p_owner text, p_operation text, p_key text) returns uuid language sql stable as $$
  select left(encode(sha256(convert_to(p_operation || ':' || length(p_owner) || ':' || p_owner || p_key, 'UTF8')), 'hex'), 32)::uuid
$$;

-- The half of the payload's sha256. Our hashes are 64 hexadecimal digits; anything else is of a test.
create function payload_digest(p_hash text) returns uuid language sql stable as $$
  select left(case when length(p_hash) = 64 then p_hash
    else encode(sha256(convert_to(p_hash, 'UTF8')), 'hex') end, 32)::uuid
$$;

create function compact_lines(p_lines jsonb) returns json language sql immutable as $$
  select coalesce(jsonb_agg(case when l.line ?& array['dimension', 'units', 'amount']
        and l.line - array['dimension', 'units', 'amount'] = '{}'
      then jsonb_build_array(l.line -> 'dimension', l.line -> 'units', l.line -> 'amount') else l.line end
    order by l.position), '[]')::text::json
    from jsonb_array_elements(p_lines) with ordinality l (line, position)
$$;

create function whole_lines(p_lines json) returns jsonb language sql immutable as $$
  select coalesce(jsonb_agg(case jsonb_typeof(l.line) when 'array'
      then jsonb_build_object('dimension', l.line -> 0, 'units', l.line -> 1, 'amount', l.line -> 2) else l.line end
    order by l.position), '[]')
    from jsonb_array_elements(p_lines::jsonb) with ordinality l (line, position)
$$;

-- What a row of the journal did to its wallet, from its entries.
create function parts(j journal, out charged bigint, out reserved bigint, out from_available bigint, out debt bigint,
  out written_off bigint, out released bigint) language sql stable as $$
  select coalesce(sum(e.amount) filter (where a.kind = 'usage'), 0)::bigint,
      coalesce(sum(e.amount) filter (where a.kind = 'held'), 0)::bigint,
      coalesce(-sum(e.amount) filter (where a.kind = 'available' and e.amount < 0), 0)::bigint,
      coalesce(-sum(e.amount) filter (where a.kind = 'debt'), 0)::bigint,
      coalesce(-sum(e.amount) filter (where a.kind = 'written_off'), 0)::bigint,
      coalesce(sum(e.amount) filter (where a.kind in ('available', 'breakage') and e.amount > 0), 0)::bigint
    from (select j.entries[3 * n - 2] as account_id, j.entries[3 * n] as amount
        from generate_series(1, cardinality(j.entries) / 3) n) e join accounts a on a.id = e.account_id
$$;

-- What the caller was told when the row was written.
create function journal_reply(j journal, p_replayed boolean) returns outcome language plpgsql stable as $$
declare
  p record;
begin
  select * into p from parts(j);
  return case j.operation
    when 'debit' then row(201, jsonb_build_object('receipt', 'receipt_' || j.receipt_id, 'amount', p.charged,
      'available', j.answered), p_replayed)::outcome
    when 'hold' then row(201, jsonb_build_object('hold', 'hold_' || j.hold_id,
      'wallet', (select name from wallets where id = j.wallet_id), 'amount', p.reserved, 'state', 'open',
      'expiresAt', iso(j.at + make_interval(secs => j.answered))), p_replayed)::outcome
    when 'void' then row(200, jsonb_build_object('hold', 'hold_' || j.hold_id, 'state', 'voided', 'released', p.released),
      p_replayed)::outcome
    when 'capture' then row(200, jsonb_build_object('receipt', 'receipt_' || j.receipt_id, 'hold', 'hold_' || j.hold_id,
      'state', case when j.partial then 'open' else 'captured' end, 'amount', p.charged, 'released', p.released,
      'overrun', jsonb_build_object('fromAvailable', p.from_available, 'debt', p.debt, 'writtenOff', p.written_off),
      'lines', whole_lines(j.lines), 'available', j.answered), p_replayed)::outcome
  end;
end $$;

-- What the key answered before, or null. Called under the wallet's lock. Debits, holds, captures and voids are found in
-- the journal; other operations, and what an earlier release remembered, have their whole reply in idempotency.
create or replace function replay(p_owner text, p_operation text, p_key text, p_hash text) returns outcome language plpgsql as $$
declare
  v idempotency;
  j journal;
begin
  select * into v from idempotency where owner_uid = p_owner and operation = p_operation and key = p_key;
  if found then
    if v.payload_hash <> p_hash then
      return problem(422, 'idempotency_conflict', 'this Idempotency-Key was used for another payload');
    end if;
    return row(v.status, v.body, true)::outcome;
  end if;
  if p_operation not in ('debit', 'hold', 'capture', 'void') then return null; end if;
  select * into j from journal where key = key_digest(p_owner, p_operation, p_key);
  if not found then return null; end if;
  if j.payload <> payload_digest(p_hash) then
    return problem(422, 'idempotency_conflict', 'this Idempotency-Key was used for another payload');
  end if;
  return journal_reply(j, true);
end $$;

-- Books one row: the entries, and from the very same moves the caches of wallet and grants, so that they cannot
-- differ. The wallet must be locked. Writes nothing when nothing moves, unless there is a key to remember.
create function book(p_wallet bigint, p_operation text, p_now timestamptz, p_moves move[], p_hold bigint, p_receipt bigint,
  p_reason text, p_key uuid default null, p_payload uuid default null, p_answered bigint default null,
  p_partial boolean default null, p_lines json default null, p_context jsonb default null, p_offering text default null)
returns journal language plpgsql as $$
declare
  j journal;
  v_moves move[];
  v_missing boolean;
  v_available bigint;
begin
  select array_agg(m::move) into v_moves from unnest(p_moves) m where m.amount <> 0;
  if v_moves is null and p_key is null then return null; end if;
  if exists (select from unnest(v_moves) m where m.amount < 0 or m.from_kind = m.to_kind
    or (m.grant_id is null and (m.from_kind in ('available', 'held') or m.to_kind in ('available', 'held')))) then
    raise exception 'impossible move in %: %', p_operation, v_moves;
  end if;
  if v_moves is null then
    select available into v_available from wallets where id = p_wallet;
  else
    with legs as (
      select from_kind as kind, grant_id, -amount as amount from unnest(v_moves)
      union all select to_kind, grant_id, amount from unnest(v_moves)
    ), sums as (
      select kind, grant_id, sum(amount)::bigint as amount from legs group by kind, grant_id having sum(amount) <> 0
    ), named as (
      select case s.kind when 'available' then w.available_account when 'held' then w.held_account when 'debt' then w.debt_account
          else store_account(s.kind, s.grant_id, p_offering) end as account, s.grant_id, s.amount
        from sums s, wallets w where w.id = p_wallet
    ), wallet as (
      update wallets w set available = w.available + d.available, held = w.held + d.held, debt = w.debt - d.debt
        from (select coalesce(sum(amount) filter (where kind = 'available'), 0) as available,
                     coalesce(sum(amount) filter (where kind = 'held'), 0) as held,
                     coalesce(sum(amount) filter (where kind = 'debt'), 0) as debt from sums) d
        where w.id = p_wallet returning w.available
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
    select coalesce(array_agg(p.part order by n.account, n.grant_id, p.place), '{}'), bool_or(n.account is null),
        (select available from wallet)
      into j.entries, v_missing, v_available
      from named n, lateral (values (1, n.account), (2, coalesce(n.grant_id, 0)), (3, n.amount)) p (place, part);
    if v_missing then raise exception '% names an account that does not exist', p_operation; end if;
  end if;
  -- Ids are given under the lock of the chain: the entries of a row follow each other.
  perform pg_advisory_xact_lock(hashtext('gsv_ledger.chain'));
  if j.entries is not null then
    j.first_entry := nextval('entry_ids');
    perform setval('entry_ids', j.first_entry + greatest(cardinality(j.entries) / 3, 1) - 1);
  end if;
  insert into journal (wallet_id, at, first_entry, receipt_id, hold_id, answered, key, payload, partial, operation, entries,
      lines, context, reason)
    values (p_wallet, p_now, j.first_entry, p_receipt, p_hold,
      coalesce(p_answered, case when p_key is not null and p_operation in ('debit', 'capture') then v_available end), p_key,
      p_payload, p_partial, p_operation, j.entries, p_lines, nullif(p_context, '{}'), p_reason)
    on conflict (key) where key is not null do nothing
    returning * into j;
  -- Only two wallets of one owner can race here; the loser starts anew and replays.
  if j.id is null then raise exception 'key taken meanwhile' using errcode = 'serialization_failure'; end if;
  return j;
end $$;

create or replace function post(p_wallet bigint, p_operation text, p_now timestamptz, p_moves move[], p_hold bigint default null,
  p_receipt bigint default null, p_reason text default null) returns bigint language sql as $$
  select (book(p_wallet, p_operation, p_now, p_moves, p_hold, p_receipt, p_reason)).id
$$;

create function key_of(p_owner text, p_operation text, p_key text) returns uuid language plpgsql stable as $$
begin
  if coalesce(p_key, '') = '' then raise exception 'an operation without key'; end if;
  return key_digest(p_owner, p_operation, p_key);
end $$;

create or replace function book_due(p_wallet bigint, p_now timestamptz) returns boolean language plpgsql as $$
declare
  h holds;
  v_any boolean := false;
  v_moves move[];
begin
  for h in select * from holds where wallet_id = p_wallet and state = 'open' and expires_at <= p_now order by expires_at, id loop
    v_any := true;
    perform post(p_wallet, 'hold_expiry', p_now, release_moves(h.id, p_now), h.id);
    update holds set state = 'expired', released = amount, reserved = null, ended_at = p_now where id = h.id;
    perform emit(p_wallet, 'hold.expired', p_now, jsonb_strip_nulls(jsonb_build_object('hold', 'hold_' || h.id,
      'amount', h.amount, 'instanceUid', h.instance_uid, 'runId', h.run_id)));
  end loop;
  select array_agg(row('available', 'breakage', id, remaining - held)::move) into v_moves
    from grants where wallet_id = p_wallet and live and remaining > held and expires_at + interval '0' <= p_now;
  if v_moves is not null then
    v_any := true;
    perform post(p_wallet, 'grant_expiry', p_now, v_moves);
  end if;
  return v_any;
end $$;

-- Runs of one Instance may be paid by two wallets, whose locks do not see each other. Taken before any wallet.
create function lock_instance(p_instance text) returns void language sql as $$
  select pg_advisory_xact_lock(hashtextextended('gsv_ledger.instance ' || p_instance, 0))
$$;

create or replace function create_hold(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  v_hold bigint;
  v_amount bigint := (p_body ->> 'amount')::bigint;
  v_ttl integer := (p_body ->> 'ttlSeconds')::integer;
  v_running bigint;
  v_moves move[];
  v_reserved bigint[];
  j journal;
begin
  if o.status is not null then return o; end if;
  if p_body ? 'maxConcurrent' and p_body ? 'instanceUid' then perform lock_instance(p_body ->> 'instanceUid'); end if;
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
  select array_agg(p.part order by m.grant_id, p.place) into v_reserved
    from unnest(v_moves) m, lateral (values (1, m.grant_id), (2, m.amount)) p (place, part);
  insert into holds (wallet_id, amount, offering, project, instance_uid, run_id, context, created_at, expires_at, reserved)
    values (w.id, v_amount, p_body ->> 'offering', p_body ->> 'project', p_body ->> 'instanceUid', p_body #>> '{context,runId}',
      coalesce(p_body -> 'context', '{}'), p_now, p_now + make_interval(secs => v_ttl), v_reserved)
    returning id into v_hold;
  j := book(w.id, 'hold', p_now, v_moves, v_hold, null, null, key_of(w.owner_uid, 'hold', p_key), payload_digest(p_hash), v_ttl);
  if (parts(j)).reserved is distinct from v_amount then
    raise exception 'hold % does not reserve %', v_hold, v_amount;
  end if;
  return journal_reply(j, false);
end $$;

create or replace function void_hold(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v opened;
  o outcome;
  w wallets;
  h holds;
  j journal;
begin
  v := open_hold(p_target, 'void', p_key, p_hash, p_now, p_epoch);
  o := v.outcome;
  if o.status is not null then return o; end if;
  w := v.wallet;
  h := v.hold;
  j := book(w.id, 'void', p_now, release_moves(h.id, p_now), h.id, null, p_body ->> 'reason',
    key_of(w.owner_uid, 'void', p_key), payload_digest(p_hash));
  update holds set state = 'voided', released = amount, reserved = null, reason = p_body ->> 'reason', ended_at = p_now
    where id = h.id;
  perform emit_levels(w, p_now);
  return journal_reply(j, false);
end $$;

-- Charges what was used: from the hold, above it from what is available to the same scope, then as debt down to the
-- floor, then as a booked write-off. Nothing is dropped.
create or replace function capture_hold(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
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
  v_receipt bigint;
  v_moves move[];
  v_reserved bigint[];
  j journal;
begin
  v := open_hold(p_target, 'capture', p_key, p_hash, p_now, p_epoch);
  o := v.outcome;
  if o.status is not null then return o; end if;
  w := v.wallet;
  h := v.hold;
  if v_total is null then return problem(422, 'invalid_request', 'the lines sum to more than 9007199254740991'); end if;
  if h.captured > 9007199254740991 - v_total then
    return problem(422, 'invalid_request', format('the lines and the %s that the hold was charged before sum to more than 9007199254740991',
      h.captured));
  end if;
  v_used := least(v_total, h.amount);
  v_available := least(v_total - v_used, usable_total(w.id, h.offering, h.project, p_now));
  v_debt := least(v_total - v_used - v_available, greatest(0, -w.floor - w.debt));
  v_written_off := v_total - v_used - v_available - v_debt;

  v_moves := take_held(h.id, v_used, 'usage');
  select array_agg(p.part order by r.grant_id, p.place) into v_reserved
    from (select k.grant_id, k.amount - coalesce(m.amount, 0) as amount
        from hold_grants k left join unnest(v_moves) m on m.grant_id = k.grant_id where k.hold_id = h.id) r,
      lateral (values (1, r.grant_id), (2, r.amount)) p (place, part)
    where r.amount > 0;
  update holds set reserved = v_reserved where id = h.id;
  v_moves := v_moves || take_available(w.id, h.offering, h.project, p_now, v_available, 'usage')
    || row('debt', 'usage', null, v_debt)::move || row('written_off', 'usage', null, v_written_off)::move;
  if v_final then v_moves := v_moves || release_moves(h.id, p_now); end if;

  v_receipt := coalesce(h.receipt_id, nextval('receipt_ids'));
  j := book(w.id, 'capture', p_now, v_moves, h.id, v_receipt, null, key_of(w.owner_uid, 'capture', p_key),
    payload_digest(p_hash), null, case when not v_final then true end, compact_lines(p_body -> 'lines'), null, h.offering);
  update holds set receipt_id = v_receipt, captured = captured + v_total, result_ref = coalesce(p_body ->> 'resultRef', result_ref),
      amount = case when v_final then amount else amount - v_used end, released = case when v_final then h.amount - v_used else 0 end,
      reserved = case when not v_final then reserved end,
      state = case when v_final then 'captured' else 'open' end, ended_at = case when v_final then p_now end
    where id = h.id;
  perform count_spend(w.id, h.project, p_now, v_total);
  perform announce_first_receipt(w, h, v_receipt, v_total, p_now);
  perform emit_levels(w, p_now);
  return journal_reply(j, false);
end $$;

create or replace function debit(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  w wallets;
  v_total bigint := lines_total(p_body -> 'lines');
  j journal;
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
  j := book(w.id, 'debit', p_now, take_available(w.id, p_body ->> 'offering', p_body ->> 'project', p_now, v_total, 'usage'),
    null, nextval('receipt_ids'), null, key_of(w.owner_uid, 'debit', p_key), payload_digest(p_hash), null, null,
    compact_lines(p_body -> 'lines'), p_body -> 'context', p_body ->> 'offering');
  perform count_spend(w.id, p_body ->> 'project', p_now, v_total);
  perform emit_levels(w, p_now);
  return journal_reply(j, false);
end $$;

grant select on journal, transactions, entries, receipts, receipt_lines, hold_grants to gsv_ledger_writer;
-- Read by views, by the audit and by whoever looks for what a key did.
grant execute on function chain_digest(bytea, int8multirange, smallint), key_digest to gsv_ledger_writer;
