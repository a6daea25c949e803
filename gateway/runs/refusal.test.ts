import { after, before, beforeEach, test } from 'node:test';
import * as assert from 'uvu/assert';
import { AUDIENCE, type EdgeWorld, RESERVE, startEdgeWorld } from '../../hack/testing/edge.ts';
import { ALL_SCOPES_TOKEN } from '../../hack/testing/ledger.ts';
import { LedgerClient } from '../../ledger/client.ts';

const RUNS = '/v1/instances/acme/claims/runs';

let world: EdgeWorld;
before(async () => {
  world = await startEdgeWorld();
});
beforeEach(() => world.fund(1_000_000));
after(() => world.close());

async function refused(code: string, status: number, reply: { status: number; body: { code?: string }; text: string }) {
  assert.is(reply.body?.code, code, reply.text);
  assert.is(reply.status, status);
  assert.is(await world.held(), 0, 'no hold is left behind');
}

test('an empty wallet is 402 with what is there and what it takes', async () => {
  await world.ledger.client.putWallet('acme.poor', { ownerUid: 'uid-poor' });
  await world.fund(RESERVE - 1, 'acme.poor');
  await world.makeInstance('poor', { walletRef: { name: 'poor' } });
  const reply = await world.call('POST', '/v1/instances/acme/poor/runs', { body: { input: 'answer' } });
  await refused('insufficient_credits', 402, reply);
  assert.is(reply.body.availableMicrocredits, RESERVE - 1);
  assert.is(reply.body.requiredMicrocredits, RESERVE);
});

test('a cap below the reserve is 422; one above it runs', async () => {
  const low = await world.call('POST', RUNS, { body: { input: 'answer', maxMicrocredits: RESERVE - 1 } });
  await refused('max_below_reserve', 422, low);
  assert.is(low.body.errors[0].pointer, '/maxMicrocredits');
  const enough = await world.call('POST', RUNS, { body: { input: 'answer', maxMicrocredits: RESERVE } });
  assert.is(enough.status, 200);
});

test('an input beyond the contract is 413, in bytes and not in characters', async () => {
  await refused('input_too_large', 413, await world.call('POST', RUNS, { body: { input: 'ä'.repeat(1_001) } }));
  assert.is((await world.call('POST', RUNS, { body: { input: 'ä'.repeat(1_000) } })).status, 200);
});

test('a body beyond the route is 413 and is not read', async () => {
  await refused('body_too_large', 413, await world.call('POST', RUNS, { body: { input: 'x'.repeat(2_200_000) } }));
});

for (const [reason, raw, status, code] of [
  ['no JSON', '{"input":', 400, 'malformed_body'],
  ['no input', '{}', 422, 'invalid_request'],
  ['an unknown field', '{"input":"x","hold":"h"}', 422, 'invalid_request'],
  ['a number as input', '{"input":7}', 422, 'invalid_request'],
  ['a negative cap', '{"input":"x","maxMicrocredits":-1}', 422, 'invalid_request'],
  ['prototype pollution', '{"input":"x","__proto__":{"a":1}}', 400, 'malformed_body'],
] as const)
  test(`a body with ${reason} is ${status}`, async () => {
    await refused(code, status, await world.call('POST', RUNS, { raw }));
  });

for (const [name, spec, status, code, reason] of [
  ['suspended', { suspend: true }, {}, 'instance_paused', 'Suspended'],
  ['out-of-credit', {}, { lifecycle: 'Paused', conditions: [] }, 'instance_paused', 'Paused'],
  ['terminating', {}, { lifecycle: 'Terminating' }, 'instance_not_ready', 'Terminating'],
  ['requested', {}, { lifecycle: 'Requested', conditions: [] }, 'instance_not_ready', 'Requested'],
  ['missing-secret', {}, { conditions: [notReady('BuyerSecretMissing')] }, 'instance_not_ready', 'BuyerSecretMissing'],
  ['other-contract', {}, { contractDigest: `sha256:${'0'.repeat(64)}` }, 'instance_not_ready', 'ContractMissing'],
  ['other-version', {}, { version: '9.9.9' }, 'instance_not_ready', 'ContractMissing'],
  ['no-plan', { plan: 'gone' }, {}, 'instance_not_ready', 'PlanUnknown'],
] as const)
  test(`an Instance that is ${name} is 409 ${code} with the reason`, async () => {
    await world.makeInstance(name, spec, status as object);
    const reply = await world.call('POST', `/v1/instances/acme/${name}/runs`, { body: { input: 'answer' } });
    await refused(code, 409, reply);
    assert.is(reply.body.reason, reason);
  });

