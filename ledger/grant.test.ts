import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, line, openBook } from '../hack/testing/book.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

const remaining = async (name: string) => (await book.read(name)).grants.map((grant) => grant.remaining);

test('grants burn by priority, then earliest expiry, then age', async () => {
  await book.wallet('a', 0);
  await book.grant('a', { amount: 1, priority: 5 });
  await book.grant('a', { amount: 2, priority: 5 });
  await book.grant('a', { amount: 4, priority: 5, expiresAt: book.at(200) });
  await book.grant('a', { amount: 8, priority: 5, expiresAt: book.at(100) });
  await book.grant('a', { amount: 16, priority: 1 });
  assert.equal(await remaining('a'), [16, 8, 4, 1, 2]);
  for (const [taken, left] of [
    [17, [7, 4, 1, 2]],
    [8, [3, 1, 2]],
    [4, [2]],
  ] as const) {
    expectStatus(201, await book.operations.debit({ wallet: 'a', lines: [line(taken)] }, book.key()));
    assert.equal(await remaining('a'), left, `after ${taken}`);
  }
});

test('a scoped grant is for its offerings only; a 402 says what this scope may use', async () => {
  await book.wallet('b', 5);
  await book.grant('b', { amount: 10, priority: 1, scope: { offerings: ['x', 'y'] } });
  const hold = (amount: number, offering?: string) =>
    book.operations.hold({ wallet: 'b', amount, ttlSeconds: 9, ...(offering ? { offering } : {}) }, book.key());
  for (const [offering, available] of [
    [undefined, 5],
    ['z', 5],
    ['x', 15],
  ] as const) {
    const refused = expectProblem(402, 'insufficient_credits', await hold(16, offering));
    assert.is(refused.available, available, `for ${offering}`);
  }
  expectStatus(201, await hold(15, 'y'));
});

test('a new grant pays debt first where the policy says so', async () => {
  for (const repayFirst of [true, false]) {
    const name = `c-${repayFirst}`;
    await book.wallet(name, 10, { debtPolicy: { floor: -100, repayFirst } });
    const hold = await book.hold(name, 10);
    expectStatus(200, await book.operations.capture(hold, { lines: [line(40)] }, book.key()));
    const reply = await book.operations.grant(name, { amount: 50, kind: 'purchased' }, book.key());
    assert.equal([reply.body.amount, reply.body.remaining], [50, repayFirst ? 20 : 50]);
    const wallet = await book.read(name);
    assert.equal([wallet.available, wallet.debt], repayFirst ? [20, 0] : [50, 30]);
  }
});

test('a grant smaller than the debt is used up by it', async () => {
  await book.wallet('d', 10, { debtPolicy: { floor: -100 } });
  const hold = await book.hold('d', 10);
  expectStatus(200, await book.operations.capture(hold, { lines: [line(40)] }, book.key()));
  await book.grant('d', { amount: 7 });
  const wallet = await book.read('d');
  assert.equal([wallet.available, wallet.debt, wallet.grants], [0, 23, []]);
});

const revocations = [
  { reason: 'unspent', spend: 0, revoke: 40, floor: 0, reply: { revoked: 40, debt: 0 }, after: [60, 0] },
  { reason: 'partly spent', spend: 80, revoke: 30, floor: -50, reply: { revoked: 20, debt: 10 }, after: [0, 10] },
  {
    reason: 'floor',
    spend: 80,
    revoke: 100,
    floor: -50,
    reply: { revoked: 20, debt: 50, writtenOff: 30 },
    after: [0, 50],
  },
];
for (const { reason, spend, revoke, floor, reply, after: state } of revocations) {
  test(`a revocation takes the unspent, then debt, then writes off: ${reason}`, async () => {
    const name = `e-${reason}`;
    await book.wallet(name, 0, { debtPolicy: { floor } });
    const grant = await book.grant(name, { amount: 100 });
    if (spend > 0) expectStatus(201, await book.operations.debit({ wallet: name, lines: [line(spend)] }, book.key()));
    const body = { amount: revoke, reason: 'correction' };
    assert.equal(expectStatus(200, await book.operations.revokeGrant(grant, body, book.key())), reply);
    const wallet = await book.read(name);
    assert.equal([wallet.available, wallet.debt], state);
    const [event] = (await book.events('grant.revoked')).filter(({ data }) => data.grant === grant);
    assert.equal(event?.data, { ...reply, grant });
  });
}

test('a grant is not revoked twice, and without an amount all of it goes', async () => {
  await book.wallet('f', 0, { debtPolicy: { floor: -100 } });
  const grant = await book.grant('f', { amount: 100 });
  expectStatus(200, await book.operations.revokeGrant(grant, { amount: 60 }, book.key()));
  expectProblem(422, 'invalid_request', await book.operations.revokeGrant(grant, { amount: 41 }, book.key()));
  assert.equal(expectStatus(200, await book.operations.revokeGrant(grant, {}, book.key())), { revoked: 40, debt: 0 });
  expectProblem(404, 'grant_not_found', await book.operations.revokeGrant('grant_99999', {}, book.key()));
});

test('what an open hold reserves is not torn out of it by a revocation', async () => {
  await book.wallet('g', 0, { debtPolicy: { floor: -100 } });
  const grant = await book.grant('g', { amount: 100 });
  const hold = await book.hold('g', 70);
  assert.equal(expectStatus(200, await book.operations.revokeGrant(grant, {}, book.key())), { revoked: 30, debt: 70 });
  expectStatus(200, await book.operations.capture(hold, { lines: [line(70)] }, book.key()));
  const wallet = await book.read('g');
  assert.equal([wallet.available, wallet.held, wallet.debt], [0, 0, 70]);
});

test('the remaining of all grants is available plus held', async () => {
  await book.wallet('h', 10);
  await book.grant('h', { amount: 20, expiresAt: book.at(50) });
  await book.hold('h', 25);
  const wallet = await book.read('h');
  const sum = wallet.grants.reduce((total, grant) => total + grant.remaining, 0);
  assert.equal([sum, wallet.available + wallet.held], [30, 30]);
});
