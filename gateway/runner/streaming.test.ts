import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import {
  addInstance,
  ask,
  type Bench,
  eventually,
  readEvents,
  run,
  runTicket,
  setSecret,
  startBench,
  stream,
  type TestInstance,
} from '../../hack/runtime/runner-bench.ts';
import {
  AGENT_FLOW,
  FAILING_FLOW,
  MODEL_FLOW,
  SECRET_STREAM_FLOW,
  SLOW_FLOW,
  TALKATIVE_FLOW,
} from '../../hack/runtime/sample-testing.ts';
import type { RunTicket } from '../ticket.ts';

const TOKEN_CAPABILITY = {
  secrets: [{ name: 'crm-token', source: 'Buyer' as const }],
  runtime: { globals: [{ name: 'GSV_CRM_TOKEN', fromSecret: 'crm-token' }] },
};

let bench: Bench;
let model: TestInstance;
let slow: TestInstance;
before(async () => {
  bench = await startBench();
  model = await addInstance(bench, { flow: MODEL_FLOW });
  slow = await addInstance(bench, { flow: SLOW_FLOW(30_000) });
});
after(() => bench.close());

const path = (ticket: RunTicket): string => `/internal/runs/${ticket.runId}`;
const reading = (ticket: RunTicket): RunTicket => ({ ...ticket, purpose: 'read' });
const state = async (hold: string): Promise<string> => (await bench.ledger.client.getHold(hold)).state;
/** The runner has begun to wait for the runtime. */
const running = (): Promise<void> =>
  eventually('a run is in progress', async () =>
    /gsv_runs_running 1/.test(await bench.registry.getSingleMetricAsString('gsv_runs_running')),
  );

test('a stream tells the run, its deltas, the receipt and the end, in this order', async () => {
  const ticket = await runTicket(bench, model);
  const events = await stream(bench, ticket, 'one two 3 EUR');
  const names = events.map(({ event }) => event);
  assert.is(names[0], 'run');
  assert.equal(events[0]?.data, { runId: ticket.runId });
  assert.equal(names.slice(-2), ['receipt', 'end']);
  assert.ok(names.slice(1, -2).every((name) => name === 'delta'));
  const text = events.flatMap(({ event, data }) => (event === 'delta' ? [data.text] : [])).join('');
  assert.is(text, 'Read 4 words; 1 amounts, 3 in total. Priority: normal.');
  const { data } = events.at(-2) ?? {};
  assert.is(data.receipt.amountMicrocredits, 12_000);
  assert.ok(data.balanceMicrocredits > 0);
  assert.ok(Array.isArray(data.usage));
});

test('a flow that streams nothing still gives its answer as a delta', async () => {
  const quick = await addInstance(bench, { flow: SLOW_FLOW(1) });
  const events = await stream(bench, await runTicket(bench, quick), 'the answer');
  assert.equal(
    events.filter(({ event }) => event === 'delta').map(({ data }) => data),
    [{ text: 'the answer' }],
  );
});

test('an agent’s tools are told by name, started and finished once', async () => {
  const agent = await addInstance(bench, { flow: AGENT_FLOW });
  const events = await stream(bench, await runTicket(bench, agent));
  assert.equal(
    events.filter(({ event }) => event === 'tool').map(({ data }) => data),
    [
      { name: 'lookup_policy', state: 'started' },
      { name: 'lookup_policy', state: 'finished' },
    ],
  );
});

test('a secret that arrives in pieces of the stream is removed from it', async () => {
  const instance = await addInstance(bench, {
    flow: SECRET_STREAM_FLOW('GSV_CRM_TOKEN'),
    capability: TOKEN_CAPABILITY,
  });
  // The sample model streams word by word, so this value is split over three token events.
  await setSecret(bench, instance, 'crm-token', 'alpha bravo charlie');
  const ticket = await runTicket(bench, instance);
  const reply = await ask(bench, '/internal/runs', { ticket, body: { input: 'x' }, accept: 'text/event-stream' });
  assert.not.match(reply.text, /alpha|bravo|charlie/);
  const text = readEvents(reply.text)
    .flatMap(({ event, data }) => (event === 'delta' ? [data.text] : []))
    .join('');
  assert.match(text, /^\[redacted\] Read 1 words/);
  const stored = await bench.blobs.get(`results/${instance.uid}/${ticket.runId}.json`);
  assert.not.match(new TextDecoder().decode(stored), /alpha|bravo|charlie/);
});

test('a failure that carries a secret carries it nowhere', async () => {
  const flow = FAILING_FLOW({ value: 'GSV_CRM_TOKEN', load_from_db: true });
  const instance = await addInstance(bench, { flow, capability: TOKEN_CAPABILITY });
  await setSecret(bench, instance, 'crm-token', 'canary-in-an-error');
  const reply = await run(bench, await runTicket(bench, instance));
  assert.is(reply.status, 502);
  assert.not.ok(reply.text.includes('canary-in-an-error'));
  assert.not.ok(bench.logs.some((line) => line.includes('canary-in-an-error')));
  assert.ok(bench.logs.some((line) => line.includes('[redacted]') && line.includes('the flow failed')));
});

