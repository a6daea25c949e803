/** How often, how long and with what the client asks again. */
import { after, before, beforeEach, test } from 'node:test';
import * as assert from 'uvu/assert';
import { FaultServer, hangUp, json, page, silence } from '../hack/testing/fault-server.ts';
import { LedgerClient, type LedgerClientOptions, LedgerError } from './client.ts';
import { pauseMs, retryAfterSeconds } from './retry.ts';
import type { BatchOperation } from './wire.ts';

const server = new FaultServer();
let url: string;
let client: LedgerClient;
const others: LedgerClient[] = [];
before(async () => {
  url = await server.start();
  client = connect();
});
after(async () => {
  for (const other of others) await other.close();
  server.close();
});
beforeEach(() => server.reset());

function connect(options: Partial<LedgerClientOptions> = {}): LedgerClient {
  const other = new LedgerClient({ url, token: () => 'token', ...options });
  others.push(other);
  return other;
}

const errorOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );
const hold = { wallet: 'acme.main', amount: 1, ttlSeconds: 60 };
const away = (headers: Record<string, string> = {}) => json(503, { code: 'database_unavailable' }, headers);

const POLICY = { attempts: 5, budgetMs: 15_000 };
const error = (status: number, wait?: number): LedgerError =>
  new LedgerError(status, status === 502 ? 'unexpected_reply' : 'x', '', {}, { retryAfterSeconds: wait });
const PAUSES: [LedgerError, { attempts: number; elapsedMs: number }, number, number | undefined, string][] = [
  [error(503), { attempts: 1, elapsedMs: 0 }, 1, 100, 'the first pause is short'],
  [error(503), { attempts: 3, elapsedMs: 0 }, 1, 400, 'it doubles'],
  [error(503), { attempts: 3, elapsedMs: 0 }, 0.25, 100, 'and is anything below, so that callers spread'],
  [error(0), { attempts: 4, elapsedMs: 0 }, 1, 800, 'no reply at all is the same'],
  [error(502), { attempts: 1, elapsedMs: 0 }, 1, 100, 'so is the page of a proxy'],
  [error(503, 2), { attempts: 1, elapsedMs: 0 }, 0, 2_000, 'what the ledger asks for is the least'],
  [error(503, 2), { attempts: 1, elapsedMs: 0 }, 1, 2_500, 'and callers spread after it'],
  [error(503, 60), { attempts: 1, elapsedMs: 0 }, 0, undefined, 'longer than the budget is not waited for'],
  [error(503), { attempts: 2, elapsedMs: 15_000 }, 1, undefined, 'the budget is used up'],
  [error(503), { attempts: 5, elapsedMs: 0 }, 0, undefined, 'the attempts are used up'],
  [error(402), { attempts: 1, elapsedMs: 0 }, 0, undefined, 'a refusal stays one'],
  [error(500), { attempts: 1, elapsedMs: 0 }, 0, undefined, 'a bug is not hammered'],
];
for (const [thrown, tried, random, pause, reason] of PAUSES) {
  test(`after ${thrown.status} and ${tried.attempts} attempts the pause is ${pause}: ${reason}`, () => {
    assert.is(
      pauseMs(thrown, tried, POLICY, () => random),
      pause,
    );
  });
}

