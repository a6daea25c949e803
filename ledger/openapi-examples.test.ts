/**
 * The examples of the OpenAPI document are one conversation with a new ledger. It is held again here, call by call, and
 * every answer is compared with what the document shows: `UPDATE_GOLDEN=1 npm test -- ledger/openapi-examples`, then
 * `npm run format`, records it anew.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { startOpenMeter } from '../hack/openmeter/server.ts';
import { wantsUpdate } from '../hack/testing/golden.ts';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import recorded from './routes/examples.json' with { type: 'json' };
import { exampleOf, type RouteExample } from './routes/examples.ts';

interface Step extends Omit<RouteExample, 'replies'> {
  /** As the document writes it. */
  route: string;
  status: number;
  /** Seconds that pass before it. */
  wait?: number;
}

const START = Date.parse('2026-10-15T09:00:00Z');
const SHOP = 'https://shop.example.com/graphql/';
const ORDER = 'T3JkZXI6MQ==';
const INSTANCE = '0d4b7c1c-3c55-4a6e-8a52-6f1f8f5f4b9e';
const wallet = 'acme.main';
const OCTOBER = { from: '2026-10-01T00:00:00Z', to: '2026-11-01T00:00:00Z' };

const CONTEXT = {
  instance: 'acme/claims',
  contractDigest: 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
  order: ORDER,
  commit: '3b18e512dba79e4c8300dd08aeb37f8e728b8dad',
  traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
};
const hold = (runId: string, amount: number) => ({
  ...{ wallet, amount, ttlSeconds: 180, offering: 'claims-agent', project: 'default', instanceUid: INSTANCE },
  ...{ maxConcurrent: 4, context: { ...CONTEXT, runId } },
});
const unit = {
  ...{ shop: SHOP, order: ORDER, line: 'T3JkZXJMaW5lOjE=', ordinal: 0, sku: 'CLAIMS-STARTER', wallet },
  ...{ offering: 'claims-agent', plan: 'starter', grants: [{ amount: 5_000_000, kind: 'included' }] },
  paidThrough: '2027-01-01T00:00:00Z',
};
/** The raw bytes are `{}`. */
const delivery = {
  ...{ shop: SHOP, order: ORDER, event: 'order_fully_paid', state: 'pending', rawBase64: 'e30=' },
  bodySha256: '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
};
const line = (units: number, amount: number) => ({ dimension: 'run', units, amount });
const inbox = { id: 'inbox_1' };

