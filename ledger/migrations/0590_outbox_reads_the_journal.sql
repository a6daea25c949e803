-- The receipts are a view now, and their highest number is the end of an index of the journal (0550 read the table).
do $$
declare
  v_source text := pg_get_functiondef('outbox_claim'::regproc);
  v_from constant text := 'max(id), 0) into v_last from receipts;';
begin
  if array_length(string_to_array(v_source, v_from), 1) <> 2 then raise exception 'outbox_claim does not say once: %', v_from; end if;
  execute replace(v_source, v_from, 'max(receipt_id), 0) into v_last from journal;');
end $$;
