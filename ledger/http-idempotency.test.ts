/** One effect per key: replays, conflicts, and what is not remembered. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';

let ledger: TestLedger;
before(async () => {
  ledger = await startTestLedger();
});
after(() => ledger.close());

let made = 0;
async function funded(amount = 1_000): Promise<string> {
  made++;
  const wallet = `org${made}.main`;
  await ledger.client.putWallet(wallet, { ownerUid: `owner-${made}` });
  if (amount > 0) await ledger.client.grant(wallet, { amount, kind: 'purchased' }, 'fund');
  return wallet;
}

interface Keyed {
  operation: string;
  /** Returns path, body, another body that means something else, and one that differs only in what is not hashed. */
  prepare: (wallet: string) => Promise<{ path: string; body: object; other: object; same?: object }>;
}

const lines = [{ dimension: 'run', units: 1, amount: 3 }];
const openHold = async (wallet: string): Promise<string> =>
  (await ledger.client.hold({ wallet, amount: 10, ttlSeconds: 60 }, 'open')).hold;

const keyed: Keyed[] = [
  {
    operation: 'hold',
    prepare: async (wallet) => ({
      path: '/v1/holds',
      body: { wallet, amount: 10, ttlSeconds: 60, context: { a: 1 } },
      other: { wallet, amount: 11, ttlSeconds: 60 },
      same: { wallet, amount: 10, ttlSeconds: 90, context: { b: 2 } },
    }),
  },
  {
    operation: 'capture',
    prepare: async (wallet) => ({
      path: `/v1/holds/${await openHold(wallet)}/capture`,
      body: { lines, resultRef: 'a' },
      other: { lines: [{ ...lines[0], amount: 4 }] },
      same: { resultRef: 'b', lines },
    }),
  },
  {
    operation: 'extend',
    prepare: async (wallet) => ({
      path: `/v1/holds/${await openHold(wallet)}/extend`,
      body: { ttlSeconds: 100 },
      other: {},
      same: { ttlSeconds: 200 },
    }),
  },
  {
    operation: 'void',
    prepare: async (wallet) => ({
      path: `/v1/holds/${await openHold(wallet)}/void`,
      body: { reason: 'runtime_error' },
      other: {},
      same: { reason: 'another' },
    }),
  },
  {
    operation: 'debit',
    prepare: async (wallet) => ({
      path: '/v1/debits',
      body: { wallet, lines },
      other: { wallet, lines: [] },
      same: { lines, wallet, context: { x: 1 } },
    }),
  },
  {
    operation: 'grant',
    prepare: async (wallet) => ({
      path: `/v1/wallets/${wallet}/grants`,
      body: { amount: 5, kind: 'manual' },
      other: { amount: 5, kind: 'trial' },
      same: { kind: 'manual', amount: 5, source: { type: 'x' } },
    }),
  },
  {
    operation: 'revoke',
    prepare: async (wallet) => ({
      path: `/v1/grants/${(await ledger.client.grant(wallet, { amount: 9, kind: 'manual' }, 'r')).grant}/revoke`,
      body: { amount: 4, reason: 'a' },
      other: { amount: 3 },
      same: { amount: 4, reason: 'b' },
    }),
  },
  {
    operation: 'fulfilment',
    prepare: async (wallet) => ({
      path: '/v1/fulfilments',
      body: { shop: 's', order: 'o', line: wallet, ordinal: 0, sku: 'S', wallet, grants: [] },
      other: { shop: 's', order: 'o', line: wallet, ordinal: 1, sku: 'S', wallet, grants: [] },
    }),
  },
  {
    operation: 'settle',
    prepare: async (wallet) => {
      const grants = [{ amount: 100, kind: 'purchased' as const }];
      await ledger.client.recordFulfilment(
        { shop: 's/', order: wallet, line: wallet, ordinal: 0, sku: 'S', wallet, grants },
        'bought',
      );
      return {
        path: `/v1/orders/s%2F/${wallet}/settle`,
        body: { charged: 1, total: 2 },
        other: { charged: 0, total: 2 },
      };
    },
  },
];

for (const { operation, prepare } of keyed) {
  test(`a repeated ${operation} has one effect and answers the first reply`, async () => {
    const wallet = await funded();
    const { path, body, other, same } = await prepare(wallet);
    const first = await ledger.request('POST', path, { key: 'the-key', body });
    assert.ok(first.status === 200 || first.status === 201, JSON.stringify(first.body));
    assert.is(first.headers.get('idempotency-replayed'), null);
    const state = await ledger.client.getWallet(wallet);
    for (const repeated of [body, same ?? body]) {
      const again = await ledger.request('POST', path, { key: 'the-key', body: repeated });
      assert.equal([again.status, again.body], [first.status, first.body]);
      assert.is(again.headers.get('idempotency-replayed'), 'true');
    }
    assert.equal(await ledger.client.getWallet(wallet), state);
    if (Object.keys(other).length === 0) return;
    const conflict = await ledger.request('POST', path, { key: 'the-key', body: other });
    assert.equal([conflict.status, conflict.body.code], [422, 'idempotency_conflict']);
    assert.equal(await ledger.client.getWallet(wallet), state);
  });
}

test('closing again under the same key answers the same', async () => {
  const wallet = await funded(0);
  const first = await ledger.request('POST', `/v1/wallets/${wallet}/close`, { key: 'c', body: { forfeit: false } });
  const again = await ledger.request('POST', `/v1/wallets/${wallet}/close`, { key: 'c', body: { forfeit: false } });
  assert.equal([again.status, again.body], [200, first.body]);
  assert.is(again.headers.get('idempotency-replayed'), 'true');
});

test('the same key means different things for different operations and owners', async () => {
  const [one, two] = [await funded(), await funded()];
  const key = 'shared';
  const debit = await ledger.client.debit({ wallet: one, lines }, key);
  const hold = await ledger.client.hold({ wallet: one, amount: 1, ttlSeconds: 60 }, key);
  const other = await ledger.client.debit({ wallet: two, lines }, key);
  assert.equal([debit.replayed, hold.replayed, other.replayed], [false, false, false]);
});

test('a 402 is not remembered: after a top-up the same call succeeds', async () => {
  const wallet = await funded(0);
  const body = { wallet, amount: 10, ttlSeconds: 60 };
  assert.is((await ledger.request('POST', '/v1/holds', { key: 'k', body })).status, 402);
  await ledger.client.grant(wallet, { amount: 10, kind: 'purchased' }, 'top-up');
  const second = await ledger.request('POST', '/v1/holds', { key: 'k', body });
  assert.equal([second.status, second.headers.get('idempotency-replayed')], [201, null]);
});

test('a 422 is not remembered: the corrected call under the same key succeeds', async () => {
  const wallet = await funded();
  assert.is(
    (await ledger.request('POST', '/v1/holds', { key: 'k', body: { wallet, amount: 0, ttlSeconds: 1 } })).status,
    422,
  );
  assert.is(
    (await ledger.request('POST', '/v1/holds', { key: 'k', body: { wallet, amount: 1, ttlSeconds: 1 } })).status,
    201,
  );
});

test('twenty callers with one key at once make one hold', async () => {
  const wallet = await funded(10);
  const replies = await Promise.all(
    Array.from({ length: 20 }, () => ledger.client.hold({ wallet, amount: 10, ttlSeconds: 60 }, 'race')),
  );
  assert.is(new Set(replies.map((reply) => reply.hold)).size, 1);
  assert.is(replies.filter((reply) => !reply.replayed).length, 1);
});
