import { type TestContext, test } from 'node:test';
import * as assert from 'uvu/assert';
import { json, type Reply, reset, ScriptedServer, status } from '../../hack/cluster/scripted-server.ts';
import { type ResourceStore, StoreError } from '../store.ts';
import { KubernetesStore } from './kubernetes.ts';

const KEY = { name: 'acme' };
const DESIRED = { metadata: KEY, spec: { display: { title: 'T' } } };
const ANSWER = { metadata: { name: 'acme', uid: 'u', resourceVersion: '7', generation: 1 }, spec: DESIRED.spec };
const BUSY = status(503, 'ServiceUnavailable', 'not now');
const SLOW_DOWN = status(429, 'TooManyRequests', 'slow down', { retryAfterSeconds: 0 });
const NOT_FOUND = status(404, 'NotFound', 'organizations "acme" not found', { name: 'acme', kind: 'organizations' });

async function opened(t: TestContext, ...calls: Reply[]): Promise<{ server: ScriptedServer; store: ResourceStore }> {
  const server = await ScriptedServer.start();
  server.calls.push(...calls);
  const store = await KubernetesStore.open({ kubeConfig: server.kubeconfig, random: () => 0 });
  t.after(async () => {
    await store.close();
    await server.close();
  });
  return { server, store };
}

/** What the n-th request said, counted from 0. */
function sent(server: ScriptedServer, n: number): { metadata: Record<string, unknown>; preconditions?: unknown } {
  const body = server.seen[n]?.body;
  assert.ok(body, `there was no request ${n}`);
  return body as { metadata: Record<string, unknown> };
}

async function codeOf(action: () => Promise<unknown>): Promise<StoreError['code']> {
  try {
    await action();
  } catch (error) {
    assert.instance(error, StoreError);
    return (error as StoreError).code;
  }
  throw new Error('it was expected to fail');
}

test('answers become the errors of the port', async (t) => {
  const table: [Reply, StoreError['code'], string][] = [
    [status(409, 'AlreadyExists', 'x'), 'AlreadyExists', 'the name is taken'],
    [status(409, 'Conflict', 'x'), 'Conflict', 'somebody else was faster'],
    [status(403, 'Forbidden', 'x'), 'Forbidden', 'not allowed'],
    [status(422, 'Invalid', 'x'), 'Invalid', 'breaks a rule'],
    [status(400, 'BadRequest', 'x'), 'Invalid', 'unknown field'],
    [status(413, 'RequestEntityTooLarge', 'x'), 'Invalid', 'too large'],
    [status(404, 'NotFound', 'x', { name: 'ns', kind: 'namespaces' }), 'NotFound', 'the Namespace is not there'],
    [status(404, 'NotFound', 'x'), 'Unavailable', 'the CRD is not there'],
    [status(401, 'Unauthorized', 'x'), 'Unavailable', 'credentials are not accepted'],
    [status(500, 'InternalError', 'x'), 'Unavailable', 'a bug of the server'],
    [(response) => void response.end('{'), 'Unavailable', 'no JSON'],
    [reset, 'Unavailable', 'no answer'],
  ];
  for (const [reply, code, reason] of table) {
    const { store } = await opened(t, reply);
    assert.is(await codeOf(() => store.create('Organization', DESIRED)), code, reason);
  }
});

test('causes are named as our own rules name them', async (t) => {
  const causes = [
    { field: 'spec.plan', message: 'Invalid value: "gold": no such plan' },
    { field: '<nil>', message: 'Invalid value: the name must fit' },
    { field: 'spec.a', message: 'Required value' },
  ];
  const { store } = await opened(t, status(422, 'Invalid', 'x', { causes }));
  const error = (await store.create('Organization', DESIRED).catch((reason: unknown) => reason)) as StoreError;
  assert.equal(error.causes, [
    { field: 'spec.plan', message: 'no such plan' },
    { field: 'metadata.name', message: 'the name must fit' },
    { field: 'spec.a', message: 'Required value' },
  ]);
});

test('a name or namespace that is a path is asked of nobody', async (t) => {
  const { server, store } = await opened(t);
  const spec = { members: [], grants: [] };
  for (const key of [
    { name: '../acme', namespace: 'gsv-org-acme' },
    { name: 'buyers', namespace: 'gsv-org-acme/../gsv-org-globex' },
    { name: 'buyers', namespace: '..' },
  ]) {
    assert.is(await codeOf(() => store.create('Team', { metadata: key, spec })), 'Invalid');
    assert.is(await codeOf(() => store.apply('Team', { metadata: key, spec }, { fieldManager: 'test' })), 'Invalid');
    assert.is(await store.get('Team', key), undefined);
    await store.delete('Team', key);
  }
  assert.equal(await store.list('Team', { namespace: '../../secrets' }), []);
  assert.equal(server.seen, []);
});

test('a missing object reads as undefined, a missing kind as an error', async (t) => {
  const { store } = await opened(t, NOT_FOUND, status(404, 'NotFound', 'could not find the requested resource'));
  assert.is(await store.get('Organization', KEY), undefined);
  assert.is(await codeOf(() => store.get('Organization', KEY)), 'Unavailable');
});

