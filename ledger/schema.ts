import {
  bigint,
  boolean,
  customType,
  date,
  integer,
  json,
  jsonb,
  pgSchema,
  smallint,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';

/**
 * The tables as the queries see them. The numbered SQL files are the truth; `schema.test.ts` compares every
 * column with a migrated database. Amounts are microcredits.
 */
const ledger = pgSchema('gsv_ledger');

const id = () => bigint('id', { mode: 'number' }).notNull();
const amount = (name: string) => bigint(name, { mode: 'number' }).notNull();
const reference = (name: string) => bigint(name, { mode: 'number' });
const at = (name: string) => timestamp(name, { withTimezone: true });

export const wallets = ledger.table('wallets', {
  id: id(),
  name: text('name').notNull(),
  ownerUid: text('owner_uid').notNull(),
  state: text('state', { enum: ['open', 'closed'] }).notNull(),
  floor: amount('floor'),
  repayFirst: boolean('repay_first').notNull(),
  thresholds: bigint('thresholds', { mode: 'number' }).array().notNull(),
  caps: jsonb('caps').notNull(),
  available: amount('available'),
  held: amount('held'),
  debt: amount('debt'),
  availableAccount: reference('available_account').notNull(),
  heldAccount: reference('held_account').notNull(),
  debtAccount: reference('debt_account').notNull(),
  createdAt: at('created_at').notNull(),
  closedAt: at('closed_at'),
});

export const accounts = ledger.table('accounts', {
  id: id(),
  walletId: reference('wallet_id'),
  kind: text('kind').notNull(),
  /** Of `usage`; empty: of none. */
  offering: text('offering').notNull(),
});

export const fulfilments = ledger.table('fulfilments', {
  id: id(),
  shop: text('shop').notNull(),
  orderId: text('order_id').notNull(),
  line: text('line').notNull(),
  ordinal: integer('ordinal').notNull(),
  sku: text('sku').notNull(),
  walletId: reference('wallet_id').notNull(),
  offering: text('offering'),
  plan: text('plan'),
  paidThrough: at('paid_through'),
  renews: reference('renews'),
  instanceUid: text('instance_uid'),
  claimedAt: at('claimed_at'),
  createdAt: at('created_at').notNull(),
});

export const grants = ledger.table('grants', {
  id: id(),
  walletId: reference('wallet_id').notNull(),
  fulfilmentId: reference('fulfilment_id'),
  kind: text('kind').notNull(),
  priority: integer('priority').notNull(),
  expiresAt: at('expires_at'),
  offerings: text('offerings').array(),
  projects: text('projects').array(),
  source: jsonb('source'),
  amount: amount('amount'),
  remaining: amount('remaining'),
  held: amount('held'),
  spent: amount('spent'),
  expired: amount('expired'),
  revoked: amount('revoked'),
  clawedBack: amount('clawed_back'),
  createdAt: at('created_at').notNull(),
  live: boolean('live').notNull(),
});

export const orderSettlements = ledger.table('order_settlements', {
  shop: text('shop').notNull(),
  orderId: text('order_id').notNull(),
  charged: amount('charged'),
  total: amount('total'),
  asOf: at('as_of').notNull(),
});

export const reclaims = ledger.table('reclaims', {
  grantId: reference('grant_id').notNull(),
  credits: amount('credits'),
  debt: amount('debt'),
  writtenOff: amount('written_off'),
  restored: amount('restored'),
});

/** One row for one booking: what happened, its entries, and the key under which it was asked for. */
export const journal = ledger.table('journal', {
  id: id(),
  walletId: reference('wallet_id').notNull(),
  at: at('at').notNull(),
  firstEntry: reference('first_entry'),
  receiptId: reference('receipt_id'),
  holdId: reference('hold_id'),
  answered: reference('answered'),
  key: uuid('key'),
  payload: uuid('payload'),
  partial: boolean('partial'),
  operation: text('operation').notNull(),
  entries: bigint('entries', { mode: 'number' }).array(),
  lines: json('lines'),
  context: jsonb('context'),
  reason: text('reason'),
  entryIds: bigint('entry_ids', { mode: 'number' }).array(),
});

/** A view of the journal: all that one hold was charged, or one debit. */
export const receipts = ledger.table('receipts', {
  id: id(),
  walletId: reference('wallet_id').notNull(),
  holdId: reference('hold_id'),
  at: at('at').notNull(),
  amount: amount('amount'),
  fromAvailable: amount('from_available'),
  debt: amount('debt'),
  writtenOff: amount('written_off'),
  context: jsonb('context'),
});

/** A view of the journal. */
export const receiptLines = ledger.table('receipt_lines', {
  receiptId: reference('receipt_id').notNull(),
  position: integer('position').notNull(),
  dimension: text('dimension').notNull(),
  units: amount('units'),
  amount: amount('amount'),
});

export const holds = ledger.table('holds', {
  id: id(),
  walletId: reference('wallet_id').notNull(),
  state: text('state', { enum: ['open', 'captured', 'voided', 'expired'] }).notNull(),
  amount: amount('amount'),
  captured: amount('captured'),
  released: amount('released'),
  offering: text('offering'),
  project: text('project'),
  instanceUid: text('instance_uid'),
  runId: text('run_id'),
  context: jsonb('context').notNull(),
  receiptId: reference('receipt_id'),
  resultRef: text('result_ref'),
  reason: text('reason'),
  createdAt: at('created_at').notNull(),
  expiresAt: at('expires_at').notNull(),
  endedAt: at('ended_at'),
  reserved: bigint('reserved', { mode: 'number' }).array(),
});

/** A view of the holds: what an open one has reserved of each grant. */
export const holdGrants = ledger.table('hold_grants', {
  holdId: reference('hold_id').notNull(),
  grantId: reference('grant_id').notNull(),
  amount: amount('amount'),
});

/** A view of the journal: the bookings that moved something. */
export const transactions = ledger.table('transactions', {
  id: id(),
  walletId: reference('wallet_id').notNull(),
  operation: text('operation').notNull(),
  at: at('at').notNull(),
  holdId: reference('hold_id'),
  receiptId: reference('receipt_id'),
  reason: text('reason'),
  context: jsonb('context'),
});

/** A view of the journal. */
export const entries = ledger.table('entries', {
  id: id(),
  transactionId: reference('transaction_id').notNull(),
  accountId: reference('account_id').notNull(),
  grantId: reference('grant_id'),
  amount: amount('amount'),
});

export const idempotency = ledger.table('idempotency', {
  ownerUid: text('owner_uid').notNull(),
  operation: text('operation').notNull(),
  key: text('key').notNull(),
  payloadHash: text('payload_hash').notNull(),
  status: smallint('status').notNull(),
  body: jsonb('body').notNull(),
  at: at('at').notNull(),
});

export const projectSpend = ledger.table('project_spend', {
  walletId: reference('wallet_id').notNull(),
  project: text('project').notNull(),
  month: date('month').notNull(),
  amount: amount('amount'),
});

export const events = ledger.table('events', {
  id: id(),
  seq: reference('seq'),
  type: text('type').notNull(),
  walletId: reference('wallet_id').notNull(),
  at: at('at').notNull(),
  data: jsonb('data').notNull(),
});

export const consumers = ledger.table('consumers', {
  name: text('name').notNull(),
  position: reference('position').notNull(),
  updatedAt: at('updated_at').notNull(),
});

export const firstReceipts = ledger.table('first_receipts', {
  instanceUid: text('instance_uid').notNull(),
  receiptId: reference('receipt_id').notNull(),
});

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' });
const int8multirange = customType<{ data: string }>({ dataType: () => 'int8multirange' });

export const chain = ledger.table('chain', {
  link: reference('link').notNull(),
  transactions: int8multirange('transactions').notNull(),
  digest: bytea('digest').notNull(),
  format: smallint('format').notNull(),
});

const xid8 = customType<{ data: string }>({ dataType: () => 'xid8' });

export const outbox = ledger.table('outbox', {
  singleton: boolean('singleton').notNull(),
  book: uuid('book').notNull(),
  position: reference('position').notNull(),
  safe: reference('safe').notNull(),
  mark: reference('mark').notNull(),
  markXid: xid8('mark_xid'),
  holder: text('holder'),
  leaseUntil: at('lease_until'),
  failures: integer('failures').notNull(),
  retryAt: at('retry_at'),
  lastError: text('last_error'),
  sentAt: at('sent_at'),
});

export const outboxReceipts = ledger.table('outbox_receipts', {
  receiptId: reference('receipt_id').notNull(),
  state: text('state', { enum: ['open', 'parked'] }).notNull(),
  events: text('events').array().notNull(),
  reason: text('reason'),
  since: at('since').notNull(),
});

export const fencing = ledger.table('fencing', {
  singleton: boolean('singleton').notNull(),
  epoch: reference('epoch').notNull(),
});
