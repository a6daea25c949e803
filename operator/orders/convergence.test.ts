import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { organizationNamespace } from '../../crds/kinds.ts';
import { type ResourceStore, StoreError } from '../../crds/store.ts';
import { ACME, OrderWorld, orderBody, SHOP } from '../../hack/testing/orders.ts';
import { LedgerError } from '../../ledger/client.ts';
import type { OrderLedger, OrderWorker } from './worker.ts';

/** The lease of the worker, and then some. */
const AFTER_LEASE_SECONDS = 121;
/** No retry waits longer. */
const AFTER_RETRY_SECONDS = 301;

let world: OrderWorld;
before(async () => {
  world = await OrderWorld.open();
});
after(() => world?.close());

/** Calls that change something, in the order in which a worker makes them. */
type Effect = 'settleOrder' | 'create' | 'recordFulfilment' | 'inboxDone';

/**
 * A worker whose n-th effect goes wrong: it fails before the effect, or the effect happens and its
 * answer is lost. `seen` is what it reached.
 */
function faulty(n: number, when: 'before' | 'after', error: Error): { worker: OrderWorker; seen: Effect[] } {
  const seen: Effect[] = [];
  const effect = async <T>(name: Effect, run: () => Promise<T>): Promise<T> => {
    seen.push(name);
    const now = seen.length === n;
    if (now && when === 'before') throw error;
    const value = await run();
    if (now) throw error;
    return value;
  };
  const store = new Proxy<ResourceStore>(world.store, {
    get: (target, property) =>
      property === 'create'
        ? (...args: Parameters<ResourceStore['create']>) => effect('create', () => target.create(...args))
        : Reflect.get(target, property).bind(target),
  });
  return { seen, worker: world.newWorker({ store, ledger: ledgerWith(effect) }) };
}

function ledgerWith(effect: <T>(name: Effect, run: () => Promise<T>) => Promise<T>): OrderLedger {
  const { client } = world.ledger;
  return {
    findFulfilments: (query) => client.findFulfilments(query),
    recordFulfilment: (body, key) => effect('recordFulfilment', () => client.recordFulfilment(body, key)),
    settleOrder: (order, body, key) => effect('settleOrder', () => client.settleOrder(order, body, key)),
    inboxClaim: (body) => client.inboxClaim(body),
    inboxDone: (id) => effect('inboxDone', () => client.inboxDone(id)),
    inboxFail: (id, body) => client.inboxFail(id, body),
    inboxPark: (id, body) => client.inboxPark(id, body),
    inboxList: (query) => client.inboxList(query),
    inboxRetry: (id) => client.inboxRetry(id),
  };
}

const LINES = [{ sku: 'CLAIMS-STARTER', quantity: 2 }, { sku: 'CREDITS-1000' }];
/** What is paid, Project, Wallet, then a fulfilment and an Instance for each unit of the plan, the pack, done. */
const EFFECTS: Effect[] = [
  'settleOrder',
  'create',
  'create',
  'recordFulfilment',
  'create',
  'recordFulfilment',
  'create',
  'recordFulfilment',
  'inboxDone',
];

async function organization(name: string): Promise<void> {
  await world.store.create('Organization', { metadata: { name }, spec: { display: { title: name } } });
  const namespace = organizationNamespace(name);
  await world.until(() => world.store.watch('Namespace').get({ name: namespace }) !== undefined, 'Namespace');
  await world.store.create('Team', {
    metadata: { name: 'buyers', namespace },
    spec: {
      members: [{ name: 'buyer', email: 'buyer@example.com' }],
      grants: [{ name: 'billing', role: 'Billing' }],
    },
  });
}

