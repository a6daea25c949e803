import { type TestContext, test } from 'node:test';
import * as assert from 'uvu/assert';
import { events, open, page, type Reply, reset, ScriptedServer, status } from '../../hack/cluster/scripted-server.ts';
import type { ResourceCache } from '../store.ts';
import { eventually } from './contract-fixtures.ts';
import { KubernetesStore } from './kubernetes.ts';

const object = (name: string, resourceVersion: string, title = 'T') => ({
  metadata: { name, uid: `uid-${name}`, resourceVersion, generation: 1, managedFields: [{ manager: 'm' }] },
  spec: { display: { title } },
});
const event = (type: string, name: string, version: string, title?: string) => ({
  type,
  object: object(name, version, title),
});
const bookmark = (version: string) => ({ type: 'BOOKMARK', object: { metadata: { resourceVersion: version } } });
const gone = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version: 5 (9)' };

interface Running {
  server: ScriptedServer;
  cache: ResourceCache<'Organization'>;
  told: string[];
}

/** Random 0 halves every pause, so that tests are quick. */
async function follow(
  t: TestContext,
  script: { calls: Reply[]; watches: Reply[] },
  options: { silenceMs?: number; pageSize?: number } = {},
): Promise<Running> {
  const server = await ScriptedServer.start();
  server.calls.push(...script.calls);
  server.watches.push(...script.watches);
  const store = await KubernetesStore.open({ kubeConfig: server.kubeconfig, random: () => 0, ...options });
  t.after(async () => {
    await store.close();
    await server.close();
  });
  const cache = store.watch('Organization');
  const told: string[] = [];
  cache.onChange((key) => told.push(key.name));
  return { server, cache, told };
}

const names = (cache: ResourceCache<'Organization'>): string =>
  cache
    .list()
    .map((each) => each.metadata.name)
    .join();
const from = (server: ScriptedServer): (string | undefined)[] =>
  server.watchesSeen.map((each) => each.query.resourceVersion);

test('the watch goes on from the list, from each event, and from each bookmark', async (t) => {
  const { server, cache, told } = await follow(t, {
    calls: [page([object('a', '3')], '5')],
    watches: [
      events([event('ADDED', 'b', '6')], 'end'),
      events([event('MODIFIED', 'a', '7', 'New'), bookmark('9')], 'end'),
      events([event('DELETED', 'b', '11')]),
    ],
  });
  await cache.synced;
  await eventually('all is followed', () => names(cache) === 'a' && from(server).length === 3);
  assert.equal(from(server), ['5', '6', '9']);
  assert.is(cache.get({ name: 'a' })?.spec.display.title, 'New');
  assert.equal([...new Set(told)].sort(), ['a', 'b']);
  assert.is(server.watchesSeen[0]?.query.allowWatchBookmarks, 'true');
  assert.is(server.callsSeen.length, 1, 'nothing was listed again');
});

test('synced waits for the last page', async (t) => {
  const { server, cache } = await follow(
    t,
    { calls: [page([object('a', '1')], '5', 'next'), page([object('b', '2')], '5')], watches: [open] },
    { pageSize: 1 },
  );
  await cache.synced;
  assert.is(names(cache), 'a,b');
  assert.equal(
    server.callsSeen.map(({ query }) => [query.limit, query.continue]),
    [
      ['1', undefined],
      ['1', 'next'],
    ],
  );
});

for (const [how, broken] of [
  ['as an answer', status(410, 'Expired', 'too old resource version')],
  ['as an event', events([{ type: 'ERROR', object: gone }])],
] as const) {
  test(`410 ${how}: a new list, and its difference to the cache finds what was deleted`, async (t) => {
    const { server, cache, told } = await follow(t, {
      calls: [
        page([object('kept', '1'), object('deleted', '2'), object('changed', '3')], '5'),
        page([object('kept', '1'), object('changed', '8'), object('added', '9')], '10'),
      ],
      watches: [broken, open],
    });
    await eventually('the second list is in', () => names(cache) === 'added,changed,kept');
    await eventually('the watch goes on', () => from(server).length === 2);
    assert.equal(from(server), ['5', '10']);
    assert.is(told.filter((name) => name === 'kept').length, 1, 'what did not change is not told again');
    for (const name of ['deleted', 'changed', 'added']) assert.ok(told.includes(name), name);
  });
}

test('a refresh ends a watch that has fallen silent: a new list tells what it missed, and the watch goes on from it', async (t) => {
  const { server, cache, told } = await follow(t, {
    calls: [page([object('deleted', '2')], '5'), page([object('added', '9')], '10')],
    watches: [open, events([event('ADDED', 'later', '11')])],
  });
  await eventually('the watch is open', () => from(server).length === 1);
  assert.is(names(cache), 'deleted');
  await cache.refresh();
  assert.is(names(cache).split(',')[0], 'added');
  assert.ok(told.includes('deleted'));
  await eventually('the watch goes on', () => names(cache) === 'added,later');
  assert.equal(from(server), ['5', '10']);
});

test('a refresh waits until the server answers again', async (t) => {
  const { cache } = await follow(t, {
    calls: [page([object('a', '2')], '5'), status(403, 'Forbidden', 'not now'), page([object('b', '9')], '10')],
    watches: [open, open],
  });
  await cache.synced;
  await cache.refresh();
  assert.is(names(cache), 'b');
});