function notReady(reason: string) {
  const lastTransitionTime = '2026-01-01T00:00:00Z';
  return { type: 'Ready', status: 'False', reason, message: 'Set the secret crm-key.', lastTransitionTime };
}

test('a contract limit of runs at once is 429 with Retry-After, also across edges', async () => {
  await world.makeInstance('narrow', { plan: 'slow' });
  const path = '/v1/instances/acme/narrow/runs';
  const count = world.runner.started.length;
  const running = world.call('POST', path, { body: { input: 'wait' } });
  await world.started(count);
  const other = await world.another({});
  const token = await world.issuer.mint('operator@example.com');
  const reply = await fetch(other.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: '{"input":"answer"}',
  });
  const { code } = (await reply.json()) as { code: string };
  assert.is(code, 'too_many_runs');
  assert.is(reply.status, 429);
  assert.ok(Number(reply.headers.get('retry-after')) >= 1);
  world.runner.release();
  assert.is((await running).status, 200);
  await other.close();
});

test('requests beyond the contract per minute are 429 with the time to wait', async () => {
  await world.makeInstance('rated', { plan: 'slow' });
  const path = '/v1/instances/acme/rated/runs';
  for (let request = 0; request < 2; request++)
    assert.is((await world.call('POST', path, { body: { input: 'answer' } })).status, 200);
  const reply = await world.call('POST', path, { body: { input: 'answer' } });
  await refused('rate_limited', 429, reply);
  const wait = Number(reply.headers.get('retry-after'));
  assert.ok(wait > 0 && wait <= 30, String(wait));
});

for (const [input, code, status] of [
  ['fail', 'runtime_error', 502],
  ['die', 'runner_failed', 502],
  ['refuse', 'runner_failed', 502],
] as const)
  test(`a runner that does "${input}" is ${status} ${code} and the credits are given back`, async () => {
    await refused(code, status, await world.call('POST', RUNS, { body: { input } }));
  });

test('a runner that settled before it was lost is read back: the buyer has paid and gets the answer', async () => {
  const reply = await world.call('POST', RUNS, { body: { input: 'settle-and-die' } });
  assert.is(reply.status, 200, reply.text);
  assert.is(reply.body.output.text, 'echo: settle-and-die');
});

test('a runner that cannot be reached is 503 with Retry-After and the credits are given back', async () => {
  const lonely = await world.another({ runnerUrl: 'http://127.0.0.1:9' });
  const reply = await post(lonely.url);
  await refused('runner_unavailable', 503, reply);
  assert.ok(Number(reply.headers.get('retry-after')) >= 1);
  await lonely.close();
});

test('a ledger that cannot be reached is 503', async () => {
  const ledger = new LedgerClient({ url: 'http://127.0.0.1:9', token: () => ALL_SCOPES_TOKEN, attempts: 1 });
  const lonely = await world.another({ ledger });
  await refused('ledger_unavailable', 503, await post(lonely.url));
  await lonely.close();
  await ledger.close();
});

test('an issuer that cannot be reached is 503, not 401', async () => {
  const lonely = await world.another({ oidc: { issuer: 'http://127.0.0.1:9', audience: AUDIENCE } });
  const reply = await post(lonely.url);
  await refused('issuer_unavailable', 503, reply);
  assert.ok(Number(reply.headers.get('retry-after')) >= 1);
  assert.equal(await lonely.ready(), ['the identity provider does not answer']);
  await lonely.close();
});

test('more runs than the process carries are 503 at once', async () => {
  const small = await world.another({ maxRuns: 1 });
  const count = world.runner.started.length;
  const running = post(small.url, 'wait');
  await world.started(count);
  const reply = await post(small.url);
  assert.is(reply.body.code, 'overloaded');
  world.runner.release();
  assert.is((await running).status, 200);
  assert.is((await post(small.url)).status, 200, 'the place is free again');
  await small.close();
});

test('a closing edge lets its runs end and refuses new ones', async () => {
  const edge = await world.another({});
  const count = world.runner.started.length;
  const running = post(edge.url, 'wait');
  await world.started(count);
  const closing = edge.close();
  const reply = await post(edge.url);
  assert.is(reply.body.code, 'draining');
  world.runner.release();
  assert.is((await running).status, 200);
  await closing;
});

test('an edge whose port is taken fails and leaves nothing open', async () => {
  const port = Number(new URL(world.gateway.url).port);
  const error = await world.another({ port }).catch((reason: unknown) => reason);
  assert.is((error as { code?: string }).code, 'EADDRINUSE');
});

async function post(url: string, input = 'answer') {
  const token = await world.issuer.mint('operator@example.com');
  const reply = await fetch(url + RUNS, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ input }),
  });
  const text = await reply.text();
  return { status: reply.status, headers: reply.headers, text, body: JSON.parse(text) };
}