async function assertWhole(id: string, tenant: string): Promise<void> {
  const fulfilments = await world.ledger.client.findFulfilments({ shop: SHOP, order: id });
  assert.equal(fulfilments.map(({ line, ordinal }) => `${line} ${ordinal}`).sort(), [
    `${id}-line-0 0`,
    `${id}-line-0 1`,
    `${id}-line-1 0`,
  ]);
  const wallet = await world.ledger.client.getWallet(`${tenant}.main`);
  assert.is(wallet.available, (2 * 500 + 1000) * 1_000_000);
  assert.is(wallet.grants.length, 3);
  const instances = world.instances().filter(({ spec }) => spec.fulfilment?.order === id);
  assert.equal(instances.map(({ spec }) => spec.fulfilment?.ordinal).sort(), [0, 1]);
}

for (const [index, effect] of EFFECTS.entries()) {
  for (const when of ['before', 'after'] as const) {
    test(`a failure ${when} effect ${index + 1} (${effect}) is made good by the next try`, async () => {
      const tenant = `org-${index + 1}-${when}`;
      await organization(tenant);
      const id = await world.put(orderBody({ id: tenant, tenant, lines: LINES }), tenant);
      const { worker, seen } = faulty(index + 1, when, new StoreError('Unavailable', 'the store is away'));
      const outcome = await worker.workOne().catch(() => 'the worker died');
      assert.equal(seen.slice(0, index + 1), EFFECTS.slice(0, index + 1), 'the fault was where it should be');
      assert.is.not(typeof outcome === 'object' && outcome.state, 'done');
      world.ledger.advance(AFTER_RETRY_SECONDS);
      await world.work();
      assert.is((await world.inbox(id)).state, 'done');
      await assertWhole(tenant, tenant);
    });
  }
}

test('without a fault the effects are exactly these', async () => {
  await organization('org-fine');
  await world.put(orderBody({ id: 'org-fine', tenant: 'org-fine', lines: LINES }), 'org-fine');
  const { worker, seen } = faulty(0, 'before', new Error('never'));
  assert.is((await worker.workOne())?.state, 'done');
  assert.equal(seen, EFFECTS);
  await assertWhole('org-fine', 'org-fine');
});

