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
import { batchItem, call, mayBatch } from '../hack/testing/ledger-call.ts';
import type { ModelGrant, ModelWallet } from '../hack/testing/ledger-model.ts';
import { apply, walletReply } from '../hack/testing/ledger-model-book.ts';
import { unitReply } from '../hack/testing/ledger-model-orders.ts';
import { allHolds, dateOf, iso, newModel, type Op, pass, walletOf } from '../hack/testing/ledger-model-state.ts';
import { explain, groups, type Known, same, type Told } from '../hack/testing/ledger-order.ts';
import { type Names, namesOf, policies, type Round, round, toOp } from '../hack/testing/ledger-steps.ts';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';
import { audit } from './audit.ts';
import { type LedgerSql, openDatabase } from './database.ts';
import { LedgerOperations } from './operations.ts';
import { LedgerQueries } from './queries.ts';
import type { LedgerEvent } from './wire.ts';

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

interface Seen {
  wallets: Map<string, unknown>;
  events: LedgerEvent[];
  /** By grant or hold. */
  hidden: Map<string, string>;
}

/** Where the parts of each grant are, and what each open hold reserves of which. */
function hiddenOf({ grants, holds }: ModelWallet, ids: Known['ids']): [id: string, state: string | undefined][] {
  const grantId = (grant: ModelGrant): string => ids.get(grant.id) ?? grant.id;
  return [
    ...grants.map((grant): [string, string] => {
      const { amount, free, held, expired, revoked, clawedBack } = grant;
      return [grantId(grant), [amount, free + held, held, expired, revoked, clawedBack].join(' ')];
    }),
    ...holds.map(({ id, reserved }): [string, string | undefined] => {
      const parts = [...reserved]
        .filter(([, part]) => part > 0)
        .map(([grant, part]) => [part, grantId(grant)] as const);
      const inOrder = parts.toSorted((a, b) => Number(a[1].slice(6)) - Number(b[1].slice(6)));
      return [ids.get(id) ?? id, inOrder.map(([part, grant]) => `${part} of ${grant}`).join(', ') || undefined];
    }),
  ];
}

/** The same book twice: in the ledger, written by two replicas, and in the model. */
class Pair {
  readonly names: Names;
  known: Known;
  readonly #replicas: readonly LedgerOperations[];
  readonly #queries: LedgerQueries;
  /** Everything that was asked under a key. */
  readonly #asked: Op[] = [];
  #keys = 0;
  #consumed = 0;
  #lastSeq: number;
  static answered: Record<string, number> = {};
  static operations = 0;
  static batches = { calls: 0, items: 0, left: 0 };

  constructor(run: number, epoch: number, lastSeq: number) {
    this.names = namesOf(run);
    this.known = { book: newModel(epoch), ids: new Map() };
    this.#lastSeq = lastSeq;
    const now = (): Date => dateOf(this.known.book.now);
    const onBatch = ({ items, left }: { items: number; left: number }): void => {
      Pair.batches.calls += 1;
      Pair.batches.items += items;
      Pair.batches.left += left;
    };
    this.#replicas = [database.sql, other].map((sql) => new LedgerOperations(sql, { now, onBatch }));
    this.#queries = new LedgerQueries(database.sql, { now });
  }

  async begin(rules: readonly Pick<Extract<Op, { op: 'put' }>, 'floor' | 'repayFirst' | 'thresholds' | 'caps'>[]) {
    const puts = this.names.wallets.map((wallet, n): Op => {
      const rule = rules[n] ?? { floor: 0, repayFirst: true, thresholds: [], caps: [] };
      return { op: 'put', key: '', epoch: undefined, wallet, owner: this.names.owners[n] ?? '', ...rule };
    });
    await this.#ask(puts.map((op) => ({ ops: [op], replica: 0 })));
    const terms = { amount: 150, kind: 'purchased' as const, priority: 2, expiresAt: Infinity };
    const grants = this.names.wallets.map(
      (wallet, n): Op => ({
        ...{ op: 'grant', key: `first-${n}`, epoch: undefined, wallet, terms },
      }),
    );
    await this.#ask(grants.map((op) => ({ ops: [op], replica: 1 })));
  }

