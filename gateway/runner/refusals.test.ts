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
import { MODEL_FLOW, SECRET_FLOW } from '../../hack/runtime/sample-testing.ts';
import { type RunTicket, TicketBooth } from '../ticket.ts';

const CRM = {
  secrets: [
    { name: 'crm-token', source: 'Buyer' as const },
    { name: 'signing-key', source: 'Generated' as const },
  ],
  runtime: { globals: [{ name: 'GSV_CRM_TOKEN', fromSecret: 'crm-token' }] },
};

let bench: Bench;
let instance: TestInstance;
before(async () => {
  bench = await startBench();
  instance = await addInstance(bench, { flow: MODEL_FLOW });
});
after(() => bench.close());

const foreign = new TicketBooth(() => 'another-ticket-key-of-at-least-32-chars');

async function state(ticket: { hold: string }): Promise<string> {
  return (await bench.ledger.client.getHold(ticket.hold)).state;
}

const TICKETS: {
  reason: string;
  token: (ticket: RunTicket) => Promise<string | undefined>;
  status: number;
  code: string;
}[] = [
  { reason: 'no ticket', token: async () => undefined, status: 401, code: 'ticket_invalid' },
  { reason: 'no JWT', token: async () => 'not-a-ticket', status: 401, code: 'ticket_invalid' },
  { reason: 'signed by another key', token: (ticket) => foreign.sign(ticket, 60), status: 401, code: 'ticket_invalid' },
  { reason: 'expired', token: (ticket) => bench.booth.sign(ticket, -5), status: 401, code: 'ticket_expired' },
  {
    reason: 'for reading',
    token: (ticket) => bench.booth.sign({ ...ticket, purpose: 'read' }, 60),
    status: 403,
    code: 'ticket_mismatch',
  },
  {
    reason: 'without a hold',
    token: ({ hold: _hold, ...ticket }) => bench.booth.sign(ticket, 60),
    status: 401,
    code: 'ticket_invalid',
  },
  {
    reason: 'with a run id that is a path',
    token: (ticket) => bench.booth.sign({ ...ticket, runId: '../other' }, 60),
    status: 401,
    code: 'ticket_invalid',
  },
];

for (const { reason, token, status, code } of TICKETS) {
  test(`a ticket ${reason} runs nothing: ${code}`, async () => {
    const ticket = await runTicket(bench, instance);
    const signed = await token(ticket);
    const body = { input: 'x' };
    const reply = await ask(bench, '/internal/runs', { body, ...(signed === undefined ? {} : { token: signed }) });
    assert.is(reply.status, status, reply.text);
    assert.is(reply.body.code, code);
    assert.is(await state(ticket), 'open');
  });
}

test('the probe key opens no run, and a ticket no probe', async () => {
  const run = await ask(bench, '/internal/runs', { token: 'probe-key-0123456789', body: { input: 'x' } });
  assert.is(run.status, 401);
  const wrong = await probe(bench, instance, 'wrong-key');
  assert.is(wrong.status, 401);
  assert.is(wrong.body.code, 'probe_unauthenticated');
});

test('a malformed body is refused before anything runs', async () => {
  const ticket = await runTicket(bench, instance);
  const reply = await ask(bench, '/internal/runs', { ticket, body: { input: 7, tweaks: {} } });
  assert.is(reply.status, 422);
  assert.is(await state(ticket), 'open');
});

test('an input above the ticket’s limit is 413 and the hold is given back', async () => {
  const ticket = await runTicket(bench, instance, { limits: { runSeconds: 5, inputBytes: 10 } });
  const reply = await run(bench, ticket, 'äääääx');
  assert.is(reply.status, 413);
  assert.is(reply.body.code, 'input_too_large');
  assert.is(await state(ticket), 'voided');
  const fits = await runTicket(bench, instance, { limits: { runSeconds: 5, inputBytes: 10 } });
  assert.is((await run(bench, fits, 'äääää')).status, 200);
});

test('a ticket priced by another contract runs nothing and the hold is given back', async () => {
  const ticket = await runTicket(bench, { ...instance, contractDigest: `sha256:${'0'.repeat(64)}` });
  const reply = await run(bench, ticket);
  assert.is(reply.status, 409);
  assert.is(reply.body.code, 'contract_mismatch');
  assert.is(await state(ticket), 'voided');
});

test('a published contract that does not have its digest is not run', async () => {
  const tampered = await addInstance(bench, { flow: MODEL_FLOW });
  const name = `${tampered.name}-1.0.0`;
  const version = await bench.store.get('OfferingVersion', { name });
  const spec = structuredClone(version?.spec) as NonNullable<typeof version>['spec'];
  (spec.contract as { dimensions: { priceMicrocredits: number }[] }).dimensions.forEach((each) => {
    each.priceMicrocredits = 0;
  });
  await bench.store.delete('OfferingVersion', { name });
  await bench.store.create('OfferingVersion', { metadata: { name }, spec });
  const reply = await run(bench, await runTicket(bench, tampered));
  assert.is(reply.body.code, 'contract_mismatch', reply.text);
});