test('pages that expire while they are read: the next list comes in one piece', async (t) => {
  const { server, cache } = await follow(
    t,
    {
      calls: [page([object('a', '1')], '5', 'next'), status(410, 'Expired', 'expired'), page([object('b', '2')], '7')],
      watches: [open],
    },
    { pageSize: 1 },
  );
  await cache.synced;
  assert.is(names(cache), 'b');
  assert.is(server.callsSeen[2]?.query.limit, undefined);
});

test('a reset in the middle of an event: the event is read again', async (t) => {
  const whole = JSON.stringify(event('ADDED', 'a', '6'));
  const { server, cache } = await follow(t, {
    calls: [page([], '5')],
    watches: [events([whole.slice(0, 40)], 'reset'), events([`${whole}\n`])],
  });
  await eventually('the object is there', () => names(cache) === 'a');
  assert.equal(from(server), ['5', '5']);
});

test('an event in many pieces is one event', async (t) => {
  const text = `${JSON.stringify(event('ADDED', 'ü', '6'))}\n${JSON.stringify(event('ADDED', 'b', '7'))}\n`;
  const slowly: Reply = (response) => {
    response.writeHead(200);
    const bytes = [...Buffer.from(text)];
    const next = (): void => {
      const part = bytes.splice(0, 7);
      if (part.length > 0) response.write(Buffer.from(part), () => setImmediate(next));
    };
    next();
  };
  const { cache } = await follow(t, { calls: [page([], '5')], watches: [slowly] });
  await eventually('both are there', () => names(cache) === 'b,ü');
});

test('a silent watch is made anew from where it was', async (t) => {
  const { server, cache } = await follow(
    t,
    { calls: [page([object('a', '1')], '5')], watches: [open, open, events([event('ADDED', 'b', '6')])] },
    { silenceMs: 50 },
  );
  await eventually('the third watch speaks', () => names(cache) === 'a,b');
  assert.equal(from(server).slice(0, 3), ['5', '5', '5']);
});

test('a list that is refused is tried again until it is granted', async (t) => {
  const forbidden = status(403, 'Forbidden', 'organizations is forbidden');
  const unknown = status(404, 'NotFound', 'the server could not find the requested resource');
  const { cache } = await follow(t, {
    calls: [forbidden, unknown, page([object('a', '1')], '5')],
    watches: [open],
  });
  await cache.synced;
  assert.is(names(cache), 'a');
});

test('an event that is no event makes the list come again', async (t) => {
  const { server, cache } = await follow(t, {
    calls: [page([object('a', '1')], '5'), page([object('b', '6')], '7')],
    watches: [events(['{"type":"ADDED"}\n']), open],
  });
  await eventually('the second list is in', () => names(cache) === 'b');
  await eventually('the watch goes on', () => from(server).length === 2);
  assert.equal(from(server), ['5', '7']);
});

test('a watch that ends at once, again and again, does not turn in a circle', async (t) => {
  const { server, cache } = await follow(t, {
    calls: [page([object('a', '1')], '5')],
    watches: Array.from({ length: 50 }, () => events([], 'end')),
  });
  await eventually('some watches ended', () => from(server).length >= 3);
  assert.ok(from(server).length < 50, 'there is a pause between them');
  assert.is(names(cache), 'a');
});

test('a server that resets every connection ends nothing', async (t) => {
  const { cache } = await follow(t, {
    calls: [reset, reset, page([object('a', '1')], '5')],
    watches: [reset, reset, events([event('ADDED', 'b', '6')], 'reset'), open],
  });
  await eventually('it is followed', () => names(cache) === 'a,b');
});

test('objects of the cache are frozen, share their texts and have no managedFields', async (t) => {
  const { cache } = await follow(t, { calls: [page([object('a', '1')], '5')], watches: [open] });
  await cache.synced;
  const a = cache.get({ name: 'a' });
  assert.equal(a, {
    apiVersion: 'store.gsv.dev/v1alpha1',
    kind: 'Organization',
    metadata: { name: 'a', uid: 'uid-a', resourceVersion: '1', generation: 1 },
    spec: { display: { title: 'T' } },
  } as typeof a);
  assert.throws(() => Object.assign(a?.spec.display ?? {}, { title: 'changed' }), /read only/);
});

test('a kind that the server does not know is told once, asked for with pauses, and followed when it comes', async (t) => {
  const server = await ScriptedServer.start();
  const missing = status(404, 'NotFound', 'the server could not find the requested resource');
  server.calls.push(missing, missing, page([object('a', '3')], '5'));
  const told: string[] = [];
  const store = await KubernetesStore.open({
    kubeConfig: server.kubeconfig,
    random: () => 0,
    log: { debug: () => undefined, warn: (_, message) => void told.push(message) },
  });
  t.after(async () => {
    await store.close();
    await server.close();
  });
  const cache = store.watch('Application', { namespace: 'argocd', labels: { owner: 'us', part: 'p' } });
  await cache.synced;
  assert.equal(
    cache.list().map(({ metadata }) => metadata.name),
    ['a'],
  );
  assert.equal(told, [
    'watching Application: the API server does not know it; is its CRD installed?',
    'watching Application: the API server knows the kind now',
  ]);
  await eventually('the watch is there', () => server.watchesSeen.length === 1);
  for (const { path, query } of server.seen) {
    assert.is(path, '/apis/argoproj.io/v1alpha1/namespaces/argocd/applications');
    assert.is(query.labelSelector, 'owner=us,part=p');
  }
});
