import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import {
  addInstance,
  ask,
  type Bench,
  probe,
  run,
  runTicket,
  setSecret,
  startBench,
  type TestInstance,
} from '../../hack/runtime/runner-bench.ts';
import { MODEL_FLOW } from '../../hack/runtime/sample-testing.ts';

type Handler = (response: ServerResponse, body: Record<string, unknown>, request: IncomingMessage) => void;

const UPLOADED: Handler = (response) => json(response, 201, {});
const KNOWN: Handler = (response) => json(response, 200, {});

/** A runtime that says whatever a test wants it to. */
const script = { upload: UPLOADED, info: KNOWN, run: KNOWN };
const seen: { path: string; key: unknown; body: Record<string, unknown> }[] = [];
const server = createServer((request, response) => {
  const path = request.url ?? '';
  let text = '';
  request.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  request.on('end', () => {
    const body = text === '' ? {} : JSON.parse(text);
    seen.push({ path, key: request.headers['x-api-key'], body });
    if (path.endsWith('/flows/upload/')) script.upload(response, body, request);
    else if (path.includes('/flows/')) script.info(response, body, request);
    else script.run(response, body, request);
  });
});

let bench: Bench;
let instance: TestInstance;
before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/base/`;
  bench = await startBench({ runtime: { url, key: 'runtime-key-0123' } });
  instance = await addInstance(bench, { flow: MODEL_FLOW });
});
after(async () => {
  await bench.close();
  server.close();
  server.closeAllConnections();
});

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

function sse(response: ServerResponse, events: { event: string; data: unknown }[], end = true): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  for (const [id, event] of events.entries()) response.write(`id: ${id}\ndata: ${JSON.stringify(event)}\n\n`);
  if (end) response.end();
}

const START = { event: 'build_start', data: { id: 'ChatOutput-out' } };
const answer = (text: string) => ({
  event: 'end_vertex',
  data: { build_data: { id: 'ChatOutput-out', valid: true, data: { results: { message: { text } } } } },
});
const END = { event: 'end', data: {} };

const FAULTS: { reason: string; fault: Handler; status: number; code: string }[] = [
  {
    reason: 'the stream ends without its end event',
    fault: (response) => sse(response, [START, answer('half')]),
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'the connection breaks in the middle of the stream',
    fault: (response) => {
      sse(response, [START, answer('half')], false);
      setTimeout(() => response.destroy(), 20);
    },
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'the connection breaks before any reply',
    fault: (response) => void response.destroy(),
    status: 503,
    code: 'runtime_unavailable',
  },
  {
    reason: 'the stream says error after tokens',
    fault: (response) =>
      sse(response, [
        START,
        { event: 'token', data: { chunk: 'a', id: 'm' } },
        { event: 'error', data: { error: 'x' } },
      ]),
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'the flow ends without an answer',
    fault: (response) => sse(response, [START, END]),
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'HTTP 200 carries status failed',
    fault: (response) =>
      json(response, 200, { status: 'failed', has_errors: true, errors: [{ error: 'no', code: 'EXECUTION_ERROR' }] }),
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'it refuses our key',
    fault: (response) => json(response, 401, { detail: 'Invalid API key' }),
    status: 503,
    code: 'runtime_unavailable',
  },
  {
    reason: 'it is overloaded',
    fault: (response) => json(response, 503, { detail: 'busy' }),
    status: 503,
    code: 'runtime_unavailable',
  },
  {
    reason: 'it fails',
    fault: (response) => json(response, 500, { logs: 'Traceback (most recent call last): File "/x.py"' }),
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'it redirects',
    fault: (response) => json(response, 307, {}, { location: 'http://127.0.0.1:1/elsewhere' }),
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'it answers with a page',
    fault: (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>hi</h1>'),
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'an event is not JSON',
    fault: (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).end('data: {"event": "tok\n\n');
    },
    status: 502,
    code: 'runtime_error',
  },
  {
    reason: 'the answer never ends',
    fault: (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const flood = `data: ${JSON.stringify({ event: 'token', data: { chunk: 'x'.repeat(60_000), id: 'm' } })}\n\n`;
      const write = (): void => {
        while (!response.destroyed && response.write(flood));
        if (!response.destroyed) response.once('drain', write);
      };
      write();
    },
    status: 502,
    code: 'output_too_large',
  },
  {
    reason: 'one event never ends',
    fault: (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const write = (): void => {
        while (!response.destroyed && response.write(`data: ${'x'.repeat(60_000)}`));
        if (!response.destroyed) response.once('drain', write);
      };
      write();
    },
    status: 502,
    code: 'output_too_large',
  },
];

for (const { reason, fault, status, code } of FAULTS) {
  test(`a run is ${code} and its hold given back when ${reason}`, async () => {
    script.run = fault;
    const ticket = await runTicket(bench, instance);
    const reply = await run(bench, ticket);
    assert.is(reply.status, status, reply.text);
    assert.is(reply.body.code, code);
    assert.not.match(reply.text, /Traceback|\.py|runtime-key/);
    const hold = await bench.ledger.client.getHold(ticket.hold);
    assert.is(hold.state, 'voided');
    assert.is(hold.reason, code);
  });
}

test('the runtime gets body globals, a scoped session and the key as header, and nothing of the ticket', async () => {
  script.run = (response) => sse(response, [START, answer('fine'), END]);
  const ticket = await runTicket(bench, instance);
  assert.is((await run(bench, ticket)).status, 200);
  const call = seen.at(-1);
  assert.is(call?.path, '/base/api/v2/workflows');
  assert.is(call?.key, 'runtime-key-0123');
  assert.equal(Object.keys(call?.body ?? {}).sort(), [
    'flow_id',
    'globals',
    'input_value',
    'mode',
    'session_id',
    'stream_protocol',
  ]);
  assert.match(String(call?.body.session_id), /^[0-9a-f]{64}$/);
  assert.not.ok(JSON.stringify(call).includes(ticket.runId));
});

test('a conversation is the same one within an Instance and never another Instance’s', async () => {
  script.run = (response) => sse(response, [START, answer('fine'), END]);
  const sessionOf = async (target: TestInstance, session?: string): Promise<unknown> => {
    const ticket = await runTicket(bench, target);
    const body = { input: 'x', ...(session === undefined ? {} : { session }) };
    assert.is((await ask(bench, '/internal/runs', { ticket, body })).status, 200);
    return seen.at(-1)?.body.session_id;
  };
  const other = await addInstance(bench, { organization: 'globex', flow: MODEL_FLOW });
  const mine = await sessionOf(instance, 'chat-1');
  assert.is(await sessionOf(instance, 'chat-1'), mine);
  const others = [
    await sessionOf(instance, 'chat-2'),
    await sessionOf(other, 'chat-1'),
    await sessionOf(instance),
    await sessionOf(instance),
  ];
  assert.is(new Set([mine, ...others]).size, 5);
});

test('the runtime’s own key is scrubbed from an answer', async () => {
  script.run = (response) => sse(response, [START, answer('the key is runtime-key-0123!'), END]);
  const reply = await run(bench, await runTicket(bench, instance));
  assert.equal(reply.body.output, { text: 'the key is [redacted]!' });
});

test('a runtime that quotes its request in an error gives no secret away', async () => {
  const target = await addInstance(bench, {
    flow: MODEL_FLOW,
    capability: {
      secrets: [{ name: 'crm-token', source: 'Buyer' }],
      runtime: { globals: [{ name: 'GSV_CRM_TOKEN', fromSecret: 'crm-token' }] },
    },
  });
  await setSecret(bench, target, 'crm-token', 'quoted-canary-77');
  script.run = (response, body) => json(response, 500, { detail: body });
  const reply = await run(bench, await runTicket(bench, target));
  assert.is(reply.status, 502);
  assert.ok(JSON.stringify(seen.at(-1)).includes('quoted-canary-77'));
  assert.not.ok(reply.text.includes('quoted-canary-77'));
  assert.not.ok(bench.logs.some((line) => line.includes('quoted-canary-77')));
});

test('a runtime that lost the flow gets it again, once, and the run goes on', async () => {
  let lost = true;
  script.run = (response) => {
    if (lost) json(response, 404, { detail: { error: 'flow not found', code: 'FLOW_NOT_FOUND' } });
    else sse(response, [START, answer('back'), END]);
  };
  script.upload = (response) => {
    lost = false;
    json(response, 201, {});
  };
  const uploads = seen.filter(({ path }) => path.includes('upload')).length;
  const reply = await run(bench, await runTicket(bench, instance));
  script.upload = UPLOADED;
  assert.equal(reply.body.output, { text: 'back' });
  assert.is(seen.filter(({ path }) => path.includes('upload')).length, uploads + 1);
});

test('a runtime that keeps losing the flow is unavailable, not asked for ever', async () => {
  script.run = (response) => json(response, 404, { detail: { code: 'FLOW_NOT_FOUND' } });
  const before = seen.length;
  const reply = await run(bench, await runTicket(bench, instance));
  assert.is(reply.status, 503);
  assert.is(reply.body.code, 'runtime_unavailable');
  assert.is(seen.length, before + 3);
});

test('many runs of a new flow upload it once', async () => {
  const fresh = await addInstance(bench, {
    flow: new TextEncoder().encode(`${new TextDecoder().decode(MODEL_FLOW)} `),
  });
  script.run = (response) => sse(response, [START, answer('fine'), END]);
  const uploads = seen.filter(({ path }) => path.includes('upload')).length;
  const tickets = await Promise.all(Array.from({ length: 8 }, () => runTicket(bench, fresh)));
  const replies = await Promise.all(tickets.map((ticket) => run(bench, ticket)));
  assert.ok(replies.every(({ status }) => status === 200));
  assert.is(seen.filter(({ path }) => path.includes('upload')).length, uploads + 1);
});

test('a flow that the runtime does not build is artifact_rejected, for a run and for the probe', async () => {
  const refused = await addInstance(bench, {
    flow: new TextEncoder().encode('{"data":{"nodes":[],"edges":[]},"r":1}'),
  });
  script.upload = (response) =>
    json(response, 422, { detail: 'Flow build blocked: custom components are not allowed' });
  const reply = await run(bench, await runTicket(bench, refused));
  assert.is(reply.status, 502);
  assert.is(reply.body.code, 'artifact_rejected');
  assert.is((await probe(bench, refused)).body.code, 'artifact_rejected');
  script.upload = UPLOADED;
});

test('a probe loads a lost flow again, and is runtime_unavailable when the runtime is', async () => {
  script.info = (response) => json(response, 503, {});
  assert.is((await probe(bench, instance)).body.code, 'runtime_unavailable');
  let asked = 0;
  script.info = (response) => json(response, asked++ === 0 ? 404 : 200, {});
  const uploads = seen.filter(({ path }) => path.includes('upload')).length;
  assert.is((await probe(bench, instance)).status, 200);
  assert.is(seen.filter(({ path }) => path.includes('upload')).length, uploads + 1);
  script.info = KNOWN;
});
