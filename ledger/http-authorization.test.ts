/** Route x token: the matrix is built from the running app, so a new route is in it by itself. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { ALL_SCOPES_TOKEN, startTestLedger, type TestLedger, tokenPerScope } from '../hack/testing/ledger.ts';
import { fileTokens, SCOPES } from './tokens.ts';

/** What each route needs, written down apart from the code: a change there must be meant. */
const NEEDED: Record<string, string> = {
  'PUT /v1/wallets/{wallet}': 'wallets',
  'GET /v1/wallets': 'read',
  'GET /v1/wallets/{wallet}': 'read',
  'POST /v1/wallets/{wallet}/close': 'wallets',
  'POST /v1/wallets/{wallet}/grants': 'grants',
  'GET /v1/wallets/{wallet}/entries': 'read',
  'POST /v1/grants/{grant}/revoke': 'grants',
  'POST /v1/fulfilments': 'fulfilments',
  'GET /v1/fulfilments': 'read',
  'POST /v1/fulfilments/{id}/claim': 'fulfilments',
  'POST /v1/orders/{shop}/{order}/settle': 'settle',
  'POST /v1/holds': 'holds',
  'GET /v1/holds': 'read',
  'GET /v1/holds/{hold}': 'read',
  'POST /v1/holds/{hold}/extend': 'extend',
  'POST /v1/holds/{hold}/capture': 'capture',
  'POST /v1/holds/{hold}/void': 'void',
  'POST /v1/debits': 'debits',
  'POST /v1/batch': 'each',
  'GET /v1/receipts/{receipt}': 'read',
  'GET /v1/runs/{runId}': 'read',
  'GET /v1/events': 'events',
  'GET /v1/wallets/{wallet}/statement': 'read',
  'GET /v1/wallets/{wallet}/statement.csv': 'read',
  'GET /v1/orders': 'read',
  'GET /v1/orders.csv': 'read',
  'GET /v1/accounts': 'read',
  'GET /v1/accounts.csv': 'read',
  'GET /v1/consumers/{consumer}': 'events',
  'PUT /v1/consumers/{consumer}': 'events',
  'POST /v1/audit': 'audit',
  'POST /v1/inbox': 'inbox:write',
  'POST /v1/inbox/claim': 'inbox:work',
  'POST /v1/inbox/{id}/done': 'inbox:work',
  'POST /v1/inbox/{id}/fail': 'inbox:work',
  'POST /v1/inbox/{id}/park': 'inbox:work',
  'POST /v1/inbox/{id}/retry': 'inbox:work',
  'GET /v1/inbox': 'read',
  'GET /v1/outbox': 'read',
  'POST /v1/outbox/retry': 'audit',
  'POST /v1/drift': 'audit',
  'GET /livez': 'public',
  'GET /readyz': 'public',
};

const folder = mkdtempSync(join(tmpdir(), 'gsv-ledger-tokens-'));
const file = join(folder, 'tokens.json');
let ledger: TestLedger;
let routes: string[] = [];

before(async () => {
  writeFileSync(file, JSON.stringify(tokenPerScope()));
  ledger = await startTestLedger({ tokens: fileTokens(file, createLogger({ part: 'test', level: 'fatal' })) });
  const document = (await ledger.request('GET', '/openapi.json')).body as { paths: Record<string, object> };
  routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
});
after(async () => {
  await ledger.close();
  rmSync(folder, { recursive: true });
});

async function call(route: string, token: string | null): Promise<{ status: number; code: string }> {
  const [method = '', template = ''] = route.split(' ');
  const path = template.replace(/\{\w+\}/g, 'none');
  const body = method === 'GET' ? {} : { body: {} };
  const reply = await ledger.request(method, path, { token, key: 'k', ...body });
  return { status: reply.status, code: reply.body.code };
}

test('the matrix knows every route and no other', () => {
  assert.equal(routes.toSorted(), Object.keys(NEEDED).toSorted());
});

test('without a token everything but health is unauthenticated', async () => {
  for (const route of routes) {
    for (const token of [null, 'a-token-nobody-knows']) {
      const { status, code } = await call(route, token);
      if (NEEDED[route] === 'public') assert.is(status, 200, route);
      else assert.equal([route, status, code], [route, 401, 'unauthenticated']);
    }
  }
});

test('each route opens to its scope alone', async () => {
  let cells = 0;
  for (const route of routes.filter((one) => NEEDED[one] !== 'public' && NEEDED[one] !== 'each')) {
    for (const scope of [...SCOPES, 'nothing']) {
      const { status, code } = await call(route, `only-${scope.replace(':', '-')}`);
      const opens = NEEDED[route] === scope;
      assert.is(code === 'forbidden' && status === 403, !opens, `${route} with ${scope}: ${status} ${code}`);
      cells++;
    }
    assert.is.not((await call(route, ALL_SCOPES_TOKEN)).status, 403);
  }
  assert.ok(cells > 300);
});

test('a refusal names the scope that is missing', async () => {
  const { body } = await ledger.request('GET', '/v1/wallets/x', { token: 'only-holds' });
  assert.equal([body.code, body.scope], ['forbidden', 'read']);
});

const batchItems = [
  { scope: 'holds', item: { op: 'hold', body: { wallet: 'none', amount: 1, ttlSeconds: 1 } } },
  { scope: 'debits', item: { op: 'debit', body: { wallet: 'none', lines: [] } } },
  { scope: 'capture', item: { op: 'capture', hold: 'none', body: { lines: [] } } },
  { scope: 'void', item: { op: 'void', hold: 'none', body: {} } },
  { scope: 'extend', item: { op: 'extend', hold: 'none', body: { ttlSeconds: 1 } } },
  { scope: 'grants', item: { op: 'grant', wallet: 'none', body: { amount: 1, kind: 'manual' } } },
  { scope: 'grants', item: { op: 'revoke', grant: 'none', body: { amount: 1 } } },
];
for (const { scope, item } of batchItems) {
  test(`${item.op} in a batch needs the scope ${scope}, and one that is missing stops the whole batch`, async () => {
    for (const held of SCOPES) {
      const { status, body } = await ledger.request('POST', '/v1/batch', {
        token: `only-${held.replace(':', '-')}`,
        body: { operations: [{ key: 'k', ...item }] },
      });
      if (held === scope) assert.equal([status, body.results[0].status], [200, 404]);
      else assert.equal([status, body.code, body.scope], [403, 'forbidden', scope]);
    }
  });
}

test('a rotated tokens file takes effect without a restart', async () => {
  writeFileSync(file, JSON.stringify({ ...tokenPerScope(), 'a-rotated-token': ['read'] }));
  assert.is((await call('GET /v1/wallets/{wallet}', 'a-rotated-token')).status, 404);
  writeFileSync(file, JSON.stringify(tokenPerScope()));
  assert.is((await call('GET /v1/wallets/{wallet}', 'a-rotated-token')).status, 401);
});
