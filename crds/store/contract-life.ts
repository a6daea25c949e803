import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Key, keyText, type ResourceStore } from '../store.ts';
import {
  defined,
  eventually,
  FINALIZER,
  type GetStore,
  makeNamespace,
  organization,
  refused,
  unique,
  WRITER,
} from './contract-fixtures.ts';

export function reading(store: GetStore): void {
  test('what is not there reads as undefined', async () => {
    assert.is(await store().get('Organization', { name: unique('org') }), undefined);
    assert.is(await store().get('Project', { namespace: unique('nowhere'), name: 'default' }), undefined);
    assert.equal(await store().list('Project', { namespace: unique('nowhere') }), []);
  });

  test('list keeps to the namespace and to all labels', async () => {
    const [one, two] = [await makeNamespace(store()), await makeNamespace(store())];
    const project = (namespace: string, name: string, labels: Record<string, string>) =>
      store().create('Project', { metadata: { namespace, name, labels }, spec: {} });
    await project(one, 'beta', { tier: 'gold', zone: 'a' });
    await project(one, 'alpha', { tier: 'gold', zone: 'b' });
    await project(two, 'alpha', { tier: 'gold', zone: 'a' });
    const names = async (options: Parameters<ResourceStore['list']>[1]) =>
      (await store().list('Project', options)).map((each) => keyText(each.metadata)).sort();
    assert.equal(await names({ namespace: one }), [`${one}/alpha`, `${one}/beta`]);
    assert.equal(await names({ namespace: one, labels: { tier: 'gold', zone: 'a' } }), [`${one}/beta`]);
    assert.equal(await names({ namespace: two, labels: { tier: 'silver' } }), []);
  });

  test('changing what was read or written changes nothing in the store', async () => {
    const name = unique('org');
    const desired = organization(name, 'Kept');
    const made = await store().create('Organization', desired);
    desired.spec.display.title = 'changed by the writer';
    made.spec.display.title = 'changed in the answer';
    const read = defined(await store().get('Organization', { name }));
    assert.is(read.spec.display.title, 'Kept');
    read.spec.display.title = 'changed by the reader';
    const [listed] = (await store().list('Organization')).filter((each) => each.metadata.name === name);
    assert.is(listed?.spec.display.title, 'Kept');
  });
}

export function deleting(store: GetStore): void {
  const held = async () => {
    const metadata = { name: unique('org'), finalizers: [FINALIZER] };
    return store().create('Organization', { metadata, spec: { display: { title: 'Held' } } });
  };

  test('without finalizers an object goes at once, and its name can be used again by another', async () => {
    const desired = organization(unique('org'));
    const first = await store().create('Organization', desired);
    await store().delete('Organization', desired.metadata);
    assert.is(await store().get('Organization', desired.metadata), undefined);
    const second = await store().create('Organization', desired);
    assert.is.not(second.metadata.uid, first.metadata.uid);
    assert.is(second.metadata.generation, 1);
  });

  test('deleting what is not there, or another uid, does nothing', async () => {
    const { metadata } = await store().create('Organization', organization(unique('org')));
    await store().delete('Organization', { name: unique('org') });
    await store().delete('Organization', metadata, { uid: '00000000-0000-4000-8000-000000000000' });
    assert.ok(await store().get('Organization', metadata));
    await store().delete('Organization', metadata, { uid: metadata.uid });
    assert.is(await store().get('Organization', metadata), undefined);
  });

  test('a finalizer holds a deleted object until the list is empty', async () => {
    const { metadata } = await held();
    await store().delete('Organization', metadata);
    const marked = defined(await store().get('Organization', metadata));
    assert.match(defined(marked.metadata.deletionTimestamp), /Z$/);
    await store().delete('Organization', metadata);
    assert.equal(await store().get('Organization', metadata), marked);
    await store().applyStatus('Organization', metadata, { observedGeneration: 1 }, WRITER);
    const present = defined(await store().get('Organization', metadata));
    assert.is(await store().setFinalizers('Organization', metadata, [], present.metadata), undefined);
    assert.is(await store().get('Organization', metadata), undefined);
  });

  test('setting finalizers needs the present version and leaves spec, status and generation', async () => {
    const first = await store().create('Organization', organization(unique('org')));
    const second = await store().setFinalizers('Organization', first.metadata, [FINALIZER], first.metadata);
    assert.equal(second?.metadata.finalizers, [FINALIZER]);
    assert.is(second?.metadata.generation, 1);
    assert.equal(second?.spec, first.spec);
    await refused('Conflict', () => store().setFinalizers('Organization', first.metadata, [], first.metadata));
    const version = defined(second).metadata;
    const third = await store().setFinalizers('Organization', first.metadata, [], version);
    assert.is(third?.metadata.finalizers, undefined);
    await refused('NotFound', () => store().setFinalizers('Organization', { name: unique('org') }, [], version));
  });

  test('an object that is going takes no new finalizer', async () => {
    const { metadata } = await held();
    await store().delete('Organization', metadata);
    const present = defined(await store().get('Organization', metadata));
    const more = [FINALIZER, 'store.gsv.dev/late'];
    await refused('Invalid', () => store().setFinalizers('Organization', metadata, more, present.metadata));
    await store().setFinalizers('Organization', metadata, [], present.metadata);
  });
}