test('an Instance of the same name but another uid is not found', async () => {
  const ticket = await runTicket(bench, { ...instance, uid: '00000000-0000-0000-0000-000000000000' });
  const reply = await run(bench, ticket);
  assert.is(reply.status, 404);
  assert.is(reply.body.code, 'instance_not_found');
  assert.is(await state(ticket), 'voided');
});

test('a run without a secret that its flow needs is refused and names it', async () => {
  const crm = await addInstance(bench, { flow: SECRET_FLOW('GSV_CRM_TOKEN'), capability: CRM });
  const ticket = await runTicket(bench, crm);
  const reply = await run(bench, ticket);
  assert.is(reply.status, 409);
  assert.is(reply.body.code, 'secret_missing');
  assert.equal(reply.body.secrets, ['crm-token']);
  assert.is(await state(ticket), 'voided');
});

test('another Instance’s run cannot be read, attached to or cancelled', async () => {
  const ticket = await runTicket(bench, instance);
  assert.is((await run(bench, ticket)).status, 200);
  const other = await addInstance(bench, { organization: 'globex', flow: MODEL_FLOW });
  const stolen: RunTicket = { ...(await runTicket(bench, other)), runId: ticket.runId };
  const path = `/internal/runs/${ticket.runId}`;
  for (const method of ['GET', 'DELETE']) {
    const reply = await ask(bench, path, { method, ticket: { ...stolen, purpose: 'read' } });
    assert.is(reply.status, 404);
    assert.is(reply.body.code, 'run_not_found');
  }
  assert.is((await run(bench, stolen)).body.code, 'run_not_found');
});

test('a read ticket of another run is refused, an unknown run is not found', async () => {
  const ticket: RunTicket = { ...(await runTicket(bench, instance)), purpose: 'read' };
  const mismatch = await ask(bench, '/internal/runs/other', { method: 'GET', ticket });
  assert.is(mismatch.status, 403);
  const unknown = await ask(bench, `/internal/runs/${ticket.runId}`, { method: 'GET', ticket });
  assert.is(unknown.status, 404);
  assert.is(unknown.body.code, 'run_not_found');
});

test('a probe of a healthy Instance names its contract and the secrets’ versions, and charges nothing', async () => {
  const crm = await addInstance(bench, { flow: SECRET_FLOW('GSV_CRM_TOKEN'), capability: CRM });
  const missing = await probe(bench, crm);
  assert.is(missing.status, 409);
  assert.is(missing.body.code, 'secret_missing');
  assert.equal(missing.body.secrets, ['crm-token', 'signing-key']);
  await setSecret(bench, crm, 'crm-token', 'first-value');
  await setSecret(bench, crm, 'crm-token', 'second-value');
  await setSecret(bench, crm, 'signing-key', 'generated-value');
  const calls = bench.gate.calls.length;
  const reply = await probe(bench, crm);
  assert.is(reply.status, 200, reply.text);
  assert.equal(reply.body, {
    ok: true,
    contractDigest: crm.contractDigest,
    secrets: [
      { name: 'crm-token', version: 2 },
      { name: 'signing-key', version: 1 },
    ],
  });
  assert.is(bench.gate.calls.length, calls);
});

test('a probe says why an Instance could not run', async () => {
  const unknown = await probe(bench, { ...instance, name: 'nobody' });
  assert.is(unknown.status, 404);
  assert.is(unknown.body.code, 'instance_not_found');

  const noPolicy = await addInstance(bench, { flow: MODEL_FLOW, capability: CRM });
  await bench.secrets.deletePolicy(`gsv-i-${noPolicy.uid}`);
  assert.is((await probe(bench, noPolicy)).body.code, 'instance_not_ready');

  const lost = await addInstance(bench, {
    flow: new TextEncoder().encode('{"data":{"nodes":[],"edges":[]},"lost":1}'),
  });
  const sha256 = (await bench.store.get('OfferingVersion', { name: `${lost.name}-1.0.0` }))?.spec.artifact.sha256 ?? '';
  await bench.blobs.delete(`artifacts/sha256/${sha256.slice(0, 2)}/${sha256}.json`);
  const missing = await probe(bench, lost);
  assert.is(missing.status, 409);
  assert.is(missing.body.code, 'artifact_missing');

  const noFlow = await addInstance(bench, { flow: new TextEncoder().encode('{"hello":"world"}') });
  assert.is((await probe(bench, noFlow)).body.code, 'artifact_corrupt');
});

test('a probe before the operator’s first status takes the version that is pinned', async () => {
  const fresh = await addInstance(bench, { flow: MODEL_FLOW, unbound: true });
  const reply = await probe(bench, fresh);
  assert.is(reply.status, 200, reply.text);
  assert.is(reply.body.contractDigest, fresh.contractDigest);
});
