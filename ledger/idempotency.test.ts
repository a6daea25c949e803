import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, line, openBook } from '../hack/testing/book.ts';
import { type Call, type OperationResult, payloadHash } from './operations.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

type Operation = (call: Call, variant: number) => Promise<OperationResult>;

/** Every keyed operation: how to call it, prepared anew for each test. `variant` 2 is another payload. */
const operations: Record<string, (name: string) => Promise<Operation>> = {
  grant: async (name) => (call, variant) => book.operations.grant(name, { amount: 10 * variant, kind: 'manual' }, call),
  fulfilment: async (name) => (call, variant) =>
    book.operations.recordFulfilment(
      {
        shop: 's',
        order: 'o',
        line: name,
        ordinal: 0,
        sku: `sku-${variant}`,
        wallet: name,
        grants: [{ amount: 5, kind: 'included' }],
      },
      call,
    ),
  hold: async (name) => (call, variant) =>
    book.operations.hold({ wallet: name, amount: variant, ttlSeconds: 60 }, call),
  debit: async (name) => (call, variant) => book.operations.debit({ wallet: name, lines: [line(variant)] }, call),
  extend: async (name) => {
    const holds = [await book.hold(name, 5), await book.hold(name, 5)];
    return (call, variant) => book.operations.extendHold(holds[variant - 1] ?? '', { ttlSeconds: 600 }, call);
  },
  capture: async (name) => {
    const hold = await book.hold(name, 5);
    return (call, variant) => book.operations.capture(hold, { lines: [line(variant)] }, call);
  },
  void: async (name) => {
    const holds = [await book.hold(name, 5), await book.hold(name, 5)];
    return (call, variant) => book.operations.voidHold(holds[variant - 1] ?? '', {}, call);
  },
  revoke: async (name) => {
    const grant = await book.grant(name, { amount: 10 });
    return (call, variant) => book.operations.revokeGrant(grant, { amount: variant }, call);
  },
  close: async (name) => (call, variant) => book.operations.closeWallet(name, { forfeit: variant === 1 }, call),
};

for (const [operation, prepare] of Object.entries(operations)) {
  test(`${operation}: a retry answers the first reply and does nothing more`, async () => {
    const name = `retry-${operation}`;
    await book.wallet(name, 1000);
    const run = await prepare(name);
    const call = book.key();
    // The first two at once: one of them must find what the other did.
    const [one, two] = await Promise.all([run(call, 1), run(call, 1)]);
    assert.ok(one.status < 300, JSON.stringify(one.body));
    assert.equal([one.replayed, two.replayed].sort(), [false, true]);
    assert.equal([two.status, two.body], [one.status, one.body]);
    const before = await book.queries.entries(name);
    book.pass(1);
    const again = await run(call, 1);
    assert.equal([again.status, again.body, again.replayed], [one.status, one.body, true]);
    assert.equal((await book.queries.entries(name)).body, before.body);
  });

  test(`${operation}: another payload under the key is a conflict and does nothing`, async () => {
    const name = `conflict-${operation}`;
    await book.wallet(name, 1000);
    const run = await prepare(name);
    const call = book.key();
    await run(call, 1);
    const before = await book.queries.entries(name);
    expectProblem(422, 'idempotency_conflict', await run(call, 2));
    assert.equal((await book.queries.entries(name)).body, before.body);
  });
}

test('one key serves different operations and different owners', async () => {
  const call = book.key();
  for (const name of ['x', 'y']) {
    await book.wallet(name, 100);
    const hold = await book.operations.hold({ wallet: name, amount: 5, ttlSeconds: 60 }, call);
    const capture = await book.operations.capture(String(hold.body.hold), { lines: [line(5)] }, call);
    const debit = await book.operations.debit({ wallet: name, lines: [line(5)] }, call);
    assert.equal(
      [hold, capture, debit].map(({ status, replayed }) => [status, replayed]),
      [
        [201, false],
        [200, false],
        [201, false],
      ],
    );
  }
});

test('a refusal is not remembered: the same key succeeds after the world has changed', async () => {
  await book.wallet('r', 1, { thresholds: [] });
  const call = book.key();
  const attempt = () =>
    book.operations.hold({ wallet: 'r', amount: 5, ttlSeconds: 60, instanceUid: 'uid-r', maxConcurrent: 1 }, call);
  expectProblem(402, 'insufficient_credits', await attempt());
  await book.grant('r', { amount: 50 });
  const other = await book.hold('r', 5, { instanceUid: 'uid-r' });
  expectProblem(429, 'too_many_runs', await attempt());
  expectStatus(200, await book.operations.voidHold(other, {}, book.key()));
  assert.is((await attempt()).replayed, false);
  assert.is((await attempt()).replayed, true);
});

test('what describes a call may differ in a retry, and the context of the first one stays', async () => {
  await book.wallet('t', 100);
  const call = book.key();
  const hold = (runId: string, ttlSeconds: number) =>
    book.operations.hold({ wallet: 't', amount: 5, ttlSeconds, context: { runId } }, call);
  await hold('first', 10);
  const second = await hold('second', 20);
  assert.is(second.replayed, true);
  expectStatus(200, await book.queries.run('first'));
  expectProblem(404, 'run_not_found', await book.queries.run('second'));
});

test('the hash covers target and fields, whatever their order, and leaves out what only describes', () => {
  const hash = payloadHash('t', { a: 1, b: { c: [1, 2] } });
  assert.is(payloadHash('t', { b: { c: [1, 2] }, a: 1 }), hash);
  assert.is(
    payloadHash('t', { a: 1, b: { c: [1, 2] }, context: {}, source: {}, reason: 'r', resultRef: 'x', ttlSeconds: 1 }),
    hash,
  );
  for (const other of [
    payloadHash('u', { a: 1, b: { c: [1, 2] } }),
    payloadHash('t', { a: 1, b: { c: [2, 1] } }),
    payloadHash('t', { a: 1 }),
  ]) {
    assert.is.not(other, hash);
  }
});

test('a caller whose epoch is lower than one that was seen is refused; a later one and one without go on', async () => {
  await book.wallet('e', 100);
  const grant = (epoch?: number) => book.operations.grant('e', { amount: 1, kind: 'manual' }, { ...book.key(), epoch });
  expectStatus(201, await grant(5));
  expectProblem(409, 'stale_leader', await grant(4));
  expectProblem(409, 'stale_leader', await book.operations.putWallet('e', { ownerUid: 'uid-e' }, { epoch: 4 }));
  expectStatus(201, await grant(5));
  expectStatus(201, await grant(6));
  expectProblem(409, 'stale_leader', await grant(5));
  expectStatus(201, await grant());
  assert.is((await book.read('e')).available, 104);
});

test('a bad batch item fails alone', async () => {
  await book.wallet('b', 10);
  const hold = await book.hold('b', 5);
  const broken = { wallet: 'b', amount: -1, ttlSeconds: 60 };
  const results = await book.operations.batch([
    { op: 'hold', key: 'b1', body: { wallet: 'b', amount: 99, ttlSeconds: 60 } },
    { op: 'hold', key: 'b2', body: broken },
    { op: 'capture', key: 'b3', hold, body: { lines: [line(5)] } },
    { op: 'void', key: 'b4', hold, body: {} },
    { op: 'debit', key: 'b5', body: { wallet: 'b', lines: [line(5)] } },
  ]);
  assert.equal(
    results.map(({ key, status }) => [key, status]),
    [
      ['b1', 402],
      ['b2', 500],
      ['b3', 200],
      ['b4', 409],
      ['b5', 201],
    ],
  );
});
