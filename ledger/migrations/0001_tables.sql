-- The book of the ledger. Applied as gsv_ledger_owner with search_path = gsv_ledger (see migrate.ts).
-- Every amount is microcredits. 2^53-1 bounds what JSON carries exactly.

create domain amount as bigint check (value between 0 and 9007199254740991);

create table wallets (
  id bigint generated always as identity primary key,
  name text not null,
  owner_uid text not null,
  state text not null default 'open' check (state in ('open', 'closed')),
  -- Debt may grow down to the floor, never because of a hold or a debit.
  floor bigint not null default 0 check (floor between -9007199254740991 and 0),
  repay_first boolean not null default true,
  thresholds bigint[] not null default '{}',
  caps jsonb not null default '[]',
  -- Caches of the entries, kept by post() alone; the audit rebuilds them.
  available amount not null default 0,
  held amount not null default 0,
  debt amount not null default 0,
  available_account bigint not null,
  held_account bigint not null,
  debt_account bigint not null,
  created_at timestamptz not null,
  closed_at timestamptz,
  constraint funds_fit_json check (available + held <= 9007199254740991),
  constraint closed_is_empty check (state = 'open' or (closed_at is not null and available + held + debt = 0))
);
-- After a close, a fresh wallet may take the name.
create unique index wallets_open_name on wallets (name) where state = 'open';
create index wallets_name on wallets (name, id);

create table accounts (
  id bigint generated always as identity primary key,
  wallet_id bigint references wallets deferrable initially deferred,
  kind text not null,
  constraint account_kind check (case when wallet_id is null
    then kind in ('issued', 'usage', 'breakage', 'revoked', 'clawed_back', 'written_off')
    else kind in ('available', 'held', 'debt') end),
  unique nulls not distinct (wallet_id, kind)
);
-- The store's side of the book. No balance is cached for them: one row for everybody would be one queue for everybody.
insert into accounts (wallet_id, kind)
  select null, unnest(array['issued', 'usage', 'breakage', 'revoked', 'clawed_back', 'written_off']);

create table fulfilments (
  id bigint generated always as identity primary key,
  shop text not null,
  order_id text not null,
  line text not null,
  ordinal integer not null check (ordinal >= 0),
  sku text not null,
  wallet_id bigint not null references wallets,
  offering text,
  plan text,
  paid_through timestamptz,
  instance_uid text unique,
  claimed_at timestamptz,
  created_at timestamptz not null,
  -- One paid unit is fulfilled once, whoever asks and under whatever key.
  unique (shop, line, ordinal)
);
create index fulfilments_order on fulfilments (shop, order_id);

create table grants (
  id bigint generated always as identity primary key,
  wallet_id bigint not null references wallets,
  fulfilment_id bigint references fulfilments,
  kind text not null check (kind in ('purchased', 'included', 'trial', 'promotional', 'manual')),
  priority integer not null,
  expires_at timestamptz,
  -- null = everything
  offerings text[],
  projects text[],
  source jsonb,
  -- Where the granted amount is now, kept by post() alone.
  amount amount not null default 0,
  remaining amount not null default 0,
  held amount not null default 0,
  spent amount not null default 0,
  expired amount not null default 0,
  revoked amount not null default 0,
  -- Taken back after it was spent: it became debt or a write-off.
  clawed_back amount not null default 0,
  created_at timestamptz not null,
  constraint nothing_lost check (amount = remaining + spent + expired + revoked),
  constraint held_is_part_of_remaining check (held <= remaining),
  constraint not_revoked_twice check (revoked + clawed_back <= amount)
);
create index grants_burn_order on grants (wallet_id, priority, expires_at, id) where remaining > 0;
create index grants_expiry on grants (expires_at) where remaining > held;
create index grants_fulfilment on grants (fulfilment_id);

create table receipts (
  id bigint generated always as identity primary key,
  wallet_id bigint not null references wallets,
  hold_id bigint unique,
  at timestamptz not null,
  amount amount not null,
  from_available amount not null default 0,
  debt amount not null default 0,
  written_off amount not null default 0,
  -- Of a debit; a hold keeps its own.
  context jsonb,
  constraint overrun_is_part check (from_available + debt + written_off <= amount)
);
create index receipts_wallet on receipts (wallet_id, id);

create table receipt_lines (
  receipt_id bigint not null references receipts,
  position integer not null,
  dimension text not null,
  units bigint not null check (units >= 0),
  amount amount not null,
  primary key (receipt_id, position)
);

-- A hold is also the record of its run.
create table holds (
  id bigint generated always as identity primary key,
  wallet_id bigint not null references wallets,
  state text not null default 'open' check (state in ('open', 'captured', 'voided', 'expired')),
  -- What is reserved; lowered by captures that are not final; as it was at the end when it ended.
  amount amount not null,
  captured amount not null default 0,
  released amount not null default 0,
  offering text,
  project text,
  instance_uid text,
  run_id text,
  context jsonb not null default '{}',
  receipt_id bigint references receipts,
  result_ref text,
  reason text,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz,
  constraint ended_has_a_time check ((state = 'open') = (ended_at is null))
);
create index holds_due on holds (expires_at) where state = 'open';
create index holds_open_wallet on holds (wallet_id, expires_at) where state = 'open';
create index holds_open_instance on holds (instance_uid) where state = 'open';
create index holds_run on holds (run_id, id);
alter table receipts add foreign key (hold_id) references holds;

-- Which grants an open hold has reserved; empty once the hold has ended.
create table hold_grants (
  hold_id bigint not null references holds,
  grant_id bigint not null references grants,
  amount amount not null check (amount > 0),
  primary key (hold_id, grant_id)
);
create index hold_grants_grant on hold_grants (grant_id);

create table transactions (
  id bigint generated always as identity primary key,
  wallet_id bigint not null references wallets,
  operation text not null,
  at timestamptz not null,
  hold_id bigint references holds,
  receipt_id bigint references receipts,
  reason text
);
create index transactions_wallet on transactions (wallet_id, id);
create index transactions_receipt on transactions (receipt_id) where receipt_id is not null;

create table entries (
  id bigint generated always as identity primary key,
  transaction_id bigint not null references transactions,
  account_id bigint not null references accounts,
  grant_id bigint references grants,
  amount bigint not null check (amount <> 0 and abs(amount) <= 9007199254740991)
);
create index entries_transaction on entries (transaction_id);

create table idempotency (
  owner_uid text not null,
  operation text not null,
  key text not null,
  payload_hash text not null,
  status smallint not null,
  body jsonb not null,
  at timestamptz not null,
  primary key (owner_uid, operation, key)
);

create table project_spend (
  wallet_id bigint not null references wallets,
  project text not null,
  -- first day of the month, UTC
  month date not null,
  amount amount not null,
  primary key (wallet_id, project, month)
);

-- seq is given at commit time (see 0002), so that readers who continue after the highest seq they saw miss nothing.
create table events (
  id bigint generated always as identity primary key,
  seq bigint unique,
  type text not null,
  wallet_id bigint not null references wallets,
  at timestamptz not null,
  data jsonb not null
);
create sequence events_seq as bigint;

-- The first receipt of every Instance was announced.
create table first_receipts (
  instance_uid text primary key,
  receipt_id bigint not null references receipts
);

-- The highest fencing epoch seen.
create table fencing (
  singleton boolean primary key default true check (singleton),
  epoch bigint not null
);

create type outcome as (status integer, body jsonb, replayed boolean);
create type move as (from_kind text, to_kind text, grant_id bigint, amount bigint);
