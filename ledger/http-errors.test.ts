/** Every refusal over HTTP: status and code, and for bad input the pointer and the rule. */
import { request as httpRequest } from 'node:http';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type RequestOptions, startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import { LEDGER_ERRORS } from './errors.ts';

let ledger: TestLedger;
let grant = '';
before(async () => {
  ledger = await startTestLedger();
  await ledger.client.putWallet('acme.main', { ownerUid: 'owner' });
  grant = (await ledger.client.grant('acme.main', { amount: 1_000, kind: 'purchased' }, 'g')).grant;
  await ledger.client.putWallet('acme.closed', { ownerUid: 'owner' });
  await ledger.client.closeWallet('acme.closed', {}, 'c');
});
after(() => ledger.close());

const holdBody = { wallet: 'acme.main', amount: 1, ttlSeconds: 60 };
test('the catalogue names every refusal of this table with its status', () => {
  for (const { code, status } of refused) {
    assert.is(LEDGER_ERRORS[code as keyof typeof LEDGER_ERRORS]?.status, status, code);
  }
});

interface Refused {
  status: number;
  code: string;
  reason: string;
  route: string;
  options?: RequestOptions | (() => RequestOptions);
}

const keyed = (body: unknown, key = 'refused'): RequestOptions => ({ key, body });
const refused: Refused[] = [
  {
    status: 400,
    code: 'malformed_body',
    reason: 'broken JSON',
    route: 'POST /v1/holds',
    options: { key: 'k', raw: '{"wallet":' },
  },
  {
    status: 400,
    code: 'malformed_body',
    reason: 'a poisoned prototype',
    route: 'POST /v1/holds',
    options: { key: 'k', raw: '{"__proto__": {}}' },
  },
  {
    status: 400,
    code: 'idempotency_key_required',
    reason: 'no key',
    route: 'POST /v1/holds',
    options: { body: holdBody },
  },
  {
    status: 400,
    code: 'idempotency_key_required',
    reason: 'an empty key',
    route: 'POST /v1/holds',
    options: { key: '', body: holdBody },
  },
  {
    status: 422,
    code: 'invalid_request',
    reason: 'a key of 256 characters',
    route: 'POST /v1/holds',
    options: keyed(holdBody, 'k'.repeat(256)),
  },
  {
    status: 422,
    code: 'invalid_request',
    reason: 'an epoch that is no number',
    route: 'POST /v1/holds',
    options: { ...keyed(holdBody), headers: { 'gsv-fencing-epoch': 'x' } },
  },
  {
    status: 402,
    code: 'insufficient_credits',
    reason: 'a hold above what is there',
    route: 'POST /v1/holds',
    options: keyed({ ...holdBody, amount: 1_000_000 }),
  },
  {
    status: 402,
    code: 'insufficient_credits',
    reason: 'a debit above what is there',
    route: 'POST /v1/debits',
    options: keyed({ wallet: 'acme.main', lines: [{ dimension: 'x', units: 1, amount: 1_000_000 }] }),
  },
  { status: 404, code: 'wallet_not_found', reason: 'an unknown wallet', route: 'GET /v1/wallets/acme.none' },
  {
    status: 404,
    code: 'wallet_not_found',
    reason: 'a hold on an unknown wallet',
    route: 'POST /v1/holds',
    options: keyed({ ...holdBody, wallet: 'acme.none' }),
  },
  {
    status: 404,
    code: 'wallet_not_found',
    reason: 'entries of an unknown wallet',
    route: 'GET /v1/wallets/acme.none/entries',
  },
  { status: 404, code: 'hold_not_found', reason: 'an unknown hold', route: 'GET /v1/holds/hold_999999' },
  { status: 404, code: 'hold_not_found', reason: 'a hold id that is none', route: 'GET /v1/holds/DROP%20TABLE' },
  {
    status: 404,
    code: 'hold_not_found',
    reason: 'a capture of an unknown hold',
    route: 'POST /v1/holds/hold_999999/capture',
    options: keyed({ lines: [] }),
  },
  {
    status: 404,
    code: 'grant_not_found',
    reason: 'an unknown grant',
    route: 'POST /v1/grants/grant_999999/revoke',
    options: keyed({ amount: 1 }),
  },
  { status: 404, code: 'receipt_not_found', reason: 'an unknown receipt', route: 'GET /v1/receipts/receipt_999999' },
  { status: 404, code: 'run_not_found', reason: 'an unknown run', route: 'GET /v1/runs/none' },
  {
    status: 404,
    code: 'fulfilment_not_found',
    reason: 'an unknown fulfilment',
    route: 'POST /v1/fulfilments/none/claim',
    options: { body: { instanceUid: 'u' } },
  },
  {
    status: 404,
    code: 'inbox_item_not_found',
    reason: 'an unknown inbox item',
    route: 'POST /v1/inbox/inbox_999999/done',
    options: { body: {} },
  },
  { status: 404, code: 'not_found', reason: 'an unknown route', route: 'GET /v1/nothing' },
  { status: 404, code: 'not_found', reason: 'a method that a route has not', route: 'DELETE /v1/holds' },
  {
    status: 409,
    code: 'owner_mismatch',
    reason: 'a wallet of another owner',
    route: 'PUT /v1/wallets/acme.main',
    options: { body: { ownerUid: 'thief' } },
  },
  {
    status: 409,
    code: 'wallet_not_empty',
    reason: 'closing with money inside',
    route: 'POST /v1/wallets/acme.main/close',
    options: keyed({}),
  },
  {
    status: 409,
    code: 'wallet_closed',
    reason: 'a hold on a closed wallet',
    route: 'POST /v1/holds',
    options: keyed({ ...holdBody, wallet: 'acme.closed' }),
  },
  {
    status: 415,
    code: 'unsupported_media_type',
    reason: 'a form',
    route: 'POST /v1/holds',
    options: { key: 'k', raw: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
  },
  {
    status: 413,
    code: 'body_too_large',
    reason: 'a body of 300 KB',
    route: 'POST /v1/holds',
    options: keyed({ ...holdBody, context: { x: 'y'.repeat(300_000) } }),
  },
  {
    status: 429,
    code: 'too_many_runs',
    reason: 'more runs than allowed',
    route: 'POST /v1/holds',
    options: keyed({ ...holdBody, instanceUid: 'busy', maxConcurrent: 1 }),
  },
];
for (const { status, code, reason, route, options } of refused) {
  test(`${reason} is ${status} ${code}`, async () => {
    if (code === 'too_many_runs') await ledger.client.hold({ ...holdBody, instanceUid: 'busy' }, 'busy');
    const [method = '', path = ''] = route.split(' ');
    const reply = await ledger.request(method, path, typeof options === 'function' ? options() : (options ?? {}));
    assert.equal([reply.status, reply.body.code, reply.body.status], [status, code, status]);
    assert.match(reply.headers.get('content-type') ?? '', 'application/problem+json');
  });
}

test('a 402 says what is available and what was required', async () => {
  await ledger.client.putWallet('acme.poor', { ownerUid: 'poor' });
  await ledger.client.grant('acme.poor', { amount: 7, kind: 'trial' }, 'g');
  const { body } = await ledger.request('POST', '/v1/holds', keyed({ ...holdBody, wallet: 'acme.poor', amount: 9 }));
  assert.equal([body.available, body.required], [7, 9]);
});

const endings = [
  { code: 'already_captured', end: (id: string) => ledger.client.capture(id, { lines: [] }, `end:${id}`) },
  { code: 'already_voided', end: (id: string) => ledger.client.voidHold(id, {}, `end:${id}`) },
  { code: 'already_expired', end: async () => ledger.advance(120) },
];
for (const { code, end } of endings) {
  test(`a second resolution is 409 ${code}`, async () => {
    const opened = await ledger.client.hold(holdBody, `ending:${code}`);
    await end(opened.hold);
    for (const action of ['capture', 'void', 'extend']) {
      const body = { capture: { lines: [] }, void: {}, extend: { ttlSeconds: 5 } }[action];
      const reply = await ledger.request('POST', `/v1/holds/${opened.hold}/${action}`, keyed(body, `second:${action}`));
      assert.equal([action, reply.status, reply.body.code], [action, 409, code]);
    }
  });
}

test('a caller with an older epoch than one seen is a stale leader', async () => {
  const send = (epoch: number) =>
    ledger.request('PUT', '/v1/wallets/acme.fenced', {
      body: { ownerUid: 'o' },
      headers: { 'gsv-fencing-epoch': String(epoch) },
    });
  assert.is((await send(7)).status, 200);
  assert.is((await send(7)).status, 200);
  const stale = await send(6);
  assert.equal([stale.status, stale.body.code], [409, 'stale_leader']);
  const claim = await ledger.request('POST', '/v1/inbox/claim', {
    body: { leaseSeconds: 1 },
    headers: { 'gsv-fencing-epoch': '6' },
  });
  assert.equal([claim.status, claim.body.code], [409, 'stale_leader']);
});

test('an epoch is kept although what was asked for is not there: so a new leader announces itself', async () => {
  const claim = (epoch: number) =>
    ledger.request('POST', '/v1/fulfilments/fulfilment_0/claim', {
      body: { instanceUid: 'epoch' },
      headers: { 'gsv-fencing-epoch': String(epoch) },
    });
  assert.equal((await claim(9)).body.code, 'fulfilment_not_found');
  assert.equal((await claim(8)).body.code, 'stale_leader');
});

test('revoking more than a grant had is refused', async () => {
  const reply = await ledger.request('POST', `/v1/grants/${grant}/revoke`, keyed({ amount: 5_000 }));
  assert.equal([reply.status, reply.body.code], [422, 'invalid_request']);
});

test('lines that sum beyond 2^53 are refused, not rounded', async () => {
  const huge = { dimension: 'x', units: 1, amount: Number.MAX_SAFE_INTEGER };
  const reply = await ledger.request('POST', '/v1/debits', keyed({ wallet: 'acme.main', lines: [huge, huge] }));
  assert.equal([reply.status, reply.body.code], [422, 'invalid_request']);
});

test('a body that says nothing of its length and never ends is cut at the limit', async () => {
  const status = await new Promise<number>((resolve, reject) => {
    const url = new URL(`${ledger.url}/v1/holds`);
    const sent = httpRequest(
      url,
      {
        method: 'POST',
        headers: {
          authorization: 'Bearer test-token-with-all-scopes',
          'content-type': 'application/json',
          'idempotency-key': 'k',
        },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    sent.on('error', reject);
    const chunk = Buffer.alloc(65_536, 0x20);
    for (let i = 0; i < 8; i++) sent.write(chunk);
  });
  assert.is(status, 413);
});
