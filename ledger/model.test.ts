import { after, before, test } from 'node:test';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import { type ModelReply, ModelWallet } from '../hack/testing/ledger-model.ts';
import type { Call, OperationResult } from './operations.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

const amount = fc.integer({ min: 1, max: 120 });
const offering = fc.constantFrom(undefined, 'x', 'y');
const index = fc.nat({ max: 30 });

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('grant' as const),
      amount,
      priority: fc.integer({ min: 1, max: 2 }),
      lifetime: fc.constantFrom(Infinity, 0, 5, 30),
      offering,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('hold' as const), amount, ttl: fc.integer({ min: 1, max: 20 }), offering }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('capture' as const),
      index,
      amount: fc.nat({ max: 160 }),
      final: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('void' as const), index }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('extend' as const), index, ttl: fc.integer({ min: 1, max: 20 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('debit' as const), amount, offering }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('revoke' as const), index, amount }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('again' as const), index }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The same wallet twice: in the ledger and in the model. */
class Pair {
  readonly name: string;
  readonly model: ModelWallet;
  readonly holds: string[] = [];
  readonly grants: string[] = [];
  readonly done: { repeat: () => Promise<OperationResult>; first: OperationResult }[] = [];

  constructor(name: string, model: ModelWallet) {
    this.name = name;
    this.model = model;
  }

  async apply(move: Step): Promise<void> {
    const { operations } = book;
    const wallet = this.name;
    const scope = 'offering' in move && move.offering !== undefined ? { offering: move.offering } : {};
    const which = 'index' in move ? move.index : 0;
    const hold = which % Math.max(1, this.holds.length);
    const [holdId, modelHold] = [this.holds[hold], this.model.holds[hold]];
    const grant = which % Math.max(1, this.grants.length);
    const [grantId, modelGrant] = [this.grants[grant], this.model.grants[grant]];
    switch (move.do) {
      case 'grant': {
        const expiry = move.lifetime === Infinity ? {} : { expiresAt: book.at(move.lifetime) };
        const only = move.offering === undefined ? {} : { scope: { offerings: [move.offering] } };
        const body = { amount: move.amount, kind: 'purchased' as const, priority: move.priority, ...expiry, ...only };
        const model = this.model.grant(move.amount, move.priority, move.lifetime, move.offering);
        const { body: reply } = await this.both(model, (call) => operations.grant(wallet, body, call));
        this.grants.push(String(reply.grant));
        return;
      }
      case 'hold': {
        const body = { wallet, amount: move.amount, ttlSeconds: move.ttl, ...scope };
        const model = this.model.hold(move.amount, move.ttl, move.offering);
        const { status, body: reply } = await this.both(model, (call) => operations.hold(body, call));
        if (status === 201) this.holds.push(String(reply.hold));
        return;
      }
      case 'debit': {
        const body = { wallet, lines: [line(move.amount)], ...scope };
        await this.both(this.model.debit(move.amount, move.offering), (call) => operations.debit(body, call));
        return;
      }
      case 'pass':
        this.model.pass(move.seconds);
        book.pass(move.seconds);
        return;
      case 'again': {
        const done = this.done[which % Math.max(1, this.done.length)];
        if (!done) return;
        const { status, body, replayed } = await done.repeat();
        assert.equal({ status, body, replayed }, { ...done.first, replayed: true });
        return;
      }
      case 'revoke':
        if (!grantId || !modelGrant) return;
        await this.both(this.model.revoke(modelGrant, move.amount), (call) =>
          operations.revokeGrant(grantId, { amount: move.amount }, call),
        );
        return;
    }
    if (!holdId || !modelHold) return;
    if (move.do === 'capture') {
      const body = { lines: [line(move.amount)], final: move.final };
      const model = this.model.capture(modelHold, move.amount, move.final);
      await this.both(model, (call) => operations.capture(holdId, body, call));
    } else if (move.do === 'void') {
      await this.both(this.model.void(modelHold), (call) => operations.voidHold(holdId, {}, call));
    } else {
      const body = { ttlSeconds: move.ttl };
      await this.both(this.model.extend(modelHold, move.ttl), (call) => operations.extendHold(holdId, body, call));
    }
  }

  async both(expected: ModelReply, run: (call: Call) => Promise<OperationResult>): Promise<OperationResult> {
    const call = book.key();
    const first = await run(call);
    const code = first.status >= 400 ? { code: first.body.code } : {};
    assert.equal({ status: first.status, ...code }, expected, JSON.stringify(first.body));
    if (first.status < 400) this.done.push({ repeat: () => run(call), first });
    return first;
  }

  async compare(): Promise<void> {
    const { available, held, debt, grants } = await book.read(this.name);
    const modelGrants = this.model.inOrder().filter(({ free, held: reserved }) => free + reserved > 0);
    assert.equal(
      { available, held, debt, grants: grants.map(({ remaining, held: reserved }) => [remaining, reserved]) },
      {
        available: this.model.available,
        held: this.model.held,
        debt: this.model.debt,
        grants: modelGrants.map((grant) => [grant.free + grant.held, grant.held]),
      },
    );
  }
}

test('whatever happens to a wallet, the ledger and a model of its rules agree', async () => {
  let runs = 0;
  let steps = 0;
  const policy = fc.record({ floor: fc.constantFrom(0, -50), repayFirst: fc.boolean() });
  const property = fc.asyncProperty(policy, fc.array(step, { minLength: 10, maxLength: 40 }), async (rules, moves) => {
    runs += 1;
    const pair = new Pair(`model-${runs}`, new ModelWallet(rules));
    await book.wallet(pair.name, 0, { debtPolicy: rules });
    for (const move of moves) {
      await pair.apply(move);
      await pair.compare();
      steps += 1;
    }
  });
  // On a failure fast-check prints the seed, the path and the shortest sequence that fails.
  await fc.assert(property, { numRuns: Number(process.env.GSV_MODEL_RUNS ?? 20), endOnFailure: false });
  assert.ok(steps > 0);
});
