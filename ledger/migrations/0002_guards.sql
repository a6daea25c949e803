-- What the tables refuse, whoever writes: the second statement of the invariants that the functions keep.

create function refuse_change() returns trigger language plpgsql as $$
begin
  raise exception '% is append-only: % refused', tg_table_name, lower(tg_op) using errcode = 'insufficient_privilege';
end $$;

create trigger append_only before update or delete on transactions for each row execute function refuse_change();
create trigger append_only before update or delete on entries for each row execute function refuse_change();
create trigger append_only before update or delete on receipt_lines for each row execute function refuse_change();
create trigger no_truncate before truncate on transactions execute function refuse_change();
create trigger no_truncate before truncate on entries execute function refuse_change();
create trigger no_truncate before truncate on receipt_lines execute function refuse_change();

-- Every statement that inserts entries inserts whole transactions, so each sums to zero when it ends.
create function assert_balanced() returns trigger language plpgsql as $$
declare
  v_bad bigint;
begin
  select transaction_id into v_bad from added group by transaction_id having sum(amount) <> 0 limit 1;
  if v_bad is not null then
    raise exception 'transaction % does not sum to zero', v_bad using errcode = 'check_violation';
  end if;
  return null;
end $$;
create trigger balanced after insert on entries referencing new table as added
  for each statement execute function assert_balanced();

-- A reader of the feed continues after the highest seq it saw, so a lower one must never become visible later.
-- seq is therefore given at commit, one transaction at a time: the lock is taken last (no deadlock with wallet
-- locks), and PostgreSQL releases it only after the transaction has become visible.
create function give_seq() returns trigger language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('gsv_ledger.events_seq'));
  update events set seq = nextval('events_seq') where id = new.id;
  return null;
end $$;
create constraint trigger give_seq after insert on events deferrable initially deferred
  for each row execute function give_seq();

-- The writer role reads everything of the book and may call what is granted to it by name; helpers are not.
grant usage on schema gsv_ledger to gsv_ledger_writer;
grant select on all tables in schema gsv_ledger to gsv_ledger_writer;
alter default privileges revoke execute on functions from public;
revoke execute on all functions in schema gsv_ledger from public;
