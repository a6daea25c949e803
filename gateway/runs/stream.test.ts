import { after, before, test } from 'node:test';
import { createParser } from 'eventsource-parser';
import * as assert from 'uvu/assert';
import { DRAINING, type EdgeWorld, startEdgeWorld } from '../../hack/testing/edge.ts';
import { RUN_PRICE } from '../../hack/testing/fake-runner.ts';
import type { LedgerClient } from '../../ledger/client.ts';
import type { EdgePlugin } from '../app.ts';

const RUNS = '/v1/instances/acme/claims/runs';
const STREAM = { accept: 'text/event-stream' };

let world: EdgeWorld;
before(async () => {
  world = await startEdgeWorld();
  await world.fund(10_000_000);
});
after(() => world.close());

function events(text: string): { event: string | undefined; data: Record<string, unknown> }[] {
  const seen: { event: string | undefined; data: Record<string, unknown> }[] = [];
  const parser = createParser({ onEvent: ({ event, data }) => seen.push({ event, data: JSON.parse(data) }) });
  parser.feed(text);
  return seen;
}

test('the runner’s events come through byte for byte', async () => {
  const reply = await world.call('POST', RUNS, { body: { input: 'answer' }, headers: STREAM });
  assert.is(reply.status, 200);
  assert.match(reply.headers.get('content-type') ?? '', /^text\/event-stream/);
  assert.is(reply.headers.get('cache-control'), 'no-store');
  assert.match(reply.text, /\n\n: ping\n\n/);
  const seen = events(reply.text);
  assert.equal(
    seen.map(({ event }) => event),
    ['run', 'delta', 'receipt', 'end'],
  );
  assert.is(seen[0]?.data.runId, reply.headers.get('gsv-run-id'));
  assert.match(JSON.stringify(seen[2]?.data), new RegExp(`"amountMicrocredits":${RUN_PRICE}`));
});

test('a refusal before the stream is problem+json with its status', async () => {
  const reply = await world.call('POST', RUNS, { as: 'viewer', body: { input: 'answer' }, headers: STREAM });
  assert.is(reply.status, 403);
  assert.match(reply.headers.get('content-type') ?? '', /^application\/problem\+json/);
  const failed = await world.call('POST', RUNS, { body: { input: 'fail' }, headers: STREAM });
  assert.is(failed.status, 502);
  assert.is(failed.body.code, 'runtime_error');
  assert.is(await world.held(), 0);
});

test('a stream that breaks off ends with an error event, and the credits are given back', async () => {
  const reply = await world.call('POST', RUNS, { body: { input: 'break' }, headers: STREAM });
  assert.is(reply.status, 200);
  const names = [...reply.text.matchAll(/^event: (\w+)$/gm)].map((match) => match[1]);
  assert.equal(names, ['run', 'delta', 'error', 'end']);
  assert.match(reply.text, /"code":"runner_failed"/);
  assert.is(await world.held(), 0);
});

test('a run that had settled when the runner was lost is told as a stream', async () => {
  const reply = await world.call('POST', RUNS, { body: { input: 'settle-and-die' }, headers: STREAM });
  assert.equal(
    events(reply.text).map(({ event }) => event),
    ['run', 'delta', 'receipt', 'end'],
  );
});

test('when the client leaves a contract that aborts, the runner is told and settles', async () => {
  for (const headers of [STREAM, {}]) {
    const leave = new AbortController();
    const count = world.runner.started.length;
    const call = world.call('POST', RUNS, { body: { input: 'wait' }, headers, signal: leave.signal });
    const runId = await world.started(count);
    leave.abort();
    await call.catch(() => {});
    await eventually(() => world.runner.left.includes(runId) && world.runner.cancelled.includes(runId));
    world.runner.release();
    await eventually(async () => (await world.held()) === 0);
  }
});

test('when the client leaves a contract that drains, the run goes on to its receipt and keeps its place', async () => {
  const version = await world.store.get('OfferingVersion', { name: `claims-agent-${DRAINING}` });
  const contractDigest = version?.spec.contractDigest ?? '';
  await world.makeInstance('draining', {}, { version: DRAINING, contractDigest });
  for (const headers of [STREAM, {}]) {
    const leave = new AbortController();
    const count = world.runner.started.length;
    const path = '/v1/instances/acme/draining/runs';
    const call = world.call('POST', path, { body: { input: 'wait' }, headers, signal: leave.signal });
    const runId = await world.started(count);
    leave.abort();
    await call.catch(() => {});
    assert.match(await world.gateway.registry.metrics(), /gsv_edge_runs_in_flight\S* 1\n/);
    world.runner.release();
    await eventually(async () => (await world.ledger.client.run(runId)).state === 'captured');
    assert.not.ok(world.runner.cancelled.includes(runId));
    assert.not.ok(world.runner.left.includes(runId));
  }
});

async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('a client that leaves while its credits are reserved leaves no hold behind and no run', async () => {
  // A ledger that answers a hold only after the client has gone.
  const leave = new AbortController();
  const left = Promise.withResolvers<void>();
  const slow = Object.create(world.ledger.client) as LedgerClient;
  slow.hold = async (body, key) => {
    const hold = await world.ledger.client.hold(body, key);
    leave.abort();
    await left.promise;
    return hold;
  };
  slow.voidHold = (hold, body, key) => world.ledger.client.voidHold(hold, body, key);
  const closed = Promise.withResolvers<void>();
  const watch: EdgePlugin = {
    name: 'watch',
    roles: ['run'],
    register: (app) => {
      app.addHook('onRequest', async (_request, reply) => void reply.raw.once('close', () => closed.resolve()));
    },
  };
  const edge = await world.another({ ledger: slow, plugins: [watch] });
  const count = world.runner.started.length;
  await world.call('POST', RUNS, { body: { input: 'answer' }, signal: leave.signal, at: edge.url }).catch(() => {});
  await closed.promise;
  assert.ok((await world.held()) > 0, 'the credits are reserved when the client goes');
  left.resolve();
  await eventually(async () => (await world.held()) === 0);
  assert.is(world.runner.started.length, count);
  await edge.close();
});
