import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, line, openBook } from '../hack/testing/book.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

test('a capture charges its lines, releases the rest and writes a receipt', async () => {
  await book.wallet('a', 100);
  const context = {
    instance: 'acme/claims',
    contractDigest: 'sha256:1',
    order: 'o',
    commit: 'c',
    traceId: 't',
    runId: 'r',
  };
  const hold = await book.hold('a', 50, { context, instanceUid: 'uid-a' });
  const lines = [line(12), line(8, 'tokens')];
  const reply = expectStatus(200, await book.operations.capture(hold, { lines, resultRef: 'results/r' }, book.key()));
  assert.equal(
    { ...reply, receipt: '' },
    {
      receipt: '',
      hold,
      state: 'captured',
      amount: 20,
      released: 30,
      overrun: { fromAvailable: 0, debt: 0, writtenOff: 0 },
      lines,
      available: 80,
    },
  );
  const grant = (await book.read('a')).grants[0]?.grant;
  const receipt = expectStatus(200, await book.queries.receipt(String(reply.receipt)));
  assert.equal(receipt, {
    ...reply,
    wallet: 'a',
    at: '2026-06-15T12:00:00Z',
    context,
    grants: [{ grant, amount: 20, kind: 'purchased' }],
  });
  const run = (await book.queries.run('r')).body;
  assert.equal([run.state, run.receipt, run.resultRef], ['captured', reply.receipt, 'results/r']);
  for (const attempt of [
    book.operations.capture(hold, { lines }, book.key()),
    book.operations.voidHold(hold, {}, book.key()),
  ]) {
    expectProblem(409, 'already_captured', await attempt);
  }
});

test('a capture of nothing is a receipt of zero', async () => {
  await book.wallet('b', 100);
  const hold = await book.hold('b', 50);
  const reply = expectStatus(200, await book.operations.capture(hold, { lines: [] }, book.key()));
  assert.equal([reply.amount, reply.released, reply.available], [0, 50, 100]);
  assert.equal((await book.queries.receipt(String(reply.receipt))).body.lines, []);
});

const overruns = [
  { reason: 'available covers it', floor: 0, charge: 80, overrun: { fromAvailable: 30, debt: 0, writtenOff: 0 } },
  { reason: 'no debt is allowed', floor: 0, charge: 130, overrun: { fromAvailable: 50, debt: 0, writtenOff: 30 } },
  { reason: 'debt covers it', floor: -40, charge: 130, overrun: { fromAvailable: 50, debt: 30, writtenOff: 0 } },
  {
    reason: 'debt ends at the floor',
    floor: -40,
    charge: 150,
    overrun: { fromAvailable: 50, debt: 40, writtenOff: 10 },
  },
];
for (const { reason, floor, charge, overrun } of overruns) {
  test(`a capture above its hold drops nothing: ${reason}`, async () => {
    const name = `c-${charge}-${floor}`;
    await book.wallet(name, 100, { debtPolicy: { floor } });
    const hold = await book.hold(name, 50);
    const reply = expectStatus(200, await book.operations.capture(hold, { lines: [line(charge)] }, book.key()));
    assert.equal([reply.amount, reply.released, reply.overrun], [charge, 0, overrun]);
    const wallet = await book.read(name);
    assert.equal([wallet.available, wallet.held, wallet.debt], [Math.max(0, 100 - charge), 0, overrun.debt]);
  });
}

test('debt that is there already counts against the floor', async () => {
  await book.wallet('d', 10, { debtPolicy: { floor: -40, repayFirst: false } });
  const first = await book.hold('d', 10);
  expectStatus(200, await book.operations.capture(first, { lines: [line(40)] }, book.key()));
  await book.grant('d', { amount: 5 });
  const second = await book.hold('d', 5);
  const reply = expectStatus(200, await book.operations.capture(second, { lines: [line(20)] }, book.key()));
  assert.equal(reply.overrun, { fromAvailable: 0, debt: 10, writtenOff: 5 });
  assert.is((await book.read('d')).debt, 40);
});

test('an overrun takes only what the scope of its hold may use', async () => {
  await book.wallet('e', 0);
  await book.grant('e', { amount: 20, scope: { offerings: ['mine'] } });
  await book.grant('e', { amount: 100, scope: { offerings: ['other'] } });
  const hold = await book.hold('e', 10, { offering: 'mine' });
  const reply = expectStatus(200, await book.operations.capture(hold, { lines: [line(50)] }, book.key()));
  assert.equal(reply.overrun, { fromAvailable: 10, debt: 0, writtenOff: 30 });
});

