-- Raw deliveries carry names and addresses of people. What has had its effect is kept as a fact, without its bytes.

alter table inbox alter column raw drop not null;
-- Whatever a worker may still be given has its bytes.
alter table inbox add constraint raw_until_finished check (raw is not null or state in ('done', 'ignored'));
create index inbox_raw on inbox (received_at) where raw is not null and state in ('done', 'ignored');

-- Drops the bytes of finished items that were received before p_before; the digest stays, so a repeat is still known.
create function inbox_forget(p_before timestamptz, p_limit integer) returns integer
language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  v_count integer;
begin
  update inbox set raw = null where id in (
    select id from inbox where raw is not null and state in ('done', 'ignored') and received_at <= p_before
      order by received_at limit p_limit for update skip locked);
  get diagnostics v_count = row_count;
  return v_count;
end $$;

grant execute on function inbox_forget to gsv_ledger_writer;
