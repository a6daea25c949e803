import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type EdgeWorld, RESERVE, startEdgeWorld } from '../../hack/testing/edge.ts';
import { RUN_PRICE } from '../../hack/testing/fake-runner.ts';

const RUNS = '/v1/instances/acme/claims/runs';

let world: EdgeWorld;
before(async () => {
  world = await startEdgeWorld();
  await world.fund(10_000_000);
});
after(() => world.close());

test('a run is answered with a receipt that names order, line, commit, contract and trace', async () => {
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const reply = await world.call('POST', RUNS, {
    body: { input: 'answer me', session: 's1' },
    headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
  });
  assert.is(reply.status, 200, reply.text);
  assert.is(reply.body.output.text, 'echo: answer me');
  assert.is(reply.body.receipt.amountMicrocredits, RUN_PRICE);
  assert.is(reply.headers.get('gsv-run-id'), reply.body.runId);
  const ticket = world.runner.started.at(-1);
  assert.is(ticket?.holdMicrocredits, RESERVE);
  assert.is(ticket?.onDisconnect, 'Abort');
  assert.equal(ticket?.limits, { runSeconds: 30, inputBytes: 2_000 });
  assert.is(ticket?.traceparent?.split('-')[1], traceId);
  const receipt = await world.call('GET', `/api/orgs/acme/receipts/${reply.body.receipt.id}`, { as: 'billing' });
  assert.is(receipt.status, 200, receipt.text);
  assert.is(receipt.body.amountMicrocredits, RUN_PRICE);
  assert.equal(receipt.body.lines, [{ dimension: 'run', units: 1, amountMicrocredits: RUN_PRICE }]);
  assert.is(receipt.body.order, 'T3JkZXI6MQ==');
  assert.is(receipt.body.line, 'TGluZTox');
  assert.is(receipt.body.commit, 'c'.repeat(40));
  assert.is(receipt.body.traceId, traceId);
  assert.is(receipt.body.runId, reply.body.runId);
  assert.match(receipt.body.contractDigest, /^sha256:[0-9a-f]{64}$/);
  assert.is(await world.held(), 0);
});

test('a run without a trace gets one', async () => {
  const reply = await world.call('POST', RUNS, { body: { input: 'answer' }, headers: { traceparent: '00-0-0-0' } });
  assert.is(reply.status, 200);
  assert.match(world.runner.started.at(-1)?.traceparent ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
});

test('an API key runs the Instance that it names', async () => {
  const reply = await world.call('POST', RUNS, { as: 'key', body: { input: 'answer' } });
  assert.is(reply.status, 200, reply.text);
});

test('a run can be read back, and only at its own Instance', async () => {
  await world.makeInstance('claims-two');
  const run = await world.call('POST', RUNS, { body: { input: 'answer again' } });
  const read = await world.call('GET', `${RUNS}/${run.body.runId}`, { as: 'viewer' });
  assert.equal(read.body, run.body);
  const elsewhere = await world.call('GET', `/v1/instances/acme/claims-two/runs/${run.body.runId}`);
  assert.is(elsewhere.body.code, 'run_not_found');
  world.runner.forget(run.body.runId);
  const later = await world.call('GET', `${RUNS}/${run.body.runId}`);
  assert.is(later.status, 410);
  assert.is(later.body.code, 'result_expired');
  assert.is(later.body.receipt, run.body.receipt.id);
});

test('a run can be cancelled; an unknown one is 404', async () => {
  const count = world.runner.started.length;
  const running = world.call('POST', RUNS, {
    body: { input: 'wait for cancel' },
    headers: { 'idempotency-key': 'c1' },
  });
  const runId = await world.started(count);
  const reply = await world.call('DELETE', `${RUNS}/${runId}`);
  assert.is(reply.status, 202, reply.text);
  assert.ok(world.runner.cancelled.includes(runId));
  world.runner.release();
  assert.is((await running).status, 200);
  assert.is((await world.call('DELETE', `${RUNS}/no-such-run`)).body.code, 'run_not_found');
});

test('the wallet shows balance and entries in microcredits', async () => {
  const wallet = await world.call('GET', '/api/orgs/acme/wallets/main', { as: 'billing' });
  assert.is(wallet.status, 200, wallet.text);
  assert.is(wallet.body.heldMicrocredits, 0);
  assert.ok(wallet.body.availableMicrocredits > 0);
  assert.is(wallet.body.grants[0].amountMicrocredits, 10_000_000);
  const first = await world.call('GET', '/api/orgs/acme/wallets/main/entries?limit=2', { as: 'billing' });
  assert.is(first.status, 200, first.text);
  assert.is(first.body.items.length, 2);
  assert.type(first.body.items[0].amountMicrocredits, 'number');
  const next = await world.call('GET', `/api/orgs/acme/wallets/main/entries?limit=2&cursor=${first.body.next}`, {
    as: 'billing',
  });
  assert.is(next.status, 200, next.text);
  assert.is.not(next.body.items[0].entry, first.body.items[0].entry);
});
