import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { type Book, expectProblem, expectStatus, line, openBook } from '../hack/testing/book.ts';
import { startSweeper } from './sweeper.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

test('a hold is gone in every reply from its expiry on, and not before', async () => {
  await book.wallet('a', 100);
  const hold = await book.hold('a', 30, { ttlSeconds: 10, instanceUid: 'uid-a', context: { runId: 'run-a' } });
  book.pass(9.999);
  assert.is((await book.read('a')).held, 30);
  book.pass(0.001);
  assert.is((await book.queries.run('run-a')).body.state, 'expired');
  const wallet = await book.read('a');
  assert.equal([wallet.available, wallet.held], [100, 0]);
  expectProblem(409, 'already_expired', await book.operations.capture(hold, { lines: [line(1)] }, book.key()));
  expectProblem(409, 'already_expired', await book.operations.voidHold(hold, {}, book.key()));
  expectProblem(409, 'already_expired', await book.operations.extendHold(hold, { ttlSeconds: 9 }, book.key()));
  const [event] = (await book.events('hold.expired')).filter(({ data }) => data.hold === hold);
  assert.equal(event?.data, { hold, amount: 30, instanceUid: 'uid-a', runId: 'run-a' });
});

test('a late capture is refused even when it is the first to look', async () => {
  await book.wallet('b', 100);
  const hold = await book.hold('b', 30, { ttlSeconds: 10 });
  book.pass(10);
  expectProblem(409, 'already_expired', await book.operations.capture(hold, { lines: [line(30)] }, book.key()));
  assert.is((await book.read('b')).available, 100);
});

test('a grant expires into breakage and is not spent afterwards', async () => {
  await book.wallet('c', 5);
  await book.grant('c', { amount: 50, expiresAt: book.at(10), priority: 1 });
  book.pass(10);
  const refused = await book.operations.hold({ wallet: 'c', amount: 6, ttlSeconds: 9 }, book.key());
  assert.is(expectProblem(402, 'insufficient_credits', refused).available, 5);
  const page = expectStatus(200, await book.queries.entries('c'));
  const breakage = (page.items as { account: string; amount: number }[]).filter(
    ({ account }) => account === 'store/breakage',
  );
  assert.equal(
    breakage.map(({ amount }) => amount),
    [50],
  );
});

test('a hold taken before the expiry of its grant may be captured; what it releases is breakage', async () => {
  await book.wallet('d', 0);
  await book.grant('d', { amount: 50, expiresAt: book.at(10) });
  const hold = await book.hold('d', 40, { ttlSeconds: 100 });
  book.pass(10);
  const during = await book.read('d');
  assert.equal([during.available, during.held, during.grants[0]?.remaining, during.grants[0]?.held], [0, 40, 40, 40]);
  const reply = expectStatus(200, await book.operations.capture(hold, { lines: [line(25)] }, book.key()));
  assert.equal([reply.amount, reply.released, reply.available], [25, 15, 0]);
  assert.equal((await book.read('d')).grants, []);
});

test('an expired hold on an expired grant leaves nothing available', async () => {
  await book.wallet('e', 0);
  await book.grant('e', { amount: 50, expiresAt: book.at(10) });
  await book.hold('e', 40, { ttlSeconds: 20 });
  book.pass(20);
  const wallet = await book.read('e');
  assert.equal([wallet.available, wallet.held, wallet.grants], [0, 0, []]);
});

test('a grant that is past its expiry when it arrives is breakage at once and pays no debt', async () => {
  await book.wallet('f', 0);
  const reply = await book.operations.grant('f', { amount: 9, kind: 'purchased', expiresAt: book.at(-1) }, book.key());
  assert.equal([reply.status, reply.body.remaining], [201, 0]);
  assert.is((await book.read('f')).available, 0);
});

test('revoking what has expired takes it from breakage, not from the buyer', async () => {
  await book.wallet('g', 7, { debtPolicy: { floor: -100 } });
  const grant = await book.grant('g', { amount: 50, expiresAt: book.at(10) });
  book.pass(10);
  assert.equal(expectStatus(200, await book.operations.revokeGrant(grant, {}, book.key())), { revoked: 50, debt: 0 });
  const wallet = await book.read('g');
  assert.equal([wallet.available, wallet.debt], [7, 0]);
});

test('two sweepers book idle wallets, each expiry once', async () => {
  const names = Array.from({ length: 12 }, (_, index) => `idle-${index}`);
  for (const name of names) {
    await book.wallet(name, 100);
    await book.hold(name, 10, { ttlSeconds: 10 });
  }
  book.pass(10);
  const log = createLogger({ part: 'test', level: 'error' });
  const sweepers = [1, 2].map(() => startSweeper({ operations: book.operations, log, intervalMs: 1 }));
  const idle = async () => (await book.events('hold.expired')).filter(({ wallet }) => names.includes(wallet));
  while ((await idle()).length < names.length) await new Promise(setImmediate);
  await Promise.all(sweepers.map((sweeper) => sweeper.stop()));
  assert.equal(new Set((await idle()).map(({ wallet }) => wallet)).size, names.length);
  assert.is((await idle()).length, names.length);
  const rows = await book.database
    .sql`select from holds where state = 'open' and expires_at <= ${new Date(book.at(0))}`;
  assert.is(rows.length, 0);
});
