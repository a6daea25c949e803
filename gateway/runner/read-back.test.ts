import { after, before, test } from 'node:test';
import { Registry } from 'prom-client';
import * as assert from 'uvu/assert';
import { createLogger } from '../../config/log.ts';
import { Secret } from '../../config/settings.ts';
import {
  type Answer,
  addInstance,
  ask,
  type Bench,
  eventually,
  readEvents,
  run,
  runTicket,
  startBench,
} from '../../hack/runtime/runner-bench.ts';
import { FAILING_FLOW, MODEL_FLOW, SLOW_FLOW } from '../../hack/runtime/sample-testing.ts';
import type { RunTicket } from '../ticket.ts';
import { createRunner, type RunnerServer } from './app.ts';
import { RESULT_KEPT_MS } from './results.ts';

let now = Date.now();
let bench: Bench;
before(async () => {
  bench = await startBench({ clock: () => now });
});
after(() => bench.close());

/** A second runner on the same stores: what a restart, or another replica, sees. */
function anotherRunner(registry = new Registry()): Promise<RunnerServer> {
  const { store, secrets, blobs, booth, runtime, ledger } = bench;
  return createRunner({
    ...{ store, secrets, blobs, booth, registry, ledger: ledger.client },
    runtime: { url: runtime.url, key: Secret.of(runtime.key) },
    probeKey: Secret.of('probe'),
    log: createLogger({ part: 'runner', destination: { write: () => undefined } }),
    clock: () => now,
  });
}

async function withAnotherRunner(use: (other: Bench) => Promise<void>): Promise<void> {
  const runner = await anotherRunner();
  try {
    await use({ ...bench, runner });
  } finally {
    await runner.close();
  }
}

function read(target: Bench, ticket: RunTicket): Promise<Answer> {
  return ask(target, `/internal/runs/${ticket.runId}`, { method: 'GET', ticket: { ...ticket, purpose: 'read' } });
}

test('another runner reads a finished run back, with the same receipt, and charges nothing', async () => {
  const instance = await addInstance(bench, { flow: MODEL_FLOW });
  const ticket = await runTicket(bench, instance);
  const first = await run(bench, ticket);
  const wallet = await bench.ledger.client.getWallet(bench.wallet);
  await withAnotherRunner(async (other) => {
    assert.equal((await read(other, ticket)).body, first.body);
    assert.equal((await run(other, ticket)).body, first.body);
    const reply = await ask(other, '/internal/runs', { ticket, body: { input: 'again' }, accept: 'text/event-stream' });
    const events = readEvents(reply.text);
    assert.equal(events.find(({ event }) => event === 'delta')?.data, first.body.output);
    assert.equal(events.find(({ event }) => event === 'receipt')?.data.receipt, first.body.receipt);
  });
  assert.equal(await bench.ledger.client.getWallet(bench.wallet), wallet);
});

test('a runner that died between storing and capturing is made up for by the next reader', async () => {
  const instance = await addInstance(bench, { flow: MODEL_FLOW });
  const ticket = await runTicket(bench, instance);
  const document = {
    schema: 'gsv.run/v1',
    runId: ticket.runId,
    instanceUid: instance.uid,
    finishedAt: new Date(now).toISOString(),
    expiresAt: new Date(now + 1000).toISOString(),
    state: 'succeeded',
    hold: ticket.hold,
    output: { text: 'done before the crash' },
    usage: [{ source: 'Run', units: 1 }],
    lines: [{ dimension: 'run', units: 1, amount: 12_000 }],
  };
  const key = `results/${instance.uid}/${ticket.runId}.json`;
  await bench.blobs.put(key, new TextEncoder().encode(JSON.stringify(document)));
  const reply = await read(bench, ticket);
  assert.is(reply.status, 200, reply.text);
  assert.is(reply.body.receipt.amountMicrocredits, 12_000);
  assert.is((await bench.ledger.client.getHold(ticket.hold)).state, 'captured');
});

test('a failed run stays failed for another runner: it is not executed again', async () => {
  const instance = await addInstance(bench, { flow: FAILING_FLOW('boom') });
  const ticket = await runTicket(bench, instance);
  const first = await run(bench, ticket);
  await withAnotherRunner(async (other) => {
    const again = await run(other, ticket);
    assert.is(again.status, first.status);
    assert.is(again.body.code, first.body.code);
    assert.is(again.body.detail, first.body.detail);
  });
});

test('after 24 hours a result is gone, from the store too', async () => {
  const instance = await addInstance(bench, { flow: MODEL_FLOW });
  const ticket = await runTicket(bench, instance);
  await run(bench, ticket);
  now += RESULT_KEPT_MS;
  await withAnotherRunner(async (other) => {
    assert.is((await read(other, ticket)).body.code, 'run_not_found');
  });
  assert.is(await bench.blobs.get(`results/${instance.uid}/${ticket.runId}.json`), undefined);
});

test('a runner that closes finishes what it has begun', async () => {
  const instance = await addInstance(bench, { flow: SLOW_FLOW(300) });
  const ticket = await runTicket(bench, instance);
  const registry = new Registry();
  const runner = await anotherRunner(registry);
  const pending = run({ ...bench, runner }, ticket);
  await eventually('the run is in progress', async () =>
    /gsv_runs_running 1/.test(await registry.getSingleMetricAsString('gsv_runs_running')),
  );
  await runner.close();
  assert.is((await bench.ledger.client.getHold(ticket.hold)).state, 'captured');
  assert.is((await pending).status, 200);
});
