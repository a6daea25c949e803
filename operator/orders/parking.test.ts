import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { ACME, type OrderEdit, OrderWorld, SHOP } from '../../hack/testing/orders.ts';
import { PARKING_REASONS, parkingText } from './parking.ts';
import { instanceName } from './units.ts';

let world: OrderWorld;
before(async () => {
  world = await OrderWorld.open();
  const team = (name: string, email: string, grant: object) =>
    world.store.apply(
      'Team',
      {
        metadata: { name, namespace: ACME },
        spec: { members: [{ name: 'one', email }], grants: [{ name: 'one', role: 'Billing', ...grant }] },
      },
      { fieldManager: 'test' },
    );
  await world.store.create('Project', { metadata: { name: 'other', namespace: ACME }, spec: {} });
  await team('elsewhere', 'elsewhere@example.com', { projectRef: { name: 'other' } });
  await team('here', 'here@example.com', { projectRef: { name: 'default' } });
  await team('runs', 'runs@example.com', { role: 'Operator' });
  await team('admins-too', 'Second.Admin@Example.com', { role: 'Admin' });
});
after(() => world?.close());

const PACK = [{ sku: 'CREDITS-1000' }];

const PARKED: [reason: string, why: string, edit: Omit<OrderEdit, 'id'>][] = [
  ['TenantMissing', 'the shop set no tenant', { tenant: null, lines: PACK }],
  ['TenantMissing', 'the tenant is empty', { tenant: '', lines: PACK }],
  ['TenantUnknown', 'no such Organization', { tenant: 'initech', lines: PACK }],
  ['TenantUnknown', 'the name is no name', { tenant: '../acme', lines: PACK }],
  ['TenantUnknown', 'names are compared to the letter', { tenant: 'ACME', lines: PACK }],
  ['CustomerNotAllowed', 'nobody knows the customer', { email: 'nobody@example.com', lines: PACK }],
  ['CustomerNotAllowed', 'the customer only looks', { email: 'viewer@example.com', lines: PACK }],
  ['CustomerNotAllowed', 'the customer only runs', { email: 'runs@example.com', lines: PACK }],
  ['CustomerNotAllowed', 'the customer spends for another project', { email: 'elsewhere@example.com', lines: PACK }],
  ['CustomerNotAllowed', 'the customer is another tenant’s', { email: 'stranger@example.com', lines: PACK }],
  ['CustomerNotAllowed', 'the customer is ours, the tenant another', { tenant: 'globex', lines: PACK }],
  ['CustomerNotAllowed', 'a guest without an email', { email: '', lines: PACK }],
  ['SkuUnknown', 'nothing carries the SKU', { lines: [{ sku: 'CREDITS-1' }] }],
  ['CreditMismatch', 'the shop promises more', { lines: [{ sku: 'CREDITS-1000', credits: '2000' }] }],
  ['PackLimitExceeded', 'too many packs', { lines: [{ sku: 'CREDITS-1000', quantity: 51 }] }],
  ['QuantityTooLarge', 'too many Instances', { lines: [{ sku: 'CLAIMS-PRO', quantity: 2_000_000_000 }] }],
];

for (const [index, [reason, why, edit]] of PARKED.entries()) {
  test(`an order is parked as ${reason} and changes nothing: ${why}`, async () => {
    const before = await world.effects();
    const item = await world.order({ id: `parked-${index}`, ...edit });
    assert.is(item.state, 'parked');
    assert.match(item.reason ?? '', new RegExp(`^${reason}\\b`));
    assert.equal(await world.effects(), before);
    const visible = await world.ledger.client.inboxList({ state: 'parked', limit: 100 });
    assert.ok(visible.items.some(({ id }) => id === item.id));
  });
}

test('a parked order says where a person finds it: its number, and the line if it is about one', async () => {
  const whole = await world.order({ id: 'where-1', tenant: null, lines: PACK });
  assert.match(whole.reason ?? '', 'order 27');
  const line = await world.order({ id: 'where-2', lines: [{ sku: 'NOTHING' }] });
  assert.match(line.reason ?? '', 'where-2-line-0');
});

const ALLOWED: [why: string, email: string][] = [
  ['Billing', 'buyer@example.com'],
  ['Billing, in another case', 'Buyer@EXAMPLE.com'],
  ['Admin', 'admin@example.com'],
  ['Admin, whose Team writes the email in another case', 'second.admin@example.com'],
  ['Billing on the project of orders', 'here@example.com'],
];

