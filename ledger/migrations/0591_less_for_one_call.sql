-- A call that comes alone asked PostgreSQL to run a query for thresholds that most wallets do not have, and another one
-- for a lock. What is no query costs plpgsql a hundredth of that.
do $$
declare
  v_old text;
  v_new text;
begin
  v_old := pg_get_functiondef('run_one'::regproc);
  v_new := replace(v_old,
    'if v_used > 0 and (v_left <= 0 or exists (select from unnest(w.thresholds) t where v_left + v_used >= t and v_left < t)) then
    return null;
  end if;',
    'if v_used > 0 and v_left <= 0 then return null; end if;
  if v_used > 0 and w.thresholds <> ''{}'' then
    perform from unnest(w.thresholds) t where v_left + v_used >= t and v_left < t;
    if found then return null; end if;
  end if;');
  if v_new = v_old then raise exception 'run_one is not what this migration knows'; end if;
  execute v_new;

  v_old := pg_get_functiondef('chain_journal'::regproc);
  v_new := replace(replace(v_old, '  v_digest bytea;', '  v_digest bytea;
  v_none text;'),
    'perform pg_advisory_xact_lock(hashtext(''gsv_ledger.chain''));',
    'v_none := pg_advisory_xact_lock(hashtext(''gsv_ledger.chain''))::text;');
  if v_new = v_old then raise exception 'chain_journal is not what this migration knows'; end if;
  execute v_new;
end $$;
