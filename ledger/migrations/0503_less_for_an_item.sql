-- What a profile of full batches showed: a tenth of the time went into the pattern of a hash, some of it into looking for
-- replies of an earlier release, and a capture called a function for its one line.
create function amend(p_function regproc, p_from text, p_to text) returns void language plpgsql as $$
declare
  v_source text := pg_get_functiondef(p_function);
begin
  if array_length(string_to_array(v_source, p_from), 1) <> 2 then
    raise exception '% does not say once: %', p_function, p_from;
  end if;
  execute replace(v_source, p_from, p_to);
end $$;

-- Our hashes are 64 hexadecimal digits; anything else is of a test.
create or replace function payload_digest(p_hash text) returns uuid language sql stable as $$
  select left(case when length(p_hash) = 64 then p_hash
    else encode(sha256(convert_to(p_hash, 'UTF8')), 'hex') end, 32)::uuid
$$;

-- Empty in a book that is younger than the journal: then nobody need look key by key.
create index idempotency_before_journal on idempotency (operation) where operation in ('debit', 'hold', 'capture', 'void');
select amend('run_many', '  v_limited boolean;', '  v_limited boolean;
  v_old boolean := exists (select from idempotency where operation in (''debit'', ''hold'', ''capture'', ''void''));');
select amend('run_many', 'from idempotency where owner_uid', 'from idempotency where v_old and owner_uid');

-- As whole_lines writes them; one line is the rule.
create function told_lines(p_lines jsonb) returns text language sql immutable as $$
  select case when jsonb_array_length(p_lines) = 1 and jsonb_typeof(p_lines -> 0) = 'array'
    then '[{"units": ' || (p_lines #>> '{0,1}') || ', "amount": ' || (p_lines #>> '{0,2}') || ', "dimension": '
      || (p_lines #> '{0,0}')::text || '}]'
    else whole_lines(p_lines::text::json)::text end
$$;
select amend('run_many', 'whole_lines(j.lines)', 'told_lines(i.lines)');

select amend('run_many', '  v_none text;', '  v_none text;
  v_ttl integer;
  v_expires text;');
select amend('run_many', '        j.answered := i.ttl_seconds;', '        j.answered := i.ttl_seconds;
        if v_ttl is distinct from i.ttl_seconds then
          v_ttl := i.ttl_seconds;
          v_expires := iso(p_now + make_interval(secs => v_ttl));
        end if;');
select amend('run_many', 'iso(p_now + make_interval(secs => i.ttl_seconds)) ||', 'v_expires ||');

drop function amend;
