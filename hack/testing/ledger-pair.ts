import type { Sql } from 'postgres';
import * as assert from 'uvu/assert';
import type { LedgerSql } from '../../ledger/database.ts';
import { LedgerOperations } from '../../ledger/operations.ts';
import { LedgerQueries } from '../../ledger/queries.ts';
import type { LedgerEvent } from '../../ledger/wire.ts';
import { batchItem, call, mayBatch } from './ledger-call.ts';
import type { ModelGrant, ModelWallet } from './ledger-model.ts';
import { walletReply } from './ledger-model-book.ts';
import { unitReply } from './ledger-model-orders.ts';
import { allHolds, dateOf, iso, newModel, type Op, pass, walletOf } from './ledger-model-state.ts';
import { explain, groups, type Known, same, type Told } from './ledger-order.ts';
import { type Names, namesOf, type Round, toOp } from './ledger-steps.ts';

/** A database with the ledger in it, as two replicas see it and as somebody who may read what no reply shows. */
export interface Place {
  pools: readonly [LedgerSql, LedgerSql];
  admin: Sql;
}

/** What many books have come to. */
export interface Figures {
  operations: number;
  batches: number;
  items: number;
  /** Items that a batch left to their own functions. */
  left: number;
  /** How often each code was answered. */
  answered: Record<string, number>;
}

export const noFigures = (): Figures => ({ operations: 0, batches: 0, items: 0, left: 0, answered: {} });

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
export class Pair {
  readonly names: Names;
  known: Known;
  #place: Place;
  #replicas: readonly LedgerOperations[];
  #queries: LedgerQueries;
  readonly #figures: Figures;
  /** Everything that was asked under a key. */
  readonly #asked: Op[] = [];
  #keys = 0;
  #consumed = 0;
  #lastSeq: number;

  constructor(
    place: Place,
    figures: Figures,
    { run, epoch, lastSeq }: { run: number; epoch: number; lastSeq: number },
  ) {
    this.names = namesOf(run);
    this.known = { book: newModel(epoch), ids: new Map() };
    this.#figures = figures;
    this.#lastSeq = lastSeq;
    this.#place = place;
    [this.#replicas, this.#queries] = this.#open(place);
  }

  /** Asks for everything again, under the same keys: whatever had an effect must be repeated. */
  async repeatAll(): Promise<void> {
    for (const op of [...this.#asked]) await this.#ask([{ ops: [op], replica: 1 }]);
  }

  /** Goes on with the same book in another place. */
  moveTo(place: Place): void {
    this.#place = place;
    [this.#replicas, this.#queries] = this.#open(place);
  }

  #open({ pools }: Place): [LedgerOperations[], LedgerQueries] {
    const now = (): Date => dateOf(this.known.book.now);
    const onBatch = ({ items, left }: { items: number; left: number }): void => {
      this.#figures.batches += 1;
      this.#figures.items += items;
      this.#figures.left += left;
    };
    return [pools.map((sql) => new LedgerOperations(sql, { now, onBatch })), new LedgerQueries(pools[0], { now })];
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
      this.#figures.operations += ops.length;
      ops.forEach((op, index) => {
        const { status = 0, body, replayed } = answers[index] ?? {};
        const code = replayed ? 'replayed' : status < 400 ? 'done' : String(body?.code);
        this.#figures.answered[code] = (this.#figures.answered[code] ?? 0) + 1;
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
    const grants = await this.#place.admin<{ id: string; state: string }[]>`
      select 'grant_' || id as id, concat_ws(' ', amount, remaining, held, expired, revoked, clawed_back) as state
        from gsv_ledger.grants where wallet_id in (select id from gsv_ledger.wallets where name = any (${this.names.wallets}))`;
    const reserved = await this.#place.admin<{ id: string; state: string }[]>`
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
