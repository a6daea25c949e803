/**
 * Callers ask at once, through two replicas and in batches, for operations of every kind; some of their keys are
 * used twice. Every answer, every wallet and every event must be those of a model of the rules, in some order of what
 * was asked at once.
 *
 *   npm test -- ledger/model                                   15 books
 *   GSV_MODEL_SEED=7 GSV_MODEL_RUNS=2000 npm test -- ledger/model
 */
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { apply } from '../hack/testing/ledger-model-book.ts';
import { newModel, type Op } from '../hack/testing/ledger-model-state.ts';
import { explain, type Told } from '../hack/testing/ledger-order.ts';
import { noFigures, Pair, type Place } from '../hack/testing/ledger-pair.ts';
import { policies, round } from '../hack/testing/ledger-steps.ts';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';
import { audit } from './audit.ts';
import { type LedgerSql, openDatabase } from './database.ts';

const SEED = Number(process.env.GSV_MODEL_SEED ?? Math.floor(Math.random() * 2 ** 31));
const RUNS = Number(process.env.GSV_MODEL_RUNS ?? 15);

let database: TestDatabase;
let other: LedgerSql;
before(async () => {
  database = await createTestDatabase();
  other = await openDatabase(database.url, { max: 6 });
});
after(async () => {
  await other.end({ timeout: 1 });
  await database.close();
});

test('whatever is asked at once, the ledger answers and does what a model of its rules does in some order', async () => {
  let runs = 0;
  let epoch = 0;
  const place: Place = { pools: [database.sql, other], admin: database.admin };
  const figures = noFigures();
  const property = fc.asyncProperty(
    policies,
    fc.array(round, { minLength: 10, maxLength: 30 }),
    async (rules, rounds) => {
      runs += 1;
      const [row] = await database.sql<{ last: number }[]>`select coalesce(max(seq), 0)::float8 as last from events`;
      const pair = new Pair(place, figures, { run: runs, epoch, lastSeq: row?.last ?? 0 });
      try {
        await pair.begin(rules);
        for (const each of rounds) await pair.play(each);
        await pair.end();
      } finally {
        // Shared by all books of the database.
        epoch = pair.known.book.epoch;
      }
    },
  );
  // On a failure fast-check prints the path and the shortest sequence that fails.
  await fc.assert(property, { seed: SEED, numRuns: RUNS, endOnFailure: process.env.GSV_MODEL_SHRINK !== '1' });
  const { problems, checkedEntries, chain } = await audit(database.sql);
  assert.equal(problems, []);
  const { operations, batches, items, left, answered } = figures;
  process.stdout.write(
    `GSV_MODEL_SEED=${SEED}: ${runs} books, ${operations} operations, ${batches} batches of ${items} items (${left} ` +
      `left to their own functions), ${checkedEntries} entries, ${chain.links} links, 0 divergences; answers: ` +
      `${JSON.stringify(answered)}\n`,
  );
  // A run that has not met all of these has shown less than it says.
  if (RUNS >= 15)
    for (const code of ['replayed', 'idempotency_conflict', 'insufficient_credits', 'stale_leader', 'already_captured'])
      assert.ok((answered[code] ?? 0) > 0, code);
});

test('the comparison finds an answer that no order explains', () => {
  const book = newModel(0);
  const rule = { floor: 0, repayFirst: true, thresholds: [], caps: [] };
  apply(book, { op: 'put', key: '', epoch: undefined, wallet: 'a', owner: 'u', ...rule });
  const debit = (amount: number): Op => ({
    ...{ op: 'debit', key: `k${amount}`, epoch: undefined, wallet: 'a', amounts: [amount] },
    ...{ offering: undefined, project: undefined },
  });
  const terms = { amount: 10, kind: 'manual' as const, priority: 1, expiresAt: Infinity };
  apply(book, { op: 'grant', key: 'g', epoch: undefined, wallet: 'a', terms });
  const paid = (amount: number, available: number) => ({
    ...{ status: 201, body: { receipt: `receipt_${amount}`, amount, available }, replayed: false },
  });
  const told = (second: number): Told[] => [
    { ops: [debit(3)], answers: [paid(3, second)] },
    { ops: [debit(4)], answers: [paid(4, 6)] },
  ];
  assert.is(explain({ book, ids: new Map() }, told(3)).book.wallets[0]?.grants[0]?.free, 3);
  assert.throws(() => explain({ book, ids: new Map() }, told(7)), /no order explains/);
});
