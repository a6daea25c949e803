import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type EdgeWorld, startEdgeWorld } from '../../hack/testing/edge.ts';

let world: EdgeWorld;
before(async () => {
  world = await startEdgeWorld();
  const version = await world.store.get('OfferingVersion', { name: 'claims-agent-1.0.0' });
  if (!version) throw new Error('the sample version is gone');
  for (const [name, languages] of [
    ['alpha', ['de', 'en']],
    ['beta', ['fr']],
  ] as const) {
    const { contract: _contract, contractDigest: _digest, ...terms } = version.spec;
    const spec = { ...terms, offeringRef: { name } };
    const { compileContract } = await import('../../crds/contract.ts');
    const capability = version.spec.contract?.capabilities as { spec: object }[];
    const capabilities = new Map([['claims', { version: '1.0.0', ...capability[0]?.spec } as never]]);
    const { contract, digest } = compileContract(spec, capabilities);
    await world.store.create('OfferingVersion', {
      metadata: { name: `${name}-1.0.0` },
      spec: { ...spec, contract: contract as unknown as Record<string, unknown>, contractDigest: digest },
    });
    await world.store.create('Offering', {
      metadata: { name },
      spec: {
        category: name === 'alpha' ? 'Assistant' : 'App',
        display: { title: `The ${name}`, summary: 'Reads invoices' },
        languages: [...languages],
        valueStreams: ['finance'],
        lifecycle: 'Published',
        channel: '1.0.0',
      },
    });
  }
  await settled('beta');
});
after(() => world.close());

async function settled(name: string): Promise<void> {
  while ((await world.call('GET', `/api/offerings/${name}`, { as: 'none' })).status !== 200)
    await new Promise((resolve) => setImmediate(resolve));
}

const names = (reply: { body: { items: { name: string }[] } }) => reply.body.items.map((item) => item.name);
const get = (query: string) => world.call('GET', `/api/offerings${query}`, { as: 'none' });

for (const [reason, query, expected] of [
  ['everything that is published, and nothing else', '', ['alpha', 'beta', 'claims-agent']],
  ['words in any text', '?q=INVOICES%20alpha', ['alpha']],
  ['one facet', '?language=en', ['alpha', 'claims-agent']],
  ['either value of a facet', '?language=de&language=fr', ['alpha', 'beta']],
  ['all facets', '?language=en&category=Agent', ['claims-agent']],
  ['a capability', '?capability=claims&valueStream=finance', ['alpha', 'beta']],
  ['nothing', '?q=unheard-of', []],
] as const)
  test(`the search finds ${reason}`, async () => {
    const reply = await get(query);
    assert.is(reply.status, 200, reply.text);
    assert.equal(names(reply), expected);
  });

test('facets are counted over what was found', async () => {
  const { facets } = (await get('?language=en')).body;
  assert.equal(facets.category, { Assistant: 1, Agent: 1 });
  assert.equal(facets.language, { de: 1, en: 2 });
});

test('pages follow each other without gap or repeat', async () => {
  const first = await get('?limit=2');
  assert.equal(names(first), ['alpha', 'beta']);
  const second = await get(`?limit=2&cursor=${first.body.next}`);
  assert.equal(names(second), ['claims-agent']);
  assert.is(second.body.next, null);
});

for (const [reason, query, code] of [
  ['a limit above 100', '?limit=101', 'invalid_request'],
  ['an unknown facet', '?colour=red', 'invalid_request'],
  ['a made-up cursor', '?cursor=%21%21', 'cursor_invalid'],
] as const)
  test(`${reason} is 422`, async () => {
    const reply = await get(query);
    assert.is(reply.status, 422);
    assert.is(reply.body.code, code);
  });

test('an offering shows plans, config schema and what the buyer must bring', async () => {
  const { body } = await get('/claims-agent');
  assert.equal(
    body.plans.map((plan: { name: string }) => plan.name),
    ['slow', 'starter'],
  );
  assert.ok(body.config.schema.properties.tone);
  assert.equal(body.buyerSecrets, [{ name: 'crm-key', description: 'Key of your CRM' }]);
});

for (const name of ['draft-agent', 'paused-agent', 'unheard-of'])
  test(`${name} is not in the catalog`, async () => {
    const reply = await get(`/${name}`);
    assert.is(reply.status, 404);
    assert.is(reply.body.code, 'offering_not_found');
  });

test('replies can be cached and revalidated', async () => {
  const first = await get('/claims-agent');
  assert.match(first.headers.get('cache-control') ?? '', /public/);
  const again = await world.call('GET', '/api/offerings/claims-agent', {
    as: 'none',
    headers: { 'if-none-match': first.headers.get('etag') ?? '' },
  });
  assert.is(again.status, 304);
  assert.is(again.text, '');
});

test('what is past its end of sale is neither shown nor sold, although its spec says Published', async () => {
  const beta = await world.store.get('Offering', { name: 'beta' });
  if (!beta) throw new Error('beta is gone');
  const spec = { ...beta.spec, endOfSaleTime: '2026-01-01T00:00:00Z' };
  await world.store.apply('Offering', { metadata: { name: 'beta' }, spec }, { fieldManager: 'edge-world' });
  for (let attempt = 0; attempt < 200; attempt++) {
    if ((await world.call('GET', '/api/offerings/beta', { as: 'none' })).status === 404) break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.is((await world.call('GET', '/api/offerings/beta', { as: 'none' })).body.code, 'offering_not_found');
  const wish = { name: 'late', offering: 'beta', plan: 'starter' };
  const refused = await world.call('POST', '/api/orgs/acme/instances', { as: 'admin', body: wish });
  assert.equal([refused.body.code, refused.body.lifecycle], ['offering_not_sellable', 'EndOfSale']);
});
