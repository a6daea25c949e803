import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../../config/log.ts';
import type { CreditPack } from '../../crds/kinds.ts';
import { ACME, OrderWorld } from '../../hack/testing/orders.ts';
import { CURED_BY, type CuringKind, parkedFor, parkingText } from './parking.ts';
import { ParkedOrders } from './waking.ts';

/** The worker looks within a second after a change has come to rest. */
const PATIENCE_MS = 20_000;

let world: OrderWorld;
before(async () => {
  world = await OrderWorld.open();
});
after(() => world?.close());

const pack = (sku: string): CreditPack['spec'] => ({ sku, amountMicrocredits: 1_000_000, kind: 'Purchased' });

async function becomes(id: string, state: string): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const entry = await world.inbox(id);
    if (entry.state === state) return;
    if (Date.now() > end) throw new Error(`${entry.state}: ${entry.reason}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('orders that came before their catalog, Organization or Team take effect by themselves when it comes', async () => {
  const sku = await world.order({ id: 'cold-sku', lines: [{ sku: 'COLD-PACK' }] });
  const customer = await world.order({ id: 'cold-team', email: 'new@example.com', lines: [{ sku: 'CREDITS-1000' }] });
  const shop = await world.order({ id: 'cold-shop', tenant: null, lines: [{ sku: 'CREDITS-1000' }] });
  for (const { state } of [sku, customer, shop]) assert.is(state, 'parked');
  const running = world.worker.start();
  try {
    await world.store.apply(
      'CreditPack',
      { metadata: { name: 'cold' }, spec: pack('COLD-PACK') },
      { fieldManager: 'test' },
    );
    await becomes(sku.id, 'done');
    const members = [{ name: 'new', email: 'new@example.com' }];
    const spec = { members, grants: [{ name: 'one', role: 'Billing' as const }] };
    await world.store.apply('Team', { metadata: { name: 'new', namespace: ACME }, spec }, { fieldManager: 'test' });
    await becomes(customer.id, 'done');
    assert.is((await world.inbox(shop.id)).state, 'parked', 'it waits for the shop');
  } finally {
    await running.close();
  }
});

test('only what waits for a changed kind is woken, from every page', async () => {
  const retried: string[] = [];
  const reasons = ['SkuUnknown (line a): x', 'TenantMissing: y', 'CreditMismatch: z; OfferingNotSellable (line b): w'];
  const pages = reasons.map((reason, at) => ({
    items: [{ id: `${at}`, reason }],
    next: reasons[at + 1] ? `${at + 1}` : null,
  }));
  const parked = new ParkedOrders({
    store: world.store,
    log: createLogger({ part: 'test', level: 'silent' }),
    ledger: {
      inboxList: async ({ cursor = '0' }: { cursor?: string | undefined }) => pages[Number(cursor)] as never,
      inboxRetry: async (id: string) => void retried.push(id) as never,
    },
  });
  const woken = async (...kinds: CuringKind[]) => {
    retried.length = 0;
    assert.is(await parked.wake(kinds), retried.length);
    return retried.join();
  };
  assert.is(await woken('OfferingVersion'), '2');
  assert.is(await woken('CreditPack', 'Offering'), '0,2');
  assert.is(await woken('Organization', 'Team'), '');
});

test('the reasons of a text are read back, whatever shops and people have written into it', () => {
  const lines = Object.keys(CURED_BY).map((reason, at) => ({
    reason: reason as 'SkuUnknown',
    line: `l${at}`,
    detail: 'of ours',
  }));
  assert.equal(parkedFor(parkingText(lines)), Object.keys(CURED_BY));
  assert.equal(parkedFor(parkingText([{ reason: 'TenantUnknown', detail: 'no "Foreign: SkuUnknown: x"' }])), [
    'TenantUnknown',
  ]);
  assert.equal(parkedFor(''), []);
});
