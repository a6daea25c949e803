import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type ContractSecret, contractDigest, parseContract } from '../../crds/contract.ts';
import {
  type Answer,
  addInstance,
  ask,
  type Bench,
  probe,
  run,
  runTicket,
  startBench,
  type TestInstance,
} from '../../hack/runtime/runner-bench.ts';
import { SECRET_FLOW } from '../../hack/runtime/sample-testing.ts';
import type { RunTicket } from '../ticket.ts';

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
  instance = await addInstance(bench, { flow: SECRET_FLOW('GSV_CRM_TOKEN'), capability: CRM });
});
after(() => bench.close());

function put(secret: string, body: unknown, more: Partial<RunTicket> = {}, path = secret): Promise<Answer> {
  const { contractDigest: _digest, ...named } = instance;
  const ticket: RunTicket = { purpose: 'secret-write', runId: 'write-1', instance: named, secret, ...more };
  return ask(bench, `/internal/secrets/${instance.organization}/${instance.name}/${path}`, {
    method: 'PUT',
    ticket,
    body,
  });
}

test('a buyer sets a secret, changes it by version, and the next run uses it', async () => {
  const first = await put('crm-token', { value: 'first-token-1', version: 0 });
  assert.is(first.status, 200, first.text);
  assert.is(first.body.name, 'crm-token');
  assert.is(first.body.version, 1);
  assert.ok(Date.parse(first.body.updatedTime) > 0);
  assert.not.ok(first.text.includes('first-token-1'));

  const stale = await put('crm-token', { value: 'other-token', version: 0 });
  assert.is(stale.status, 409);
  assert.is(stale.body.code, 'version_conflict');

  const second = await put('crm-token', { value: 'second-token-2', version: 1 });
  assert.is(second.body.version, 2);
  assert.is((await put('crm-token', { value: 'third-token-33' })).body.version, 3);
  const reply = await run(bench, await runTicket(bench, instance), 'token:');
  assert.equal(reply.body.output, { text: 'token: [redacted]' }, reply.text);
});

const REFUSALS: { reason: string; reply: () => Promise<Answer>; status: number; code: string }[] = [
  {
    reason: 'a secret that the platform generates',
    reply: () => put('signing-key', { value: 'my-own-key' }),
    status: 404,
    code: 'secret_not_declared',
  },
  {
    reason: 'a secret that nobody declared',
    reply: () => put('other', { value: 'some-value' }),
    status: 404,
    code: 'secret_not_declared',
  },
  {
    reason: 'a value too short to be kept out of answers',
    reply: () => put('crm-token', { value: '12345' }),
    status: 422,
    code: 'invalid_request',
  },
  {
    reason: 'a value too large for a runtime variable',
    reply: () => put('crm-token', { value: 'x'.repeat(16_385) }),
    status: 422,
    code: 'invalid_request',
  },
  {
    reason: 'another secret than the ticket’s',
    reply: () => put('crm-token', { value: 'some-value' }, {}, 'signing-key'),
    status: 403,
    code: 'ticket_mismatch',
  },
  {
    reason: 'a run ticket',
    reply: () => put('crm-token', { value: 'some-value' }, { purpose: 'run' }),
    status: 403,
    code: 'ticket_mismatch',
  },
  {
    reason: 'an Instance that was deleted and made anew',
    reply: () => {
      const { contractDigest: _digest, ...named } = instance;
      return put('crm-token', { value: 'some-value' }, { instance: { ...named, uid: 'another-uid' } });
    },
    status: 404,
    code: 'instance_not_found',
  },
];

for (const { reason, reply, status, code } of REFUSALS) {
  test(`setting ${reason} is refused: ${code}`, async () => {
    const before = await bench.secrets.metadata(`t/gsv-w-acme-default-00000000/${instance.uid}/crm-token`);
    const refused = await reply();
    assert.is(refused.status, status, refused.text);
    assert.is(refused.body.code, code);
    const after = await bench.secrets.metadata(`t/gsv-w-acme-default-00000000/${instance.uid}/crm-token`);
    assert.equal(after, before);
  });
}

test('no value reaches a log line or a reply', async () => {
  const canary = 'canary-5f1c0e9a7b';
  assert.is((await put('crm-token', { value: canary })).status, 200);
  await put('crm-token', { value: canary, version: 0 });
  await put('other', { value: canary });
  const reply = await run(bench, await runTicket(bench, instance), 'say it:');
  await probe(bench, instance);
  assert.is(reply.status, 200);
  assert.not.ok(reply.text.includes(canary));
  assert.not.ok(bench.logs.some((line) => line.includes(canary)));
});

test('a secret of the version that the Instance is to take next is taken, one of no version is not', async () => {
  const { store } = bench;
  const key = { namespace: `gsv-org-${instance.organization}`, name: instance.name };
  const version = await store.get('OfferingVersion', { name: `${instance.name}-1.0.0` });
  const present = await store.get('Instance', key);
  if (!version || !present) throw new Error('the Instance is gone');
  const secret = { name: 'erp-key', capability: 'intake', source: 'Buyer', rotation: { overlapSeconds: 0 } };
  const document = parseContract(version.spec.contract);
  const contract = { ...document, version: '2.0.0', secrets: [...document.secrets, secret as ContractSecret] };
  await store.create('OfferingVersion', {
    metadata: { name: `${instance.name}-2.0.0` },
    spec: { ...version.spec, version: '2.0.0', contract: { ...contract }, contractDigest: contractDigest(contract) },
  });
  assert.is((await put('erp-key', { value: 'for-the-next-one' })).body.code, 'secret_not_declared');
  const spec = { ...present.spec, version: '2.0.0' };
  await store.apply('Instance', { metadata: key, spec }, { fieldManager: 'test' });
  const set = await put('erp-key', { value: 'for-the-next-one' });
  assert.is(set.status, 200, set.text);
  assert.is((await put('crm-token', { value: 'still-the-present-one' })).status, 200);
  assert.is((await put('other-key', { value: 'of-no-version' })).body.code, 'secret_not_declared');
  await store.apply('Instance', { metadata: key, spec: present.spec }, { fieldManager: 'test' });
});
