/**
 * Cuts the connection to PostgreSQL before and after each message of each money operation, asks again under the same
 * key, and compares what was booked with what one calm call books.
 *
 *   npm test -- ledger/cut-points                       one side of each message, with the next operation the other
 *   GSV_CUT_POINTS=all npm test -- ledger/cut-points    both, and the messages that open a connection with every
 *                                                       operation: what npm run soak:ledger does
 */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, openBook } from '../hack/testing/book.ts';
import { Calm, MONEY_OPERATIONS, type MoneyOperation, type Ready } from '../hack/testing/money-operations.ts';
import { type CutSide, WireProxy } from '../hack/testing/wire-proxy.ts';
import { DatabaseUnavailable, type LedgerSql, openDatabase } from './database.ts';
import { type Call, LedgerOperations, type OperationResult } from './operations.ts';

/** Whether the messages that open a connection are cut as well. */
type Connection = 'open' | 'new';

/** What one operation adds to each table. */
type Booked = Record<string, number>;

interface Tally {
  cuts: number;
  /** Calls that had had their effect when the connection was cut. */
  happened: number;
  lost: string[];
  doubled: string[];
  other: string[];
}

const COMPLETE = process.env.GSV_CUT_POINTS === 'all';

/** Every time that is booked, so that two calls book the same. */
const now = (): Date => new Date('2026-06-15T12:00:00Z');

let book: Book;
let sql: LedgerSql;
let operations: LedgerOperations;
let calm: Calm;
const proxy = new WireProxy();
before(async () => {
  book = await openBook();
  sql = await openDatabase(await proxy.start(book.database.url), { max: 1 });
  operations = new LedgerOperations(sql, { now });
  calm = new Calm(new LedgerOperations(book.database.sql, { now }));
});
after(async () => {
  await sql.end({ timeout: 1 });
  await proxy.close();
  // Audits the book.
  await book.close();
});

async function booked(): Promise<Booked> {
  const [row] = await book.database.admin<Booked[]>`
    select (select count(*) from gsv_ledger.transactions)::int as transactions,
      (select count(*) from gsv_ledger.entries)::int as entries,
      (select coalesce(sum(abs(amount)), 0) from gsv_ledger.entries)::float8 as moved,
      (select count(*) from gsv_ledger.receipts)::int as receipts, (select count(*) from gsv_ledger.holds)::int as holds,
      (select coalesce(sum(extract(epoch from expires_at - created_at)), 0) from gsv_ledger.holds)::float8 as reserved,
      (select count(*) from gsv_ledger.grants)::int as grants, (select count(*) from gsv_ledger.wallets)::int as wallets,
      (select count(*) from gsv_ledger.fulfilments)::int as fulfilments,
      (select count(instance_uid) from gsv_ledger.fulfilments)::int as claims,
      (select count(*) from gsv_ledger.order_settlements)::int as settlements,
      (select count(*) from gsv_ledger.events)::int as events, (select count(*) from gsv_ledger.idempotency)::int as keys`;
  return row as Booked;
}

async function added(work: () => Promise<OperationResult>): Promise<{ result: OperationResult; booked: Booked }> {
  const before = await booked();
  const result = await work();
  const difference = Object.entries(await booked()).map(
    ([what, count]) => [what, count - (before[what] ?? 0)] as const,
  );
  return { result, booked: Object.fromEntries(difference) };
}

/** Answers as soon as the ledger does; `keyOf` names the attempt. */
async function sure(ready: Ready, keyOf: (attempt: number) => Call): Promise<OperationResult> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ready(operations, keyOf(attempt));
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable)) throw error;
    }
  }
}

/** One connection with nothing prepared on it, or none at all. */
async function arrange(connection: Connection): Promise<void> {
  // Whatever connection is there is lost with this statement.
  proxy.listen(() => 'before');
  await sql`select 1`.catch(() => undefined);
  proxy.listen();
  if (connection === 'open') await sql`select 1`;
  proxy.listen();
}

let keys = 0;

/** @param freshKeys the control: each attempt under a key of its own */
async function cutEverywhere(
  operation: MoneyOperation,
  connection: Connection,
  tally: Tally,
  { freshKeys = false } = {},
): Promise<void> {
  const once = async (): Promise<Awaited<ReturnType<typeof added>>> => {
    const ready = await operation.prepare(calm);
    keys += 1;
    const key = `cut-${keys}`;
    return added(() => sure(ready, (attempt) => ({ key: freshKeys ? `${key}-${attempt}` : key })));
  };
  await arrange(connection);
  const expected = await once();
  for (const [place, { name, from }] of proxy.heard.entries()) {
    for (const side of sidesOf(operation, place)) {
      await arrange(connection);
      const cuts = proxy.cuts;
      proxy.cutAt(place, side);
      const actual = await once();
      assert.is(proxy.cuts, cuts + 1, `${operation.name}: nothing was cut ${side} message ${place}`);
      tally.cuts += 1;
      if (actual.result.replayed) tally.happened += 1;
      compare(`${operation.name}, ${side} ${from}'s ${name} (${place}, ${connection})`, expected, actual, tally);
    }
  }
}

/** In the fast version one side of each message, and the other one with the next operation. */
function sidesOf(operation: MoneyOperation, place: number): CutSide[] {
  if (COMPLETE) return ['before', 'after'];
  return [(MONEY_OPERATIONS.indexOf(operation) + place) % 2 === 0 ? 'before' : 'after'];
}

function compare(
  where: string,
  expected: { result: OperationResult; booked: Booked },
  actual: { result: OperationResult; booked: Booked },
  tally: Tally,
): void {
  if (actual.result.status !== expected.result.status) {
    tally.other.push(`${where}: answered ${actual.result.status} instead of ${expected.result.status}`);
  }
  for (const [what, count] of Object.entries(expected.booked)) {
    const is = actual.booked[what] ?? 0;
    if (is !== count) (is < count ? tally.lost : tally.doubled).push(`${where}: ${is} instead of ${count} ${what}`);
  }
}

const newTally = (): Tally => ({ cuts: 0, happened: 0, lost: [], doubled: [], other: [] });

test('cut before and after every message of every operation, nothing is lost or doubled after a retry', async () => {
  const tally = newTally();
  const onNew = COMPLETE ? MONEY_OPERATIONS : MONEY_OPERATIONS.filter(({ name }) => name === 'debit');
  for (const operation of MONEY_OPERATIONS) await cutEverywhere(operation, 'open', tally);
  for (const operation of onNew) await cutEverywhere(operation, 'new', tally);
  process.stdout.write(
    `${MONEY_OPERATIONS.length} operations, ${onNew.length} of them on a new connection as well: ${tally.cuts} cuts, ` +
      `${tally.lost.length} lost, ${tally.doubled.length} doubled; ${tally.happened} had happened when they were cut\n`,
  );
  assert.equal([tally.lost, tally.doubled, tally.other], [[], [], []]);
  assert.ok(tally.happened > MONEY_OPERATIONS.length, `${tally.happened} had happened`);
});

test('without the key the same cuts double what is not safe by nature', async () => {
  const doubled = new Set<string>();
  const control = MONEY_OPERATIONS.filter(({ name }) => ['debit', 'hold', 'grant', 'capture a part'].includes(name));
  for (const operation of control) {
    const tally = newTally();
    await cutEverywhere(operation, 'open', tally, { freshKeys: true });
    if (tally.doubled.length > 0) doubled.add(operation.name);
  }
  assert.equal(
    [...doubled],
    control.map(({ name }) => name),
  );
});