for (const [index, [why, email]] of ALLOWED.entries()) {
  test(`a customer may spend: ${why}`, async () => {
    const item = await world.order({ id: `allowed-${index}`, email, lines: PACK });
    assert.equal([item.state, item.reason], ['done', undefined]);
    assert.is((await world.ledger.client.findFulfilments({ shop: SHOP, order: `allowed-${index}` })).length, 1);
  });
}

test('one line that waits for a person does not keep the others', async () => {
  const lines = [
    { sku: 'CREDITS-1000', credits: '999' },
    { sku: 'CLAIMS-STARTER' },
    { sku: 'NOTHING' },
    { sku: 'CREDITS-1000', quantity: 2 },
  ];
  const item = await world.order({ id: 'mixed', lines });
  assert.is(item.state, 'parked');
  assert.match(item.reason ?? '', /CreditMismatch \(line mixed-line-0\).*; SkuUnknown \(line mixed-line-2\)/);
  const fulfilled = await world.ledger.client.findFulfilments({ shop: SHOP, order: 'mixed' });
  assert.equal(fulfilled.map(({ line, ordinal }) => `${line} ${ordinal}`).sort(), [
    'mixed-line-1 0',
    'mixed-line-3 0',
    'mixed-line-3 1',
  ]);
  assert.is(world.instances().filter(({ spec }) => spec.fulfilment?.order === 'mixed').length, 1);
});

test('an Instance of the name that is somebody else’s is not taken over; the credits are granted', async () => {
  const name = instanceName('claims-agent', SHOP, 'taken-line-0', 0);
  const spec = {
    projectRef: { name: 'default' },
    offeringRef: { name: 'claims-agent' },
    plan: 'starter',
    walletRef: { name: 'main' },
  };
  await world.store.create('Instance', { metadata: { name, namespace: ACME }, spec });
  const item = await world.order({ id: 'taken', lines: [{ sku: 'CLAIMS-STARTER' }] });
  assert.is(item.state, 'parked');
  assert.match(item.reason ?? '', /^InstanceNameTaken \(line taken-line-0\)/);
  assert.equal((await world.store.get('Instance', { name, namespace: ACME }))?.spec, spec);
  assert.is((await world.ledger.client.findFulfilments({ shop: SHOP, order: 'taken' })).length, 1);
});

test('a repeat of what took effect does not wait for a person when the offering is no longer sold', async () => {
  const lines = [{ sku: 'CLAIMS-STARTER' }, { sku: 'CREDITS-1000' }];
  assert.is((await world.order({ id: 'late', lines })).state, 'done');
  await world.ready();
  const offering = await world.store.get('Offering', { name: 'claims-agent' });
  if (offering === undefined) throw new Error('there is no offering');
  const set = (spec: typeof offering.spec) =>
    world.store.apply('Offering', { metadata: { name: 'claims-agent' }, spec }, { fieldManager: 'quickstart' });
  await set({ ...offering.spec, lifecycle: 'Paused' });
  try {
    assert.is((await world.order({ id: 'late', email: 'Buyer@example.com', lines })).state, 'done');
    const fresh = await world.order({ id: 'late-new', lines });
    assert.is(fresh.state, 'parked');
    assert.match(fresh.reason ?? '', /^OfferingNotSellable/);
  } finally {
    await set(offering.spec);
  }
});

test('a delivery whose bytes say nothing about an order is parked, not tried for ever', async () => {
  const id = await world.put(Buffer.from('{"__typename":"OrderFullyPaid"}'), 'unreadable-1');
  const other = await world.put(Buffer.from('no json'), 'unreadable-2');
  await world.work();
  for (const each of [id, other]) {
    const { state, reason } = await world.inbox(each);
    assert.is(state, 'parked');
    assert.match(reason ?? '', /^PayloadUnreadable/);
  }
});

test('the text in the inbox stays within what the inbox keeps', () => {
  const parked = Array.from({ length: 500 }, (_, index) => ({
    reason: 'SkuUnknown' as const,
    line: `line-${index}`,
    detail: 'x'.repeat(300),
  }));
  assert.ok(parkingText(parked).length <= 1000);
  assert.match(parkingText(parked), /^SkuUnknown \(line line-0\): x/);
});

test('every reason says what a person does', () => {
  for (const [reason, text] of Object.entries(PARKING_REASONS)) {
    assert.match(reason, /^[A-Z][A-Za-z]+$/);
    assert.match(text, /\.$/);
  }
});