  async play(round: Round): Promise<void> {
    pass(this.known.book, round.pass);
    if (round.newTerm) {
      this.known.book.epoch += 1;
      const body = { position: 0, rewind: true };
      const { status } = await this.#operations(0).putConsumer('term', body, { epoch: this.known.book.epoch });
      assert.is(status, 200);
    }
    const callers = round.callers.flatMap((caller) => {
      const ops = caller.steps.map((step) => this.#op(step, caller));
      const { replica, keying } = caller;
      if (keying.as !== 'twin') return [{ ops, replica }];
      return [
        { ops, replica },
        { ops, replica: 1 - replica },
      ];
    });
    const sweep = round.sweep ? this.#operations(1).expireDue({ limit: 10 }) : undefined;
    await this.#ask(
      callers.map(({ ops, replica }) => ({ ops: this.#batch(ops), replica })),
      sweep,
    );
    await this.#compareHolds();
    if (round.consumer) await this.#consume(round.consumer);
  }

  #operations(replica: number): LedgerOperations {
    return this.#replicas[replica] as LedgerOperations;
  }

  #op(step: Round['callers'][number]['steps'][number], { keying, epoch }: Round['callers'][number]): Op {
    const { book } = this.known;
    this.#keys += 1;
    const candidates = keying.as === 'borrowed' ? this.#asked.filter(({ op }) => op === step.op) : this.#asked;
    const earlier = 'which' in keying ? candidates[keying.which % Math.max(1, candidates.length)] : undefined;
    if (keying.as === 'again' && earlier) return earlier;
    const key = earlier?.key ?? `k${this.#keys}`;
    const number = epoch === 'none' ? undefined : epoch === 'present' ? book.epoch : book.epoch - 1;
    return toOp(step, { key, epoch: number === undefined || number < 0 ? undefined : number }, book, this.names);
  }

  /** The steps that one `batch` can carry, under the epoch of its first; else the first step alone. */
  #batch(ops: readonly Op[]): Op[] {
    const [first, ...later] = ops as [Op, ...Op[]];
    if (later.length === 0 || !ops.every(mayBatch)) return [first];
    return ops.map((op) => ({ ...op, epoch: first.epoch }));
  }

  async #ask(callers: readonly { ops: Op[]; replica: number }[], beside?: Promise<unknown>): Promise<void> {
    const nameOf = (name: string): string => this.known.ids.get(name) ?? name;
    const told = await Promise.all(
      callers.map(async ({ ops, replica }): Promise<Told> => {
        const [first] = ops as [Op];
        const operations = this.#operations(replica);
        if (ops.length === 1) return { ops, answers: [await call(operations, first, nameOf)] };
        const items = ops.filter(mayBatch).map((op) => batchItem(op, nameOf));
        return { ops, answers: await operations.batch(items, { epoch: first.epoch }) };
      }),
    );
    await beside;
    const seen = await this.#look();
    for (const group of groups(told, this.known.book)) {
      this.known = explain(this.known, group.told, (after) => this.#differs(after, group.wallets, seen));
    }
    const difference = this.#differs(this.known, this.names.wallets, seen);
    assert.is(difference, undefined);
    for (const wallet of this.known.book.wallets) wallet.events.length = 0;
    for (const { ops, answers } of told) {
      Pair.operations += ops.length;
      ops.forEach((op, index) => {
        const { status = 0, body, replayed } = answers[index] ?? {};
        const code = replayed ? 'replayed' : status < 400 ? 'done' : String(body?.code);
        Pair.answered[code] = (Pair.answered[code] ?? 0) + 1;
        if (op.key !== '' && op.op !== 'put' && op.op !== 'claim') this.#asked.push({ ...op, epoch: undefined });
      });
    }
  }

