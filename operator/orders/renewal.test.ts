/** A paid renewal line gives an Instance one period more and wakes it up. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { ACME, type OrderEdit, OrderWorld, SHOP } from '../../hack/testing/orders.ts';
import { instanceName } from './units.ts';

let world: OrderWorld;
before(async () => {
  world = await OrderWorld.open();
});
after(() => world?.close());

/** An Instance that was bought with an order of that id. */
async function bought(id: string, sku = 'CLAIMS-STARTER'): Promise<string> {
  assert.is((await world.order({ id, lines: [{ sku }] })).state, 'done');
  await world.ready();
  return instanceName('claims-agent', SHOP, `${id}-line-0`, 0);
}

async function paidThrough(id: string): Promise<string | undefined> {
  return (await world.ledger.client.findFulfilments({ shop: SHOP, order: id }))[0]?.paidThrough;
}

test('a renewal moves the paid time by its period, brings the included credits and makes no Instance', async () => {
  const renews = await bought('first');
  const before = { instances: world.instances().length, available: (await world.wallet())?.available ?? 0 };
  const was = await paidThrough('first');
  const lines = [{ sku: 'CLAIMS-STARTER', renews, quantity: 2 }];
  for (const email of ['buyer@example.com', 'Buyer@example.com']) {
    const item = await world.order({ id: 'first-renewal', email, lines });
    assert.equal([item.state, item.reason], ['done', undefined]);
  }
  const year = (time = ''): number => Number(time.slice(0, 4));
  assert.is(year(await paidThrough('first')) - year(was), 2, 'two years of a plan by the year');
  assert.is(world.instances().length, before.instances);
  assert.is((await world.wallet())?.available, before.available + 2 * 500_000_000);
});

const REFUSED: [reason: string, why: string, edit: () => Promise<OrderEdit['lines']>][] = [
  ['RenewalUnknown', 'there is no such Instance', async () => [{ sku: 'CLAIMS-STARTER', renews: 'nobody' }]],
  ['RenewalUnknown', 'it was not bought', async () => [{ sku: 'CLAIMS-STARTER', renews: await unbought() }]],
  ['RenewalMismatch', 'the plan is another', async () => [{ sku: 'CLAIMS-PRO', renews: await bought('starter') }]],
  ['RenewalMismatch', 'a pack renews nothing', async () => [{ sku: 'CREDITS-1000', renews: await bought('packed') }]],
];

async function unbought(): Promise<string> {
  const spec = { projectRef: { name: 'default' }, offeringRef: { name: 'claims-agent' }, plan: 'starter' };
  const metadata = { name: 'unbought', namespace: ACME };
  await world.store.create('Instance', { metadata, spec: { ...spec, walletRef: { name: 'main' } } });
  return 'unbought';
}

for (const [index, [reason, why, lines]] of REFUSED.entries()) {
  test(`a renewal is parked as ${reason} and changes nothing: ${why}`, async () => {
    const edit = { id: `refused-${index}`, lines: (await lines()) ?? [] };
    const before = await world.effects();
    const item = await world.order(edit);
    assert.is(item.state, 'parked');
    assert.match(item.reason ?? '', new RegExp(`^${reason} \\(line refused-${index}-line-0\\)`));
    assert.equal(await world.effects(), before);
  });
}

test('an Instance may be renewed while its offering rests, though nobody else may buy it', async () => {
  const renews = await bought('resting');
  const offering = await world.store.get('Offering', { name: 'claims-agent' });
  if (offering === undefined) throw new Error('there is no offering');
  const set = (spec: typeof offering.spec) =>
    world.store.apply('Offering', { metadata: { name: 'claims-agent' }, spec }, { fieldManager: 'quickstart' });
  await set({ ...offering.spec, lifecycle: 'Paused' });
  try {
    assert.is((await world.order({ id: 'rest-1', lines: [{ sku: 'CLAIMS-STARTER', renews }] })).state, 'done');
    assert.is((await world.order({ id: 'rest-2', lines: [{ sku: 'CLAIMS-STARTER' }] })).state, 'parked');
  } finally {
    await set(offering.spec);
  }
});