/** The first call of a route with a status is the one that the document shows. */
const CONVERSATION: Step[] = [
  { route: 'GET /livez', status: 200 },
  { route: 'GET /readyz', status: 200 },
  {
    ...{ route: 'PUT /v1/wallets/{wallet}', params: { wallet }, status: 200 },
    request: {
      ownerUid: '5f0c8d1e-7a1b-4c52-9d1f-0b6f0e5a7c11',
      debtPolicy: { floor: -1_000_000, repayFirst: true },
      thresholds: [1_000_000],
      caps: [{ project: 'default', amount: 50_000_000 }],
    },
  },
  { route: 'POST /v1/fulfilments', key: 'line:T3JkZXJMaW5lOjE=:0', request: unit, status: 201 },
  { route: 'POST /v1/fulfilments', key: 'again', request: unit, status: 200 },
  {
    ...{ route: 'POST /v1/fulfilments/{id}/claim', params: { id: 'fulfilment_1' }, status: 200 },
    request: { instanceUid: INSTANCE },
  },
  { route: 'GET /v1/fulfilments', query: { shop: SHOP, order: ORDER, limit: 50 }, status: 200 },
  {
    ...{ route: 'POST /v1/wallets/{wallet}/grants', params: { wallet }, key: 'by-hand:4711', status: 201 },
    request: {
      ...{ amount: 2_000_000, kind: 'promotional', priority: 50, expiresAt: '2027-01-01T00:00:00Z' },
      ...{ scope: { offerings: ['claims-agent'] }, source: { type: 'ticket', id: '4711' } },
    },
  },
  { route: 'POST /v1/holds', key: 'run:run-1', request: hold('run-1', 20_000), status: 201 },
  { route: 'POST /v1/holds', key: 'run:run-2', request: hold('run-2', 40_000_000), status: 402 },
  { route: 'GET /v1/holds', query: { instanceUid: INSTANCE, limit: 50 }, status: 200 },
  { route: 'GET /v1/holds/{hold}', params: { hold: 'hold_1' }, status: 200 },
  { route: 'GET /v1/holds/{hold}', params: { hold: 'hold_99' }, status: 404 },
  {
    ...{ route: 'POST /v1/holds/{hold}/extend', params: { hold: 'hold_1' }, key: 'run:run-1:1', status: 200 },
    ...{ request: { ttlSeconds: 180 }, wait: 60 },
  },
  {
    ...{ route: 'POST /v1/holds/{hold}/capture', params: { hold: 'hold_1' }, key: 'run:run-1', status: 200 },
    request: { lines: [line(1, 12_000)], final: true, resultRef: 'results/0d4b7c1c/run-1.json' },
  },
  {
    ...{ route: 'POST /v1/holds/{hold}/capture', params: { hold: 'hold_1' }, key: 'run:run-1:twice', status: 409 },
    request: { lines: [line(1, 12_000)] },
  },
  { route: 'GET /v1/receipts/{receipt}', params: { receipt: 'receipt_1' }, status: 200 },
  { route: 'GET /v1/runs/{runId}', params: { runId: 'run-1' }, status: 200 },
  { route: 'POST /v1/holds', key: 'run:run-3', request: hold('run-3', 20_000), status: 201 },
  {
    ...{ route: 'POST /v1/holds/{hold}/void', params: { hold: 'hold_2' }, key: 'run:run-3', status: 200 },
    request: { reason: 'runtime_error' },
  },
  {
    ...{ route: 'POST /v1/debits', key: 'storage:acme/claims:2026-10-15T09', status: 201 },
    request: {
      ...{ wallet, lines: [{ dimension: 'stored_byte_hour', units: 1_024, amount: 3 }] },
      context: { instance: 'acme/claims' },
    },
  },
  {
    ...{ route: 'POST /v1/batch', status: 200 },
    request: {
      operations: [
        { op: 'hold', key: 'run:run-4', body: hold('run-4', 20_000) },
        { op: 'capture', key: 'run:run-5', hold: 'hold_99', body: { lines: [line(1, 1)] } },
      ],
    },
  },
  {
    ...{ route: 'POST /v1/orders/{shop}/{order}/settle', params: { shop: SHOP, order: ORDER }, status: 200 },
    ...{ key: 'settle:T3JkZXI6MQ==:2026-10-15', request: { charged: 4_000, total: 4_900 }, wait: 60 },
  },
  {
    ...{ route: 'POST /v1/grants/{grant}/revoke', params: { grant: 'grant_2' }, key: 'by-hand:4712', status: 200 },
    request: { amount: 1_500_000, reason: 'granted twice' },
  },
  { route: 'GET /v1/wallets', query: { limit: 50 }, status: 200 },
  { route: 'GET /v1/wallets/{wallet}', params: { wallet }, status: 200 },
  { route: 'GET /v1/wallets/{wallet}/entries', params: { wallet }, query: { limit: 2 }, status: 200 },
  {
    ...{ route: 'GET /v1/wallets/{wallet}/statement', params: { wallet }, status: 200 },
    query: { ...OCTOBER, limit: 3 },
  },
  { route: 'GET /v1/wallets/{wallet}/statement.csv', params: { wallet }, query: OCTOBER, status: 200 },
  { route: 'GET /v1/orders', query: { shop: SHOP, ...OCTOBER, limit: 50 }, status: 200 },
  { route: 'GET /v1/orders.csv', query: { shop: SHOP, ...OCTOBER }, status: 200 },
  { route: 'GET /v1/accounts', query: { from: '2026-10-01', to: '2026-11-01' }, status: 200 },
  { route: 'GET /v1/accounts.csv', query: { from: '2026-10-01', to: '2026-11-01' }, status: 200 },
  { route: 'GET /v1/events', query: { after: 0, waitSeconds: 30 }, status: 200 },
  { route: 'PUT /v1/consumers/{consumer}', params: { consumer: 'operator' }, request: { position: 1 }, status: 200 },
  { route: 'GET /v1/consumers/{consumer}', params: { consumer: 'operator' }, status: 200 },
  { route: 'POST /v1/inbox', request: delivery, status: 201 },
  { route: 'POST /v1/inbox', request: delivery, status: 200 },
  { route: 'POST /v1/inbox/claim', request: { leaseSeconds: 60 }, status: 200 },
  { route: 'POST /v1/inbox/{id}/fail', params: inbox, request: { retryAfterSeconds: 5 }, status: 200 },
  { route: 'POST /v1/inbox/claim', request: { leaseSeconds: 60 }, status: 200, wait: 5 },
  { route: 'POST /v1/inbox/{id}/park', params: inbox, request: { reason: 'TenantUnknown' }, status: 200 },
  { route: 'POST /v1/inbox/{id}/retry', params: inbox, request: {}, status: 200 },
  { route: 'POST /v1/inbox/claim', request: { leaseSeconds: 60 }, status: 200 },
  { route: 'POST /v1/inbox/{id}/done', params: inbox, request: {}, status: 200 },
  { route: 'GET /v1/inbox', query: { state: 'done', limit: 50 }, status: 200 },
  { route: 'GET /v1/outbox', status: 200 },
  { route: 'POST /v1/outbox/retry', request: {}, status: 200 },
  { route: 'POST /v1/drift', request: { ...OCTOBER, wallet, meter: 'gsv_credits' }, status: 200 },
  { route: 'POST /v1/audit', request: {}, status: 200 },
  { route: 'PUT /v1/wallets/{wallet}', params: { wallet: 'acme.trial' }, request: { ownerUid: 'uid-2' }, status: 200 },
  {
    ...{ route: 'POST /v1/wallets/{wallet}/close', params: { wallet: 'acme.trial' }, key: 'close:uid-2', status: 200 },
    request: { forfeit: false },
  },
];

