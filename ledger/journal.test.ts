import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { line } from '../hack/testing/book.ts';
import { makeOld } from '../hack/testing/old-book.ts';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';
import { audit } from './audit.ts';
import { migrate } from './migrate.ts';
import { LedgerOperations, payloadHash } from './operations.ts';

/** The last migration before there was a journal. */
const LAST_OF_TABLES = 499;

const START = Date.parse('2026-06-15T12:00:00.250Z');

interface Told {
  name: string;
  target: string;
  body: object;
  key: string;
  status: number;
  reply: string;
  seconds: number;
}

/** Calls the SQL functions by name, as an earlier release does, and keeps what they answered. */
class Caller {
  readonly told: Told[] = [];
  readonly #database: TestDatabase;
  #keys = 0;
  /** Since the start. */
  seconds = 0;

  constructor(database: TestDatabase) {
    this.#database = database;
  }

  async call(name: string, target: string, body: object): Promise<Record<string, unknown>> {
    this.#keys += 1;
    const told = await this.ask({ name, target, body, key: `key-${this.#keys}`, seconds: this.seconds });
    this.told.push(told);
    return JSON.parse(told.reply) as Record<string, unknown>;
  }

  async ask({ name, target, body, key, seconds }: Omit<Told, 'status' | 'reply'>): Promise<Told> {
    const { admin } = this.#database;
    const hash = payloadHash(target, body);
    const now = new Date(START + seconds * 1000);
    const [row] = await admin<{ status: number; reply: string }[]>`
      select status, body::text as reply from gsv_ledger.${admin(name)}(${target}, ${JSON.stringify(body)}::text::jsonb,
        ${key}, ${hash}, ${now}, null)`;
    if (!row) throw new Error(`${name} answered nothing`);
    return { name, target, body, key, seconds, ...row };
  }

