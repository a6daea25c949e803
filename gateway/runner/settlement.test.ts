import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import {
  addInstance,
  ask,
  type Bench,
  eventually,
  FUNDS,
  HOLD,
  run,
  runTicket,
  startBench,
} from '../../hack/runtime/runner-bench.ts';
import { FAILING_FLOW, MODEL_FLOW, SLOW_FLOW } from '../../hack/runtime/sample-testing.ts';

let bench: Bench;
before(async () => {
  bench = await startBench({ settleSeconds: 2 });
});
after(() => bench.close());

const TOKENS = [
  { name: 'run', unit: 'run', source: 'Run', priceMicrocredits: 1_000, perUnits: 1, reserveUnits: 1 },
  { name: 'in', unit: 'token', source: 'InputToken', priceMicrocredits: 7, perUnits: 2, reserveUnits: 100 },
  { name: 'out', unit: 'token', source: 'OutputToken', priceMicrocredits: 10, perUnits: 1, reserveUnits: 100 },
] as const;

async function balance(): Promise<{ available: number; held: number }> {
  const { available, held } = await bench.ledger.client.getWallet(bench.wallet);
  return { available, held };
}

test('a run is captured once, at the contract’s prices, and the reply carries receipt and balance', async () => {
  const instance = await addInstance(bench, {
    flow: MODEL_FLOW,
    capability: { metering: { dimensions: [...TOKENS] } },
  });
  const before = await balance();
  const ticket = await runTicket(bench, instance);
  const reply = await run(bench, ticket, 'one two three 500 EUR');
  assert.is(reply.status, 200, reply.text);
  const text = 'Read 5 words; 1 amounts, 500 in total. Priority: normal.';
  assert.equal(reply.body.output, { text });
  const out = text.split(' ').length;
  assert.equal(reply.body.usage, [
    { source: 'Run', units: 1 },
    { source: 'InputToken', units: 5 },
    { source: 'OutputToken', units: out },
  ]);
  const amount = 1_000 + 18 + 10 * out;
  assert.is(reply.body.receipt.amountMicrocredits, amount);
  assert.equal(reply.body.receipt.lines, [
    { dimension: 'in', units: 5, amountMicrocredits: 18 },
    { dimension: 'out', units: out, amountMicrocredits: 10 * out },
    { dimension: 'run', units: 1, amountMicrocredits: 1_000 },
  ]);
  assert.is(reply.body.balanceMicrocredits, before.available - amount);
  const receipt = await bench.ledger.client.receipt(reply.body.receipt.id);
  assert.is(receipt.hold, ticket.hold);
  assert.is(receipt.context.contractDigest, instance.contractDigest);
  assert.equal(await balance(), { available: before.available - amount, held: before.held });
});

test('a second POST of the same run answers the same and charges nothing', async () => {
  const instance = await addInstance(bench, { flow: MODEL_FLOW });
  const ticket = await runTicket(bench, instance);
  const first = await run(bench, ticket);
  const after = await balance();
  const second = await run(bench, ticket);
  assert.equal(second.body, first.body);
  assert.equal(await balance(), after);
});

test('a second POST while the run goes on attaches to it', async () => {
  const instance = await addInstance(bench, { flow: SLOW_FLOW(150) });
  const ticket = await runTicket(bench, instance);
  const captures = bench.gate.count('capture');
  const [first, second] = await Promise.all([run(bench, ticket), run(bench, ticket)]);
  assert.is(first.status, 200);
  assert.equal(second.body, first.body);
  assert.is(bench.gate.count('capture') - captures, 1);
});

test('a failed run voids its hold and says which component failed, without its traceback', async () => {
  const instance = await addInstance(bench, { flow: FAILING_FLOW('boom in /srv/secret/path.py') });
  const before = await balance();
  const ticket = await runTicket(bench, instance);
  const reply = await run(bench, ticket);
  assert.is(reply.status, 502);
  assert.is(reply.body.code, 'runtime_error');
  assert.match(reply.body.detail, 'Failure-1');
  assert.not.match(reply.text, /Traceback|\.py|boom/);
  assert.equal(await balance(), before);
  const hold = await bench.ledger.client.getHold(ticket.hold);
  assert.is(hold.state, 'voided');
  assert.is(hold.reason, 'runtime_error');
  assert.ok(bench.logs.some((line) => line.includes(ticket.runId) && line.includes('boom')));
});

