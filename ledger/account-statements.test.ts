/** The trial balance: it ties to the book, its columns sum to zero, and periods follow each other. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { ALL_SCOPES_TOKEN, startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import type { AccountStatement } from './wire-finance.ts';

const SHOP = 'https://shop.example/';
let now = Date.parse('2026-10-31T12:00:00Z');
let ledger: TestLedger;

before(async () => {
  ledger = await startTestLedger({ now: () => new Date(now) });
  const { client } = ledger;
  await client.putWallet('acme.main', { ownerUid: 'u', debtPolicy: { floor: -50 } });
  await client.putWallet('acme.other', { ownerUid: 'u2' });
  const unit = { shop: SHOP, order: 'o', line: 'l', ordinal: 0, sku: 'S', wallet: 'acme.main' };
  await client.recordFulfilment({ ...unit, grants: [{ amount: 100, kind: 'purchased' }] }, 'f');
  await client.grant('acme.other', { amount: 10, kind: 'promotional', expiresAt: '2026-11-02T00:00:00Z' }, 'g');
  const lines = (amount: number) => [{ dimension: 'x', units: 1, amount }];
  await client.debit({ wallet: 'acme.main', lines: lines(30) }, 'd');
  await client.debit({ wallet: 'acme.main', lines: lines(20), offering: 'zeta' }, 'e');
  const { hold } = await client.hold({ wallet: 'acme.main', amount: 15, ttlSeconds: 60, offering: 'alpha' }, 'f');
  await client.capture(hold, { lines: lines(10) }, 'g');
  // The night of the month: what comes at midnight belongs to the next one.
  now = Date.parse('2026-11-01T00:00:00Z');
  await client.settleOrder({ shop: SHOP, order: 'o' }, { charged: 0, total: 100 }, 's');
  now = Date.parse('2026-11-03T00:00:00Z');
  await client.getWallet('acme.other');
  await client.hold({ wallet: 'acme.other', amount: 1, ttlSeconds: 60 }, 'h').catch(() => undefined);
});
after(() => ledger.close());

const read = async (query = ''): Promise<AccountStatement> =>
  (await ledger.request('GET', `/v1/accounts${query}`)).body as AccountStatement;

const closing = ({ items }: AccountStatement): Record<string, number> =>
  Object.fromEntries(items.filter((item) => item.closing !== 0).map((item) => [item.account, item.closing]));

test('October and November are what was booked in them, and one begins where the other ends', async () => {
  const october = await read('?from=2026-10-01&to=2026-11-01');
  assert.equal(closing(october), {
    ...{ 'store/issued': -100, 'store/promotions': -10, 'store/usage': 30, 'store/usage/alpha': 10 },
    ...{ 'store/usage/zeta': 20, 'wallets/available': 50 },
  });
  const november = await read('?from=2026-11-01&to=2026-12-01');
  assert.equal(
    november.items.map(({ opening }) => opening),
    october.items.map((item) => item.closing),
  );
  assert.equal(closing(november), {
    ...{ 'store/issued': -100, 'store/promotions': -10, 'store/usage': 30, 'store/usage/alpha': 10 },
    ...{ 'store/usage/zeta': 20, 'store/breakage': 10, 'store/revoked': 40 },
    ...{ 'store/clawed_back': 60, 'store/written_off': -10, 'wallets/debt': -50 },
  });
  const available = november.items.find(({ account }) => account === 'wallets/available');
  assert.equal(available?.operations, { grant_expiry: -10, settle: -40 });
});

test('every column sums to zero, whatever the period', async () => {
  for (const query of ['', '?to=2026-11-01', '?from=2026-11-01T00:00:00Z', '?from=2026-10-31T13:00:00%2B01:00']) {
    const { items } = await read(query);
    assert.is(items.length, 12);
    for (const column of ['opening', 'change', 'closing'] as const)
      assert.is(
        items.reduce((sum, item) => sum + item[column], 0),
        0,
        `${query} ${column}`,
      );
  }
});

test('the whole book is what the audit finds in the wallets', async () => {
  const { items } = await ledger.client.accounts();
  const of = (account: string): number => items.find((item) => item.account === account)?.closing ?? Number.NaN;
  const [cached] = await ledger.database.sql<{ available: number; debt: number }[]>`
    select sum(available)::float8 as available, sum(debt)::float8 as debt from gsv_ledger.wallets`;
  assert.equal([of('wallets/available'), of('wallets/debt')], [cached?.available, -(cached?.debt ?? 0)]);
});

test('the CSV has the accounts in the same order', async () => {
  const response = await fetch(`${ledger.url}/v1/accounts.csv?from=2026-10-01&to=2026-11-01`, {
    headers: { authorization: `Bearer ${ALL_SCOPES_TOKEN}` },
  });
  const names = (await response.text())
    .trim()
    .split('\r\n')
    .map((row) => row.split(',')[0]);
  assert.equal(names, [
    ...['account', 'store/issued', 'store/promotions', 'store/usage', 'store/usage/alpha', 'store/usage/zeta'],
    ...['store/breakage', 'store/revoked', 'store/clawed_back', 'store/written_off'],
    ...['wallets/available', 'wallets/held', 'wallets/debt'],
  ]);
});

const DATES: [query: string, status: number, reason: string][] = [
  ['?from=2026-11-01', 200, 'a date is its midnight in UTC'],
  ['?from=2026-02-30', 422, 'there is no such day'],
  ['?from=2026-11', 422, 'a month is no moment'],
  ['?from=0001-01-01', 422, 'no such year'],
  ['?from=yesterday', 422, 'a word'],
];
for (const [query, status, reason] of DATES) {
  for (const path of ['/v1/accounts', '/v1/orders', '/v1/wallets/acme.main/statement']) {
    test(`${path}${query} is ${status}: ${reason}`, async () => {
      assert.is((await ledger.request('GET', path + query)).status, status);
    });
  }
}