test('a ledger that is away is asked again later, ever more slowly, and the inbox says why', async () => {
  const id = await world.put(orderBody({ id: 'away', lines: [{ sku: 'CREDITS-1000' }] }), 'away');
  const waits: number[] = [];
  for (let attempt = 0; attempt < 10; attempt += 1) {
    const { worker } = faulty(1, 'before', new LedgerError(0, 'ledger_unavailable', 'the ledger does not answer', {}));
    const outcome = await worker.workOne();
    if (outcome?.state !== 'failed') throw new Error(`the delivery is ${outcome?.state}`);
    waits.push(outcome.retryAfterSeconds);
    assert.is((await world.worker.workOne()) === undefined, true, 'it is not due before its time');
    world.ledger.advance(outcome.retryAfterSeconds + 1);
  }
  assert.equal(waits, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
  const { state, reason } = await world.inbox(id);
  assert.is(state, 'pending');
  assert.match(reason ?? '', 'the ledger does not answer');
  await world.work();
  assert.is((await world.inbox(id)).state, 'done');
  assert.is((await world.ledger.client.findFulfilments({ shop: SHOP, order: 'away' })).length, 1);
});

test('a worker that dies with a delivery in its hands is replaced after its lease', async () => {
  const id = await world.put(orderBody({ id: 'dead', lines: [{ sku: 'CREDITS-1000' }] }), 'dead');
  const taken = await world.ledger.client.inboxClaim({ leaseSeconds: 120 });
  assert.is(taken?.id, id);
  assert.equal(await world.work(), []);
  world.ledger.advance(AFTER_LEASE_SECONDS);
  assert.is((await world.work()).length, 1);
  assert.is((await world.inbox(id)).state, 'done');
});

test('a worker that was away for longer than its lease doubles nothing', async () => {
  const id = await world.put(orderBody({ id: 'slow', lines: LINES }), 'slow');
  const reached = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const slow = world.newWorker({
    ledger: ledgerWith(async (name, run) => {
      if (name === 'recordFulfilment') {
        reached.resolve();
        await go.promise;
      }
      return run();
    }),
  });
  const first = slow.workOne();
  await reached.promise;
  world.ledger.advance(AFTER_LEASE_SECONDS);
  const [second] = await world.work();
  assert.equal(second?.state === 'done' && second.fulfilled, 3);
  go.resolve();
  const late = await first;
  assert.equal(late?.state === 'done' && [late.fulfilled, late.repeated], [0, 3]);
  assert.is((await world.inbox(id)).state, 'done');
  assert.is((await world.ledger.client.findFulfilments({ shop: SHOP, order: 'slow' })).length, 3);
  assert.is(world.instances().filter(({ spec }) => spec.fulfilment?.order === 'slow').length, 2);
});

test('two workers at once do each order once, also when it was delivered twice', async () => {
  const ids: string[] = [];
  for (let n = 0; n < 6; n += 1) {
    ids.push(await world.put(orderBody({ id: `both-${n}`, lines: LINES }), `both-${n}`));
    ids.push(await world.put(orderBody({ id: `both-${n}`, email: 'Buyer@example.com', lines: LINES }), `both-${n}`));
  }
  const before = (await world.wallet())?.available ?? 0;
  const running = [world.newWorker(), world.newWorker()].map((worker) => worker.start());
  const done = async () =>
    (await world.ledger.client.inboxList({ state: 'done', limit: 100 })).items.filter(({ id }) => ids.includes(id));
  while ((await done()).length < ids.length) await new Promise((resolve) => setTimeout(resolve, 20));
  await Promise.all(running.map((worker) => worker.close()));
  for (let n = 0; n < 6; n += 1) {
    assert.is((await world.ledger.client.findFulfilments({ shop: SHOP, order: `both-${n}` })).length, 3);
    assert.is(world.instances().filter(({ spec }) => spec.fulfilment?.order === `both-${n}`).length, 2);
  }
  assert.is(((await world.wallet())?.available ?? 0) - before, 6 * (2 * 500 + 1000) * 1_000_000);
});

test('a worker goes on when the ledger comes back', async () => {
  const id = await world.put(orderBody({ id: 'back', lines: [{ sku: 'CREDITS-1000' }] }), 'back');
  let claims = 0;
  const ledger: OrderLedger = {
    ...ledgerWith((_name, run) => run()),
    inboxClaim: async (body) => {
      claims += 1;
      if (claims <= 2) throw new LedgerError(0, 'ledger_unavailable', 'the ledger does not answer', {});
      return world.ledger.client.inboxClaim(body);
    },
  };
  const running = world.newWorker({ ledger }).start();
  while ((await world.inbox(id)).state !== 'done') await new Promise((resolve) => setTimeout(resolve, 20));
  await running.close();
  assert.ok(claims > 2);
});

test('a closed worker has ended the delivery in its hands', async () => {
  const id = await world.put(orderBody({ id: 'closing', lines: LINES }), 'closing');
  const reached = Promise.withResolvers<void>();
  const running = world
    .newWorker({
      ledger: ledgerWith((_name, run) => {
        reached.resolve();
        return run();
      }),
    })
    .start();
  await reached.promise;
  await running.close();
  assert.is((await world.inbox(id)).state, 'done');
});

test('an Instance that somebody deleted is not brought back by a repeat of its order', async () => {
  const lines = [{ sku: 'CLAIMS-STARTER' }];
  await world.order({ id: 'deleted', lines });
  await world.ready();
  const [made] = world.instances().filter(({ spec }) => spec.fulfilment?.order === 'deleted');
  if (made === undefined) throw new Error('there is no Instance');
  const key = { name: made.metadata.name, namespace: ACME };
  await world.store.delete('Instance', key);
  await world.gone(key);
  const repeated = await world.order({ id: 'deleted', email: 'Buyer@example.com', lines });
  assert.is(repeated.state, 'done');
  assert.is(await world.store.get('Instance', key), undefined);
});

test('the book is in order after all of it', async () => {
  assert.equal((await world.ledger.client.audit()).problems, []);
});
