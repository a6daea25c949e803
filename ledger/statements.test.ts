/** Statements are computed from the entries, page without gap, and periods follow each other to the microcredit. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { ALL_SCOPES_TOKEN, startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import { toCsv } from './csv.ts';
import type { StatementItem } from './wire-finance.ts';

const SHOP = 'https://shop.example/';
const DAY = 86_400;

let ledger: TestLedger;
/** When the second day of the wallet begins. */
let secondDay = '';

before(async () => {
  ledger = await startTestLedger();
  const { client } = ledger;
  await client.putWallet('acme.main', { ownerUid: 'u', debtPolicy: { floor: -1_000 } });
  await client.putWallet('other.main', { ownerUid: 'o' });
  const unit = { shop: SHOP, order: 'order-1', line: 'line-1', ordinal: 0, sku: 'S', wallet: 'acme.main' };
  await client.recordFulfilment({ ...unit, grants: [{ amount: 1_000, kind: 'purchased' }] }, 'unit');
  const context = {
    runId: 'run-1',
    shop: SHOP,
    instance: 'acme/claims',
    commit: '3b18e5',
    contractDigest: 'sha256:9f',
    traceId: '4b',
  };
  const { hold } = await client.hold(
    { wallet: 'acme.main', amount: 500, ttlSeconds: 60, offering: 'claims-agent', project: 'default', context },
    'hold',
  );
  await client.capture(hold, { lines: [{ dimension: 'run', units: 1, amount: 300 }] }, 'capture');
  ledger.advance(DAY);
  secondDay = ledger.now().toISOString();
  ledger.advance(1);
  await client.settleOrder({ shop: SHOP, order: 'order-1' }, { charged: 0, total: 10 }, 'refund');
  await client.grant('acme.main', { amount: 700, kind: 'manual' }, 'grant');
  const odd = { wallet: 'acme.main', amount: 10, ttlSeconds: 60 };
  const voided = await client.hold(odd, 'voided');
  await client.voidHold(voided.hold, { reason: 'nothing came of it' }, 'voided');
  await client.debit(
    { wallet: 'acme.main', lines: [{ dimension: 'x', units: 1, amount: 5 }], context: { runId: '=HYPERLINK("x"),\n' } },
    'debit',
  );
});
after(() => ledger.close());

const steps = (items: StatementItem[]) =>
  items.map(({ operation, change, debtChange, balance, debt }) => [operation, change, debtChange, balance, debt]);

const ALL = [
  ['grant', 1_000, 0, 1_000, 0],
  ['capture', -300, 0, 700, 0],
  ['settle', -700, 300, 0, 300],
  ['grant', 700, 0, 700, 300],
  ['repayment', -300, -300, 400, 0],
  ['debit', -5, 0, 395, 0],
];

test('it tells each step with the balance after it, and leaves out what moved nothing', async () => {
  const { opening, closing, items, next } = (await ledger.request('GET', '/v1/wallets/acme.main/statement')).body;
  assert.equal(steps(items), ALL);
  assert.equal([opening, closing, next], [{ balance: 0, debt: 0 }, { balance: 395, debt: 0 }, null]);
  const { available, held, debt } = await ledger.client.getWallet('acme.main');
  assert.equal([available + held, debt], [395, 0]);
});

test('a step names its order and line, or the run with all that its receipt must be able to name', async () => {
  const { items } = await ledger.client.statement('acme.main');
  const [grant, capture, refund] = items as [StatementItem, StatementItem, StatementItem];
  assert.equal([grant.shop, grant.order, grant.line], [SHOP, 'order-1', 'line-1']);
  assert.equal([refund.shop, refund.order, refund.line], [SHOP, 'order-1', 'line-1']);
  const { at, transaction, change, debtChange, balance, debt, operation, ...rest } = capture;
  assert.ok(at && transaction && operation && change + debtChange + balance + debt);
  assert.equal(rest, {
    ...{ hold: 'hold_1', receipt: 'receipt_1', runId: 'run-1', instance: 'acme/claims', offering: 'claims-agent' },
    ...{ project: 'default', commit: '3b18e5', contractDigest: 'sha256:9f', traceId: '4b', shop: SHOP },
  });
});