  /** Every wallet, and the events since the last look. */
  async #look(): Promise<Seen> {
    const wallets = await Promise.all(
      this.names.wallets.map(async (name) => [name, (await this.#queries.wallet(name)).body] as const),
    );
    const events = await this.#queries.events(this.#lastSeq, 10_000);
    this.#lastSeq = events.at(-1)?.seq ?? this.#lastSeq;
    // Not shown by any reply, and decides what happens later.
    const grants = await database.admin<{ id: string; state: string }[]>`
      select 'grant_' || id as id, concat_ws(' ', amount, remaining, held, expired, revoked, clawed_back) as state
        from gsv_ledger.grants where wallet_id in (select id from gsv_ledger.wallets where name = any (${this.names.wallets}))`;
    const reserved = await database.admin<{ id: string; state: string }[]>`
      select 'hold_' || hold_id as id, string_agg(amount || ' of grant_' || grant_id, ', ' order by grant_id) as state
        from gsv_ledger.hold_grants group by hold_id`;
    const hidden = new Map([...grants, ...reserved].map(({ id, state }) => [id, state]));
    return { wallets: new Map(wallets), events, hidden };
  }

  #differs({ book, ids }: Known, names: readonly string[], seen: Seen): string | undefined {
    for (const name of names) {
      const wallet = walletOf(book, name);
      const expected = wallet
        ? walletReply(wallet)
        : { code: 'wallet_not_found', detail: `there is no wallet ${name}` };
      const found = seen.wallets.get(name);
      if (!same(expected, found, ids)) return `${name} is ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`;
      const told = book.wallets.filter((each) => each.name === name).flatMap(({ events }) => events);
      const model = told.map((event) => ({ ...event, at: iso(book.now) }));
      const mine = seen.events
        .filter((event) => event.wallet === name)
        .map(({ type, data, at }) => ({ type, data, at }));
      if (!same(model, mine, ids)) return `${name} was told ${JSON.stringify(mine)}, not ${JSON.stringify(model)}`;
    }
    for (const wallet of book.wallets.filter(({ name }) => names.includes(name))) {
      for (const [id, state] of hiddenOf(wallet, ids)) {
        const found = seen.hidden.get(id);
        if (found !== state) return `${id} of ${wallet.name} is ${found}, not ${state}`;
      }
    }
    return undefined;
  }

  async #compareHolds(): Promise<void> {
    const { book, ids } = this.known;
    for (const hold of allHolds(book).slice(-3)) {
      const { body } = await this.#queries.hold(ids.get(hold.id) ?? '');
      const { amount, state, expiresAt, receipt } = body;
      const expected = { amount: hold.amount, state: hold.state, expiresAt: iso(hold.expiresAt) };
      this.#same({ ...expected, receipt: hold.receipt }, { amount, state, expiresAt, receipt }, hold.id);
    }
  }

  async #consume({ position, rewind }: NonNullable<Round['consumer']>): Promise<void> {
    const last = this.#lastSeq;
    const at = Math.max(0, last + position);
    const { status, body } = await this.#operations(1).putConsumer(this.names.orders[0] ?? '', {
      position: at,
      rewind,
    });
    const expected = at > last ? 422 : at < this.#consumed && !rewind ? 409 : 200;
    if (expected === 200) this.#consumed = at;
    assert.equal(
      [status, status === 200 ? [body.position, body.last] : []],
      [expected, expected === 200 ? [at, last] : []],
    );
  }

  /** Units that came at once may lie in either order. */
  async end(): Promise<void> {
    const byLine = (one: object, two: object): number => (nameOf(one) < nameOf(two) ? -1 : 1);
    const nameOf = (unit: object): string => `${Reflect.get(unit, 'line')} ${Reflect.get(unit, 'ordinal')}`;
    for (const order of this.names.orders) {
      const { body } = await this.#queries.fulfilments({ order });
      const units = this.known.book.units.filter((unit) => unit.order === order);
      const found = (body.items as object[]).toSorted(byLine);
      this.#same(units.map(unitReply).toSorted(byLine), found, `units of ${order}`);
    }
  }

  #same(model: unknown, ledger: unknown, what: string): void {
    if (!same(model, ledger, this.known.ids)) assert.equal(ledger, model, what);
  }
}

test('whatever is asked at once, the ledger answers and does what a model of its rules does in some order', async () => {
  let runs = 0;
  let epoch = 0;
  const property = fc.asyncProperty(
    policies,
    fc.array(round, { minLength: 10, maxLength: 30 }),
    async (rules, rounds) => {
      runs += 1;
      const [row] = await database.sql<{ last: number }[]>`select coalesce(max(seq), 0)::float8 as last from events`;
      const pair = new Pair(runs, epoch, row?.last ?? 0);
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
  const { calls, items, left } = Pair.batches;
  process.stdout.write(
    `GSV_MODEL_SEED=${SEED}: ${runs} books, ${Pair.operations} operations, ${calls} batches of ${items} items (${left} ` +
      `left to their own functions), ${checkedEntries} entries, ${chain.links} links, 0 divergences; answers: ` +
      `${JSON.stringify(Pair.answered)}\n`,
  );
  // A run that has not met all of these has shown less than it says.
  if (RUNS >= 15)
    for (const code of ['replayed', 'idempotency_conflict', 'insufficient_credits', 'stale_leader', 'already_captured'])
      assert.ok((Pair.answered[code] ?? 0) > 0, code);
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