export function watching(store: GetStore): void {
  test('a cache holds what was there and tells its keys, then follows creation, change and removal', async () => {
    const early = await store().create('Organization', organization(unique('org')));
    const cache = store().watch('Organization');
    await cache.synced;
    const told: string[] = [];
    const stop = cache.onChange((key) => told.push(keyText(key)));
    await eventually('the first list is told', () => told.includes(early.metadata.name));
    assert.equal(cache.get(early.metadata)?.metadata.uid, early.metadata.uid);

    const name = unique('org');
    await store().create('Organization', organization(name, 'One'));
    await eventually('the creation is told', () => told.includes(name));
    assert.is(cache.get({ name })?.spec.display.title, 'One');
    told.length = 0;
    await store().apply('Organization', organization(name, 'Two'), WRITER);
    await eventually('the change is told', () => told.includes(name));
    assert.is(cache.get({ name })?.spec.display.title, 'Two');
    told.length = 0;
    await store().delete('Organization', { name });
    await eventually('the removal is told', () => told.includes(name));
    assert.is(cache.get({ name }), undefined);
    stop();
  });

  test('one kind has one cache, and it lists by namespace and labels', async () => {
    assert.is(store().watch('Project'), store().watch('Project'));
    const cache = store().watch('Project');
    const namespace = await makeNamespace(store());
    for (const name of ['beta', 'alpha']) {
      await store().create('Project', { metadata: { namespace, name, labels: { which: name } }, spec: {} });
    }
    await eventually('both are there', () => cache.list({ namespace }).length === 2);
    const found = cache.list({ namespace, labels: { which: 'beta' } });
    assert.equal(
      found.map((each) => each.metadata.name),
      ['beta'],
    );
  });

  test('a cache that was refreshed holds all that was written before', async () => {
    const cache = store().watch('Organization');
    const [gone, kept] = [unique('org'), unique('org')];
    for (const name of [gone, kept]) await store().create('Organization', organization(name));
    await store().delete('Organization', { name: gone });
    await Promise.all([cache.refresh(), cache.refresh()]);
    assert.is(cache.get({ name: gone }), undefined);
    assert.ok(cache.get({ name: kept }));
    await store().delete('Organization', { name: kept });
    await eventually('it follows what comes after', () => cache.get({ name: kept }) === undefined);
  });

  test('a cache never goes back in time', async () => {
    const name = unique('org');
    const cache = store().watch('Organization');
    const seen: number[] = [];
    const stop = cache.onChange((key: Key) => {
      if (key.name === name) seen.push(cache.get(key)?.metadata.generation ?? 0);
    });
    for (let n = 1; n <= 20; n += 1) await store().apply('Organization', organization(name, `Title ${n}`), WRITER);
    await eventually('the last change is seen', () => seen.at(-1) === 20);
    assert.equal(
      seen,
      [...seen].sort((a, b) => a - b),
    );
    stop();
  });

  test('after the end of a subscription nothing more is told', async () => {
    const cache = store().watch('Organization');
    const name = unique('org');
    const told: string[] = [];
    const ended: string[] = [];
    cache.onChange((key) => ended.push(key.name))();
    const stop = cache.onChange((key) => told.push(key.name));
    await store().create('Organization', organization(name));
    await eventually('the other listener is told', () => told.includes(name));
    assert.equal(ended, []);
    stop();
  });
}

export function namespaces(store: GetStore, emptiesNamespaces: boolean): void {
  const heldProject = async (namespace: string) =>
    store().create('Project', { metadata: { namespace, name: 'held', finalizers: [FINALIZER] }, spec: {} });

  test('in a Namespace that is going nothing is created, but updates go through', async () => {
    const namespace = await makeNamespace(store());
    const { metadata } = await heldProject(namespace);
    await store().delete('Namespace', { name: namespace });
    assert.ok((await store().get('Namespace', { name: namespace }))?.metadata.deletionTimestamp);
    const late = { metadata: { namespace, name: 'late' }, spec: {} };
    await refused('Forbidden', () => store().create('Project', late));
    await refused('Forbidden', () => store().apply('Project', late, WRITER));
    await store().applyStatus('Project', metadata, { observedGeneration: 1 }, WRITER);
    const present = defined(await store().get('Project', metadata));
    await store().setFinalizers('Project', metadata, [], present.metadata);
  });

  if (!emptiesNamespaces) return;
  test('a deleted Namespace takes its contents along once their finalizers are gone', async () => {
    const namespace = await makeNamespace(store());
    const { metadata } = await heldProject(namespace);
    await store().create('Project', { metadata: { namespace, name: 'free' }, spec: {} });
    await store().delete('Namespace', { name: namespace });
    const names = async () => (await store().list('Project', { namespace })).map((each) => each.metadata.name);
    await eventually('only the held one is left', async () => (await names()).join() === 'held');
    const marked = async () => (await store().get('Project', metadata))?.metadata;
    await eventually('it is marked', async () => (await marked())?.deletionTimestamp !== undefined);
    assert.ok(await store().get('Namespace', { name: namespace }));
    await store().setFinalizers('Project', metadata, [], defined(await marked()));
    const gone = async () => (await store().get('Namespace', { name: namespace })) === undefined;
    await eventually('the Namespace is gone', gone);
  });
}
