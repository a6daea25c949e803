import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { installForeign } from '../../hack/cluster/definitions.ts';
import { testCluster } from '../../hack/cluster/testing.ts';
import type { KindMap } from '../kinds.ts';
import type { StoreError } from '../store.ts';
import { resourceStoreContract } from './contract.suite.ts';
import { defined, eventually, FINALIZER, makeNamespace, refused, unique } from './contract-fixtures.ts';
import { KubernetesStore } from './kubernetes.ts';

const cluster = await testCluster();
await installForeign(cluster.kubeconfig, 'Application');
const open = (more: { pageSize?: number } = {}) => KubernetesStore.open({ kubeConfig: cluster.kubeconfig, ...more });

resourceStoreContract('kubernetes', async () => {
  // Without the controller manager a promise would not be asked for: better to fail.
  assert.ok(cluster.controllers, 'the controller manager runs');
  const store = await open();
  return { store, close: () => store.close() };
});

const store = await open();
after(() => store.close());

const organization = (name: string, spec: Partial<KindMap['Organization']['spec']> = {}, more: object = {}) => ({
  metadata: { name, ...more },
  spec: { display: { title: 'T' }, ...spec },
});

test('an apply takes away what another writer put into the spec, and never shows the sum of both', async () => {
  const name = unique('org');
  const cache = store.watch('Organization');
  await cache.synced;
  const seen: unknown[] = [];
  const stop = cache.onChange((key) => {
    if (key.name === name) seen.push(cache.get(key)?.spec);
  });
  const created = organization(name, { suspend: true, commerceCustomers: ['a@example.com'] });
  await store.create('Organization', created);
  await store.apply('Organization', organization(name, { commerceCustomers: ['b@example.com'] }), {
    fieldManager: 'x',
  });
  await store.apply('Organization', organization(name), { fieldManager: 'y' });
  const last = defined(await store.get('Organization', { name }));
  assert.equal(last.spec, { display: { title: 'T' } });
  assert.is(last.metadata.generation, 3);
  await eventually('the last is seen', () => Object.keys((seen.at(-1) ?? {}) as object).length === 1);
  const allowed = [created.spec, { ...last.spec, commerceCustomers: ['b@example.com'] }, last.spec].map((spec) =>
    JSON.stringify(spec),
  );
  for (const spec of seen) assert.ok(allowed.includes(JSON.stringify(sorted(spec))), JSON.stringify(spec));
  stop();
});

/** Fields in the order in which the test writes them. */
function sorted(spec: unknown): unknown {
  const { display, suspend, commerceCustomers } = spec as KindMap['Organization']['spec'];
  return { display, ...(suspend ? { suspend } : {}), ...(commerceCustomers ? { commerceCustomers } : {}) };
}

test('a status takes away what another writer put into it', async () => {
  const { metadata } = await store.create('Organization', organization(unique('org')));
  await store.applyStatus(
    'Organization',
    metadata,
    { namespace: 'theirs', observedGeneration: 1 },
    { fieldManager: 'x' },
  );
  const status = { observedGeneration: 2 };
  const last = await store.applyStatus('Organization', metadata, status, { fieldManager: 'gsv-operator' });
  assert.equal(last.status, status);
});

test('an equal apply sends no write at all', async () => {
  const desired = organization(unique('org'), {}, { labels: { tier: 'gold' }, finalizers: [FINALIZER] });
  const first = await store.apply('Organization', desired, { fieldManager: 'x' });
  const again = await store.apply('Organization', structuredClone(desired), { fieldManager: 'x' });
  assert.equal(again, first);
  const without = organization(desired.metadata.name, {}, { labels: { tier: 'gold' } });
  const kept = await store.apply('Organization', without, { fieldManager: 'x' });
  assert.equal(kept.metadata.finalizers, [FINALIZER], 'an apply never takes a finalizer away');
  await store.setFinalizers('Organization', kept.metadata, [], kept.metadata);
});

test('objects come without managedFields, from reads, writes, lists and caches', async () => {
  const made = await store.apply('Organization', organization(unique('org')), { fieldManager: 'x' });
  const cache = store.watch('Organization');
  await eventually('the cache has it', () => cache.get(made.metadata) !== undefined);
  const listed = (await store.list('Organization')).find((each) => each.metadata.name === made.metadata.name);
  const all = [made, await store.get('Organization', made.metadata), listed, cache.get(made.metadata)];
  for (const object of all) assert.not.ok('managedFields' in defined(object).metadata);
  assert.ok(Object.isFrozen(cache.get(made.metadata)?.spec.display), 'what caches share cannot be changed');
});

