import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { resourceStoreContract } from '../../crds/store/contract.suite.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import type { ResourceStore } from '../../crds/store.ts';
import { CrashError, type FaultPlan, FaultyStore, seeded } from './faults.ts';

const WRITER = { fieldManager: 'test' };
const organization = (name: string, title = 'T') => ({ metadata: { name }, spec: { display: { title } } });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function open(plan: FaultPlan): Promise<{ inner: ResourceStore; store: FaultyStore }> {
  const inner = await EmbeddedStore.open();
  return { inner, store: new FaultyStore(inner, plan) };
}

resourceStoreContract('embedded behind a fault plan without faults', async () => {
  const { store } = await open({ seed: 1 });
  return { store, close: () => store.close() };
});

/** Twenty changes of one object; what a reader of the cache saw after each. */
async function readings(plan: FaultPlan): Promise<{ seen: string[]; truth: string[]; store: FaultyStore }> {
  const { store } = await open(plan);
  const cache = store.watch('Organization');
  await cache.synced;
  const [seen, truth]: [string[], string[]] = [[], []];
  for (let n = 1; n <= 20; n += 1) {
    await store.apply('Organization', organization('one', `Title ${n}`), WRITER);
    await turn();
    seen.push(cache.get({ name: 'one' })?.spec.display.title ?? 'absent');
    truth.push(`Title ${n}`);
  }
  return { seen, truth, store };
}

test('without faults a reader sees each change and no fault is counted', async () => {
  const { seen, truth, store } = await readings({ seed: 7 });
  assert.equal(seen, truth);
  assert.equal(store.fired, { staleReads: 0, droppedEvents: 0, silentEvents: 0, crashes: 0 });
});

test('stale reads fire: as often as counted, the answer is the one before', async () => {
  const { seen, truth, store } = await readings({ seed: 7, staleReads: 0.5 });
  const wrong = seen.filter((title, index) => title !== truth[index]);
  assert.ok(store.fired.staleReads > 0 && store.fired.staleReads < 20);
  assert.is(wrong.length, store.fired.staleReads);
  for (const [index, title] of seen.entries()) {
    assert.ok([truth[index], truth[index - 1] ?? 'absent'].includes(title), title);
  }
});

test('a stale read is repeated by the same seed, and another seed fails elsewhere', async () => {
  const [first, again, other] = await Promise.all([
    readings({ seed: 7, staleReads: 0.5 }),
    readings({ seed: 7, staleReads: 0.5 }),
    readings({ seed: 8, staleReads: 0.5 }),
  ]);
  assert.equal(again.seen, first.seen);
  assert.is.not(other.seen.join(), first.seen.join());
});

test('a stale list can miss what is new and show what is gone', async () => {
  const { store } = await open({ seed: 3, staleReads: 1 });
  const cache = store.watch('Organization');
  await cache.synced;
  await store.create('Organization', organization('new'));
  await turn();
  assert.equal(cache.list(), []);
  await store.delete('Organization', { name: 'new' });
  await turn();
  assert.equal(
    cache.list().map((each) => each.metadata.name),
    ['new'],
  );
  assert.is(store.fired.staleReads, 2);
});

test('dropped events fire: neither listener nor cache learns, until a relist tells it', async () => {
  const { store } = await open({ seed: 5, droppedEvents: 1 });
  await store.create('Organization', organization('early'));
  const cache = store.watch('Organization');
  await cache.synced;
  const told: string[] = [];
  cache.onChange((key) => told.push(key.name));
  await turn();
  assert.equal(told, ['early']);
  await store.create('Organization', organization('late'));
  await store.delete('Organization', { name: 'early' });
  await turn();
  assert.is(store.fired.droppedEvents, 2);
  assert.equal(told, ['early']);
  assert.is(cache.get({ name: 'late' }), undefined);
  assert.ok(cache.get({ name: 'early' }));
  store.relist();
  assert.equal(told.sort(), ['early', 'early', 'late']);
  assert.ok(cache.get({ name: 'late' }));
  assert.is(cache.get({ name: 'early' }), undefined);
});