test('a receipt says which order line each grant that paid it came from', async () => {
  const { grants, lines, context } = await ledger.client.receipt('receipt_1');
  const bought = { kind: 'purchased', shop: SHOP, order: 'order-1', line: 'line-1' };
  assert.equal(grants, [{ grant: 'grant_1', amount: 300, ...bought }]);
  assert.equal([lines[0]?.amount, context.commit], [300, '3b18e5']);
  assert.equal((await ledger.client.receipt('receipt_2')).grants, [{ grant: 'grant_2', amount: 5, kind: 'manual' }]);
});

test('pages follow each other without gap, balances going on', async () => {
  const items: StatementItem[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await ledger.client.statement('acme.main', { limit: 2, ...(cursor ? { cursor } : {}) });
    items.push(...page.items);
    if (page.next === null) break;
    cursor = page.next;
  }
  assert.equal(steps(items), ALL);
  const { status, body } = await ledger.request('GET', '/v1/wallets/acme.main/statement?cursor=x');
  assert.equal([status, body.code], [422, 'invalid_request']);
});

test('the end of one period is the beginning of the next', async () => {
  const first = await ledger.client.statement('acme.main', { to: secondDay });
  const second = await ledger.client.statement('acme.main', { from: secondDay });
  assert.equal(steps(first.items), ALL.slice(0, 2));
  assert.equal(steps(second.items), ALL.slice(2));
  assert.equal(first.closing, { balance: 700, debt: 0 });
  assert.equal(second.opening, first.closing);
  for (const { opening, closing, items } of [first, second]) {
    assert.is(opening.balance + items.reduce((sum, { change }) => sum + change, 0), closing.balance);
    assert.is(opening.debt + items.reduce((sum, { debtChange }) => sum + debtChange, 0), closing.debt);
  }
});

test('a wallet that is not there has no statement, an empty one an empty one', async () => {
  assert.is((await ledger.request('GET', '/v1/wallets/nobody/statement')).body.code, 'wallet_not_found');
  assert.equal((await ledger.client.statement('other.main')).items, []);
});

test('the CSV has the same rows, and what tenants name is no formula', async () => {
  const response = await fetch(`${ledger.url}/v1/wallets/acme.main/statement.csv?from=${secondDay}`, {
    headers: { authorization: `Bearer ${ALL_SCOPES_TOKEN}` },
  });
  assert.is(response.headers.get('content-type'), 'text/csv; charset=utf-8');
  const text = await response.text();
  const [head, refund] = text.split('\r\n');
  assert.match(head ?? '', /^at,transaction,operation,change,debtChange,balance,debt,hold,receipt,runId,/);
  assert.match(refund ?? '', /,settle,-700,300,0,300,,,,,,,https:\/\/shop\.example\/,order-1,line-1,/);
  assert.ok(text.includes(`"'=HYPERLINK(""x""),\n"`));
  assert.is((await ledger.request('GET', '/v1/wallets/nobody/statement.csv')).body.code, 'wallet_not_found');
});

const CELLS: [value: unknown, cell: string, reason: string][] = [
  [-5, '-5', 'a negative amount stays a number'],
  ['-5', "'-5", 'a text that looks like one is a formula'],
  ['+1', "'+1", 'so is this'],
  ['@x', "'@x", 'and this'],
  ['\t=x', "'\t=x", 'and one behind a tab'],
  ['a,b', '"a,b"', 'a comma is quoted'],
  ['a"b', '"a""b"', 'a quote is doubled'],
  [undefined, '', 'absent is empty'],
];

for (const [value, cell, reason] of CELLS) {
  test(`a cell of ${JSON.stringify(value)} is ${JSON.stringify(cell)}: ${reason}`, () => {
    assert.is(toCsv(['a'], [{ a: value }]), `a\r\n${cell}\r\n`);
  });
}
