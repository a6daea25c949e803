-- The store's side of the book by what finance asks for: usage of each offering by itself, and what was given away apart
-- from what was sold. Entries of before stay where they are, for entries never change.
alter table accounts add column offering text not null default '';
alter table accounts drop constraint accounts_wallet_id_kind_key;
alter table accounts add constraint accounts_wallet_id_kind_offering_key unique nulls not distinct (wallet_id, kind, offering);
alter table accounts drop constraint account_kind;
alter table accounts add constraint account_kind check (case when wallet_id is null
  then kind in ('issued', 'promotions', 'usage', 'breakage', 'revoked', 'clawed_back', 'written_off')
  else kind in ('available', 'held', 'debt') end);
-- '' is usage of no offering.
alter table accounts add constraint offering_of_usage check (offering = '' or (wallet_id is null and kind = 'usage'));
insert into accounts (kind) values ('promotions');

-- Where a leg of the store is booked. An offering's account comes with its first usage; whoever makes it holds the lock
-- of a wallet and waits for nobody who waits for him.
create function store_account(p_kind text, p_grant bigint, p_offering text) returns bigint language plpgsql as $$
declare
  v_kind text := p_kind;
  v_offering text := case p_kind when 'usage' then coalesce(p_offering, '') else '' end;
  v_id bigint;
begin
  if p_kind = 'issued' then
    select 'promotions' into v_kind from grants where id = p_grant and kind in ('trial', 'promotional');
    v_kind := coalesce(v_kind, p_kind);
  end if;
  select id into v_id from accounts where wallet_id is null and kind = v_kind and offering = v_offering;
  if v_id is null and v_offering <> '' then
    insert into accounts (kind, offering) values (v_kind, v_offering)
      on conflict (wallet_id, kind, offering) do nothing returning id into v_id;
    if v_id is null then
      select id into v_id from accounts where wallet_id is null and kind = v_kind and offering = v_offering;
    end if;
  end if;
  return v_id;
end $$;