test('captures that are not final share one receipt and lower the hold', async () => {
  await book.wallet('f', 100, { debtPolicy: { floor: -5 } });
  const hold = await book.hold('f', 50);
  const part = (amount: number, final: boolean) =>
    book.operations.capture(hold, { lines: [line(amount)], final }, book.key());
  const first = expectStatus(200, await part(20, false));
  assert.equal([first.state, first.amount, first.released, first.available], ['open', 20, 0, 50]);
  assert.is((await book.queries.hold(hold)).body.amount, 30);
  const second = expectStatus(200, await part(40, false));
  assert.equal([second.state, second.overrun], ['open', { fromAvailable: 10, debt: 0, writtenOff: 0 }]);
  const last = expectStatus(200, await part(1, true));
  assert.equal([last.state, last.released, last.receipt], ['captured', 0, first.receipt]);
  assert.is(second.receipt, first.receipt);
  const receipt = (await book.queries.receipt(String(first.receipt))).body;
  assert.equal([receipt.amount, (receipt.lines as unknown[]).length], [61, 3]);
  assert.equal(receipt.overrun, { fromAvailable: 11, debt: 0, writtenOff: 0 });
});

test('a void after a part was captured releases only the rest', async () => {
  await book.wallet('g', 100);
  const hold = await book.hold('g', 50);
  expectStatus(200, await book.operations.capture(hold, { lines: [line(20)], final: false }, book.key()));
  assert.is(expectStatus(200, await book.operations.voidHold(hold, {}, book.key())).released, 30);
  assert.is((await book.read('g')).available, 80);
});

test('lines that sum to more than JSON can say are refused', async () => {
  await book.wallet('h', 100);
  const hold = await book.hold('h', 50);
  const lines = [line(Number.MAX_SAFE_INTEGER), line(1)];
  expectProblem(422, 'invalid_request', await book.operations.capture(hold, { lines }, book.key()));
  expectProblem(422, 'invalid_request', await book.operations.debit({ wallet: 'h', lines }, book.key()));
});

test('a debit charges at once, within its scope, or not at all', async () => {
  await book.wallet('i', 0);
  await book.grant('i', { amount: 30, scope: { projects: ['p'] } });
  await book.grant('i', { amount: 20 });
  const debit = (amount: number, project?: string) =>
    book.operations.debit(
      { wallet: 'i', lines: [line(amount)], ...(project ? { project } : {}), context: { hour: 1 } },
      book.key(),
    );
  const refused = expectProblem(402, 'insufficient_credits', await debit(21));
  assert.equal([refused.available, refused.required], [20, 21]);
  const reply = expectStatus(201, await debit(50, 'p'));
  assert.equal([reply.amount, reply.available], [50, 0]);
  const receipt = (await book.queries.receipt(String(reply.receipt))).body;
  assert.equal([receipt.hold, receipt.context, (receipt.grants as unknown[]).length], [undefined, { hour: 1 }, 2]);
});

test('the first receipt of an Instance is announced once', async () => {
  await book.wallet('j', 100);
  for (const amount of [1, 2]) {
    const hold = await book.hold('j', 10, {
      instanceUid: 'uid-j',
      context: { instance: 'acme/j', runId: `run-${amount}` },
    });
    expectStatus(200, await book.operations.capture(hold, { lines: [line(amount)] }, book.key()));
  }
  const events = (await book.events('receipt.first')).filter(({ data }) => data.instanceUid === 'uid-j');
  assert.equal(
    events.map(({ data }) => [data.amount, data.instance, data.runId]),
    [[1, 'acme/j', 'run-1']],
  );
});

test('captures of one hold that JSON cannot carry together are refused, and the hold stays as it is', async () => {
  await book.wallet('huge', 10);
  const hold = await book.hold('huge', 10);
  const most = Number.MAX_SAFE_INTEGER;
  expectStatus(200, await book.operations.capture(hold, { lines: [line(most)], final: false }, book.key()));
  const refused = await book.operations.capture(hold, { lines: [line(1)], final: false }, book.key());
  assert.match(String(expectProblem(422, 'invalid_request', refused).detail), /the lines and the 9007199254740991/);
  expectStatus(200, await book.operations.capture(hold, { lines: [line(0)] }, book.key()));
});
