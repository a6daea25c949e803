/**
 * Capture, void, extension and expiry of one hold at once, from several replicas with connections of their own, some
 * of whose clocks are already past the hold's end. One of them ends it; everybody else is told how it ended.
 *
 *   npm test -- ledger/hold-races                              90 rounds
 *   GSV_RACE_SEED=7 GSV_RACE_ROUNDS=5000 npm test -- ledger/hold-races
 *
 * That it notices a missing lock is shown by `ledger/mutants.test.ts`.
 */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { line } from '../hack/testing/book.ts';
import { seeded } from '../hack/testing/faults.ts';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';
import { audit } from './audit.ts';
import { type LedgerSql, openDatabase } from './database.ts';
import { LedgerOperations, type OperationResult } from './operations.ts';
import { LedgerQueries } from './queries.ts';

const SEED = Number(process.env.GSV_RACE_SEED ?? Math.floor(Math.random() * 1e6));
const ROUNDS = Number(process.env.GSV_RACE_ROUNDS ?? 90);
const START = Date.parse('2026-06-15T12:00:00Z');
const AMOUNT = 100;
/** Lifetime of a hold, and by how much the clocks of the replicas may be apart. */
const TTL_SECONDS = 60;

let database: TestDatabase;
let pools: LedgerSql[];
before(async () => {
  database = await createTestDatabase();
  pools = [database.sql, await openDatabase(database.url, { max: 4 }), await openDatabase(database.url, { max: 4 })];
});
after(async () => {
  await Promise.all(pools.slice(1).map((sql) => sql.end({ timeout: 1 })));
  await database.close();
});

type Rival = 'capture' | 'part' | 'void' | 'extend' | 'expire';
const RIVALS: readonly Rival[] = ['capture', 'part', 'void', 'extend', 'expire'];

interface Outcome {
  rival: Rival;
  /** Undefined of an expiry, which answers nobody. */
  result: OperationResult | undefined;
}

test('one ends the hold, and all others are told how it ended', async () => {
  const random = seeded(SEED);
  let now = START;
  let late = [0, 0, 0];
  const replicas = pools.map(
    (sql, n) => new LedgerOperations(sql, { now: () => new Date(now + (late[n] ?? 0) * 1000) }),
  );
  const queries = new LedgerQueries(database.sql, { now: () => new Date(now) });
  let keys = 0;
  const key = (): { key: string } => {
    keys += 1;
    return { key: `k${keys}` };
  };
  const [first] = replicas as [LedgerOperations];
  await first.putWallet('a', { ownerUid: 'u' });
  await first.grant('a', { amount: ROUNDS * AMOUNT, kind: 'purchased' }, key());

  const run = async (rival: Rival, operations: LedgerOperations, hold: string): Promise<Outcome> => {
    const asked = {
      capture: () => operations.capture(hold, { lines: [line(30)] }, key()),
      part: () => operations.capture(hold, { lines: [line(5)], final: false }, key()),
      void: () => operations.voidHold(hold, {}, key()),
      extend: () => operations.extendHold(hold, { ttlSeconds: TTL_SECONDS }, key()),
      expire: () => operations.expireDue({ limit: 10 }),
    }[rival];
    const result = await asked();
    return { rival, result: typeof result === 'number' ? undefined : result };
  };

  const ended: Record<string, number> = { captured: 0, voided: 0, expired: 0, open: 0 };
  const answers: Record<string, number> = {};
  for (let round = 0; round < ROUNDS; round += 1) {
    late = [0, 0, 0];
    const made = await first.hold({ wallet: 'a', amount: AMOUNT, ttlSeconds: TTL_SECONDS }, key());
    const hold = String(made.body.hold);
    // Nobody's clock, somebody's or everybody's is past the end.
    late = [0, 1, 2].map((n) => (round % 3 === 0 || (round % 3 === 1 && n === round % 2) ? TTL_SECONDS : 0));
    const rivals = Array.from({ length: 6 }, () => RIVALS[Math.floor(random() * RIVALS.length)] as Rival);
    const outcomes = await Promise.all(
      rivals.map((rival) => run(rival, replicas[Math.floor(random() * replicas.length)] as LedgerOperations, hold)),
    );
    late = [0, 0, 0];
    const [row] = await database.admin<{ state: string; ends: number; charged: number }[]>`
      select h.state, (select count(*)::int from gsv_ledger.transactions t where t.hold_id = h.id
            and (t.operation in ('void', 'hold_expiry') or (t.operation = 'capture' and h.state = 'captured'
              and t.id = (select max(id) from gsv_ledger.transactions where hold_id = h.id)))) as ends,
          coalesce((select amount from gsv_ledger.receipts where hold_id = h.id), 0)::int as charged
        from gsv_ledger.holds h where h.id = ${hold.slice('hold_'.length)}`;
    const state = row?.state ?? 'none';
    assertOutcomes(outcomes, state, `GSV_RACE_SEED=${SEED}, round ${round}, ${hold}: ${JSON.stringify(outcomes)}`);
    const parts = outcomes.filter(({ rival, result }) => rival === 'part' && result?.status === 200).length;
    const charged = parts * 5 + (state === 'captured' ? 30 : 0);
    assert.equal([row?.ends, row?.charged], [state === 'open' ? 0 : 1, charged], `round ${round}`);
    ended[state] = (ended[state] ?? 0) + 1;
    for (const { rival, result } of outcomes) {
      const said = `${rival} ${result?.body.code ?? 'done'}`;
      answers[said] = (answers[said] ?? 0) + 1;
    }
    if (state === 'open') await first.voidHold(hold, {}, key());
    now += 1000;
    assert.is((await queries.wallet('a')).body.held, 0);
  }
  assert.equal((await audit(database.sql)).problems, []);
  process.stdout.write(
    `GSV_RACE_SEED=${SEED}: ${ROUNDS} rounds of 6 rivals, one winner each (${JSON.stringify(ended)}); ` +
      `${JSON.stringify(answers)}\n`,
  );
  for (const state of ['captured', 'voided', 'expired']) assert.ok((ended[state] ?? 0) > 0, state);
});

function assertOutcomes(outcomes: readonly Outcome[], state: string, what: string): void {
  const winners = outcomes.filter(
    ({ rival, result }) => result?.status === 200 && (rival === 'capture' || rival === 'void'),
  );
  assert.is(winners.length, state === 'captured' || state === 'voided' ? 1 : 0, what);
  for (const { rival, result } of outcomes) {
    if (result === undefined) continue;
    if (result.status !== 200) {
      assert.equal([result.status, result.body.code], [409, `already_${state}`], what);
    } else if (rival === 'capture') assert.is(result.body.state, 'captured', what);
    else if (rival === 'void') assert.is(state, 'voided', what);
    // Both leave the hold open; somebody else may have ended it since.
    else assert.is(result.body.state, 'open', what);
  }
}
