import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, line, openBook } from '../hack/testing/book.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

test('a hold reserves, and says until when', async () => {
  await book.wallet('a', 100);
  const body = { wallet: 'a', amount: 30, ttlSeconds: 60, context: { runId: 'run-a', order: 'o' } };
  const reply = expectStatus(201, await book.operations.hold(body, book.key()));
  assert.equal(
    { ...reply, hold: '' },
    { hold: '', wallet: 'a', amount: 30, state: 'open', expiresAt: '2026-06-15T12:01:00Z' },
  );
  const wallet = await book.read('a');
  assert.equal([wallet.available, wallet.held], [70, 30]);
  assert.equal([wallet.grants[0]?.remaining, wallet.grants[0]?.held], [100, 30]);
  assert.equal((await book.queries.run('run-a')).body, { ...reply, context: body.context });
});

test('a hold above what is available is refused with both figures and leaves nothing', async () => {
  await book.wallet('b', 100);
  await book.hold('b', 60);
  const refused = await book.operations.hold({ wallet: 'b', amount: 41, ttlSeconds: 60 }, book.key());
  const { available, required } = expectProblem(402, 'insufficient_credits', refused);
  assert.equal([available, required], [40, 41]);
  assert.is((await book.read('b')).held, 60);
});

test('an Instance has no more open holds than it may', async () => {
  await book.wallet('c', 100);
  const limited = { instanceUid: 'uid-c', maxConcurrent: 2 };
  const first = await book.hold('c', 1, limited);
  await book.hold('c', 1, { ...limited, ttlSeconds: 10 });
  const attempt = () => book.operations.hold({ wallet: 'c', amount: 1, ttlSeconds: 9, ...limited }, book.key());
  expectProblem(429, 'too_many_runs', await attempt());
  await book.hold('c', 1, { instanceUid: 'uid-other', maxConcurrent: 1 });
  expectStatus(200, await book.operations.voidHold(first, {}, book.key()));
  expectStatus(201, await attempt());
  expectProblem(429, 'too_many_runs', await attempt());
  book.pass(10);
  expectStatus(201, await attempt());
});

test('a void gives everything back, once', async () => {
  await book.wallet('d', 100);
  const hold = await book.hold('d', 30);
  const reply = await book.operations.voidHold(hold, { reason: 'runtime_error' }, book.key());
  assert.equal(expectStatus(200, reply), { hold, state: 'voided', released: 30 });
  assert.equal([(await book.read('d')).available, (await book.queries.hold(hold)).body.reason], [100, 'runtime_error']);
  expectProblem(409, 'already_voided', await book.operations.voidHold(hold, {}, book.key()));
  expectProblem(409, 'already_voided', await book.operations.capture(hold, { lines: [] }, book.key()));
  expectProblem(409, 'already_voided', await book.operations.extendHold(hold, { ttlSeconds: 5 }, book.key()));
});

test('an extension moves the expiry forward and never back', async () => {
  await book.wallet('e', 100);
  const hold = await book.hold('e', 30, { ttlSeconds: 60 });
  const shorter = expectStatus(200, await book.operations.extendHold(hold, { ttlSeconds: 10 }, book.key()));
  assert.is(Date.parse(String(shorter.expiresAt)), Date.parse(book.at(60)));
  book.pass(59);
  const longer = expectStatus(200, await book.operations.extendHold(hold, { ttlSeconds: 60 }, book.key()));
  assert.is(Date.parse(String(longer.expiresAt)), Date.parse(book.at(60)));
  book.pass(59);
  assert.is((await book.queries.hold(hold)).body.state, 'open');
});

test('an unknown hold is not found, however its id looks', async () => {
  for (const id of ['hold_999999', 'hold_0', 'hold_-1', "hold_1'; drop", 'grant_1', '', 'hold_99999999999999999999']) {
    expectProblem(404, 'hold_not_found', await book.queries.hold(id));
    expectProblem(404, 'hold_not_found', await book.operations.voidHold(id, {}, book.key()));
    expectProblem(404, 'hold_not_found', await book.operations.capture(id, { lines: [] }, book.key()));
  }
  expectProblem(404, 'run_not_found', await book.queries.run('nobody'));
});

test("a project's monthly cap bounds its holds and debits and starts anew with the month", async () => {
  await book.wallet('f', 1000, { caps: [{ project: 'p', amount: 100 }] });
  const hold = await book.hold('f', 60, { project: 'p' });
  const refused = await book.operations.hold({ wallet: 'f', amount: 41, ttlSeconds: 9, project: 'p' }, book.key());
  assert.is(expectProblem(402, 'insufficient_credits', refused).available, 40);
  expectStatus(200, await book.operations.capture(hold, { lines: [line(50)] }, book.key()));
  const debit = { wallet: 'f', project: 'p', lines: [line(51)] };
  assert.is(expectProblem(402, 'insufficient_credits', await book.operations.debit(debit, book.key())).available, 50);
  await book.hold('f', 500, { project: 'q' });
  book.pass(30 * 86_400);
  expectStatus(201, await book.operations.debit(debit, book.key()));
});

test('the open holds of an Instance are listed, page by page, without those that have ended or are due', async () => {
  await book.wallet('listed', 100);
  const its = { instanceUid: 'uid-listed' };
  const holds: string[] = [];
  for (let index = 0; index < 3; index++) holds.push(await book.hold('listed', 1, its));
  await book.hold('listed', 1, { instanceUid: 'uid-neighbour' });
  const ended = await book.hold('listed', 1, its);
  expectStatus(200, await book.operations.voidHold(ended, {}, book.key()));
  const due = await book.hold('listed', 1, { ...its, ttlSeconds: 10 });
  const list = async (query = {}) => {
    const { items, next } = (await book.queries.openHolds('uid-listed', query)).body as {
      items: { hold: string }[];
      next: string | null;
    };
    return { holds: items.map(({ hold }) => hold), next };
  };
  assert.equal((await list()).holds, [...holds, due]);
  book.pass(10);
  assert.equal(await list(), { holds, next: null });
  assert.is(expectStatus(200, await book.queries.hold(due)).state, 'expired');
  const first = await list({ limit: 2 });
  assert.equal(first.holds, holds.slice(0, 2));
  assert.equal(await list({ limit: 2, cursor: first.next }), { holds: holds.slice(2), next: null });
  expectProblem(422, 'invalid_request', await book.queries.openHolds('uid-listed', { cursor: 'x' }));
  assert.equal((await book.queries.openHolds('uid-unknown')).body, { items: [], next: null });
});
