-- What the review of the money path found. The functions are long and a line of each is wrong, so the line is changed
-- where it stands; a text that is not there exactly once ends the migration.
create function amend(p_function regproc, p_from text, p_to text) returns void language plpgsql as $$
declare
  v_source text := pg_get_functiondef(p_function);
begin
  if array_length(string_to_array(v_source, p_from), 1) <> 2 then
    raise exception '% does not say once: %', p_function, p_from;
  end if;
  execute replace(v_source, p_from, p_to);
end $$;

-- A void has no receipt of its own; what the hold was charged before it stays with the hold.
select amend('run_batch', 'set state = a.state, receipt_id = a.receipt,',
  'set state = a.state, receipt_id = coalesce(a.receipt, d.receipt_id),');
update holds h set receipt_id = r.id from receipts r where r.hold_id = h.id and h.receipt_id is null;

-- The loop fetches its wallets a few at a time, and the first of them that is moved takes the lock of the chain. Whoever
-- holds one of the later wallets waits for that lock, so all wallets are locked before anything is moved.
select amend('settle_order', '
  for w in
    select * from wallets where id in (select wallet_id from fulfilments where shop = v_shop and order_id = v_order)', '
  perform from wallets where id in (select wallet_id from fulfilments where shop = v_shop and order_id = v_order)
    order by id for update;
  for w in
    select * from wallets where id in (select wallet_id from fulfilments where shop = v_shop and order_id = v_order)');

drop function amend;
