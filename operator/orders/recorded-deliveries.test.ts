import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { OrderWorld, SHOP } from '../../hack/testing/orders.ts';
import type { Outcome } from './worker.ts';

const CREDIT = 1_000_000;

let world: OrderWorld;
before(async () => {
  world = await OrderWorld.open();
});
after(() => world?.close());

/** Takes a recorded delivery in, works, and tells what the worker said and what the wallet gained. */
async function replay(base: string): Promise<{ state: string; outcomes: Outcome[]; gained: number }> {
  const before = (await world.wallet())?.available ?? 0;
  const { id } = await world.deliver(base);
  const outcomes = await world.work();
  const available = (await world.wallet())?.available ?? 0;
  return { state: (await world.inbox(id)).state, outcomes, gained: (available - before) / CREDIT };
}

const EFFECTIVE: [base: string, fulfilled: number, instances: number, credits: number, reason: string][] = [
  ['01-order21-fully-paid', 4, 1, 2_500 + 3 * 1_000, 'CLAIMS-PRO and three packs'],
  ['05-order22-fully-paid', 2, 2, 2 * 500, 'CLAIMS-STARTER twice'],
  ['07-order23-fully-paid', 2, 1, 500 + 1_000, 'CLAIMS-STARTER and a pack, paid through Transactions'],
  ['12-order28-fully-paid', 1, 1, 500, 'CLAIMS-STARTER'],
  ['15-order27-credit-pack-only', 1, 0, 1_000, 'a pack alone'],
];

for (const [base, fulfilled, instances, credits, reason] of EFFECTIVE) {
  test(`${base} takes effect once: ${reason}`, async () => {
    const { state, outcomes, gained } = await replay(base);
    const [outcome] = outcomes;
    assert.is(outcomes.length, 1);
    assert.is(outcome?.state, 'done');
    if (outcome?.state !== 'done') return;
    assert.is(outcome.fulfilled, fulfilled);
    assert.is(outcome.repeated, 0);
    assert.is(outcome.instances.length, instances);
    assert.is(gained, credits);
    assert.is(state, 'done');
    await world.ready();
  });
}

test('each unit of a plan line has one Instance that has claimed its own fulfilment', async () => {
  const instances = await world.ready();
  assert.is(instances.length, 5);
  const fulfilments = await world.ledger.client.findFulfilments({ shop: SHOP });
  const plans = fulfilments.filter(({ offering }) => offering !== undefined);
  assert.is(plans.length, 5);
  const claims = new Map(plans.map(({ instanceUid, line, ordinal }) => [instanceUid, { line, ordinal }]));
  for (const { metadata, spec } of instances) {
    const { line, ordinal } = spec.fulfilment ?? {};
    assert.equal(claims.get(metadata.uid), { line, ordinal });
  }
});

test('each unit has one grant, and the packs have no Instance', async () => {
  const { grants } = (await world.wallet()) ?? { grants: [] };
  const kinds = grants.map(({ kind, amount }) => `${kind} ${amount / CREDIT}`).sort();
  assert.equal(
    kinds,
    [
      ...Array.from({ length: 4 }, () => 'included 500'),
      'included 2500',
      ...Array.from({ length: 5 }, () => 'purchased 1000'),
    ].sort(),
  );
  const fulfilments = await world.ledger.client.findFulfilments({ shop: SHOP });
  assert.is(fulfilments.length, 10);
  assert.is(fulfilments.filter(({ offering, instanceUid }) => offering === undefined && instanceUid).length, 0);
});

test('included credits end with the paid period, counted from the date of the order', async () => {
  const [pro] = (await world.ledger.client.findFulfilments({ shop: SHOP })).filter(({ plan }) => plan === 'pro');
  assert.is(pro?.paidThrough, '2027-11-23T07:51:18.669Z');
});

const WITHOUT_EFFECT: [base: string, state: string, reason: string][] = [
  ['01-order21-fully-paid-typed', 'done', 'the same order in another shape'],
  ['14-order28-fully-paid-again', 'done', 'paid again after a partial refund'],
  ['01-order21-fully-paid', 'done', 'the same bytes again'],
  ['05-order22-fully-paid', 'done', 'the same bytes again'],
  ['15-order27-credit-pack-only', 'done', 'the same bytes again'],
  ['11-order24-cancelled-unpaid', 'ignored', 'nothing was ever paid'],
  ['16-product-updated', 'ignored', 'not an order'],
];

for (const [base, state, reason] of WITHOUT_EFFECT) {
  test(`${base} is ${state} and changes nothing: ${reason}`, async () => {
    const before = await world.effects();
    const replayed = await replay(base);
    assert.is(replayed.state, state);
    for (const outcome of replayed.outcomes) {
      assert.is(outcome.state, 'done');
      if (outcome.state === 'done') assert.equal([outcome.fulfilled, outcome.instances], [0, []]);
    }
    assert.equal(await world.effects(), before);
  });
}

const SETTLED: [base: string, takenBack: number, reason: string][] = [
  ['13-order28-partially-refunded', 0, 'paid again since: this word is older'],
  ['02-order21-partially-refunded', 240_174_672, 'of 5,500 credits 219/229 stay, rounded up'],
  ['03-order21-refunded', 5_259_825_328, 'the rest of them'],
  ['04-order21-fully-refunded', 0, 'the same word in another event'],
  ['06-order22-cancelled-after-payment', 0, 'the shop has kept the money so far'],
  ['08-order23-partially-refunded-transactions', 228_813_559, 'of 1,500 credits 50/59 stay'],
  ['09-order23-refunded-transactions', 1_271_186_441, 'the rest of them'],
  ['10-order23-fully-refunded-transactions', 0, 'the same word in another event'],
];

for (const [base, takenBack, reason] of SETTLED) {
  test(`${base} takes ${takenBack} microcredits back: ${reason}`, async () => {
    const before = world.instances().map(({ metadata }) => metadata.name);
    const { state, outcomes, gained } = await replay(base);
    const moved = { fulfilled: 0, repeated: 0, instances: [], takenBack, givenBack: 0 };
    assert.equal(outcomes, [{ state: 'done', ...moved }]);
    assert.equal([state, Math.round(gained * CREDIT)], ['done', -takenBack]);
    assert.equal(
      world.instances().map(({ metadata }) => metadata.name),
      before,
    );
  });
}

test('a refund that is delivered again, and its order as well, change nothing more', async () => {
  for (const base of ['02-order21-partially-refunded', '01-order21-fully-paid-typed', '03-order21-refunded']) {
    const before = await world.effects();
    await replay(base);
    assert.equal(await world.effects(), before, base);
  }
});

test('the book is in order after all of it', async () => {
  assert.equal(await world.ledger.client.audit().then(({ ok, problems }) => ({ ok, problems })), {
    ok: true,
    problems: [],
  });
});
