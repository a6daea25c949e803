-- A plan that was made while a table had one page reads the whole table, and is kept until the next automatic analyze.
-- Whoever fills a young book fast waits for each grant longer than for the one before. All money functions look up by
-- index, row by row, as batches do; whoever replaces one of them repeats its settings, or takes pg_get_functiondef.
do $$
declare
  f regprocedure;
begin
  for f in
    select oid from pg_proc where pronamespace = 'gsv_ledger'::regnamespace and prosecdef
      and (pg_get_function_identity_arguments(oid) like 'p_target text, p_body jsonb,%' or proname in ('settle_wallet', 'expire_due'))
  loop
    execute format('alter function %s set enable_seqscan = off', f);
    execute format('alter function %s set enable_hashjoin = off', f);
    execute format('alter function %s set enable_mergejoin = off', f);
    execute format('alter function %s set jit = off', f);
  end loop;
end $$;
