import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { EventSpec } from '../foreign.ts';
import type { KindMap } from '../kinds.ts';
import type { Key } from '../store.ts';
import { defined, eventually, type GetStore, makeNamespace, refused, unique, WRITER } from './contract-fixtures.ts';

const RENEWED = '2026-01-01T00:00:00.000000Z';

const event = (namespace: string, count: number): EventSpec => ({
  involvedObject: { apiVersion: 'v1', kind: 'Namespace', namespace, name: namespace, uid: 'uid-of-nobody' },
  reason: 'Committed',
  message: 'It is in Git.',
  type: 'Normal',
  source: { component: 'contract-suite' },
  firstTimestamp: '2026-01-01T00:00:00Z',
  lastTimestamp: `2026-01-01T00:00:0${count}Z`,
  count,
  reportingComponent: 'contract-suite',
  reportingInstance: '',
});

/** As small as the API server accepts one. */
const deployment = (): KindMap['Deployment']['spec'] => {
  const labels = { app: 'suite' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'main', image: 'none' }] } };
  return { replicas: 0, selector: { matchLabels: labels }, template } as KindMap['Deployment']['spec'];
};

export function foreign(store: GetStore): void {
  test('of two that renew a Lease from the same version one wins', async () => {
    const metadata = { namespace: await makeNamespace(store()), name: 'leader' };
    const held = (holderIdentity: string) => ({
      metadata,
      spec: { holderIdentity, leaseDurationSeconds: 15, renewTime: RENEWED, leaseTransitions: 1 },
    });
    const first = await store().create('Lease', held('one'));
    assert.is(first.spec.holderIdentity, 'one');
    await refused('AlreadyExists', () => store().create('Lease', held('two')));
    const from = { ...WRITER, resourceVersion: first.metadata.resourceVersion };
    const second = await store().apply('Lease', held('two'), from);
    assert.is(second.spec.holderIdentity, 'two');
    await refused('Conflict', () => store().apply('Lease', held('three'), from));
    assert.equal(await store().get('Lease', metadata), second);
    await store().delete('Lease', metadata);
    const gone = { ...WRITER, resourceVersion: second.metadata.resourceVersion };
    await refused('Conflict', () => store().apply('Lease', held('four'), gone));
    assert.is(await store().get('Lease', metadata), undefined);
  });

  test('an Event keeps its fields, and a repeat becomes a count', async () => {
    const metadata = { namespace: await makeNamespace(store()), name: `${unique('event')}.1`, labels: { a: 'b' } };
    const desired = (count: number) => ({ metadata, spec: event(metadata.namespace, count) });
    const made = await store().apply('Event', desired(1), WRITER);
    for (const [field, value] of Object.entries(desired(1).spec)) {
      assert.equal(made.spec[field as keyof EventSpec], value, field);
    }
    const again = await store().apply('Event', desired(2), WRITER);
    assert.is(again.metadata.uid, made.metadata.uid);
    assert.equal([again.spec.count, again.spec.lastTimestamp], [2, '2026-01-01T00:00:02Z']);
    assert.is((await store().list('Event', metadata)).length, 1);
  });

  test('annotate sets annotations and leaves everything else', async () => {
    const metadata = { namespace: await makeNamespace(store()), name: 'app', annotations: { 'store.gsv.dev/a': '1' } };
    const spec = { source: { repoURL: 'https://git.example.com/r', path: 'tenants/82' } };
    await store().apply('Application', { metadata, spec }, { fieldManager: 'somebody-else' });
    await store().annotate('Application', metadata, { 'argocd.argoproj.io/refresh': 'normal' });
    const marked = defined(await store().get('Application', metadata));
    assert.equal(marked.metadata.annotations, { 'store.gsv.dev/a': '1', 'argocd.argoproj.io/refresh': 'normal' });
    assert.equal(marked.spec, spec);
    await store().annotate('Application', metadata, { 'argocd.argoproj.io/refresh': 'normal' });
    assert.equal(await store().get('Application', metadata), marked, 'an equal annotation changes nothing');
    await refused('Invalid', () => store().annotate('Application', metadata, { 'not a key': 'x' }));
    const nobody: Key = { namespace: metadata.namespace, name: 'nobody' };
    await refused('NotFound', () => store().annotate('Application', nobody, { a: 'b' }));
  });

  test('an operation is ended of the version that was read, and everything else is left', async () => {
    const metadata = { namespace: await makeNamespace(store()), name: 'app' };
    const spec = { source: { repoURL: 'https://git.example.com/r', path: 'tenants/82' } };
    const read = await store().apply('Application', { metadata, spec }, { fieldManager: 'somebody-else' });
    await store().terminateOperation('Application', metadata, read.metadata);
    const ended = defined(await store().get('Application', metadata));
    assert.is(ended.status?.operationState?.phase, 'Terminating');
    assert.equal(ended.spec, spec);
    await refused('Conflict', () => store().terminateOperation('Application', metadata, read.metadata));
    assert.equal(await store().get('Application', metadata), ended);
    const nobody: Key = { namespace: metadata.namespace, name: 'nobody' };
    await refused('NotFound', () => store().terminateOperation('Application', nobody, ended.metadata));
  });

  test('a cache of a selection holds what fits, and lets go of what no longer does', async () => {
    const [namespace, other] = [await makeNamespace(store()), await makeNamespace(store())];
    const labels = { 'app.kubernetes.io/managed-by': unique('manager') };
    const selection = { namespace, labels };
    const cache = store().watch('Deployment', selection);
    assert.is(store().watch('Deployment', { labels: { ...labels }, namespace }), cache);
    assert.is.not(store().watch('Deployment', { labels }), cache);
    await cache.synced;
    const told: string[] = [];
    cache.onChange((key) => told.push(key.name));
    const make = (key: Key, more: { labels?: Record<string, string> }) =>
      store().apply('Deployment', { metadata: { ...key, ...more }, spec: deployment() }, WRITER);
    await make({ namespace: other, name: 'elsewhere' }, { labels });
    await make({ namespace, name: 'unlabelled' }, {});
    await make({ namespace, name: 'ours' }, { labels });
    await eventually('the one that fits is there', () => cache.get({ namespace, name: 'ours' }) !== undefined);
    assert.is(cache.list().length, 1);
    await eventually('the other selection has two', () => store().watch('Deployment', { labels }).list().length === 2);
    await make({ namespace, name: 'ours' }, {});
    await eventually('it has gone', () => cache.list().length === 0);
    await make({ namespace, name: 'ours' }, { labels });
    await eventually('it is back', () => cache.list().length === 1);
    await store().delete('Deployment', { namespace, name: 'ours' });
    await eventually('it has gone again', () => cache.list().length === 0);
    assert.equal([...new Set(told)], ['ours']);
  });
}