test('a Retry-After in seconds is understood, a date is not', () => {
  assert.equal(['0', '7', 'Wed, 21 Oct 2026 07:28:00 GMT', '-1', '1.5', undefined].map(retryAfterSeconds), [
    0,
    7,
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});

test('a Retry-After that the caller cannot wait for is handed on at once', async () => {
  server.answers = [away({ 'retry-after': '60' })];
  const thrown = (await errorOf(client.hold(hold, 'k'))) as LedgerError;
  assert.equal([thrown.status, thrown.retryAfterSeconds, thrown.isTransient, server.seen.length], [503, 60, true, 1]);
});

test('a short Retry-After is waited for and then the same is asked again', async () => {
  server.answers = [away({ 'retry-after': '0' }), json(201, { hold: 'hold_1' })];
  assert.is((await client.hold(hold, 'k')).hold, 'hold_1');
  assert.is(server.seen.length, 2);
});

test('a budget of nothing is one attempt', async () => {
  server.answers = [hangUp];
  const thrown = (await errorOf(connect({ budgetMs: 0 }).hold(hold, 'k'))) as LedgerError;
  assert.equal([thrown.code, server.seen.length], ['ledger_unavailable', 1]);
});

test('what the caller does to the body meanwhile is no other call under the same key', async () => {
  const body = { ...hold };
  server.answers = [
    (request) => {
      body.amount = 999;
      request.socket.destroy();
    },
    json(201, { hold: 'hold_1' }),
  ];
  await client.hold(body, 'k');
  assert.equal(
    server.seen.map((request) => [request.headers['idempotency-key'], JSON.parse(request.body).amount]),
    [
      ['k', 1],
      ['k', 1],
    ],
  );
});

for (const key of ['', 'a\nb', 'schlüssel', 'x'.repeat(256)]) {
  test(`the key ${JSON.stringify(key.slice(0, 10))} of ${key.length} characters is sent to nobody`, async () => {
    server.answers = [json(201, {})];
    assert.instance(await errorOf(client.hold(hold, key)), TypeError);
    assert.is(server.seen.length, 0);
  });
}

test('a signal ends a call that waits for its answer, for its next attempt, and one that has not begun', async () => {
  const reason = new Error('the buyer has left');
  const stop = new AbortController();
  server.answers = [silence];
  const waiting = errorOf(client.with({ signal: stop.signal }).hold(hold, 'k'));
  while (server.seen.length === 0) await new Promise((resolve) => setImmediate(resolve));
  stop.abort(reason);
  assert.is(await waiting, reason);

  const pausing = new AbortController();
  server.answers = [away({ 'retry-after': '10' })];
  const paused = errorOf(client.with({ signal: pausing.signal }).hold(hold, 'k'));
  while (server.seen.length === 1) await new Promise((resolve) => setImmediate(resolve));
  setTimeout(() => pausing.abort(reason), 20);
  assert.is(await paused, reason);

  assert.is(await errorOf(client.with({ signal: stop.signal }).hold(hold, 'k')), reason);
  assert.is(server.seen.length, 2);
});

test('calls one after the other keep their connection, with other limits as well', async () => {
  const own = connect();
  server.answers = [json(200, { wallet: 'acme.main' })];
  for (let n = 0; n < 20; n += 1) await own.getWallet('acme.main');
  await own.with({ attempts: 1, timeoutMs: 1_000 }).getWallet('acme.main');
  // The pool may open a second one while the first is about to be free.
  const connections = new Set(server.seen.map(({ port }) => port)).size;
  assert.ok(server.seen.length === 21 && connections <= 2, `${connections} connections`);
});

test('the ledger’s own 502 is its answer, the page of a proxy is not', async () => {
  server.answers = [json(502, { code: 'openmeter_unavailable', detail: 'no' })];
  assert.is(((await errorOf(client.getWallet('w'))) as LedgerError).code, 'openmeter_unavailable');
  assert.is(server.seen.length, 1);
  server.answers = [page(502), json(200, { wallet: 'w' })];
  assert.is((await client.getWallet('w')).wallet, 'w');
});

const operation = (key: string): BatchOperation => ({ op: 'void', key, hold: `hold_${key}`, body: {} });
const keysOf = (body: string): string[] =>
  (JSON.parse(body) as { operations: BatchOperation[] }).operations.map(({ key }) => key);
const results = (of: Record<string, number>) =>
  json(200, { results: Object.entries(of).map(([key, status]) => ({ key, status, body: {} })) });

test('of a batch only what was not answered is asked again, and everything is answered in its place', async () => {
  server.answers = [results({ a: 200, b: 503, c: 409, d: 503 }), results({ b: 200, d: 503 }), results({ d: 200 })];
  const replies = await client.batch(['a', 'b', 'c', 'd'].map(operation));
  assert.equal(
    replies.map(({ key, status }) => [key, status]),
    [
      ['a', 200],
      ['b', 200],
      ['c', 409],
      ['d', 200],
    ],
  );
  assert.equal(
    server.seen.map(({ body }) => keysOf(body)),
    [['a', 'b', 'c', 'd'], ['b', 'd'], ['d']],
  );
});

test('what is never answered is left as 503, and a batch that gets no reply at all is an error', async () => {
  server.answers = [results({ a: 200, b: 503 }), results({ b: 503 })];
  const replies = await connect({ attempts: 2 }).batch(['a', 'b'].map(operation));
  assert.equal(
    replies.map(({ status }) => status),
    [200, 503],
  );
  server.answers = [hangUp];
  assert.is(
    ((await errorOf(connect({ attempts: 2 }).batch([operation('a')]))) as LedgerError).code,
    'ledger_unavailable',
  );
});

test('a batch beyond what a request may hold goes in several, in order', async () => {
  const keys = Array.from({ length: 250 }, (_, n) => `k${n}`);
  server.answers = [0, 100, 200].map((from) =>
    results(Object.fromEntries(keys.slice(from, from + 100).map((key) => [key, 200]))),
  );
  const replies = await client.batch(keys.map(operation));
  assert.equal(
    replies.map(({ key }) => key),
    keys,
  );
  assert.equal(
    server.seen.map(({ body }) => keysOf(body).length),
    [100, 100, 50],
  );
});