test('a capture whose reply is lost is repeated under its key and charges once', async () => {
  const instance = await addInstance(bench, { flow: MODEL_FLOW });
  const before = await balance();
  const ticket = await runTicket(bench, instance);
  let lost = 0;
  bench.gate.cut = (call) => (call.endsWith('/capture') && lost++ < 2 ? 'after' : undefined);
  const reply = await run(bench, ticket).finally(() => {
    bench.gate.cut = () => undefined;
  });
  assert.is(reply.status, 200, reply.text);
  assert.is(lost, 3);
  assert.equal(await balance(), { available: before.available - 12_000, held: before.held });
});

test('a ledger that stays away leaves a counted, unsettled run, which a later read settles once', async () => {
  const instance = await addInstance(bench, { flow: MODEL_FLOW });
  const before = await balance();
  const ticket = await runTicket(bench, instance);
  bench.gate.cut = (call) => (call.endsWith('/capture') ? 'before' : undefined);
  const reply = await run(bench, ticket).finally(() => {
    bench.gate.cut = () => undefined;
  });
  assert.is(reply.status, 503);
  assert.is(reply.body.code, 'settlement_unavailable');
  assert.is((await bench.ledger.client.getHold(ticket.hold)).state, 'open');
  const metric = await bench.registry.getSingleMetricAsString('gsv_runs_unsettled_total');
  assert.match(metric, /gsv_runs_unsettled_total\{reason="ledger_unavailable"\} 1/);
  const path = `/internal/runs/${ticket.runId}`;
  const read = await ask(bench, path, { method: 'GET', ticket: { ...ticket, purpose: 'read' } });
  assert.is(read.status, 200, read.text);
  assert.is(read.body.receipt.amountMicrocredits, 12_000);
  assert.equal(await balance(), { available: before.available - 12_000, held: before.held });
});

test('a run whose hold expired is not given away as charged', async () => {
  const instance = await addInstance(bench, { flow: SLOW_FLOW(100) });
  const ticket = await runTicket(bench, instance, {}, 1);
  bench.ledger.advance(5);
  const reply = await run(bench, ticket);
  assert.is(reply.status, 409);
  assert.is(reply.body.code, 'hold_not_open');
  assert.match(await bench.registry.getSingleMetricAsString('gsv_runs_unsettled_total'), /already_expired"\} 1/);
});

test('a long run extends its hold before settling', async () => {
  const instance = await addInstance(bench, { flow: SLOW_FLOW(400) });
  const ticket = await runTicket(bench, instance, { limits: { runSeconds: 0.6, inputBytes: 1_000 } }, 1);
  const { expiresAt } = await bench.ledger.client.getHold(ticket.hold);
  const pending = run(bench, ticket);
  const extended = async (): Promise<boolean> => (await bench.ledger.client.getHold(ticket.hold)).expiresAt > expiresAt;
  await eventually('the hold is extended', extended);
  bench.ledger.advance(2);
  const reply = await pending;
  assert.is(reply.status, 200, reply.text);
});

test('the result lies in the blob store before the capture, under the capture’s resultRef', async () => {
  const instance = await addInstance(bench, { flow: MODEL_FLOW });
  const ticket = await runTicket(bench, instance);
  const key = `results/${instance.uid}/${ticket.runId}.json`;
  let stored: Uint8Array | undefined;
  const seen = Promise.withResolvers<void>();
  bench.gate.cut = (call) => {
    if (call.endsWith('/capture'))
      void bench.blobs.get(key).then((bytes) => {
        stored ??= bytes;
        seen.resolve();
      });
    return undefined;
  };
  const reply = await run(bench, ticket).finally(() => {
    bench.gate.cut = () => undefined;
  });
  assert.is(reply.status, 200);
  await seen.promise;
  assert.equal(JSON.parse(new TextDecoder().decode(stored)).output, reply.body.output);
  assert.is((await bench.ledger.client.getHold(ticket.hold)).resultRef, key);
});

test('after all of it the book is balanced and nothing is held but the unsettled', async () => {
  assert.ok((await bench.ledger.client.audit()).ok);
  const { available, held } = await balance();
  assert.is(held % HOLD, 0);
  assert.ok(available < FUNDS);
});