let ledger: TestLedger;
let openmeter: Awaited<ReturnType<typeof startOpenMeter>>;
let now = START;
before(async () => {
  openmeter = await startOpenMeter();
  openmeter.meters.gsv_credits = ({ data }) => Number(data.amount);
  ledger = await startTestLedger({ now: () => new Date(now), openmeter: { url: openmeter.url } });
});
after(async () => {
  await ledger.close();
  await openmeter.close();
});

/** What is another one in every book, at every call, or a second later. */
const MASKS: [name: string, shown: string][] = [
  ['book', '3f0c8d1e-7a1b-4c52-9d1f-0b6f0e5a7c11'],
  ['head', '5b1e6a3f9c0d4e7281aa6b3c5d7e9f10112233445566778899aabbccddeeff00'],
  ['request_id', 'req-1'],
  ['sentAt', '2026-10-15T09:02:06Z'],
];

function masked(body: unknown): unknown {
  return JSON.parse(
    JSON.stringify(body, (name, value) => MASKS.find(([mask]) => mask === name && value !== '')?.[1] ?? value),
  );
}

async function answer({ route, params = {}, query = {}, key, request }: Step) {
  const [method = '', template = ''] = route.split(' ');
  const path = template.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name] ?? ''));
  const search = new URLSearchParams(
    Object.entries(query).map(([name, value]): [string, string] => [name, String(value)]),
  );
  const { status, body } = await ledger.request(method, `${path}${search.size > 0 ? `?${search}` : ''}`, {
    key,
    ...(request === undefined ? {} : { body: request }),
  });
  return { status, body: typeof body === 'string' ? body : masked(body) };
}

/** Until OpenMeter has been told of everything, so that the report has something to compare. */
async function untilSent(): Promise<void> {
  while ((await ledger.request('GET', '/v1/outbox')).body.lag > 0) await new Promise((done) => setTimeout(done, 20));
}

test('every call of the conversation is answered as the document shows it', async () => {
  const held: Record<string, RouteExample> = {};
  for (const { wait = 0, ...step } of CONVERSATION) {
    now += wait * 1_000;
    if (step.route.endsWith('/outbox')) await untilSent();
    const { status, body } = await answer(step);
    assert.is(status, step.status, `${step.route}: ${JSON.stringify(body)}`);
    const { route, status: _, ...call } = step;
    // A refusal is shown beside the call that works.
    held[route] ??= { ...call, replies: {} };
    held[route].replies[status] ??= body;
  }
  if (wantsUpdate())
    writeFileSync(join(import.meta.dirname, 'routes/examples.json'), `${JSON.stringify(held, null, 2)}\n`);
  else assert.equal(held, recorded);
});

interface Operation {
  parameters?: { name: string; in: string; example?: unknown }[];
  requestBody?: { content: Record<string, { example?: unknown }> };
  responses: Record<string, { content?: Record<string, { example?: unknown }> }>;
}

test('every route shows its path, its body and each of its answers, and nothing else is recorded', async () => {
  const { body } = await ledger.request('GET', '/openapi.json');
  const paths = Object.entries(body.paths as Record<string, Record<string, Operation>>);
  const shown = new Set<string>();
  for (const [path, methods] of paths) {
    for (const [method, operation] of Object.entries(methods)) {
      const route = `${method.toUpperCase()} ${path}`;
      const example = exampleOf(method.toUpperCase(), path);
      shown.add(route);
      for (const { name, in: place, example: value } of operation.parameters ?? []) {
        if (place === 'path') assert.is(value, example.params?.[name] ?? 'nothing', `${route} ${name}`);
        if (place === 'query') assert.is(value, example.query?.[name], `${route} ${name}`);
        if (name === 'idempotency-key') assert.is(value, example.key ?? 'nothing', `${route} key`);
      }
      if (operation.requestBody)
        assert.equal(operation.requestBody.content['application/json']?.example, example.request, `${route} body`);
      const refused = Object.entries(example.replies).find(([status]) => status.startsWith('4'))?.[1];
      assert.equal(operation.responses['4XX']?.content?.['application/problem+json']?.example, refused, `${route} 4xx`);
      for (const [status, { content }] of Object.entries(operation.responses).filter(([code]) => /^2/.test(code))) {
        const [media] = Object.values(content ?? {});
        assert.is.not(media?.example, undefined, `${route} ${status} has no example`);
        assert.equal(media?.example, example.replies[status], `${route} ${status}`);
      }
    }
  }
  assert.equal(
    Object.keys(recorded).filter((route) => !shown.has(route)),
    [],
  );
});
