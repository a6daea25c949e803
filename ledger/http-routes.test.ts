/** Every route once, with the bodies of the design's examples; replies are held to the OpenAPI document. */
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';

let ledger: TestLedger;
before(async () => {
  ledger = await startTestLedger();
});
after(() => ledger.close());

const shop = 'https://shop.example.com/graphql/';

async function wallet(name = `acme.${randomUUID()}`): Promise<string> {
  const reply = await ledger.request('PUT', `/v1/wallets/${name}`, {
    body: {
      ownerUid: `uid-of-${name}`,
      debtPolicy: { floor: 0, repayFirst: true },
      thresholds: [1_000_000],
      caps: [{ project: 'default', amount: 50_000_000 }],
    },
  });
  assert.is(reply.status, 200);
  return name;
}

async function funded(amount = 5_000_000): Promise<string> {
  const name = await wallet();
  await ledger.client.grant(name, { amount, kind: 'purchased' }, 'fund');
  return name;
}

test('a wallet is created empty and reads back', async () => {
  const name = await wallet();
  const { status, body } = await ledger.request('GET', `/v1/wallets/${name}`);
  assert.is(status, 200);
  assert.equal([body.wallet, body.available, body.held, body.debt, body.grants], [name, 0, 0, 0, []]);
});

test('a grant is answered with what remains of it', async () => {
  const name = await wallet();
  const granted = await ledger.request('POST', `/v1/wallets/${name}/grants`, {
    key: 'k',
    body: {
      amount: 5_000_000,
      kind: 'purchased',
      priority: 2,
      expiresAt: '2099-01-01T00:00:00Z',
      scope: { offerings: ['claims-agent'] },
      source: { type: 'order', id: 'T3JkZXI6MQ==' },
    },
  });
  assert.is(granted.status, 201);
  assert.equal(granted.body, { grant: granted.body.grant, wallet: name, amount: 5_000_000, remaining: 5_000_000 });
  const { body } = await ledger.request('GET', `/v1/wallets/${name}`);
  assert.equal(body.grants, [
    {
      grant: granted.body.grant,
      kind: 'purchased',
      priority: 2,
      expiresAt: '2099-01-01T00:00:00Z',
      scope: { offerings: ['claims-agent'] },
      amount: 5_000_000,
      remaining: 5_000_000,
      held: 0,
    },
  ]);
});

test('hold, extend, capture, receipt and run belong together', async () => {
  const name = await funded();
  const runId = randomUUID();
  const context = {
    instance: 'acme/claims',
    contractDigest: 'sha256:9f86d0',
    order: 'T3JkZXI6MQ==',
    commit: '3b18e5',
    traceId: '4bf92f',
    runId,
  };
  const held = await ledger.request('POST', '/v1/holds', {
    key: `run:${runId}`,
    body: {
      wallet: name,
      amount: 20_000,
      ttlSeconds: 180,
      offering: 'claims-agent',
      project: 'default',
      instanceUid: randomUUID(),
      maxConcurrent: 4,
      context,
    },
  });
  assert.is(held.status, 201);
  const { hold, expiresAt } = held.body;
  assert.equal(held.body, { hold, wallet: name, amount: 20_000, state: 'open', expiresAt });
  assert.is((await ledger.request('GET', `/v1/holds/${hold}`)).body.state, 'open');

  const extended = await ledger.request('POST', `/v1/holds/${hold}/extend`, { key: 'e', body: { ttlSeconds: 600 } });
  assert.is(extended.status, 200);
  assert.ok(extended.body.expiresAt > expiresAt);

  const captured = await ledger.request('POST', `/v1/holds/${hold}/capture`, {
    key: `run:${runId}`,
    body: { lines: [{ dimension: 'run', units: 1, amount: 12_000 }], final: true, resultRef: 'results/1.json' },
  });
  assert.is(captured.status, 200);
  const { receipt } = captured.body;
  assert.equal(captured.body, {
    receipt,
    hold,
    state: 'captured',
    amount: 12_000,
    released: 8_000,
    overrun: { fromAvailable: 0, debt: 0, writtenOff: 0 },
    lines: [{ dimension: 'run', units: 1, amount: 12_000 }],
    available: 4_988_000,
  });

  const read = await ledger.request('GET', `/v1/receipts/${receipt}`);
  assert.equal([read.body.amount, read.body.context, read.body.lines.length], [12_000, context, 1]);
  const run = await ledger.request('GET', `/v1/runs/${runId}`);
  assert.equal(
    [run.body.hold, run.body.state, run.body.receipt, run.body.resultRef],
    [hold, 'captured', receipt, 'results/1.json'],
  );
});