test('a failure before the runtime begins is a plain problem, afterwards an error event', async () => {
  const early = await runTicket(bench, model, { limits: { runSeconds: 5, inputBytes: 1 } });
  const accept = 'text/event-stream';
  const refused = await ask(bench, '/internal/runs', { ticket: early, body: { input: 'long' }, accept });
  assert.is(refused.status, 413);
  assert.is(refused.body.code, 'input_too_large');

  const failing = await addInstance(bench, { flow: FAILING_FLOW('boom') });
  const events = await stream(bench, await runTicket(bench, failing));
  assert.equal(
    events.map(({ event }) => event),
    ['run', 'error', 'end'],
  );
  assert.is(events[1]?.data.code, 'runtime_error');
  assert.is(events[1]?.data.status, 502);
});

test('a cancelled run answers run_cancelled and gives its hold back', async () => {
  const ticket = await runTicket(bench, slow);
  const pending = run(bench, ticket);
  await running();
  const cancel = await ask(bench, path(ticket), { method: 'DELETE', ticket: reading(ticket) });
  assert.is(cancel.status, 202);
  const reply = await pending;
  assert.is(reply.status, 409);
  assert.is(reply.body.code, 'run_cancelled');
  assert.is(await state(ticket.hold), 'voided');
  const again = await ask(bench, path(ticket), { method: 'GET', ticket: reading(ticket) });
  assert.is(again.body.code, 'run_cancelled');
});

test('a run that exceeds its time is aborted with run_timeout and gives its hold back', async () => {
  const ticket = await runTicket(bench, slow, { limits: { runSeconds: 0.1, inputBytes: 100 } });
  const reply = await run(bench, ticket);
  assert.is(reply.status, 504);
  assert.is(reply.body.code, 'run_timeout');
  assert.is(await state(ticket.hold), 'voided');
});

test('with Abort a run ends when its only client leaves', async () => {
  const ticket = await runTicket(bench, slow, { onDisconnect: 'Abort' });
  const leave = new AbortController();
  const gone = ask(bench, '/internal/runs', { ticket, body: { input: 'x' }, signal: leave.signal }).catch(() => 'left');
  await running();
  leave.abort();
  assert.is(await gone, 'left');
  await eventually('the hold is voided', async () => (await state(ticket.hold)) === 'voided');
  assert.is((await bench.ledger.client.getHold(ticket.hold)).reason, 'client_gone');
});

/** Reads a stream until the text has come, and says how the run can be ended then. */
async function heard(ticket: RunTicket & { hold: string }, text: string): Promise<AbortController> {
  const leave = new AbortController();
  const token = await bench.booth.sign(ticket, 60);
  const response = await fetch(`${bench.runner.url}/internal/runs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({ input: 'one two 3 EUR' }),
    signal: leave.signal,
  });
  let told = '';
  for await (const chunk of response.body ?? []) {
    told += new TextDecoder().decode(chunk);
    if (told.includes(text)) return leave;
  }
  throw new Error(`the stream ended without ${text}: ${told}`);
}

for (const [how, end] of [
  ['leaves under Abort', async (_ticket: RunTicket, leave: AbortController) => leave.abort()],
  [
    'cancels',
    async (ticket: RunTicket) => {
      await ask(bench, path(ticket), { method: 'DELETE', ticket: reading(ticket) });
    },
  ],
] as const)
  test(`whoever has read the answer pays for it, also when it ${how} before the receipt`, async () => {
    const talkative = await addInstance(bench, { flow: TALKATIVE_FLOW(30_000) });
    const ticket = await runTicket(bench, talkative, { onDisconnect: 'Abort' });
    const leave = await heard(ticket, 'normal.');
    await end(ticket, leave);
    await eventually('the hold is captured', async () => (await state(ticket.hold)) === 'captured');
    const read = await ask(bench, path(ticket), { method: 'GET', ticket: reading(ticket) });
    assert.is(read.status, 200, read.text);
    assert.match(read.body.output.text, 'Priority: normal.');
    assert.is(read.body.receipt.amountMicrocredits, 12_000);
    leave.abort();
  });

test('with Drain a run is finished and charged although its client left', async () => {
  const instance = await addInstance(bench, { flow: SLOW_FLOW(200) });
  const ticket = await runTicket(bench, instance, { onDisconnect: 'Drain' });
  const leave = new AbortController();
  const gone = ask(bench, '/internal/runs', { ticket, body: { input: 'x' }, signal: leave.signal }).catch(() => 'left');
  await running();
  leave.abort();
  assert.is(await gone, 'left');
  const read = await ask(bench, path(ticket), { method: 'GET', ticket: reading(ticket) });
  assert.is(read.status, 200, read.text);
  assert.equal(read.body.output, { text: 'x' });
  assert.is(await state(ticket.hold), 'captured');
});

test('a stream that attaches to a finished run tells all of it', async () => {
  const ticket = await runTicket(bench, model);
  const first = await stream(bench, ticket);
  const second = await stream(bench, ticket);
  const told = (events: typeof first): unknown => ({
    text: events.flatMap(({ event, data }) => (event === 'delta' ? [data.text] : [])).join(''),
    end: events.slice(-2),
  });
  assert.equal(told(second), told(first));
});
