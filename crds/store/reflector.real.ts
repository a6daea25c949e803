import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { FaultProxy } from '../../hack/cluster/fault-proxy.ts';
import { testCluster } from '../../hack/cluster/testing.ts';
import type { ResourceCache } from '../store.ts';
import { defined, eventually, organization, unique, WRITER } from './contract-fixtures.ts';
import { KubernetesStore } from './kubernetes.ts';

/** Watches must be made anew within the patience of a test. Milliseconds. */
const SILENCE_MS = 1_500;

const cluster = await testCluster({ controllers: false });
/** Writes beside the faults. */
const direct = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig });
after(() => direct.close());

interface Problem {
  reason: string;
  status: number;
}
interface Watched {
  proxy: FaultProxy;
  cache: ResourceCache<'Organization'>;
  told: string[];
  problems: Problem[];
  store: KubernetesStore;
}

/** A synced cache behind a proxy of its own. */
async function watched(options: { silenceMs?: number } = {}): Promise<Watched> {
  const { proxy, kubeconfig } = await FaultProxy.start(cluster);
  const problems: Problem[] = [];
  const note = (fields: object): void => void problems.push(fields as Problem);
  const store = await KubernetesStore.open({
    kubeConfig: kubeconfig,
    log: { debug: note, warn: note },
    ...options,
  });
  after(async () => {
    await store.close();
    await proxy.close();
  });
  const cache = store.watch('Organization');
  await cache.synced;
  const told: string[] = [];
  cache.onChange((key) => told.push(key.name));
  return { proxy, cache, told, problems, store };
}

const title = (cache: ResourceCache<'Organization'>, name: string): string | undefined =>
  cache.get({ name })?.spec.display.title;

async function make(text = 'One'): Promise<string> {
  const name = unique('org');
  await direct.create('Organization', organization(name, text));
  return name;
}

/** The cache shows what the API server has, object for object. */
async function agrees(cache: ResourceCache<'Organization'>): Promise<void> {
  const view = (objects: { metadata: { name: string; resourceVersion: string } }[]): string[] =>
    objects.map(({ metadata }) => `${metadata.name}@${metadata.resourceVersion}`).sort();
  const there = view(await direct.list('Organization'));
  await eventually('the cache agrees with the API server', () => view(cache.list()).join() === there.join());
}

test('a reset in the middle of a watch is survived, and nothing is missed', async () => {
  const { proxy, cache, told, problems } = await watched();
  const [kept, gone] = [await make(), await make()];
  await eventually('both are seen', () => title(cache, kept) === 'One' && title(cache, gone) === 'One');
  for (let round = 1; round <= 3; round += 1) {
    const before = problems.length;
    proxy.reset();
    await direct.apply('Organization', organization(kept, `Round ${round}`), WRITER);
    if (round === 2) await direct.delete('Organization', { name: gone });
    await eventually('the change is seen', () => title(cache, kept) === `Round ${round}`);
    assert.ok(problems.length > before, 'the reset was noticed');
  }
  await eventually('the removal is seen', () => cache.get({ name: gone }) === undefined);
  assert.ok(told.includes(gone));
  assert.ok(proxy.fired.resets >= 3);
  assert.equal(
    problems.filter((each) => each.status === 410),
    [],
    'it went on where it was',
  );
  await agrees(cache);
});

test('an event that is cut off in the middle is read again, whole', async () => {
  const { proxy, cache, problems } = await watched();
  proxy.resetAfter(700);
  const long = 'x'.repeat(110);
  const name = await make(long);
  await eventually('the object is seen', () => title(cache, name) === long);
  assert.is(proxy.fired.resets, 1);
  assert.ok(problems.length > 0);
  await agrees(cache);
});

test('a watch that has gone silent is made anew', async () => {
  const { proxy, cache, problems } = await watched({ silenceMs: SILENCE_MS });
  const first = await make();
  await eventually('the first is seen', () => title(cache, first) === 'One');
  proxy.silence();
  const second = await make();
  await direct.delete('Organization', { name: first });
  await eventually('the second is seen', () => title(cache, second) === 'One');
  await eventually('the removal is seen', () => cache.get({ name: first }) === undefined);
  assert.ok(proxy.fired.swallowedBytes > 0, 'the event went into the silence');
  assert.ok(problems.some((each) => each.reason === 'Silent'));
  await agrees(cache);
});

test('when the server has forgotten our version (410), a new list finds what was deleted meanwhile', async () => {
  const { proxy, cache, told, problems } = await watched();
  const [deleted, changed, replaced] = [await make(), await make(), await make()];
  await eventually('all are seen', () => [deleted, changed, replaced].every((name) => title(cache, name) === 'One'));
  const uid = defined(cache.get({ name: replaced })).metadata.uid;
  proxy.refuse();
  await direct.delete('Organization', { name: deleted });
  await direct.apply('Organization', organization(changed, 'Two'), WRITER);
  await direct.delete('Organization', { name: replaced });
  await direct.create('Organization', organization(replaced, 'Another'));
  const added = await make();
  await cluster.restartApiServer();
  assert.is(title(cache, deleted), 'One', 'the cache knows nothing yet');
  told.length = 0;
  proxy.admit();
  await eventually('the removal is found', () => cache.get({ name: deleted }) === undefined);
  await eventually('the rest is found', () => title(cache, changed) === 'Two' && title(cache, added) === 'One');
  assert.is.not(cache.get({ name: replaced })?.metadata.uid, uid);
  for (const name of [deleted, changed, replaced, added]) assert.ok(told.includes(name), `${name} is told`);
  assert.ok(
    problems.some((each) => each.status === 410),
    'the server did answer 410',
  );
  assert.ok(proxy.fired.refusals > 0);
  await agrees(cache);
});

test('writes through a network that resets end in one state or an error, never in a hang', async () => {
  const { proxy, store } = await watched();
  const name = unique('org');
  const desired = organization(name, 'Through');
  for (let bytes = 100; bytes <= 5_000; bytes += 700) {
    proxy.resetAfter(bytes);
    await store.apply('Organization', { ...desired, spec: { display: { title: `After ${bytes}` } } }, WRITER);
  }
  const there = defined(await direct.get('Organization', { name }));
  assert.is(there.spec.display.title, 'After 5000');
  assert.is(there.metadata.generation, 8, 'what was repeated took effect once');
  assert.ok(proxy.fired.resets > 0);
});
