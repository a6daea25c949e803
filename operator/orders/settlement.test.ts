/** Refunds, cancellations and charge-backs, in whatever order the shop’s deliveries come. */
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type OrderEdit, OrderWorld, orderBody, SHOP } from '../../hack/testing/orders.ts';
import type { InboxEntry } from '../../ledger/client.ts';

const CREDIT = 1_000_000;
const PACK = [{ sku: 'CREDITS-1000' }];

let world: OrderWorld;
before(async () => {
  world = await OrderWorld.open();
});
after(() => world?.close());

type Money = NonNullable<OrderEdit['money']>;

/** One delivery about an order, worked on: what the inbox says of it. */
async function deliver(id: string, money: Money, edit: Partial<OrderEdit> = {}): Promise<InboxEntry> {
  const item = await world.put(orderBody({ id, lines: PACK, ...edit, money }), id);
  await world.work();
  return world.inbox(item);
}

/** Credits that an order has left; every order here is the wallet’s only one that changes. */
async function gained(act: () => Promise<unknown>): Promise<number> {
  const before = (await world.wallet())?.available ?? 0;
  await act();
  return (((await world.wallet())?.available ?? 0) - before) / CREDIT;
}

const at = (second: number): string => `2026-11-23T08:00:0${second}.000001+00:00`;

const DELIVERIES: [name: string, money: Money][] = [
  ['paid', { charged: 10, issuedAt: at(1) }],
  ['refunded in part', { typename: 'OrderRefunded', charged: 4, issuedAt: at(2) }],
  ['paid again', { charged: 10, issuedAt: at(3) }],
  ['charged back in part', { typename: 'OrderUpdated', charged: 7, issuedAt: at(4) }],
];

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}

test('four deliveries end at the latest word in all 24 orders in which they can come', async () => {
  for (const [index, order] of permutations(DELIVERIES).entries()) {
    const left = await gained(async () => {
      for (const [, money] of order) assert.is((await deliver(`permuted-${index}`, money)).state, 'done');
    });
    assert.is(left, 700, order.map(([name]) => name).join(', '));
  }
});

test('a refund that comes before its order leaves the order without credits, its unit recorded', async () => {
  const left = await gained(async () => {
    await deliver('early', { typename: 'OrderFullyRefunded', charged: 0, issuedAt: at(2) });
    await deliver('early', { charged: 10, issuedAt: at(1) });
  });
  assert.is(left, 0);
  assert.is((await world.ledger.client.findFulfilments({ shop: SHOP, order: 'early' })).length, 1);
});

test('an order whose payload shows a refund already is fulfilled, and keeps what is left of it', async () => {
  const left = await gained(() => deliver('overtaken', { charged: 6, issuedAt: at(1) }));
  assert.is(left, 600);
});

const NO_UNITS: [reason: string, money: Money][] = [
  ['nothing of it is left', { charged: 0, issuedAt: at(1) }],
  ['it is cancelled, though paid', { charged: 10, issuedAt: at(1), cancelled: true }],
  ['only its refund is known', { typename: 'OrderRefunded', charged: 5, issuedAt: at(1) }],
  ['an update of an order that was never paid', { typename: 'OrderUpdated', charged: 0, issuedAt: at(1) }],
];

for (const [index, [reason, money]] of NO_UNITS.entries()) {
  test(`an order brings no units: ${reason}`, async () => {
    const before = await world.effects();
    assert.is((await deliver(`no-units-${index}`, money)).state, 'done');
    assert.equal(await world.effects(), before);
  });
}

test('how much is paid is noted also for an order that waits for a person, and holds when it goes on', async () => {
  const money = { charged: 10, issuedAt: at(1) };
  assert.is((await deliver('waiting', money, { email: 'nobody@example.com' })).state, 'parked');
  const left = await gained(async () => {
    await deliver('waiting', { typename: 'OrderRefunded', charged: 5, issuedAt: at(2) });
    await deliver('waiting', { charged: 10, issuedAt: at(1) });
  });
  assert.is(left, 500);
});

test('deliveries that an earlier release kept for later take effect when the ledger is brought up to date', async () => {
  const { client, database } = world.ledger;
  await deliver('kept', { charged: 10, issuedAt: at(1) });
  const raw = orderBody({ id: 'kept', lines: PACK, money: { typename: 'OrderRefunded', charged: 5, issuedAt: at(2) } });
  const id = await world.put(raw, 'kept');
  await database.admin`update gsv_ledger.inbox set state = 'deferred', reason = 'Refund' where id = ${id.slice('inbox_'.length)}`;
  assert.equal(await world.work(), []);
  const migration = await readFile(
    new URL('../../ledger/migrations/0301_deferred_deliveries.sql', import.meta.url),
    'utf8',
  );
  await database.admin.begin(async (tx) => {
    await tx`set local search_path = gsv_ledger`;
    await tx.unsafe(migration);
  });
  assert.is(await gained(() => world.work()), -500);
  assert.is((await client.inboxList({ state: 'deferred', limit: 1 })).items.length, 0);
});

test('the recorded refund of an order that is not known yet holds for the order', async () => {
  const left = await gained(async () => {
    await world.deliver('03-order21-refunded');
    await world.work();
    await world.deliver('01-order21-fully-paid');
    await world.work();
  });

  assert.is(left, 0);
});

test('the book is in order after all of it', async () => {
  assert.equal((await world.ledger.client.audit()).problems, []);
});
