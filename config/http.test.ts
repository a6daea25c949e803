import { type AddressInfo, connect } from 'node:net';
import { Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import * as assert from 'uvu/assert';
import { createHttpApp } from './http.ts';
import { createLogger } from './log.ts';
import { Problem } from './problem.ts';

let app: FastifyInstance;
let logged = '';

before(async () => {
  const destination = new Writable({
    write(chunk, _encoding, done) {
      logged += String(chunk);
      done();
    },
  });
  app = await createHttpApp({ log: createLogger({ part: 'test', destination }), title: 'Test', bodyLimitBytes: 64 });
  const body = {
    type: 'object',
    properties: { amount: { type: 'integer', minimum: 1 }, note: { type: 'string' } },
    required: ['amount'],
    additionalProperties: false,
  };
  app.post('/things', { schema: { body } }, async (request) => request.body);
  const querystring = { type: 'object', properties: { limit: { type: 'integer', maximum: 100 } } };
  app.get('/things', { schema: { querystring } }, async (request) => request.query);
  app.get('/refused', async () => {
    const extra = { available: 1, required: 2 };
    throw new Problem({
      status: 402,
      code: 'insufficient_credits',
      detail: 'too few',
      extra,
      headers: { 'retry-after': '3' },
    });
  });
  app.get('/parts/:part', async () => ({}));
  app.get('/broken', async () => {
    throw new Error('postgres://app:hunter2hunter2@db/x is away');
  });
});
after(() => app.close());

const BAD: [reason: string, payload: string, status: number, code: string, pointer?: string, rule?: string][] = [
  ['no JSON', '{', 400, 'malformed_body'],
  ['an empty body', '', 400, 'malformed_body'],
  ['a missing field', '{}', 422, 'invalid_request', '/amount', 'required'],
  ['an unknown field', '{"amount":1,"a/b~c":2}', 422, 'invalid_request', '/a~1b~0c', 'additionalProperties'],
  ['a text instead of a number: nothing is coerced', '{"amount":"1"}', 422, 'invalid_request', '/amount', 'type'],
  ['a number below the minimum', '{"amount":0}', 422, 'invalid_request', '/amount', 'minimum'],
  ['more bytes than the limit', `{"amount":1,"note":"${'x'.repeat(64)}"}`, 413, 'body_too_large'],
  ['prototype pollution', '{"amount":1,"__proto__":{}}', 400, 'malformed_body'],
];

for (const [reason, payload, status, code, pointer, rule] of BAD) {
  test(`a body with ${reason} is ${status} ${code}`, async () => {
    const headers = { 'content-type': 'application/json' };
    const reply = await app.inject({ method: 'POST', url: '/things', headers, payload });
    const problem = reply.json();
    assert.is(reply.statusCode, status, reply.body);
    assert.is(problem.code, code);
    assert.is(problem.status, status);
    assert.is(problem.request_id, reply.headers['x-request-id']);
    assert.match(String(reply.headers['content-type']), 'application/problem+json');
    assert.is(problem.errors?.[0]?.pointer, pointer);
    assert.is(problem.errors?.[0]?.rule, rule);
  });
}

test('a query is coerced, because it can only be text, and still checked', async () => {
  assert.equal((await app.inject('/things?limit=5')).json(), { limit: 5 });
  assert.is((await app.inject('/things?limit=101')).statusCode, 422);
});

test('a problem keeps its extra members and headers', async () => {
  const reply = await app.inject('/refused');
  const { code, available, required } = reply.json();
  assert.equal([reply.statusCode, code, available, required], [402, 'insufficient_credits', 1, 2]);
  assert.is(reply.headers['retry-after'], '3');
});

test('what fails on our side says nothing of the inside, and the log says it without secrets', async () => {
  const reply = await app.inject('/broken');
  assert.is(reply.statusCode, 500);
  assert.is(reply.json().code, 'internal');
  assert.not.match(reply.body, 'postgres');
  assert.match(logged, 'is away');
  assert.not.match(logged, 'hunter2hunter2');
});

test('a route that is not there is a problem, too', async () => {
  const reply = await app.inject('/nowhere?token=hunter2hunter2');
  assert.is(reply.json().code, 'not_found');
  assert.not.match(reply.body, 'hunter2hunter2');
});

test('a caller’s request id is taken over when it is harmless, and replaced when it is not', async () => {
  const given = await app.inject({ url: '/things', headers: { 'x-request-id': 'order-21' } });
  assert.is(given.headers['x-request-id'], 'order-21');
  const harmful = await app.inject({ url: '/things', headers: { 'x-request-id': 'a b\u00e9' } });
  assert.match(String(harmful.headers['x-request-id']), /^[0-9a-f-]{36}$/);
});

for (const [reason, url, status, code] of [
  ['escapes that are none', '/parts/hunter2hunter2%zz', 400, 'url_invalid'],
  ['a part of its path too long', `/parts/hunter2hunter2${'x'.repeat(2000)}`, 414, 'url_too_long'],
] as const)
  test(`a URL with ${reason} is a problem, too, and is not repeated`, async () => {
    const reply = await app.inject(url);
    assert.is(reply.statusCode, status);
    assert.is(reply.json().code, code);
    assert.is(reply.json().request_id, reply.headers['x-request-id']);
    assert.match(String(reply.headers['content-type']), 'application/problem+json');
    assert.not.match(reply.body, 'hunter2hunter2');
  });

for (const [reason, request, status, code] of [
  [
    'two lengths',
    'POST /things HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n',
    400,
    'malformed_request',
  ],
  [
    '20 KB of headers',
    `GET /things HTTP/1.1\r\nhost: x\r\nx-a: ${'a'.repeat(20_000)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
] as const)
  test(`a connection that sends ${reason} is told by a problem and closed`, async () => {
    if (!app.server.listening) await app.listen({ host: '127.0.0.1', port: 0 });
    const socket = connect((app.server.address() as AddressInfo).port, '127.0.0.1');
    socket.write(request);
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
    assert.ok(head.startsWith(`HTTP/1.1 ${status} `), head);
    assert.match(head, 'application/problem+json');
    assert.is(JSON.parse(body).code, code);
  });