test('a refresh ends lag and silence: nothing that was before it is read any more', async () => {
  const { store } = await open({ seed: 5, droppedEvents: 1, staleReads: 1 });
  const cache = store.watch('Organization');
  await cache.synced;
  store.silence();
  await store.create('Organization', organization('new'));
  await turn();
  await cache.refresh();
  assert.ok(cache.get({ name: 'new' }));
});

test('a silent watch tells nothing and counts what it kept to itself, until a relist tells it', async () => {
  const { store } = await open({ seed: 5 });
  const cache = store.watch('Organization');
  await cache.synced;
  store.silence();
  await store.create('Organization', organization('unheard'));
  await turn();
  assert.is(cache.get({ name: 'unheard' }), undefined);
  store.relist();
  assert.ok(cache.get({ name: 'unheard' }));
  await store.create('Organization', organization('heard'));
  await turn();
  assert.ok(cache.get({ name: 'heard' }));
  assert.is(store.fired.silentEvents, 1);
});

for (const when of ['before', 'after'] as const) {
  test(`a crash ${when} the k-th write fires for every k: earlier writes stand, later ones never happen`, async () => {
    for (let k = 1; k <= 5; k += 1) {
      const { inner, store } = await open({ seed: k, crash: { write: k, when } });
      let crash: unknown;
      for (let n = 1; n <= 5 && crash === undefined; n += 1) {
        await store.create('Organization', organization(`o${n}`)).catch((error: unknown) => {
          crash = error;
        });
      }
      assert.instance(crash, CrashError);
      assert.match((crash as Error).message, `seed ${k}`);
      assert.is(store.fired.crashes, 1);
      assert.is((await inner.list('Organization')).length, when === 'after' ? k : k - 1);
    }
  });
}

test('a crashed process reads, writes and hears nothing; a restart over the same store does', async () => {
  const { inner, store } = await open({ seed: 1, crash: { write: 1, when: 'after' } });
  const cache = store.watch('Organization');
  await cache.synced;
  const told: string[] = [];
  cache.onChange((key) => told.push(key.name));
  await turn();
  const crash = await store.create('Organization', organization('one')).catch((error: unknown) => error);
  assert.instance(crash, CrashError);
  for (const call of [
    () => store.get('Organization', { name: 'one' }),
    () => store.list('Organization'),
    () => store.delete('Organization', { name: 'one' }),
  ]) {
    assert.instance(await call().catch((error: unknown) => error), CrashError);
  }
  await turn();
  assert.equal(told, []);
  const restarted = new FaultyStore(inner, { seed: 1 });
  assert.ok(await restarted.get('Organization', { name: 'one' }));
});

test('a control that trusts its cache loses updates under stale reads; with resourceVersion it does not', async () => {
  const count = async (careful: boolean): Promise<number> => {
    const { inner, store } = await open({ seed: 11, staleReads: 0.4 });
    await store.create('Organization', organization('counter', '0'));
    const cache = store.watch('Organization');
    await cache.synced;
    for (let done = 0; done < 10; ) {
      await turn();
      const seen = cache.get({ name: 'counter' });
      if (seen === undefined) continue;
      const next = organization('counter', String(Number(seen.spec.display.title) + 1));
      const { resourceVersion } = seen.metadata;
      const written = store.apply('Organization', next, careful ? { ...WRITER, resourceVersion } : WRITER);
      done += await written.then(
        () => 1,
        () => 0,
      );
    }
    assert.ok(store.fired.staleReads > 0);
    return Number((await inner.get('Organization', { name: 'counter' }))?.spec.display.title);
  };
  assert.is(await count(true), 10);
  assert.ok((await count(false)) < 10);
});

test('seeded numbers are spread over 0 to 1', () => {
  const next = seeded(42);
  const buckets = new Array<number>(10).fill(0);
  for (let n = 0; n < 10_000; n += 1) {
    const value = next();
    assert.ok(value >= 0 && value < 1);
    const bucket = Math.floor(value * 10);
    buckets[bucket] = (buckets[bucket] ?? 0) + 1;
  }
  for (const each of buckets) assert.ok(each > 800 && each < 1200, String(buckets));
});