test('an unknown field is Invalid, whoever writes it', async () => {
  const name = unique('org');
  const wrong = organization(name, { surprise: 1 } as object);
  for (const write of [
    () => store.create('Organization', wrong),
    () => store.apply('Organization', wrong, { fieldManager: 'x' }),
  ]) {
    const error = await refused('Invalid', write);
    assert.equal(
      error.causes.map((cause) => cause.field),
      ['spec.surprise'],
      error.message,
    );
  }
});

test('a name that would be another path is nobody', async () => {
  for (const name of ['..', '.', 'a/b', 'a%2fb', '', 'a?limit=1']) {
    assert.is(await store.get('Organization', { name }), undefined);
    await store.delete('Organization', { name });
    await refused('Invalid', () => store.apply('Organization', organization(name), { fieldManager: 'x' }));
    const status = { observedGeneration: 1 };
    await refused('NotFound', () => store.applyStatus('Organization', { name }, status, { fieldManager: 'x' }));
  }
});

test('a list of many pages is whole and in order', async () => {
  const namespace = await makeNamespace(store);
  const names = Array.from({ length: 7 }, (_, n) => `p${n}`);
  for (const name of names) await store.create('Project', { metadata: { namespace, name }, spec: {} });
  const paged = await open({ pageSize: 3 });
  const cache = paged.watch('Project');
  await cache.synced;
  for (const found of [await paged.list('Project', { namespace }), cache.list({ namespace })]) {
    assert.equal(
      found.map((each) => each.metadata.name),
      names,
    );
  }
  await paged.close();
});

test('a Namespace is read and written like our own kinds', async () => {
  const name = unique('ns');
  const labels = { 'store.gsv.dev/organization-uid': 'u' };
  const made = await store.apply('Namespace', { metadata: { name, labels }, spec: {} }, { fieldManager: 'x' });
  assert.is(made.metadata.labels?.['store.gsv.dev/organization-uid'], 'u');
  assert.is(made.kind, 'Namespace');
  const cache = store.watch('Namespace');
  await eventually('the cache has it', () => cache.get({ name })?.kind === 'Namespace');
  const again = await store.apply('Namespace', { metadata: { name, labels }, spec: {} }, { fieldManager: 'x' });
  assert.is(again.metadata.resourceVersion, made.metadata.resourceVersion);
});

test('a kind whose CRD is not installed is an empty cache that is named once and fills when the CRD comes', async () => {
  const told: string[] = [];
  const log = { debug: () => undefined, warn: (_: object, message: string) => void told.push(message) };
  const early = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig, log });
  after(() => early.close());
  const cache = early.watch('ExternalSecret');
  let synced = false;
  void cache.synced.then(() => {
    synced = true;
  });
  await eventually('it is named', () => told.length > 0);
  await refused('Unavailable', () => early.get('ExternalSecret', { namespace: 'default', name: 'absent' }));
  await refused('Unavailable', () => early.list('ExternalSecret'));
  // Our own kinds are not held up, and another try has failed meanwhile.
  await early.watch('Organization').synced;
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  assert.is(synced, false);
  assert.equal(cache.list(), []);
  assert.equal(told, ['watching ExternalSecret: the API server does not know it; is its CRD installed?']);

  await installForeign(cluster.kubeconfig, 'ExternalSecret');
  const metadata = { namespace: 'default', name: unique('secret') };
  await early.create('ExternalSecret', { metadata, spec: { target: { name: 'x' } } });
  await cache.synced;
  await eventually('the object is there', () => cache.get(metadata)?.spec.target?.name === 'x');
});

test('after close a call is Unavailable, and caches can still be read', async () => {
  const closing = await open();
  const cache = closing.watch('Organization');
  await cache.synced;
  const size = cache.list().length;
  await closing.close();
  await closing.close();
  const error = (await closing.get('Organization', { name: 'x' }).catch((reason: unknown) => reason)) as StoreError;
  assert.is(error.code, 'Unavailable');
  assert.is(cache.list().length, size);
});
