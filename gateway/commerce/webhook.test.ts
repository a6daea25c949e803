import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { pino } from 'pino';
import * as assert from 'uvu/assert';
import { createHttpApp } from '../../config/http.ts';
import { type InboxBody, type InboxEntry, LedgerError } from '../../ledger/client.ts';
import type { Inbox } from './intake.ts';
import { commerceRoutes } from './webhook.ts';

const TESTDATA = join(import.meta.dirname, 'testdata');
const SHOP = 'http://127.0.0.1:8000/graphql/';

let app: FastifyInstance;
let ledgerAway = false;
const rows: InboxBody[] = [];
const inbox: Inbox = {
  async inboxPut(body) {
    if (ledgerAway) throw new LedgerError(0, 'ledger_unavailable', 'no reply', {});
    rows.push(body);
    return {
      ...body,
      id: 'i1',
      attempts: 0,
      receivedAt: '2026-11-23T00:00:00Z',
      created: true,
    } as unknown as InboxEntry & {
      created: boolean;
    };
  },
};

before(async () => {
  const jwks = JSON.parse(readFileSync(join(TESTDATA, 'jwks.json'), 'utf8')) as JSONWebKeySet;
  app = await createHttpApp({ log: pino({ level: 'silent' }), title: 'test', bodyLimitBytes: 1024 });
  await commerceRoutes(app, { shops: [SHOP], keys: () => createLocalJWKSet(jwks), inbox });
});
after(() => app.close());

function recordedHeaders(base: string): Record<string, string> {
  const lines = readFileSync(join(TESTDATA, `${base}.head`), 'utf8')
    .trimEnd()
    .split('\r\n')
    .slice(1);
  return Object.fromEntries(
    lines
      .map(
        (line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as const,
      )
      .filter(([name]) => !['content-length', 'host', 'connection'].includes(name)),
  );
}

async function post(payload: string | Buffer, headers = recordedHeaders('12-order28-fully-paid')) {
  const response = await app.inject({ method: 'POST', url: '/webhooks/saleor', headers, payload });
  return { status: response.statusCode, headers: response.headers, body: response.json() as Record<string, unknown> };
}

const body = readFileSync(join(TESTDATA, '12-order28-fully-paid.body'));

test('a verified delivery is answered with what became of it', async () => {
  const reply = await post(body);
  assert.is(reply.status, 200);
  assert.is(reply.body.state, 'pending');
  assert.is(rows.length, 1);
});

test('a forged delivery is 401 with a sentence and leaves no row', async () => {
  const count = rows.length;
  const reply = await post(Buffer.concat([body, Buffer.from(' ')]));
  assert.is(reply.status, 401);
  assert.is(reply.body.code, 'signature_invalid');
  assert.match(String(reply.body.detail), 'the signature does not verify');
  assert.is(rows.length, count);
});

test('a ledger that is away is 503, so that the shop sends the delivery again', async () => {
  ledgerAway = true;
  try {
    const reply = await post(body);
    assert.is(reply.status, 503);
    assert.is(reply.body.code, 'inbox_unavailable');
    assert.ok(reply.headers['retry-after']);
  } finally {
    ledgerAway = false;
  }
});

test('a delivery over the cap is 413', async () => {
  assert.is((await post(Buffer.alloc(1024 * 1024 + 1, 0x20))).status, 413);
});

const BAD: [reason: string, payload: string | Buffer, headers: Record<string, string>][] = [
  ['no body', '', recordedHeaders('12-order28-fully-paid')],
  [
    'another media type',
    'x=1',
    { ...recordedHeaders('12-order28-fully-paid'), 'content-type': 'application/x-www-form-urlencoded' },
  ],
  ['no Saleor header at all', '{}', { 'content-type': 'application/json' }],
  [
    'a signature of 8000 characters',
    '{}',
    {
      ...recordedHeaders('12-order28-fully-paid'),
      'saleor-signature': 'a'.repeat(8000),
      'x-saleor-signature': 'a'.repeat(8000),
    },
  ],
];

for (const [reason, payload, headers] of BAD) {
  test(`bad input is a 4xx problem, never a 5xx: ${reason}`, async () => {
    const count = rows.length;
    const reply = await post(payload, headers);
    assert.ok(reply.status >= 400 && reply.status < 500, `${reply.status}`);
    assert.type(reply.body.code, 'string');
    assert.is(rows.length, count);
  });
}