test('a void releases all', async () => {
  const name = await funded();
  const { hold } = await ledger.client.hold({ wallet: name, amount: 20_000, ttlSeconds: 180 }, 'h');
  const voided = await ledger.request('POST', `/v1/holds/${hold}/void`, {
    key: 'v',
    body: { reason: 'runtime_error' },
  });
  assert.equal([voided.status, voided.body], [200, { hold, state: 'voided', released: 20_000 }]);
});

test('a debit charges at once', async () => {
  const name = await funded();
  const debit = await ledger.request('POST', '/v1/debits', {
    key: 'd',
    body: { wallet: name, lines: [{ dimension: 'stored', units: 3, amount: 7 }], context: { hour: '2026-11-23T10' } },
  });
  assert.equal([debit.status, debit.body.amount, debit.body.available], [201, 7, 4_999_993]);
  const receipt = await ledger.request('GET', `/v1/receipts/${debit.body.receipt}`);
  assert.equal([receipt.status, receipt.body.context], [200, { hour: '2026-11-23T10' }]);
});

test('a revoke takes back what is left', async () => {
  const name = await wallet();
  const { grant } = await ledger.client.grant(name, { amount: 3_000_000, kind: 'purchased' }, 'g');
  const revoked = await ledger.request('POST', `/v1/grants/${grant}/revoke`, {
    key: 'r',
    body: { amount: 3_000_000, reason: 'correction' },
  });
  assert.equal([revoked.status, revoked.body.revoked, revoked.body.debt], [200, 3_000_000, 0]);
});

test('an empty wallet closes, and a fresh one may take its name', async () => {
  const name = await wallet();
  const closed = await ledger.request('POST', `/v1/wallets/${name}/close`, { key: 'c', body: { forfeit: false } });
  assert.equal([closed.status, closed.body.state], [200, 'closed']);
  const fresh = await ledger.request('PUT', `/v1/wallets/${name}`, { body: { ownerUid: 'another' } });
  assert.is(fresh.status, 200);
});

test('a paid unit is fulfilled once, found by its order and claimed by one Instance', async () => {
  const name = await wallet();
  const order = `order-${randomUUID()}`;
  const line = 'T3JkZXJMaW5lOjE=/+?';
  const body = {
    shop,
    order,
    line: `${order}${line}`,
    ordinal: 0,
    sku: 'CLAIMS-STARTER',
    wallet: name,
    offering: 'claims-agent',
    plan: 'starter',
    grants: [{ amount: 5_000_000, kind: 'included', expiresAt: '2099-01-01T00:00:00Z' }],
    paidThrough: '2099-01-01T00:00:00Z',
  };
  const first = await ledger.request('POST', '/v1/fulfilments', { key: 'f', body });
  assert.is(first.status, 201);
  const second = await ledger.request('POST', '/v1/fulfilments', { key: 'another key', body });
  assert.equal([second.status, second.body], [200, first.body]);

  const query = new URLSearchParams({ shop, order, line: body.line, ordinal: '0' });
  const found = await ledger.request('GET', `/v1/fulfilments?${query}`);
  assert.equal([found.body.items.length, found.body.next], [1, null]);
  assert.equal([found.body.items[0].fulfilment, found.body.items[0].plan], [first.body.fulfilment, 'starter']);

  const claim = `/v1/fulfilments/${first.body.fulfilment}/claim`;
  const instanceUid = randomUUID();
  assert.is((await ledger.request('POST', claim, { body: { instanceUid } })).status, 200);
  const again = await ledger.request('POST', claim, { body: { instanceUid } });
  assert.equal([again.status, again.body.instanceUid], [200, instanceUid]);
  const other = await ledger.request('POST', claim, { body: { instanceUid: randomUUID() } });
  assert.equal([other.status, other.body.code], [409, 'already_claimed']);
});

test('an order keeps what is paid of it; shop and order stand percent-encoded in the path', async () => {
  const name = await wallet();
  const order = 'T3JkZXI6/2+3=';
  const grants = [{ amount: 100, kind: 'purchased' as const }];
  await ledger.client.recordFulfilment({ shop, order, line: name, ordinal: 0, sku: 'S', wallet: name, grants }, 'unit');
  const asOf = '2026-11-23T07:56:28.117Z';
  const reply = await ledger.request(
    'POST',
    `/v1/orders/${encodeURIComponent(shop)}/${encodeURIComponent(order)}/settle`,
    {
      key: 'refund',
      body: { charged: 4_000, total: 4_900, asOf },
    },
  );
  assert.is(reply.status, 200);
  const settlement = {
    ...{ shop, order, charged: 4_000, total: 4_900, asOf },
    ...{ granted: 100, kept: 82, takenBack: 18, debt: 0, writtenOff: 0, givenBack: 0 },
  };
  assert.equal(reply.body, settlement);
  assert.is((await ledger.client.getWallet(name)).available, 82);
  const again = await ledger.client.settleOrder({ shop, order }, { charged: 4_000, total: 4_900, asOf }, 'refund');
  assert.equal(again, { ...settlement, replayed: true });
  const entries = (await ledger.request('GET', `/v1/wallets/${name}/entries`)).body.items;
  assert.ok(entries.some((one: { operation: string }) => one.operation === 'settle'));
});

