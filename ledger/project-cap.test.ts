/** What a project has spent before its cap was set counts, however it was spent: alone, together, from a hold. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, line, openBook } from '../hack/testing/book.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

const debit = (wallet: string, amount: number) =>
  book.operations.debit({ wallet, lines: [line(amount)], project: 'p' }, book.key());

const SPENT: [how: string, spend: (wallet: string) => Promise<unknown>][] = [
  ['by a debit alone', (wallet) => debit(wallet, 40)],
  ['by debits together', (wallet) => Promise.all([10, 10, 20].map((amount) => debit(wallet, amount)))],
  [
    'by a capture alone',
    async (wallet) => {
      const hold = await book.hold(wallet, 50, { project: 'p' });
      expectStatus(200, await book.operations.capture(hold, { lines: [line(40)] }, book.key()));
    },
  ],
  [
    'by captures together',
    async (wallet) => {
      const holds = [await book.hold(wallet, 30, { project: 'p' }), await book.hold(wallet, 30, { project: 'p' })];
      await Promise.all(holds.map((hold) => book.operations.capture(hold, { lines: [line(20)] }, book.key())));
    },
  ],
  [
    'by a capture above its hold',
    async (wallet) => {
      const hold = await book.hold(wallet, 10, { project: 'p' });
      expectStatus(200, await book.operations.capture(hold, { lines: [line(40)] }, book.key()));
    },
  ],
];

for (const [n, [how, spend]] of SPENT.entries()) {
  test(`a cap that is set later counts what was spent ${how}`, async () => {
    const wallet = `w${n}`;
    await book.wallet(wallet, 1_000);
    await spend(wallet);
    const caps = [{ project: 'p', amount: 100 }];
    expectStatus(200, await book.operations.putWallet(wallet, { ownerUid: `uid-${wallet}`, caps }));
    const refused = expectProblem(402, 'insufficient_credits', await debit(wallet, 61));
    assert.is(refused.available, 60);
    expectStatus(201, await debit(wallet, 60));
  });
}
