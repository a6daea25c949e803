import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, line, openBook } from '../hack/testing/book.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

test('a wallet is put, shown and put again by its owner', async () => {
  const policy = {
    debtPolicy: { floor: -500, repayFirst: false },
    thresholds: [10, 20],
    caps: [{ project: 'p', amount: 9 }],
  };
  expectStatus(200, await book.operations.putWallet('a.main', { ownerUid: 'a', ...policy }));
  const shown = expectStatus(200, await book.queries.wallet('a.main'));
  assert.equal(shown, {
    wallet: 'a.main',
    ownerUid: 'a',
    state: 'open',
    available: 0,
    held: 0,
    debt: 0,
    grants: [],
    ...policy,
  });
  const again = expectStatus(200, await book.operations.putWallet('a.main', { ownerUid: 'a' }));
  assert.equal([again.debtPolicy, again.thresholds, again.caps], [{ floor: 0, repayFirst: true }, [], []]);
});

test('another owner does not get the wallet', async () => {
  await book.wallet('b.main', 0);
  expectProblem(409, 'owner_mismatch', await book.operations.putWallet('b.main', { ownerUid: 'thief' }));
});

test('an unknown wallet is not found by anybody', async () => {
  const call = book.key();
  expectProblem(404, 'wallet_not_found', await book.queries.wallet('none'));
  expectProblem(404, 'wallet_not_found', await book.queries.entries('none'));
  expectProblem(404, 'wallet_not_found', await book.operations.closeWallet('none', {}, call));
  expectProblem(404, 'wallet_not_found', await book.operations.grant('none', { amount: 1, kind: 'manual' }, call));
  expectProblem(
    404,
    'wallet_not_found',
    await book.operations.hold({ wallet: 'none', amount: 1, ttlSeconds: 1 }, call),
  );
  expectProblem(404, 'wallet_not_found', await book.operations.debit({ wallet: 'none', lines: [line(1)] }, call));
});

test('twenty processes that put the same new wallet make one', async () => {
  const puts = Array.from({ length: 20 }, () => book.operations.putWallet('c.main', { ownerUid: 'c' }));
  for (const result of await Promise.all(puts)) expectStatus(200, result);
  const rows = await book.database.sql`select from wallets where name = 'c.main'`;
  assert.is(rows.length, 1);
});

test('a wallet with money closes only when the money is forfeited, and not while a hold is open', async () => {
  await book.wallet('d.main', 100);
  const hold = await book.hold('d.main', 40);
  expectProblem(409, 'wallet_not_empty', await book.operations.closeWallet('d.main', { forfeit: true }, book.key()));
  expectStatus(200, await book.operations.voidHold(hold, {}, book.key()));
  const refused = await book.operations.closeWallet('d.main', {}, book.key());
  assert.is(expectProblem(409, 'wallet_not_empty', refused).available, 100);
  const call = book.key();
  const closed = expectStatus(200, await book.operations.closeWallet('d.main', { forfeit: true }, call));
  assert.equal(closed, { wallet: 'd.main', state: 'closed', forfeited: 100, writtenOff: 0 });
  assert.equal((await book.operations.closeWallet('d.main', { forfeit: true }, call)).replayed, true);
});

test('after a close nothing moves, and the name is free for a fresh wallet of another owner', async () => {
  await book.wallet('e.main', 0);
  const grant = await book.grant('e.main', { amount: 5 });
  expectStatus(200, await book.operations.closeWallet('e.main', { forfeit: true }, book.key()));
  expectProblem(409, 'wallet_closed', await book.operations.closeWallet('e.main', {}, book.key()));
  expectProblem(409, 'wallet_closed', await book.operations.grant('e.main', { amount: 1, kind: 'manual' }, book.key()));
  expectProblem(
    409,
    'wallet_closed',
    await book.operations.hold({ wallet: 'e.main', amount: 1, ttlSeconds: 1 }, book.key()),
  );
  expectProblem(409, 'wallet_closed', await book.operations.debit({ wallet: 'e.main', lines: [line(1)] }, book.key()));
  expectProblem(409, 'wallet_closed', await book.operations.revokeGrant(grant, {}, book.key()));
  const fresh = expectStatus(200, await book.operations.putWallet('e.main', { ownerUid: 'heir' }));
  assert.equal([fresh.available, fresh.ownerUid, fresh.state], [0, 'heir', 'open']);
});

test('debt at a close is written off with the forfeit, not forgotten', async () => {
  await book.wallet('f.main', 10, { debtPolicy: { floor: -100 } });
  const hold = await book.hold('f.main', 10);
  expectStatus(200, await book.operations.capture(hold, { lines: [line(30)] }, book.key()));
  expectProblem(409, 'wallet_not_empty', await book.operations.closeWallet('f.main', {}, book.key()));
  const closed = await book.operations.closeWallet('f.main', { forfeit: true }, book.key());
  assert.is(expectStatus(200, closed).writtenOff, 20);
});

test('a wallet never holds more than JSON can say', async () => {
  await book.wallet('g.main', Number.MAX_SAFE_INTEGER - 1);
  expectProblem(
    422,
    'invalid_request',
    await book.operations.grant('g.main', { amount: 2, kind: 'manual' }, book.key()),
  );
  await book.grant('g.main', { amount: 1 });
  assert.is((await book.read('g.main')).available, Number.MAX_SAFE_INTEGER);
});