test('a batch answers each operation for itself', async () => {
  const name = await funded(100);
  const { body, status } = await ledger.request('POST', '/v1/batch', {
    body: {
      operations: [
        { op: 'hold', key: 'k1', body: { wallet: name, amount: 60, ttlSeconds: 60 } },
        { op: 'hold', key: 'k2', body: { wallet: name, amount: 60, ttlSeconds: 60 } },
        { op: 'debit', key: 'k3', body: { wallet: name, lines: [{ dimension: 'x', units: 1, amount: 40 }] } },
        { op: 'capture', key: 'k4', hold: 'hold_999999', body: { lines: [] } },
      ],
    },
  });
  assert.is(status, 200);
  assert.equal(
    body.results.map((result: { key: string; status: number }) => [result.key, result.status]),
    [
      ['k1', 201],
      ['k2', 402],
      ['k3', 201],
      ['k4', 404],
    ],
  );
  const captured = await ledger.client.batch([
    { op: 'capture', key: 'k5', hold: body.results[0].body.hold, body: { lines: [] } },
  ]);
  assert.equal([captured[0]?.status, captured[0]?.body.released], [200, 60]);
});

test('the key of a batch item is the key that the header would be', async () => {
  const name = await funded(100);
  const operation = { wallet: name, amount: 60, ttlSeconds: 60 };
  const [first] = await ledger.client.batch([{ op: 'hold', key: 'same', body: operation }]);
  const second = await ledger.client.hold(operation, 'same');
  assert.equal([second.hold, second.replayed], [first?.body.hold as string, true]);
});

test('entries are paged and each transaction sums to zero', async () => {
  const name = await funded();
  for (let round = 0; round < 3; round++) {
    const { hold } = await ledger.client.hold({ wallet: name, amount: 10, ttlSeconds: 60 }, `h${round}`);
    await ledger.client.capture(hold, { lines: [{ dimension: 'run', units: 1, amount: 4 }] }, `c${round}`);
  }
  const sums = new Map<string, number>();
  const seen = new Set<string>();
  let pages = 0;
  for (let cursor: string | null = ''; cursor !== null; pages++) {
    const query = cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const { body } = await ledger.request('GET', `/v1/wallets/${name}/entries?limit=5${query}`);
    assert.ok(body.items.length <= 5);
    for (const entry of body.items) {
      assert.is(seen.has(entry.entry), false, 'no entry twice');
      seen.add(entry.entry);
      sums.set(entry.transaction, (sums.get(entry.transaction) ?? 0) + entry.amount);
    }
    cursor = body.next;
  }
  assert.ok(pages > 2);
  assert.equal(new Set(sums.values()), new Set([0]));
});

test('an audit checks the whole book', async () => {
  await funded();
  const { status, body } = await ledger.request('POST', '/v1/audit');
  assert.equal([status, body.ok, body.problems], [200, true, []]);
  assert.ok(body.checkedEntries > 0);
});

test('livez, readyz and openapi.json need no token', async () => {
  assert.equal((await ledger.request('GET', '/livez', { token: null })).body, { live: true });
  assert.equal((await ledger.request('GET', '/readyz', { token: null })).body, { ready: true });
  assert.is((await ledger.request('GET', '/openapi.json', { token: null })).status, 200);
});

test('open holds are found by their Instance, and all of them without one; what is due is in neither', async () => {
  const name = await funded();
  const instanceUid = randomUUID();
  const { hold } = await ledger.client.hold({ wallet: name, amount: 10, ttlSeconds: 60, instanceUid }, randomUUID());
  assert.equal(
    (await ledger.client.listHolds({ instanceUid })).items.map((each) => [each.hold, each.state, each.instanceUid]),
    [[hold, 'open', instanceUid]],
  );
  const { hold: nameless } = await ledger.client.hold({ wallet: name, amount: 10, ttlSeconds: 86_400 }, randomUUID());
  const all = async () => (await ledger.client.listHolds()).items.map((each) => each.hold);
  assert.ok((await all()).includes(hold) && (await all()).includes(nameless));
  ledger.advance(60);
  assert.ok(!(await all()).includes(hold) && (await all()).includes(nameless));
  assert.equal(await ledger.client.listHolds({ instanceUid, limit: 1 }), { items: [], next: null });
});
