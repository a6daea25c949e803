-- How far each reader of the events feed has come, for readers that keep nothing of their own.

create table consumers (
  name text primary key,
  -- Everything up to this seq has had its effect at the reader.
  position bigint not null check (position >= 0),
  updated_at timestamptz not null
);

create function consumer_body(c consumers) returns jsonb language sql stable as $$
  select jsonb_build_object('consumer', c.name, 'position', c.position,
    'last', greatest(c.position, (select coalesce(max(seq), 0) from events)), 'updatedAt', iso(c.updated_at))
$$;

-- A position only moves on. A late call of a reader's former life must not move it back, so going back is said.
create function put_consumer(p_target text, p_body jsonb, p_key text, p_hash text, p_now timestamptz, p_epoch bigint)
returns outcome language plpgsql security definer set search_path = gsv_ledger, pg_temp as $$
declare
  o outcome := stale(p_epoch);
  c consumers;
  v_position bigint := (p_body ->> 'position')::bigint;
  v_last bigint;
begin
  if o.status is not null then return o; end if;
  select coalesce(max(seq), 0) into v_last from events;
  if v_position > v_last then
    return problem(422, 'invalid_request', format('the feed ends at %s', v_last));
  end if;
  insert into consumers as x values (p_target, v_position, p_now)
    on conflict (name) do update set position = excluded.position, updated_at = excluded.updated_at
      where x.position <= excluded.position or coalesce((p_body ->> 'rewind')::boolean, false)
    returning * into c;
  if c.name is null then
    select * into c from consumers where name = p_target;
    return problem(409, 'position_behind', format('%s has come to %s; say "rewind": true to go back', c.name, c.position),
      jsonb_build_object('position', c.position));
  end if;
  return row(200, consumer_body(c), false)::outcome;
end $$;

grant select on consumers to gsv_ledger_writer;
grant execute on function consumer_body, put_consumer to gsv_ledger_writer;
