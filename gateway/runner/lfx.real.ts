import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { exportFlow, installLfx, type LfxRuntime, startLfx } from '../../hack/runtime/lfx.ts';
import {
  addInstance,
  ask,
  type Bench,
  probe,
  readEvents,
  run,
  runTicket,
  setSecret,
  startBench,
  type TestInstance,
} from '../../hack/runtime/runner-bench.ts';
import { flowId } from './flow.ts';

const FLOWS = join(import.meta.dirname, '../../config/flows');
const SECRET = 'crm-token-canary-0123';

const lfx = await installLfx((line) => process.stderr.write(`# ${line}\n`));
let runtime: LfxRuntime;
let bench: Bench;
let triage: TestInstance;
let echo: TestInstance;

before(async () => {
  const [triageFlow, echoFlow] = [
    await exportFlow(lfx, join(FLOWS, 'claims-triage.py')),
    await exportFlow(lfx, join(FLOWS, 'secret-echo.py')),
  ];
  runtime = await startLfx(lfx);
  bench = await startBench({ runtime });
  triage = await addInstance(bench, { flow: triageFlow });
  echo = await addInstance(bench, {
    flow: echoFlow,
    capability: {
      secrets: [{ name: 'crm-token', source: 'Buyer' }],
      runtime: { globals: [{ name: 'GSV_CRM_TOKEN', fromSecret: 'crm-token' }] },
    },
  });
  await setSecret(bench, echo, 'crm-token', SECRET);
});
after(async () => {
  await bench?.close();
  await runtime?.close();
});

test('a run on real lfx answers and is charged', async () => {
  const ticket = await runTicket(bench, triage);
  const reply = await run(bench, ticket, 'Water damage in the kitchen, 300 EUR, and the door, 1200.50 EUR.');
  assert.is(reply.status, 200, reply.text);
  assert.match(reply.body.output.text, 'Amounts named: 300 EUR\n1200.50 EUR');
  assert.is(reply.body.receipt.amountMicrocredits, 12_000);
  assert.is((await bench.ledger.client.getHold(ticket.hold)).state, 'captured');
});

test('a stream from real lfx ends with its receipt', async () => {
  const ticket = await runTicket(bench, triage);
  const reply = await ask(bench, '/internal/runs', { ticket, body: { input: '5 EUR' }, accept: 'text/event-stream' });
  const events = readEvents(reply.text);
  assert.equal(
    events.map(({ event }) => event),
    ['run', 'delta', 'receipt', 'end'],
  );
  assert.match(events[1]?.data.text, 'Amounts named: 5 EUR');
});

test('a secret that a flow prints on real lfx reaches neither reply, stream, result nor log', async () => {
  const ticket = await runTicket(bench, echo);
  const reply = await run(bench, ticket, 'Tell');
  assert.equal(reply.body.output, { text: 'Tell: the token is [redacted].' });
  const again = await runTicket(bench, echo);
  const told = await ask(bench, '/internal/runs', { ticket: again, body: { input: 'x' }, accept: 'text/event-stream' });
  assert.match(told.text, 'the token is [redacted].');
  assert.not.ok(told.text.includes(SECRET));
  const stored = await bench.blobs.get(`results/${echo.uid}/${ticket.runId}.json`);
  assert.not.ok(new TextDecoder().decode(stored).includes(SECRET));
  assert.not.ok(bench.logs.some((line) => line.includes(SECRET)));
});

test('a flow that real lfx lost is uploaded again', async () => {
  const version = await bench.store.get('OfferingVersion', { name: `${triage.name}-1.0.0` });
  const id = flowId(version?.spec.artifact.sha256 ?? '');
  const gone = await fetch(`${runtime.url}/flows/${id}`, { method: 'DELETE', headers: { 'x-api-key': runtime.key } });
  assert.is(gone.status, 204);
  assert.is((await run(bench, await runTicket(bench, triage))).status, 200);
});

test('a probe on real lfx is ready', async () => {
  const reply = await probe(bench, echo);
  assert.is(reply.status, 200, reply.text);
  assert.equal(reply.body.secrets, [{ name: 'crm-token', version: 1 }]);
});

test('runs on real lfx go on side by side', async () => {
  const tickets = await Promise.all(Array.from({ length: 6 }, () => runTicket(bench, triage)));
  const replies = await Promise.all(tickets.map((ticket, index) => run(bench, ticket, `claim ${index}`)));
  assert.equal(
    replies.map(({ body }) => body.output?.text.split('\n')[0]),
    tickets.map((_, index) => `Claim: claim ${index}`),
  );
});

test('real lfx that went away is runtime_unavailable and the hold is given back', async () => {
  await runtime.close();
  const ticket = await runTicket(bench, triage);
  const reply = await run(bench, ticket);
  assert.is(reply.status, 503);
  assert.is(reply.body.code, 'runtime_unavailable');
  assert.is((await bench.ledger.client.getHold(ticket.hold)).state, 'voided');
});
