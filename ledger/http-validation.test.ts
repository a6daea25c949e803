/** Bad input over HTTP: each is 422 `invalid_request` with the pointer and the rule. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';

let ledger: TestLedger;
let hold = '';
before(async () => {
  ledger = await startTestLedger();
  await ledger.client.putWallet('acme.main', { ownerUid: 'owner' });
  await ledger.client.grant('acme.main', { amount: 1_000, kind: 'purchased' }, 'g');
  hold = (await ledger.client.hold({ wallet: 'acme.main', amount: 10, ttlSeconds: 86_400 }, 'h')).hold;
});
after(() => ledger.close());

const holdBody = { wallet: 'acme.main', amount: 1, ttlSeconds: 60 };
const lines = [{ dimension: 'run', units: 1, amount: 1 }];
const inboxBody = {
  shop: 'https://shop.example.com/graphql/',
  order: 'T3JkZXI6MQ==',
  bodySha256: '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
  rawBase64: 'e30=',
  event: 'order_fully_paid',
  state: 'pending',
};
const fulfilment = { shop: 's', order: 'o', line: 'l', ordinal: 0, sku: 'S', wallet: 'acme.main', grants: [] };
const deep = (levels: number): unknown => (levels === 0 ? 1 : { x: deep(levels - 1) });

interface Invalid {
  reason: string;
  route: string;
  body?: unknown;
  pointer: string;
  rule: string;
}

const invalid: Invalid[] = [
  { reason: 'a missing owner', route: 'PUT /v1/wallets/w', body: {}, pointer: '/ownerUid', rule: 'required' },
  {
    reason: 'a wallet name with a slash',
    route: 'PUT /v1/wallets/a%2Fb',
    body: { ownerUid: 'u' },
    pointer: '/wallet',
    rule: 'pattern',
  },
  {
    reason: 'a positive floor',
    route: 'PUT /v1/wallets/w',
    body: { ownerUid: 'u', debtPolicy: { floor: 1 } },
    pointer: '/debtPolicy/floor',
    rule: 'maximum',
  },
  {
    reason: 'an unknown field',
    route: 'POST /v1/holds',
    body: { ...holdBody, price: 1 },
    pointer: '/price',
    rule: 'additionalProperties',
  },
  {
    reason: 'an unknown nested field',
    route: 'POST /v1/debits',
    body: { wallet: 'acme.main', lines: [{ ...lines[0], price: 1 }] },
    pointer: '/lines/0/price',
    rule: 'additionalProperties',
  },
  {
    reason: 'no amount',
    route: 'POST /v1/holds',
    body: { wallet: 'w', ttlSeconds: 1 },
    pointer: '/amount',
    rule: 'required',
  },
  {
    reason: 'an amount of zero',
    route: 'POST /v1/holds',
    body: { ...holdBody, amount: 0 },
    pointer: '/amount',
    rule: 'minimum',
  },
  {
    reason: 'a fraction',
    route: 'POST /v1/holds',
    body: { ...holdBody, amount: 1.5 },
    pointer: '/amount',
    rule: 'type',
  },
  {
    reason: 'a number as text',
    route: 'POST /v1/holds',
    body: { ...holdBody, amount: '1' },
    pointer: '/amount',
    rule: 'type',
  },
  {
    reason: 'an amount beyond 2^53',
    route: 'POST /v1/holds',
    body: { ...holdBody, amount: 2 ** 53 },
    pointer: '/amount',
    rule: 'maximum',
  },
  {
    reason: 'a negative amount',
    route: 'POST /v1/holds',
    body: { ...holdBody, amount: -5 },
    pointer: '/amount',
    rule: 'minimum',
  },
  {
    reason: 'a time to live of zero',
    route: 'POST /v1/holds',
    body: { ...holdBody, ttlSeconds: 0 },
    pointer: '/ttlSeconds',
    rule: 'minimum',
  },
  {
    reason: 'a time to live over a day',
    route: 'POST /v1/holds',
    body: { ...holdBody, ttlSeconds: 86_401 },
    pointer: '/ttlSeconds',
    rule: 'maximum',
  },
  {
    reason: 'null for a text',
    route: 'POST /v1/holds',
    body: { ...holdBody, offering: null },
    pointer: '/offering',
    rule: 'type',
  },
  {
    reason: 'an empty wallet name',
    route: 'POST /v1/holds',
    body: { ...holdBody, wallet: '' },
    pointer: '/wallet',
    rule: 'minLength',
  },
  {
    reason: 'a NUL character',
    route: 'POST /v1/holds',
    body: { ...holdBody, offering: 'a\0b' },
    pointer: '/offering',
    rule: 'text',
  },
  {
    reason: 'a NUL character inside the free context',
    route: 'POST /v1/holds',
    body: { ...holdBody, context: { a: ['\0'] } },
    pointer: '/context/a/0',
    rule: 'text',
  },
  {
    reason: 'half a surrogate pair',
    route: 'POST /v1/holds',
    body: { ...holdBody, context: { order: '\ud800' } },
    pointer: '/context/order',
    rule: 'text',
  },
  { reason: 'a NUL character in a path', route: 'GET /v1/wallets/a%00b', pointer: '/wallet', rule: 'text' },
  {
    reason: 'a context that nests too deep',
    route: 'POST /v1/holds',
    body: { ...holdBody, context: deep(20) },
    pointer: '/context/x/x/x/x/x/x/x/x/x/x/x/x/x/x/x',
    rule: 'depth',
  },
  { reason: 'a list for an object', route: 'POST /v1/holds', body: [], pointer: '', rule: 'type' },
  { reason: 'no lines', route: `POST /v1/holds/{hold}/capture`, body: {}, pointer: '/lines', rule: 'required' },
  {
    reason: 'a negative line',
    route: `POST /v1/holds/{hold}/capture`,
    body: { lines: [{ ...lines[0], amount: -1 }] },
    pointer: '/lines/0/amount',
    rule: 'minimum',
  },
  {
    reason: 'a line without units',
    route: 'POST /v1/debits',
    body: { wallet: 'acme.main', lines: [{ dimension: 'x', amount: 1 }] },
    pointer: '/lines/0/units',
    rule: 'required',
  },
  {
    reason: 'an unknown kind',
    route: 'POST /v1/wallets/acme.main/grants',
    body: { amount: 1, kind: 'Purchased' },
    pointer: '/kind',
    rule: 'enum',
  },
  {
    reason: 'a date that is none',
    route: 'POST /v1/wallets/acme.main/grants',
    body: { amount: 1, kind: 'manual', expiresAt: '2027-02-30T00:00:00Z' },
    pointer: '/expiresAt',
    rule: 'format',
  },
  {
    reason: 'a year that PostgreSQL has not',
    route: 'POST /v1/wallets/acme.main/grants',
    body: { amount: 1, kind: 'manual', expiresAt: '0000-01-01T00:00:00Z' },
    pointer: '/expiresAt',
    rule: 'pattern',
  },
  {
    reason: 'an offset that PostgreSQL has not',
    route: 'POST /v1/wallets/acme.main/grants',
    body: { amount: 1, kind: 'manual', expiresAt: '2027-01-01T00:00:00+23:00' },
    pointer: '/expiresAt',
    rule: 'pattern',
  },
  {
    reason: 'a fulfilment without its line',
    route: 'POST /v1/fulfilments',
    body: { ...fulfilment, line: undefined },
    pointer: '/line',
    rule: 'required',
  },
  {
    reason: 'a negative ordinal',
    route: 'POST /v1/fulfilments',
    body: { ...fulfilment, ordinal: -1 },
    pointer: '/ordinal',
    rule: 'minimum',
  },
  {
    reason: 'an unknown query field',
    route: 'GET /v1/inbox?status=done',
    pointer: '/status',
    rule: 'additionalProperties',
  },
  {
    reason: 'a page of more than 100',
    route: 'GET /v1/wallets/acme.main/entries?limit=101',
    pointer: '/limit',
    rule: 'maximum',
  },
  {
    reason: 'a wait of more than 30 s',
    route: 'GET /v1/events?waitSeconds=31',
    pointer: '/waitSeconds',
    rule: 'maximum',
  },
  { reason: 'a cursor that nobody gave', route: 'GET /v1/inbox?cursor=xyz', pointer: '/cursor', rule: 'cursor' },
  {
    reason: 'an empty batch',
    route: 'POST /v1/batch',
    body: { operations: [] },
    pointer: '/operations',
    rule: 'minItems',
  },
  {
    reason: 'a batch of 101',
    route: 'POST /v1/batch',
    body: { operations: Array(101).fill({ op: 'debit', key: 'k', body: { wallet: 'w', lines } }) },
    pointer: '/operations',
    rule: 'maxItems',
  },
  {
    reason: 'an unknown operation',
    route: 'POST /v1/batch',
    body: { operations: [{ op: 'mint', key: 'k', body: {} }] },
    pointer: '/operations/0/op',
    rule: 'enum',
  },
  {
    reason: 'a batch item without key',
    route: 'POST /v1/batch',
    body: { operations: [{ op: 'hold', body: holdBody }] },
    pointer: '/operations/0/key',
    rule: 'required',
  },
  {
    reason: 'a batch capture without its hold',
    route: 'POST /v1/batch',
    body: { operations: [{ op: 'capture', key: 'k', body: { lines } }] },
    pointer: '/operations/0/hold',
    rule: 'required',
  },
  {
    reason: 'base64 that is not canonical',
    route: 'POST /v1/inbox',
    body: { ...inboxBody, rawBase64: 'e31=' },
    pointer: '/rawBase64',
    rule: 'base64',
  },
  {
    reason: 'base64 without padding',
    route: 'POST /v1/inbox',
    body: { ...inboxBody, rawBase64: 'e30A' + 'e30' },
    pointer: '/rawBase64',
    rule: 'base64',
  },
  {
    reason: 'a digest of other bytes',
    route: 'POST /v1/inbox',
    body: { ...inboxBody, rawBase64: 'e30K' },
    pointer: '/bodySha256',
    rule: 'sha256',
  },
  {
    reason: 'an upper-case digest',
    route: 'POST /v1/inbox',
    body: { ...inboxBody, bodySha256: inboxBody.bodySha256.toUpperCase() },
    pointer: '/bodySha256',
    rule: 'pattern',
  },
  {
    reason: 'an arrival that is already done',
    route: 'POST /v1/inbox',
    body: { ...inboxBody, state: 'done' },
    pointer: '/state',
    rule: 'enum',
  },
  {
    reason: 'a lease of zero',
    route: 'POST /v1/inbox/claim',
    body: { leaseSeconds: 0 },
    pointer: '/leaseSeconds',
    rule: 'minimum',
  },
  {
    reason: 'a parking without reason',
    route: 'POST /v1/inbox/inbox_1/park',
    body: {},
    pointer: '/reason',
    rule: 'required',
  },
];
for (const { reason, route, body, pointer, rule } of invalid) {
  test(`${reason} is an invalid request: ${rule} at ${pointer || '/'}`, async () => {
    const [method = '', path = ''] = route.replace('{hold}', hold).split(' ');
    const reply = await ledger.request(method, path, { key: 'k', ...(body === undefined ? {} : { body }) });
    assert.equal([reply.status, reply.body.code], [422, 'invalid_request']);
    const found = reply.body.errors.some(
      (error: { pointer: string; rule: string }) => error.pointer === pointer && error.rule === rule,
    );
    assert.ok(found, JSON.stringify(reply.body.errors));
    assert.is(reply.body.request_id, reply.headers.get('x-request-id'));
  });
}
