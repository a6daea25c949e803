import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectStatus, line, openBook } from '../hack/testing/book.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

const levels = async (name: string) =>
  (await book.events())
    .filter(({ wallet }) => wallet === name)
    .map(({ type, data }) => [type, data.threshold ?? data.available]);

test('a wallet announces each crossing of its thresholds, its end and its recovery', async () => {
  await book.wallet('a', 100, { thresholds: [50, 20] });
  for (const amount of [40, 20, 25, 15]) {
    expectStatus(201, await book.operations.debit({ wallet: 'a', lines: [line(amount)] }, book.key()));
  }
  await book.grant('a', { amount: 60 });
  assert.equal(await levels('a'), [
    ['wallet.recovered', 100],
    ['wallet.low', 50],
    ['wallet.low', 20],
    ['wallet.exhausted', 0],
    ['wallet.recovered', 60],
  ]);
});

test('a reservation alone announces nothing; its capture does', async () => {
  await book.wallet('b', 100, { thresholds: [50] });
  const hold = await book.hold('b', 100);
  assert.equal(await levels('b'), [['wallet.recovered', 100]]);
  expectStatus(200, await book.operations.capture(hold, { lines: [line(100)] }, book.key()));
  assert.equal((await levels('b')).slice(1), [
    ['wallet.low', 50],
    ['wallet.exhausted', 0],
  ]);
});

test('the expiry of the last grant announces an exhausted wallet', async () => {
  await book.wallet('c', 0);
  await book.grant('c', { amount: 9, expiresAt: book.at(5) });
  book.pass(5);
  await book.read('c');
  assert.equal((await levels('c')).at(-1), ['wallet.exhausted', 0]);
});

test('a refused operation announces nothing', async () => {
  await book.wallet('d', 10);
  const before = (await book.events()).length;
  await book.operations.debit({ wallet: 'd', lines: [line(11)] }, book.key());
  assert.is((await book.events()).length, before);
});
