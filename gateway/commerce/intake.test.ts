import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLocalJWKSet, exportJWK, FlattenedSign, generateKeyPair, type JSONWebKeySet } from 'jose';
import * as assert from 'uvu/assert';
import { Problem } from '../../config/problem.ts';
import { parseDelivery } from '../../config/saleor.ts';
import type { InboxBody, InboxEntry } from '../../ledger/client.ts';
import { classify, type Inbox, type IntakeOptions, type Receipt, takeIn } from './intake.ts';
import { remoteShopKeys } from './signature.ts';

const TESTDATA = join(import.meta.dirname, 'testdata');
const SHOP = 'http://127.0.0.1:8000/graphql/';
const JWKS = JSON.parse(readFileSync(join(TESTDATA, 'jwks.json'), 'utf8')) as JSONWebKeySet;

function recorded(base: string): { headers: IncomingHttpHeaders; raw: Buffer } {
  const [, ...lines] = readFileSync(join(TESTDATA, `${base}.head`), 'utf8')
    .trimEnd()
    .split('\r\n');
  const headers: IncomingHttpHeaders = {};
  for (const line of lines) {
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { headers, raw: readFileSync(join(TESTDATA, `${base}.body`)) };
}

class MemoryInbox implements Inbox {
  readonly rows: InboxBody[] = [];
  async inboxPut(body: InboxBody): Promise<InboxEntry & { created: boolean }> {
    const known = this.rows.some((row) => row.shop === body.shop && row.bodySha256 === body.bodySha256);
    if (!known) this.rows.push(body);
    const { rawBase64: _raw, ...entry } = body;
    return {
      ...entry,
      id: body.bodySha256,
      attempts: 0,
      receivedAt: '2026-11-23T00:00:00Z',
      created: !known,
    } as InboxEntry & {
      created: boolean;
    };
  }
}

function intake(overrides: Partial<IntakeOptions> = {}): IntakeOptions & { inbox: MemoryInbox } {
  return { shops: [SHOP], keys: () => createLocalJWKSet(JWKS), ...overrides, inbox: new MemoryInbox() };
}

async function refusal(promise: Promise<Receipt>): Promise<string> {
  try {
    await promise;
    return 'accepted';
  } catch (error) {
    if (error instanceof Problem) return `${error.status} ${error.code}`;
    throw error;
  }
}

const FILED: Record<string, string> = {
  '01-order21-fully-paid': 'pending',
  '01-order21-fully-paid-typed': 'pending',
  '02-order21-partially-refunded': 'pending',
  '03-order21-refunded': 'pending',
  '04-order21-fully-refunded': 'pending',
  '05-order22-fully-paid': 'pending',
  '06-order22-cancelled-after-payment': 'pending',
  '07-order23-fully-paid': 'pending',
  '08-order23-partially-refunded-transactions': 'pending',
  '09-order23-refunded-transactions': 'pending',
  '10-order23-fully-refunded-transactions': 'pending',
  '11-order24-cancelled-unpaid': 'ignored',
  '12-order28-fully-paid': 'pending',
  '13-order28-partially-refunded': 'pending',
  '14-order28-fully-paid-again': 'pending',
  '15-order27-credit-pack-only': 'pending',
  '16-product-updated': 'ignored',
};

for (const [base, state] of Object.entries(FILED)) {
  test(`the recorded delivery ${base} verifies and is filed as ${state}`, async () => {
    const options = intake();
    const { headers, raw } = recorded(base);
    const receipt = await takeIn(headers, raw, options);
    assert.is(receipt.state, state);
    assert.is(options.inbox.rows.length, 1);
    const row = options.inbox.rows[0];
    assert.is(row?.shop, SHOP);
    assert.is(row?.bodySha256, createHash('sha256').update(raw).digest('hex'));
    assert.ok(Buffer.from(row?.rawBase64 ?? '', 'base64').equals(raw));
  });
}

test('the event-style and the typed delivery of one order name the same order', async () => {
  const options = intake();
  for (const base of ['01-order21-fully-paid', '01-order21-fully-paid-typed']) {
    const { headers, raw } = recorded(base);
    await takeIn(headers, raw, options);
  }
  assert.is(new Set(options.inbox.rows.map((row) => row.order)).size, 1);
  assert.is(options.inbox.rows.length, 2);
});

for (const spelling of [
  'http://127.0.0.1:8000/graphql',
  'HTTP://127.0.0.1:8000/graphql/',
  'http://127.1:8000/./graphql/',
])
  test(`the shop spelled ${spelling} in the unsigned header is the same shop, so its delivery is known`, async () => {
    const options = intake();
    const { headers, raw } = recorded('12-order28-fully-paid');
    await takeIn(headers, raw, options);
    const respelled = { ...headers, 'saleor-api-url': spelling, 'x-saleor-api-url': spelling };
    assert.is((await takeIn(respelled, raw, options)).duplicate, true);
    assert.equal(
      options.inbox.rows.map(({ shop }) => shop),
      [SHOP],
    );
  });

test('the same bytes again are known', async () => {
  const options = intake();
  const { headers, raw } = recorded('12-order28-fully-paid');
  assert.is((await takeIn(headers, raw, options)).duplicate, false);
  assert.is((await takeIn(headers, raw, options)).duplicate, true);
  assert.is(options.inbox.rows.length, 1);
});

const CLASSIFIED: [event: string, charged: number, paid: boolean, filed: string][] = [
  ['order_fully_paid', 100, true, 'pending'],
  ['order_fully_paid', 40, false, 'pending'],
  ['order_fully_refunded', 0, false, 'pending'],
  ['order_cancelled', 100, true, 'pending'],
  ['order_cancelled', 0, false, 'ignored NothingCharged'],
  ['order_expired', 1, false, 'pending'],
  ['order_expired', 0, false, 'ignored NothingCharged'],
  ['order_updated', 40, false, 'pending'],
  ['order_updated', 0, false, 'pending'],
  ['order_updated', 100, true, 'ignored NoEffect'],
  ['order_created', 0, false, 'ignored NoEffect'],
];

for (const [event, charged, paid, filed] of CLASSIFIED) {
  test(`${event} with ${charged} of 100 charged is filed as ${filed}`, () => {
    const delivery = parseDelivery(recorded('05-order22-fully-paid').raw);
    if (delivery.order === undefined) throw new Error('there is no order');
    const order = { ...delivery.order, paid, charged: { minor: charged, currency: 'USD' } };
    const { state, reason } = classify({ ...delivery, event, order });
    assert.is([state, reason].filter(Boolean).join(' '), filed);
  });
}

test('a legacy payload is refused after its signature was checked', async () => {
  const options = intake();
  const { headers, raw } = recorded('01-order21-fully-paid-legacy');
  assert.is(await refusal(takeIn(headers, raw, options)), '422 legacy_payload');
  assert.is(options.inbox.rows.length, 0);
});

test('an HMAC delivery is refused and says why', async () => {
  const options = intake();
  const { headers, raw } = recorded('01-order21-fully-paid-hmac');
  assert.is(await refusal(takeIn(headers, raw, options)), '401 signature_unsupported');
  assert.is(options.inbox.rows.length, 0);
});

interface Forgery {
  reason: string;
  forge: (delivery: { headers: IncomingHttpHeaders; raw: Buffer }) => { headers: IncomingHttpHeaders; raw: Buffer };
  code: string;
}

const withHeader = (name: string, value: string | undefined): Forgery['forge'] => {
  return ({ headers, raw }) => ({ raw, headers: { ...headers, [name]: value, [`x-${name}`]: value } });
};
const signatureOf = (base: string): string => String(recorded(base).headers['saleor-signature']);
const header = (json: object): string => Buffer.from(JSON.stringify(json)).toString('base64url');

const FORGERIES: Forgery[] = [
  {
    reason: 'one byte of the body differs',
    forge: ({ headers, raw }) => ({
      headers,
      raw: Buffer.from(raw.toString().replace('"quantity": 1', '"quantity": 9')),
    }),
    code: '401 signature_invalid',
  },
  {
    reason: 'white space was added',
    forge: ({ headers, raw }) => ({ headers, raw: Buffer.concat([raw, Buffer.from('\n')]) }),
    code: '401 signature_invalid',
  },
  {
    reason: 'the signature belongs to another delivery',
    forge: withHeader('saleor-signature', signatureOf('05-order22-fully-paid')),
    code: '401 signature_invalid',
  },
  { reason: 'there is no signature', forge: withHeader('saleor-signature', undefined), code: '401 signature_missing' },
  {
    reason: 'the signature is garbage',
    forge: withHeader('saleor-signature', 'nonsense'),
    code: '401 signature_invalid',
  },
  {
    reason: 'alg is none',
    forge: withHeader('saleor-signature', `${header({ alg: 'none', b64: false, crit: ['b64'] })}..AAAA`),
    code: '401 signature_invalid',
  },
  {
    reason: 'alg is HS256',
    forge: withHeader('saleor-signature', `${header({ alg: 'HS256', b64: false, crit: ['b64'] })}..AAAA`),
    code: '401 signature_invalid',
  },
  {
    reason: 'b64 is left out, so that other bytes are signed',
    forge: withHeader(
      'saleor-signature',
      `${header({ alg: 'RS256', kid: JWKS.keys[0]?.kid })}..${signatureOf('12-order28-fully-paid').split('..')[1]}`,
    ),
    code: '401 signature_invalid',
  },
  {
    reason: 'the event header says something else',
    forge: withHeader('saleor-event', 'order_refunded'),
    code: '401 delivery_mismatch',
  },
  {
    reason: 'the shop is not on the allow-list',
    forge: withHeader('saleor-api-url', 'http://evil.example/graphql/'),
    code: '401 shop_unknown',
  },
  { reason: 'the shop is missing', forge: withHeader('saleor-api-url', undefined), code: '401 shop_unknown' },
  { reason: 'the shop is no URL', forge: withHeader('saleor-api-url', '::'), code: '401 shop_unknown' },
  {
    reason: 'the domain names another shop',
    forge: withHeader('saleor-domain', 'evil.example'),
    code: '401 delivery_mismatch',
  },
  {
    reason: 'the doubled header differs from the plain one',
    forge: ({ headers, raw }) => ({ raw, headers: { ...headers, 'x-saleor-api-url': 'http://evil.example/graphql/' } }),
    code: '401 delivery_mismatch',
  },
];

for (const { reason, forge, code } of FORGERIES) {
  test(`a forged delivery leaves no row: ${reason}`, async () => {
    const options = intake();
    const { headers, raw } = forge(recorded('12-order28-fully-paid'));
    assert.is(await refusal(takeIn(headers, raw, options)), code);
    assert.is(options.inbox.rows.length, 0);
  });
}

const MALFORMED: [reason: string, body: string, code: string][] = [
  ['it is no JSON', '{', '400 malformed_body'],
  ['it is no UTF-8', '\xff\xfe', '400 malformed_body'],
  ['it is null', 'null', '422 payload_incomplete'],
  ['it is a text', '"x"', '422 payload_incomplete'],
  ['the typed root is empty', '{"data":{}}', '422 payload_incomplete'],
  ['it does not name its type', '{"order":{"id":"x"}}', '422 payload_incomplete'],
  [
    'an order event has no order',
    '{"__typename":"OrderFullyPaid","issuedAt":"2026-11-23T07:51:20Z"}',
    '422 payload_incomplete',
  ],
];

for (const [reason, body, code] of MALFORMED) {
  test(`a well-signed delivery is refused with a pointer when ${reason}`, async () => {
    const { privateKey, publicKey } = await generateKeyPair('RS256');
    const raw = Buffer.from(body, 'latin1');
    const jws = await new FlattenedSign(raw)
      .setProtectedHeader({ alg: 'RS256', b64: false, crit: ['b64'], kid: 'k' })
      .sign(privateKey);
    const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'RS256' }] });
    const options = intake({ keys: () => keys });
    const headers = {
      'saleor-api-url': SHOP,
      'saleor-event': 'order_fully_paid',
      'saleor-signature': `${jws.protected}..${jws.signature}`,
    };
    assert.is(await refusal(takeIn(headers, raw, options)), code);
    assert.is(options.inbox.rows.length, 0);
  });
}

test('a shop whose keys cannot be fetched is a transient failure, so that Saleor tries again', async () => {
  const dead = 'http://127.0.0.1:9/graphql/';
  const options = intake({ shops: [dead], keys: remoteShopKeys() });
  const { headers, raw } = recorded('12-order28-fully-paid');
  const moved = {
    ...headers,
    'saleor-api-url': dead,
    'x-saleor-api-url': dead,
    'saleor-domain': '127.0.0.1:9',
    'x-saleor-domain': '127.0.0.1:9',
  };
  assert.is(await refusal(takeIn(moved, raw, options)), '503 shop_keys_unavailable');
});
