import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { StoreError } from '../store.ts';
import { resourceStoreContract } from './contract.suite.ts';
import { EmbeddedStore } from './embedded.ts';

resourceStoreContract('embedded', async () => {
  const store = await EmbeddedStore.open();
  return { store, close: () => store.close() };
});

const organization = (name: string, title = 'T') => ({ metadata: { name }, spec: { display: { title } } });
const WRITER = { fieldManager: 'test' };

/** One turn of the event loop: what a watch delivers comes with the next one at the latest. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('resource versions rise by one with every change and with nothing else', async () => {
  const store = await EmbeddedStore.open();
  const first = await store.create('Organization', organization('one'));
  const second = await store.create('Organization', organization('two'));
  await store.apply('Organization', organization('two'), WRITER);
  const third = await store.apply('Organization', organization('one', 'New'), WRITER);
  assert.equal(
    [first, second, third].map((each) => each.metadata.resourceVersion),
    ['1', '2', '3'],
  );
});

test('times come from the clock that is given', async () => {
  const store = await EmbeddedStore.open({ now: () => new Date('2026-02-03T04:05:06.789Z') });
  const { metadata } = await store.create('Organization', organization('one'));
  assert.is(metadata.creationTimestamp, '2026-02-03T04:05:06Z');
});

test('a watch speaks after the writer was answered, once per key, in the order of the changes', async () => {
  const store = await EmbeddedStore.open();
  const cache = store.watch('Organization');
  await cache.synced;
  const told: string[] = [];
  cache.onChange((key) => told.push(key.name));
  await turn();
  await store.create('Organization', organization('b'));
  await store.create('Organization', organization('a'));
  await store.apply('Organization', organization('b', 'New'), WRITER);
  assert.equal(told, []);
  assert.is(cache.get({ name: 'b' }), undefined);
  await turn();
  assert.equal(told, ['b', 'a']);
  assert.is(cache.get({ name: 'b' })?.spec.display.title, 'New');
});

test('a listener that throws is seen, and the others still hear', async (t) => {
  const store = await EmbeddedStore.open();
  const cache = store.watch('Organization');
  await cache.synced;
  const told: string[] = [];
  const uncaught: unknown[] = [];
  const before = process.rawListeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => uncaught.push(error));
  t.after(() => {
    process.removeAllListeners('uncaughtException');
    for (const each of before) process.on('uncaughtException', each as NodeJS.UncaughtExceptionListener);
  });
  const bug = new Error('a bug in a listener');
  cache.onChange(() => {
    throw bug;
  });
  cache.onChange((key) => told.push(key.name));
  await store.create('Organization', organization('one'));
  await turn();
  await turn();
  assert.equal(told, ['one']);
  assert.equal(uncaught, [bug]);
});

test('objects of a cache are shared, so nobody can change them', async () => {
  const store = await EmbeddedStore.open();
  await store.create('Organization', organization('one'));
  const cache = store.watch('Organization');
  await cache.synced;
  const object = cache.get({ name: 'one' });
  assert.throws(() => Object.assign(object?.spec.display ?? {}, { title: 'changed' }), /read only/);
  assert.is(cache.get({ name: 'one' })?.spec.display.title, 'T');
});

test('the rules can be given, and each cause reaches the caller', async () => {
  const causes = [{ field: 'spec', message: 'is not to our liking' }];
  const store = await EmbeddedStore.open({ validate: { object: () => causes, status: () => [] } });
  try {
    await store.create('Organization', organization('one'));
    assert.unreachable();
  } catch (error) {
    assert.instance(error, StoreError);
    assert.equal((error as StoreError).causes, causes);
    assert.match((error as StoreError).message, /one.*not to our liking/);
  }
});

test('scope is checked: a Project needs a namespace, an Organization has none', async () => {
  const store = await EmbeddedStore.open();
  const refused = async (action: () => Promise<unknown>) => {
    const error = await action().catch((reason: unknown) => reason);
    assert.instance(error, StoreError);
    assert.equal(
      [(error as StoreError).code, (error as StoreError).causes[0]?.field],
      ['Invalid', 'metadata.namespace'],
    );
  };
  await refused(() => store.create('Project', { metadata: { name: 'default' }, spec: {} }));
  const metadata = { name: 'one', namespace: 'default' };
  await refused(() => store.create('Organization', { ...organization('one'), metadata }));
});

test('after close nothing is read, written or told', async () => {
  const store = await EmbeddedStore.open();
  const cache = store.watch('Organization');
  const told: string[] = [];
  cache.onChange((key) => told.push(key.name));
  await store.create('Organization', organization('one'));
  await store.close();
  await store.close();
  await cache.synced;
  await turn();
  assert.equal(told, []);
  for (const action of [
    () => store.get('Organization', { name: 'one' }),
    () => store.create('Organization', organization('two')),
  ]) {
    const error = await action().catch((reason: unknown) => reason);
    assert.is((error as StoreError).code, 'Unavailable');
  }
});
