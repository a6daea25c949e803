import * as assert from 'uvu/assert';
import { audit } from '../../ledger/audit.ts';
import { type Call, LedgerOperations, type OperationResult } from '../../ledger/operations.ts';
import { LedgerQueries } from '../../ledger/queries.ts';
import type { GrantBody, HoldBody, LedgerEvent, Line, Wallet, WalletBody } from '../../ledger/wire.ts';
import { createTestDatabase, type TestDatabase } from './postgres.ts';

const START = Date.parse('2026-06-15T12:00:00Z');

/** A ledger core on a database of its own, with a clock that tests move. */
export interface Book {
  database: TestDatabase;
  operations: LedgerOperations;
  queries: LedgerQueries;
  /** Moves the clock. */
  pass(seconds: number): void;
  /** The clock plus that many seconds, as RFC 3339. */
  at(seconds: number): string;
  /** A key that nobody has used. */
  key(): Call;
  /** A wallet with one unscoped grant of that size (none for 0). */
  wallet(name: string, amount: number, options?: Partial<WalletBody>): Promise<void>;
  grant(name: string, body: Partial<GrantBody> & { amount: number }): Promise<string>;
  hold(name: string, amount: number, options?: Partial<HoldBody>): Promise<string>;
  read(name: string): Promise<Wallet>;
  events(type?: string): Promise<LedgerEvent[]>;
  /** Fails with the problems when the book is not in order; else closes everything. */
  close(): Promise<void>;
}

/** Opens an empty book. Its `close` audits it, so that every test is also a test of the sums. */
export async function openBook(options: { max?: number } = {}): Promise<Book> {
  const database = await createTestDatabase(options);
  let now = START;
  const clock = { now: () => new Date(now) };
  const operations = new LedgerOperations(database.sql, clock);
  const queries = new LedgerQueries(database.sql, clock);
  let keys = 0;
  const key = (): Call => {
    keys += 1;
    return { key: `key-${keys}` };
  };
  const grant: Book['grant'] = async (name, body) =>
    String(expectStatus(201, await operations.grant(name, { kind: 'purchased', ...body }, key())).grant);
  return {
    database,
    operations,
    queries,
    key,
    grant,
    pass: (seconds) => {
      now += seconds * 1000;
    },
    at: (seconds) => new Date(now + seconds * 1000).toISOString(),
    async wallet(name, amount, body = {}) {
      expectStatus(200, await operations.putWallet(name, { ownerUid: `uid-${name}`, ...body }));
      if (amount > 0) await grant(name, { amount });
    },
    async hold(name, amount, body = {}) {
      return String(
        expectStatus(201, await operations.hold({ wallet: name, amount, ttlSeconds: 180, ...body }, key())).hold,
      );
    },
    async read(name) {
      return expectStatus(200, await queries.wallet(name)) as unknown as Wallet;
    },
    async events(type) {
      const events = await queries.events(0, 1000);
      return type === undefined ? events : events.filter((event) => event.type === type);
    },
    async close() {
      try {
        assert.equal((await audit(database.sql)).problems, []);
      } finally {
        await database.close();
      }
    },
  };
}

/** One line of a capture or debit. */
export function line(amount: number, dimension = 'run'): Line {
  return { dimension, units: 1, amount };
}

export function expectStatus(status: number, result: OperationResult): Record<string, unknown> {
  assert.is(result.status, status, JSON.stringify(result.body));
  return result.body;
}

/** Asserts a refusal by its code. */
export function expectProblem(status: number, code: string, result: OperationResult): Record<string, unknown> {
  assert.equal([result.status, result.body.code], [status, code], JSON.stringify(result.body));
  return result.body;
}
