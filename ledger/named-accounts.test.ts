/** Usage of each offering, and what was given away, have accounts of their own, whatever way a booking takes. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectStatus, line, openBook } from '../hack/testing/book.ts';
import { AccountStatements } from './account-statements.ts';
import { audit } from './audit.ts';

let book: Book;
before(async () => {
  book = await openBook();
});
after(() => book.close());

/** Accounts that hold anything, as the trial balance calls them. */
async function closing(): Promise<Record<string, number>> {
  const { items } = await new AccountStatements(book.database.sql).read({});
  return Object.fromEntries(items.filter((item) => item.closing !== 0).map((item) => [item.account, item.closing]));
}

/** What has changed in them. */
async function moved(run: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await closing();
  await run();
  const after = await closing();
  const changes = [...new Set([...Object.keys(before), ...Object.keys(after)])].map((account): [string, number] => [
    account,
    (after[account] ?? 0) - (before[account] ?? 0),
  ]);
  return Object.fromEntries(changes.filter(([, amount]) => amount !== 0));
}

const debit = (wallet: string, amount: number, offering?: string) =>
  book.operations.debit({ wallet, lines: [line(amount)], ...(offering === undefined ? {} : { offering }) }, book.key());

test('usage is booked to its offering: alone, in a batch, and the first of all', async () => {
  for (const name of ['u1', 'u2']) await book.wallet(name, 1_000);
  const twice = async () => {
    expectStatus(201, await debit('u1', 1, 'alone'));
    expectStatus(201, await debit('u1', 2, 'alone'));
  };
  assert.equal(await moved(twice), { 'store/usage/alone': 3, 'wallets/available': -3 });
  const many = () =>
    Promise.all(['u1', 'u2', 'u1', 'u2'].map((name, n) => debit(name, 7 ** n, n < 2 ? 'alone' : 'batch')));
  assert.equal(await moved(many), { 'store/usage/alone': 8, 'store/usage/batch': 392, 'wallets/available': -400 });
  assert.equal(await moved(() => debit('u1', 5)), { 'store/usage': 5, 'wallets/available': -5 });
});

test('a capture is booked to the offering of its hold, an overrun, its debt and write-off too', async () => {
  await book.wallet('h', 100, { debtPolicy: { floor: -20 } });
  for (const amounts of [[3], [4], [30, 2]]) {
    const holds = await Promise.all(amounts.map(() => book.hold('h', 30, { offering: 'held' })));
    const capture = () =>
      Promise.all(
        amounts.map((amount, n) => book.operations.capture(holds[n] ?? '', { lines: [line(amount)] }, book.key())),
      );
    const total = amounts.reduce((sum, amount) => sum + amount, 0);
    assert.is((await moved(capture))['store/usage/held'], total);
  }
  const over = await book.hold('h', 10, { offering: 'over' });
  const capture = () => book.operations.capture(over, { lines: [line(100)] }, book.key());
  assert.equal(await moved(capture), {
    ...{ 'store/usage/over': 100, 'store/written_off': -19, 'wallets/debt': -20 },
    ...{ 'wallets/available': -51, 'wallets/held': -10 },
  });
});

test('what is given away comes from promotions, what is sold or made good from issued, also when it is given back', async () => {
  const grants = (['purchased', 'included', 'trial', 'promotional', 'manual'] as const).map((kind, n) => ({
    kind,
    amount: 10 ** n,
  }));
  await book.wallet('g', 0);
  const unit = { shop: 's', order: 'o', line: 'l', ordinal: 0, sku: 'S', wallet: 'g', grants };
  const bought = () => book.operations.recordFulfilment(unit, book.key());
  assert.equal(await moved(bought), {
    'store/issued': -10_011,
    'store/promotions': -1_100,
    'wallets/available': 11_111,
  });
  const settle = (charged: number) => () =>
    book.operations.settleOrder({ shop: 's', order: 'o' }, { charged, total: 1 }, book.key());
  assert.equal(await moved(settle(0)), { 'store/revoked': 11_111, 'wallets/available': -11_111 });
  assert.equal(await moved(settle(1)), {
    'store/issued': -10_011,
    'store/promotions': -1_100,
    'wallets/available': 11_111,
  });
});

test('many who use an offering first at once make one account', async () => {
  const wallets = Array.from({ length: 8 }, (_, n) => `r${n}`);
  for (const name of wallets) await book.wallet(name, 10);
  for (let round = 0; round < 5; round++) {
    const offering = `raced-${round}`;
    // Past the queue of the batches, each in a transaction of its own.
    const run = (name: string) =>
      book.database
        .sql`select debit(${name}, ${JSON.stringify({ wallet: name, offering, lines: [line(1)] })}::text::jsonb,
        ${`${offering}-${name}`}, 'h', ${book.at(0)}, null)`;
    const race = () => Promise.all(wallets.map(run));
    assert.equal(await moved(race), { [`store/usage/${offering}`]: 8, 'wallets/available': -8 });
  }
  const doubled = await book.database.sql`
    select from gsv_ledger.accounts group by wallet_id, kind, offering having count(*) > 1`;
  assert.is(doubled.length, 0);
});

test('an entry of the API names the offering', async () => {
  const { body } = await book.queries.entries('u1', { limit: 500 });
  const accounts = (body.items as { account: string }[]).map(({ account }) => account);
  for (const account of ['store/issued', 'store/usage', 'store/usage/alone', 'store/usage/batch'])
    assert.ok(accounts.includes(account), account);
});

test('the audit finds usage that is booked to another offering than that of its hold', async () => {
  const { admin, sql } = book.database;
  const rename = (from: string, to: string) =>
    admin`update gsv_ledger.accounts set offering = ${to} where offering = ${from}`;
  await rename('held', 'stolen');
  const { problems } = await audit(sql);
  await rename('stolen', 'held');
  assert.match(problems[0] ?? '', /^transaction_\d+ books usage of stolen, hold_\d+ is of held$/);
});