test('a read is repeated while the server is busy or silent, and then given up', async (t) => {
  const { server, store } = await opened(t, BUSY, reset, status(504, 'Timeout', 'x'), json(ANSWER));
  assert.is((await store.get('Organization', KEY))?.metadata.uid, 'u');
  assert.is(server.seen.length, 4);
  server.calls.push(BUSY, BUSY, BUSY, BUSY, json(ANSWER));
  assert.is(await codeOf(() => store.get('Organization', KEY)), 'Unavailable');
});

test('a create is repeated only when the server says that it did nothing', async (t) => {
  const { server, store } = await opened(t, SLOW_DOWN, json(ANSWER), BUSY, reset);
  await store.create('Organization', DESIRED);
  assert.is(server.seen.length, 2);
  for (const seen of [3, 4]) {
    assert.is(await codeOf(() => store.create('Organization', DESIRED)), 'Unavailable');
    assert.is(server.seen.length, seen, 'once');
  }
});

test('an apply is repeated, unless it is bound to a version', async (t) => {
  const { server, store } = await opened(t, NOT_FOUND, reset, BUSY, json(ANSWER));
  await store.apply('Organization', DESIRED, { fieldManager: 'x' });
  assert.equal(
    server.seen.map((each) => each.method),
    ['GET', 'PATCH', 'PATCH', 'PATCH'],
  );
  const other = { ...ANSWER, spec: { display: { title: 'Before' } } };
  server.calls.push(json(other), BUSY, json(ANSWER));
  const bound = { fieldManager: 'x', resourceVersion: '7' };
  assert.is(await codeOf(() => store.apply('Organization', DESIRED, bound)), 'Unavailable');
  assert.is(server.seen.length, 6);
});

test('a delete is repeated only for the uid that is meant', async (t) => {
  const { server, store } = await opened(t, BUSY, json({}), BUSY);
  await store.delete('Organization', KEY, { uid: 'u' });
  assert.equal(sent(server, 0).preconditions, { uid: 'u' });
  assert.is(server.seen.length, 2);
  assert.is(await codeOf(() => store.delete('Organization', KEY)), 'Unavailable');
  assert.is(server.seen.length, 3);
});

test('a server that asks for a long pause is not available now', async (t) => {
  const { server, store } = await opened(t, status(429, 'TooManyRequests', 'x', { retryAfterSeconds: 3_600 }));
  assert.is(await codeOf(() => store.get('Organization', KEY)), 'Unavailable');
  assert.is(server.seen.length, 1);
});

test('status and finalizers are written by calls of their own', async (t) => {
  const { server, store } = await opened(t, json({ ...ANSWER, status: { observedGeneration: 1 } }), json(ANSWER));
  await store.applyStatus('Organization', KEY, { observedGeneration: 1 }, { fieldManager: 'gsv-operator' });
  await store.setFinalizers('Organization', KEY, ['store.gsv.dev/organization'], { resourceVersion: '7' });
  const [reported, finalized] = server.seen;
  assert.is(reported?.path, '/apis/store.gsv.dev/v1alpha1/organizations/acme/status');
  assert.equal(reported?.query, { fieldManager: 'gsv-operator', force: 'true', fieldValidation: 'Strict' });
  assert.equal(Object.keys(reported?.body as object).sort(), ['apiVersion', 'kind', 'metadata', 'status']);
  assert.equal(finalized?.body, {
    metadata: { resourceVersion: '7', finalizers: ['store.gsv.dev/organization'] },
  });
});

test('what another writer left in the spec is taken over before the apply, bound to what was read', async (t) => {
  const managedFields = [
    { manager: 'kubectl', operation: 'Update', fieldsV1: { 'f:spec': { 'f:suspend': {} }, 'f:metadata': {} } },
  ];
  const live = { ...ANSWER, metadata: { ...ANSWER.metadata, managedFields }, spec: { ...ANSWER.spec, suspend: true } };
  const taken = { ...live, metadata: { ...live.metadata, resourceVersion: '8' } };
  const { server, store } = await opened(t, json(live), json(taken), json(ANSWER));
  await store.apply('Organization', DESIRED, { fieldManager: 'x', resourceVersion: '7' });
  const { metadata } = sent(server, 1);
  assert.is(metadata.resourceVersion, '7');
  assert.equal(metadata.managedFields, [
    { manager: 'kubectl', operation: 'Update', fieldsV1: { 'f:metadata': {} } },
    {
      manager: 'x',
      operation: 'Apply',
      apiVersion: 'store.gsv.dev/v1alpha1',
      fieldsType: 'FieldsV1',
      fieldsV1: { 'f:spec': { 'f:suspend': {} } },
    },
  ]);
  assert.is(sent(server, 2).metadata.resourceVersion, '8');
});

test('without a cluster the error says what to set', async () => {
  const error = (await KubernetesStore.open({ kubeConfig: '/nowhere/kubeconfig' }).catch((e: unknown) => e)) as Error;
  assert.instance(error, StoreError);
  assert.match(error.message, /No Kubernetes: .*nowhere/);
});

test('a call on a closed store is Unavailable, and one that is under way ends', async (t) => {
  const { store } = await opened(t, () => undefined);
  const waiting = codeOf(() => store.get('Organization', KEY));
  await new Promise((resolve) => setImmediate(resolve));
  await store.close();
  assert.is(await waiting, 'Unavailable');
  assert.is(await codeOf(() => store.get('Organization', KEY)), 'Unavailable');
});
