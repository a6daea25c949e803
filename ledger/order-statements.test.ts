/** What the shop was paid and what the ledger gave for it, order by order and in sum. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { ALL_SCOPES_TOKEN, startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';

const SHOP = 'https://shop.example/';

let ledger: TestLedger;
let secondDay = '';

async function sell(order: string, units: number, amount: number, shop = SHOP): Promise<void> {
  for (let ordinal = 0; ordinal < units; ordinal += 1) {
    const unit = { shop, order, line: `${shop}${order}`, ordinal, sku: 'S', wallet: 'acme.main' };
    await ledger.client.recordFulfilment(
      { ...unit, grants: [{ amount, kind: 'purchased' }] },
      `${shop}${order}${ordinal}`,
    );
  }
}

const settle = (order: string, charged: number, key: string) =>
  ledger.client.settleOrder({ shop: SHOP, order }, { charged, total: 100, asOf: '2026-01-01T00:00:00Z' }, key);

before(async () => {
  ledger = await startTestLedger();
  await ledger.client.putWallet('acme.main', { ownerUid: 'u', debtPolicy: { floor: -1_000 } });
  await sell('one', 2, 100);
  await settle('one', 100, 'one');
  await ledger.client.debit({ wallet: 'acme.main', lines: [{ dimension: 'x', units: 1, amount: 50 }] }, 'debit');
  await sell('tried', 1, 7, 'trial');
  ledger.advance(86_400);
  secondDay = ledger.now().toISOString();
  ledger.advance(1);
  await sell('two', 1, 1_000);
  await settle('two', 25, 'two');
  await sell('elsewhere', 1, 10, 'https://other.example/');
});
after(() => ledger.close());

test('each order stands beside what is paid of it, and the sums are those of the book', async () => {
  const { totals, items, next } = (await ledger.request('GET', '/v1/orders')).body;
  const brief = items.map((each: Record<string, unknown>) => [each.order, each.units, each.charged, each.total]);
  assert.equal(brief, [
    ['one', 2, 100, 100],
    ['two', 1, 25, 100],
    ['elsewhere', 1, undefined, undefined],
  ]);
  assert.equal(
    items.map((each: Record<string, unknown>) => [each.granted, each.takenBack, each.kept, each.remaining]),
    [
      [200, 0, 200, 150],
      [1_000, 750, 250, 250],
      [10, 0, 10, 10],
    ],
  );
  assert.equal([totals, next], [{ orders: 3, unconfirmed: 1, granted: 1_210, takenBack: 750, kept: 460 }, null]);
  const [booked] = await ledger.database.sql<{ kept: number }[]>`
    select -sum(e.amount)::float8 as kept from gsv_ledger.entries e
      join gsv_ledger.accounts a on a.id = e.account_id and a.kind in ('issued', 'revoked', 'clawed_back')
      join gsv_ledger.grants g on g.id = e.grant_id join gsv_ledger.fulfilments f on f.id = g.fulfilment_id
      where f.shop <> 'trial'`;
  assert.is(booked?.kept, totals.kept);
});

test('periods follow each other, and a shop may be asked for alone', async () => {
  const names = async (query: Parameters<typeof ledger.client.orders>[0]) =>
    (await ledger.client.orders(query)).items.map(({ order }) => order);
  assert.equal(await names({ to: secondDay }), ['one']);
  assert.equal(await names({ from: secondDay }), ['two', 'elsewhere']);
  assert.equal(await names({ from: secondDay, shop: SHOP }), ['two']);
  assert.is((await ledger.client.orders({ to: secondDay })).totals.granted, 200);
});

test('pages follow each other, with the totals of the period on each', async () => {
  const seen: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await ledger.client.orders({ limit: 1, ...(cursor ? { cursor } : {}) });
    assert.is(page.totals.orders, 3);
    seen.push(...page.items.map(({ order }) => order));
    if (page.next === null) break;
    cursor = page.next;
  }
  assert.equal(seen, ['one', 'two', 'elsewhere']);
  assert.is((await ledger.request('GET', '/v1/orders?cursor=x')).status, 422);
});

test('the CSV has the same rows', async () => {
  const response = await fetch(`${ledger.url}/v1/orders.csv?to=${secondDay}`, {
    headers: { authorization: `Bearer ${ALL_SCOPES_TOKEN}` },
  });
  const [head, row] = (await response.text()).split('\r\n');
  assert.is(head, 'shop,order,recordedAt,units,charged,total,asOf,granted,takenBack,kept,remaining');
  assert.match(row ?? '', /^https:\/\/shop\.example\/,one,[^,]+,2,100,100,2026-01-01T00:00:00Z,200,0,200,150$/);
});
