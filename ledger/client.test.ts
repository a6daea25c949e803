import { after, before, beforeEach, test } from 'node:test';
import { inspect } from 'node:util';
import * as assert from 'uvu/assert';
import { type Answer, breakOff, FaultServer, hangUp, json, page, silence } from '../hack/testing/fault-server.ts';
import { LedgerClient, type LedgerClientOptions, LedgerError } from './client.ts';

const server = new FaultServer();
let url: string;
const clients: LedgerClient[] = [];
before(async () => {
  url = await server.start();
});
after(async () => {
  for (const client of clients) await client.close();
  server.close();
});
beforeEach(() => server.reset());

function connect(options: Partial<LedgerClientOptions> = {}): LedgerClient {
  const client = new LedgerClient({ url, token: () => 'canary-token', ...options });
  clients.push(client);
  return client;
}

async function errorOf(call: Promise<unknown>): Promise<LedgerError> {
  try {
    await call;
  } catch (error) {
    if (error instanceof LedgerError) return error;
    throw error;
  }
  throw new Error('the call succeeded');
}

const hold = { wallet: 'acme.main', amount: 1, ttlSeconds: 60 };

const transient: { reason: string; answer: Answer }[] = [
  { reason: 'a connection that is cut before the reply', answer: hangUp },
  { reason: 'a 503', answer: json(503, { code: 'database_unavailable', detail: 'away' }) },
  { reason: 'a reply that breaks off', answer: breakOff },
  { reason: 'a 502 of a proxy', answer: page(502) },
  { reason: 'a 504 of a proxy', answer: page(504) },
];
for (const { reason, answer } of transient) {
  test(`${reason} is retried with the same key and body`, async () => {
    server.answers = [answer, answer, json(201, { hold: '1' }, { 'idempotency-replayed': 'true' })];
    assert.equal(await connect().hold(hold, 'run:1'), { hold: '1', replayed: true });
    assert.is(server.seen.length, 3);
    assert.equal(
      new Set(server.seen.map((request) => `${request.headers['idempotency-key']} ${request.body}`)).size,
      1,
    );
  });
}

test('retries are bounded and then say that the ledger is not there', async () => {
  server.answers = [hangUp];
  const error = await errorOf(connect({ attempts: 3 }).hold(hold, 'run:1'));
  assert.equal([error.status, error.code, server.seen.length], [0, 'ledger_unavailable', 3]);
});

test('a 503 that stays is thrown as what it is', async () => {
  server.answers = [json(503, { code: 'database_unavailable', detail: 'away' })];
  const error = await errorOf(connect({ attempts: 2 }).getWallet('acme.main'));
  assert.equal([error.status, error.code, server.seen.length], [503, 'database_unavailable', 2]);
});

test('a ledger that accepts and never answers is left after the timeout', async () => {
  server.answers = [silence];
  const error = await errorOf(connect({ attempts: 1, timeoutMs: 50 }).getWallet('acme.main'));
  assert.equal([error.status, error.code], [0, 'ledger_unavailable']);
});

for (const status of [400, 401, 402, 404, 409, 422, 429, 500]) {
  test(`a ${status} is not retried and carries the problem`, async () => {
    server.answers = [json(status, { code: 'some_code', detail: 'why', available: 5, required: 7 })];
    const error = await errorOf(connect().hold(hold, 'run:1'));
    assert.equal(
      [error.status, error.code, error.message, error.body.available, server.seen.length],
      [status, 'some_code', 'why', 5, 1],
    );
  });
}

test('a success that is not JSON is an error, not an undefined', async () => {
  server.answers = [page(200)];
  const error = await errorOf(connect().getWallet('acme.main'));
  assert.equal([error.status, error.code], [200, 'unexpected_reply']);
});

test('the token is asked for each attempt and never appears in an error', async () => {
  const tokens = ['canary-one', 'canary-two', 'canary-three'];
  server.answers = [hangUp, json(503, {}), json(401, { code: 'unauthenticated', detail: 'no' })];
  const error = await errorOf(connect({ token: () => tokens.shift() ?? '' }).hold(hold, 'k'));
  assert.equal(
    server.seen.map((request) => request.headers.authorization),
    ['Bearer canary-one', 'Bearer canary-two', 'Bearer canary-three'],
  );
  assert.not.match(inspect(error, { depth: 10 }), 'canary');
  server.answers = [hangUp];
  const away = connect({ attempts: 1 });
  assert.not.match(inspect([await errorOf(away.getWallet('w')), away], { depth: 10, showHidden: true }), 'canary');
});

test('the fencing epoch is sent when the caller has one', async () => {
  server.answers = [json(200, { wallet: 'acme.main' })];
  await connect({ epoch: () => 7 }).putWallet('acme.main', { ownerUid: 'u' });
  await connect().getWallet('acme.main');
  assert.equal(
    server.seen.map((request) => request.headers['gsv-fencing-epoch']),
    ['7', undefined],
  );
});

test('names and ids are percent-encoded, the base path is kept', async () => {
  server.answers = [json(200, {})];
  await connect({ url: `${url}/base/` }).claimFulfilment('a/b?c', { instanceUid: 'u' });
  assert.is(server.seen[0]?.url, '/base/v1/fulfilments/a%2Fb%3Fc/claim');
});

test('an aborted event poll ends with the reason of the signal and without retries', async () => {
  const stop = new AbortController();
  server.answers = [() => stop.abort(new Error('shutting down'))];
  let reason: unknown;
  await connect()
    .events({ after: 0, waitSeconds: 30, signal: stop.signal })
    .catch((error: unknown) => {
      reason = error;
    });
  assert.equal([(reason as Error).message, server.seen.length], ['shutting down', 1]);
});

test('finding fulfilments walks all pages', async () => {
  server.answers = [
    json(200, { items: [{ fulfilment: '1' }], next: 'c2' }),
    json(200, { items: [{ fulfilment: '2' }], next: null }),
  ];
  const found = await connect().findFulfilments({ shop: 'https://shop/graphql/', order: 'T3JkZXI=' });
  assert.equal(
    found.map((one) => one.fulfilment),
    ['1', '2'],
  );
  assert.match(server.seen[1]?.url ?? '', /cursor=c2/);
});

test('a fulfilment says whether this call created it', async () => {
  server.answers = [json(201, { fulfilment: '1', grants: [] }), json(200, { fulfilment: '1', grants: [] })];
  const body = { shop: 's', order: 'o', line: 'l', ordinal: 0, sku: 'S', wallet: 'w', grants: [] };
  assert.is((await connect().recordFulfilment(body, 'k')).created, true);
  assert.is((await connect().recordFulfilment(body, 'k')).created, false);
});

test('an empty inbox is undefined', async () => {
  server.answers = [json(200, { item: null })];
  assert.is(await connect().inboxClaim({ leaseSeconds: 30 }), undefined);
});