  /** A batch as the earlier release sends it. */
  async batch(items: object[]): Promise<number[]> {
    const rows = items.map((item, n) => ({ item: n, key: `batch-${n}`, hash: 'f'.repeat(64), ...item }));
    const replies = await this.#database.admin<{ status: number }[]>`
      select status from gsv_ledger.run_batch(${JSON.stringify(rows)}::text::json,
        ${new Date(START + this.seconds * 1000)}, null)`;
    return replies.map(({ status }) => status);
  }
}

/** Of each kind of booking one, and what is rare about receipts. */
async function trade(caller: Caller): Promise<void> {
  const call = caller.call.bind(caller);
  await call('put_wallet', 'w', { ownerUid: 'o', debtPolicy: { floor: -50 }, thresholds: [100] });
  await call('create_grant', 'w', { amount: 100, kind: 'purchased', source: { note: 'x' } });
  await call('create_grant', 'w', { amount: 40, kind: 'trial', priority: 1, scope: { offerings: ['a'] } });
  await call('create_grant', 'w', { amount: 5, kind: 'trial', expiresAt: new Date(START + 60_000).toISOString() });
  const hold = async (amount: number, more: object = {}): Promise<string> =>
    String((await call('create_hold', '', { wallet: 'w', amount, ttlSeconds: 300, ...more })).hold);
  const across = await hold(50, { offering: 'a', instanceUid: 'i', context: { runId: 'r', instance: 'org/x' } });
  await call('debit', '', { wallet: 'w', lines: [line(3), line(4, 'töken"s')], context: { order: 'l' } });
  await call('debit', '', { wallet: 'w', lines: [] });
  await call('capture_hold', across, { lines: [line(45)], final: false });
  await call('capture_hold', across, { lines: [line(0), line(2)], final: false });
  await call('capture_hold', across, { lines: [line(60)] });
  await call('capture_hold', await hold(5), { lines: [], final: false });
  await call('void_hold', await hold(6), { reason: 'changed "my" mind' });
  await call('revoke_grant', 'grant_1', { amount: 3, reason: 'x' });
  const late = await hold(2, { ttlSeconds: 10 });
  caller.seconds += 120;
  await call('void_hold', late, {});
  await call('extend_hold', 'hold_2', { ttlSeconds: 500 });
  const unit = { shop: 's', order: 'o', line: 'l', ordinal: 0, sku: 'k', wallet: 'w' };
  await call('record_fulfilment', '', { ...unit, grants: [{ amount: 90, kind: 'included' }] });
  await call('settle_order', '', { shop: 's', order: 'o', charged: 1, total: 2 });
  await call('settle_order', '', { shop: 's', order: 'o', charged: 2, total: 2 });
}

/** Every table of before, as it is or as its view says. */
async function contents({ admin }: TestDatabase): Promise<Record<string, unknown[]>> {
  const tables: Record<string, unknown[]> = {};
  for (const [table, order] of [
    ['transactions', 'id'],
    ['entries', 'id'],
    ['receipts', 'id'],
    ['receipt_lines', 'receipt_id, position'],
    ['hold_grants', 'hold_id, grant_id'],
    ['chain', 'link'],
    ['idempotency', 'key'],
  ]) {
    const rows = await admin.unsafe(`select to_jsonb(t) as row from gsv_ledger.${table} t order by ${order}`);
    // What the view adds.
    tables[String(table)] = rows.map(({ row: { format: _, ...row } }) => {
      if (table === 'transactions') delete row.context;
      return row;
    });
  }
  return tables;
}

test('a book of the release with seven rows for a debit is the same book in the journal', async () => {
  const database = await createTestDatabase();
  try {
    await makeOld(database.admin, LAST_OF_TABLES);
    const caller = new Caller(database);
    await trade(caller);
    // As if another replica had taken ids in between.
    await database.admin`alter sequence gsv_ledger.entries_id_seq increment by 3`;
    const debit = { operation: 'debit', wallet: 'w', amount: 7, lines: [line(7)] };
    const hold = { operation: 'hold', wallet: 'w', amount: 8, ttl_seconds: 60 };
    assert.equal(await caller.batch([debit, hold]), [201, 201]);
    const before = await contents(database);
    for (const table of Object.keys(before))
      assert.ok(Number(before[table]?.length) > 1, `${table} is worth comparing`);

    assert.ok((await migrate(database.url)).includes('0500_journal.sql'));
    const now = await contents(database);
    // The receipts of nothing got rows of their own, and a link each statement adds.
    assert.equal(now.chain?.slice(0, before.chain?.length), before.chain);
    assert.is(Number(now.chain?.length), Number(before.chain?.length) + 1);
    for (const table of Object.keys(before)) if (table !== 'chain') assert.equal(now[table], before[table], table);
    assert.equal((await audit(database.sql)).problems, []);

    for (const told of caller.told.filter(({ status, name }) => status < 300 && name !== 'put_wallet')) {
      const again = await caller.ask({ ...told, seconds: told.seconds + 1 });
      assert.equal([again.status, again.reply], [told.status, told.reply], told.name);
    }
    assert.equal((await contents(database)).entries, before.entries, 'a retry books nothing');
    // And it goes on: ids, receipts and links follow the old ones.
    const last = Math.max(...(before.receipts as { id: number }[]).map(({ id }) => id));
    const operations = new LedgerOperations(database.sql, { now: () => new Date(START + 200_000) });
    const { body } = await operations.debit({ wallet: 'w', lines: [line(1)] }, { key: 'after' });
    assert.ok(Number(String(body.receipt).slice('receipt_'.length)) > last, `${body.receipt} after receipt_${last}`);
    assert.equal((await audit(database.sql)).problems, []);
  } finally {
    await database.close();
  }
});

test('in the journal, a retry is answered byte for byte, from the row and without a second booking', async () => {
  const database = await createTestDatabase();
  try {
    const caller = new Caller(database);
    await trade(caller);
    const [before, made] = [await contents(database), caller.told.filter(({ status }) => status < 300)];
    assert.ok(made.length > 15);
    for (const told of made.filter(({ name }) => name !== 'put_wallet')) {
      const again = await caller.ask({ ...told, seconds: told.seconds + 1 });
      assert.equal([again.status, again.reply], [told.status, told.reply], told.name);
    }
    assert.equal(await contents(database), before);
    const [row] = await database.sql<{ hot: number }[]>`
      select count(*)::int as hot from gsv_ledger.idempotency where operation in ('debit', 'hold', 'capture', 'void')`;
    assert.is(row?.hot, 0, 'nothing is remembered twice');
    assert.equal((await audit(database.sql)).problems, []);
  } finally {
    await database.close();
  }
});

test('every money function looks up by index, whatever the planner thought of a young book', async () => {
  const database = await createTestDatabase();
  try {
    const rows = await database.sql<{ name: string; safe: boolean }[]>`
      select proname as name, coalesce(proconfig @> array['enable_seqscan=off', 'jit=off'], false) as safe from pg_proc
        where pronamespace = 'gsv_ledger'::regnamespace and prosecdef
          and (pg_get_function_identity_arguments(oid) like 'p_target text, p_body jsonb,%' or proname in ('run_batch', 'run_one'))`;
    assert.ok(rows.length >= 12, `${rows.length}`);
    assert.equal(
      rows.filter(({ safe }) => !safe).map(({ name }) => name),
      [],
    );
  } finally {
    await database.close();
  }
});
