import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type EdgeWorld, startEdgeWorld } from '../../hack/testing/edge.ts';
import { RUN_PRICE } from '../../hack/testing/fake-runner.ts';

const RUNS = '/v1/instances/acme/claims/runs';

let world: EdgeWorld;
before(async () => {
  world = await startEdgeWorld();
  await world.fund(10_000_000);
});
after(() => world.close());

function run(input: string, key: string, more: { as?: string; session?: string; accept?: string } = {}) {
  return world.call('POST', RUNS, {
    ...(more.as ? { as: more.as } : {}),
    body: { input, ...(more.session ? { session: more.session } : {}) },
    headers: { 'idempotency-key': key, ...(more.accept ? { accept: more.accept } : {}) },
  });
}

async function available(): Promise<number> {
  return (await world.ledger.client.getWallet('acme.main')).available;
}

test('a retry with the same key gets the same run and is charged once', async () => {
  const before = await available();
  const first = await run('answer once', 'k1');
  const second = await run('answer once', 'k1');
  assert.is(first.status, 200, first.text);
  assert.is(second.text, first.text);
  assert.is(first.headers.get('idempotency-replayed'), null);
  assert.is(second.headers.get('idempotency-replayed'), 'true');
  assert.is(before - (await available()), RUN_PRICE);
});

test('retries while the run goes on wait for it, as JSON and as a stream', async () => {
  const count = world.runner.started.length;
  const first = run('wait for all', 'k2');
  const id = await world.started(count);
  const second = run('wait for all', 'k2');
  const third = run('wait for all', 'k2', { accept: 'text/event-stream' });
  while (world.runner.followed.filter((each) => each === id).length < 2) await delay(2);
  world.runner.release();
  const [a, b, c] = await Promise.all([first, second, third]);
  assert.is(a.status, 200, a.text);
  assert.is(b.text, a.text);
  assert.match(c.text, new RegExp(`"receipt":\\{"id":"${a.body.receipt.id}"`));
  assert.is(world.runner.started.length, count + 1);
});

test('twenty at once under one key are one run', async () => {
  const count = world.runner.started.length;
  const replies = await Promise.all(Array.from({ length: 20 }, () => run('answer all of you', 'k3')));
  assert.equal([...new Set(replies.map((reply) => reply.status))], [200]);
  assert.is(new Set(replies.map((reply) => reply.body.runId)).size, 1);
  assert.is(world.runner.started.length, count + 1);
  assert.is(await world.held(), 0);
});

test('the key belongs to the caller and the Instance', async () => {
  const mine = await run('answer me', 'k4');
  const theirs = await run('answer me', 'k4', { as: 'admin' });
  assert.is(theirs.status, 200);
  assert.is.not(theirs.body.runId, mine.body.runId);
});

for (const [reason, input, session] of [
  ['another input', 'answer differently', undefined],
  ['another session', 'answer me', 's2'],
] as const)
  test(`${reason} under a used key is a conflict`, async () => {
    const reply = await run(input, 'k4', session ? { session } : {});
    assert.is(reply.status, 422);
    assert.is(reply.body.code, 'idempotency_conflict');
  });

test('after a failed attempt the same key runs again', async () => {
  const failed = await run('fail now', 'k5');
  assert.is(failed.status, 502);
  assert.is(failed.body.code, 'runtime_error');
  const again = await run('fail now', 'k5');
  assert.is(again.status, 502);
  const tickets = world.runner.started.slice(-2);
  assert.is.not(tickets[0]?.runId, tickets[1]?.runId);
  assert.is(await world.held(), 0);
});

test('a key whose attempts all failed is given up', async () => {
  let reply = await run('fail always', 'k6');
  for (let attempt = 1; attempt < 16; attempt++) reply = await run('fail always', 'k6');
  assert.is(reply.status, 502);
  const last = await run('fail always', 'k6');
  assert.is(last.status, 422);
  assert.is(last.body.code, 'idempotency_key_exhausted');
});

test('a result that is no longer kept is said to be gone, and the run is not repeated', async () => {
  const first = await run('answer and forget', 'k7');
  world.runner.forget(first.body.runId);
  const second = await run('answer and forget', 'k7');
  assert.is(second.status, 410);
  assert.is(second.body.code, 'result_expired');
  assert.is(second.body.receipt, first.body.receipt.id);
});

test('a charge that is still open is not given back, so that the runner can take it later', async () => {
  const held = await world.held();
  const reply = await run('owe it', 'k8');
  assert.is(reply.status, 503);
  assert.is(reply.body.code, 'settlement_unavailable');
  assert.ok((await world.held()) > held);
  const runId = world.runner.started.at(-1)?.runId ?? '';
  const { hold } = await world.ledger.client.run(runId);
  await world.ledger.client.voidHold(hold, {}, 'clean-up');
});

test('a malformed key is refused', async () => {
  const reply = await run('answer', 'x'.repeat(256));
  assert.is(reply.status, 422);
  assert.is(reply.body.code, 'idempotency_key_invalid');
});
