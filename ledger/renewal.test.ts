/** A paid renewal moves the end of the paid time, once, from where it stands. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, openBook } from '../hack/testing/book.ts';
import type { OperationResult } from './operations.ts';
import type { FulfilmentBody } from './wire.ts';

let book: Book;
before(async () => {
  book = await openBook({ max: 8 });
  await book.wallet('other.main', 0);
});
after(() => book.close());

let bought = 0;
/** A plan unit of a wallet of its own that is paid through that time. */
async function plan(paidThrough: string): Promise<{ wallet: string; fulfilment: string; body: FulfilmentBody }> {
  bought += 1;
  const wallet = `org${bought}.main`;
  await book.wallet(wallet, 0);
  const line = `line-${bought}`;
  const body: FulfilmentBody = {
    ...{ shop: 'https://shop.example/', order: line, line, ordinal: 0, sku: 'CLAIMS', wallet },
    ...{ offering: 'claims-agent', plan: 'starter', grants: [], paidThrough },
  };
  const made = expectStatus(201, await book.operations.recordFulfilment(body, book.key()));
  return { wallet, fulfilment: String(made.fulfilment), body };
}

const renewal = (
  { wallet, fulfilment }: { wallet: string; fulfilment: string },
  line: string,
  more: Partial<FulfilmentBody> & { period?: 'Month' | 'Year'; from?: string } = {},
): Promise<OperationResult> => {
  const { period = 'Month', from = '2026-06-01T00:00:00Z', ...rest } = more;
  return book.operations.recordFulfilment(
    {
      ...{ shop: 'https://shop.example/', order: `renewal-${line}`, line, ordinal: 0, sku: 'CLAIMS', wallet },
      ...{ grants: [], renews: { fulfilment, period, from }, ...rest },
    },
    book.key(),
  );
};

async function paidThrough({ body }: { body: FulfilmentBody }): Promise<string | undefined> {
  const found = await book.queries.fulfilments({ shop: body.shop, line: body.line });
  return (found.body.items as { paidThrough?: string }[])[0]?.paidThrough;
}

const ENDS: [was: string, period: 'Month' | 'Year', from: string, is: string, reason: string][] = [
  ['2026-07-01T10:00:00Z', 'Month', '2026-06-20T00:00:00Z', '2026-08-01T10:00:00Z', 'renewed early: nothing is lost'],
  ['2026-07-01T10:00:00Z', 'Year', '2026-06-20T00:00:00Z', '2027-07-01T10:00:00Z', 'a year'],
  ['2026-03-01T00:00:00Z', 'Month', '2026-06-10T12:00:00Z', '2026-07-10T12:00:00Z', 'lapsed: from the renewal on'],
  ['2027-01-31T00:00:00Z', 'Month', '2027-01-01T00:00:00Z', '2027-02-28T00:00:00Z', 'a day that the month lacks'],
  ['2028-02-29T00:00:00Z', 'Year', '2028-01-01T00:00:00Z', '2029-02-28T00:00:00Z', 'a leap day'],
];

for (const [was, period, from, is, reason] of ENDS) {
  test(`paid through ${was} and a ${period} from ${from} is paid through ${is}: ${reason}`, async () => {
    const unit = await plan(was);
    expectStatus(201, await renewal(unit, `end-${bought}`, { period, from }));
    assert.is(await paidThrough(unit), is);
  });
}

test('a renewal is a fulfilment of its own that says what it renews; a repeat moves nothing', async () => {
  const unit = await plan('2026-07-01T00:00:00Z');
  const grants: FulfilmentBody['grants'] = [
    { amount: 500, kind: 'included', priority: 50 },
    { amount: 7, kind: 'promotional' },
  ];
  const first = expectStatus(201, await renewal(unit, 'repeated', { grants }));
  assert.equal(expectStatus(200, await renewal(unit, 'repeated', { grants })), first);
  assert.is(await paidThrough(unit), '2026-08-01T00:00:00Z');
  const found = (await book.queries.fulfilments({ line: 'repeated' })).body.items as { renews: string }[];
  assert.equal([found.length, found[0]?.renews], [1, unit.fulfilment]);
  assert.equal(
    (await book.read(unit.wallet)).grants.map(({ amount, expiresAt }) => [amount, expiresAt]),
    [
      [500, '2026-08-01T00:00:00Z'],
      [7, null],
    ],
  );
});

test('renewals that arrive at once are a period each', async () => {
  const unit = await plan('2026-07-01T00:00:00Z');
  await Promise.all(Array.from({ length: 6 }, (_, index) => renewal(unit, `once-${index}`)));
  assert.is(await paidThrough(unit), '2027-01-01T00:00:00Z');
});

test('the feed tells whose paid time has moved', async () => {
  const unit = await plan('2026-07-01T00:00:00Z');
  expectStatus(200, await book.operations.claimFulfilment(unit.fulfilment, { instanceUid: 'uid-1' }));
  await renewal(unit, 'told');
  const told = (await book.events('fulfilment.renewed')).filter(({ wallet }) => wallet === unit.wallet);
  assert.equal(
    told.map(({ data }) => data),
    [{ fulfilment: unit.fulfilment, instanceUid: 'uid-1', paidThrough: '2026-08-01T00:00:00Z' }],
  );
});

test('what is not there, or belongs to another wallet, is not renewed and records nothing', async () => {
  const unit = await plan('2026-07-01T00:00:00Z');
  for (const target of [
    { ...unit, fulfilment: 'fulfilment_999999' },
    { ...unit, fulfilment: 'nonsense' },
    { ...unit, wallet: 'other.main' },
  ]) {
    expectProblem(404, 'fulfilment_not_found', await renewal(target, 'astray'));
  }
  assert.equal((await book.queries.fulfilments({ line: 'astray' })).body.items, []);
  assert.is(await paidThrough(unit), '2026-07-01T00:00:00Z');
});

test('the included credits of a renewal are settled with its own order', async () => {
  const unit = await plan('2026-07-01T00:00:00Z');
  await renewal(unit, 'refunded', { grants: [{ amount: 100, kind: 'included' }] });
  const order = { shop: 'https://shop.example/', order: 'renewal-refunded' };
  expectStatus(200, await book.operations.settleOrder(order, { charged: 0, total: 5 }, book.key()));
  assert.is((await book.read(unit.wallet)).available, 0);
  assert.is(
    await paidThrough(unit),
    '2026-08-01T00:00:00Z',
    'the paid time stays: taking it back is a person’s decision',
  );
});
