import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type ContractSecret, contractDigest, parseContract } from '../../crds/contract.ts';
import { type EdgeWorld, startEdgeWorld } from '../../hack/testing/edge.ts';

const INSTANCES = '/api/orgs/acme/instances';

let world: EdgeWorld;
before(async () => {
  world = await startEdgeWorld();
});
after(() => world.close());

const wish = { name: 'fresh', offering: 'claims-agent', plan: 'starter' };
const create = (body: object) => world.call('POST', INSTANCES, { as: 'admin', body });

test('an admin creates an Instance; the operator does the rest', async () => {
  const reply = await create({ ...wish, config: { tone: 'plain' } });
  assert.is(reply.status, 201, reply.text);
  assert.is(reply.headers.get('location'), `${INSTANCES}/fresh`);
  assert.is(reply.body.lifecycle, 'Requested');
  assert.is(reply.body.ready, false);
  const stored = await world.store.get('Instance', { name: 'fresh', namespace: 'gsv-org-acme' });
  assert.equal(stored?.spec, {
    projectRef: { name: 'default' },
    offeringRef: { name: 'claims-agent' },
    plan: 'starter',
    walletRef: { name: 'main' },
    config: { tone: 'plain' },
  });
  assert.is((await create(wish)).body.code, 'instance_exists');
});

for (const [reason, change, status, code, pointer] of [
  ['a value outside the schema', { config: { tone: 'rude' } }, 422, 'config_invalid', '/config/tone'],
  ['an unknown key', { config: { colour: 'red' } }, 422, 'config_invalid', '/config/colour'],
  ['an unknown offering', { offering: 'unheard-of' }, 404, 'offering_not_found', undefined],
  ['a draft', { offering: 'draft-agent' }, 404, 'offering_not_found', undefined],
  ['a paused offering', { offering: 'paused-agent' }, 409, 'offering_not_sellable', undefined],
  ['an offering whose sale has ended', { offering: 'retired-agent' }, 409, 'offering_not_sellable', undefined],
  ['an ended offering', { offering: 'ended-agent' }, 409, 'offering_not_sellable', undefined],
  ['an unknown plan', { plan: 'gold' }, 422, 'reference_invalid', '/plan'],
  ['an unknown version', { version: '9.9.9' }, 422, 'reference_invalid', '/version'],
  ['an unknown project', { project: 'nowhere' }, 422, 'reference_invalid', '/project'],
  ['an unknown wallet', { wallet: 'nowhere' }, 422, 'reference_invalid', '/wallet'],
  ['a name that is none', { name: '../x' }, 422, 'invalid_request', '/name'],
  ['an unknown field', { suspend: true }, 422, 'invalid_request', '/suspend'],
] as const)
  test(`creating with ${reason} is ${status} ${code}`, async () => {
    const reply = await create({ ...wish, name: 'refused', ...change });
    assert.is(reply.body.code, code, reply.text);
    assert.is(reply.status, status);
    if (pointer) assert.is(reply.body.errors[0].pointer, pointer);
    if (pointer) assert.type(reply.body.errors[0].rule, 'string');
    assert.is(await world.store.get('Instance', { name: 'refused', namespace: 'gsv-org-acme' }), undefined);
  });

test('a config that holds a secret is refused without repeating it', async () => {
  const reply = await create({ ...wish, name: 'refused', config: { 'crm-key': 'sk-live-canary-000000' } });
  assert.is(reply.body.code, 'config_invalid', reply.text);
  assert.not.match(reply.text, /canary/);
});

test('mutable keys can be changed and removed, others not', async () => {
  const timeline = { accepted: '2026-01-01T00:00:00Z' };
  await world.makeInstance('mutable', { config: { tone: 'plain', region: 'eu' } }, { timeline });
  const patch = (body: object) => world.call('PATCH', `${INSTANCES}/mutable`, { as: 'admin', body });
  assert.equal((await patch({ config: { tone: 'formal' } })).body.config, { tone: 'formal', region: 'eu' });
  assert.equal((await patch({ config: { tone: null } })).body.config, { region: 'eu' });
  const refused = await patch({ config: { region: 'us' } });
  assert.is(refused.body.code, 'config_invalid');
  assert.equal(refused.body.errors[0], {
    pointer: '/config/region',
    rule: 'immutable_key',
    message: 'cannot be changed after the Instance was made',
  });
  assert.is((await patch({ config: { tone: 'rude' } })).body.errors[0].pointer, '/config/tone');
  assert.is((await patch({ plan: 'slow' })).body.code, 'invalid_request');
  assert.is((await patch({})).body.code, 'invalid_request');
});

test('an Instance that was never accepted takes its first config: an order brings none', async () => {
  const conditions = [
    {
      type: 'Ready',
      status: 'False' as const,
      reason: 'ConfigInvalid',
      message: 'region is required',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    },
  ];
  await world.makeInstance('ordered', { config: {} }, { lifecycle: 'Requested', conditions });
  const patch = (body: object) => world.call('PATCH', `${INSTANCES}/ordered`, { as: 'admin', body });
  assert.equal((await patch({ config: { region: 'eu' } })).body.config, { region: 'eu' });
  assert.equal((await patch({ config: { region: 'us' } })).body.config, { region: 'us' });
  assert.is((await patch({ config: { nonsense: 1 } })).body.code, 'config_invalid');
});

test('pause and resume are the spec’s suspend and leave everything else alone', async () => {
  const { spec } = await world.makeInstance('pausing');
  const paused = await world.call('POST', `${INSTANCES}/pausing/pause`);
  assert.is(paused.status, 200, paused.text);
  assert.is(paused.body.paused, true);
  const run = await world.call('POST', '/v1/instances/acme/pausing/runs', { body: { input: 'answer' } });
  assert.is(run.body.code, 'instance_paused');
  assert.is((await world.call('POST', `${INSTANCES}/pausing/resume`)).body.paused, false);
  const after = await world.store.get('Instance', { name: 'pausing', namespace: 'gsv-org-acme' });
  assert.equal(after?.spec, spec);
});

test('rotate and upgrade are requests to the operator: an annotation, and for a version the pin', async () => {
  await world.makeInstance('upgrading', { channel: 'Stable', upgradePolicy: 'Automatic' });
  const stored = async () => world.store.get('Instance', { name: 'upgrading', namespace: 'gsv-org-acme' });
  const rotated = await world.call('POST', `${INSTANCES}/upgrading/rotate`);
  assert.is(rotated.status, 202, rotated.text);
  const before = await stored();
  const asked = before?.metadata.annotations?.['store.gsv.dev/rotate-requested-at'] ?? '';
  assert.match(asked, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.is(before?.metadata.generation, 1);
  const upgrade = (body: object) => world.call('POST', `${INSTANCES}/upgrading/upgrade`, { as: 'admin', body });
  const pinned = await upgrade({ version: '1.0.0' });
  assert.is(pinned.status, 202, pinned.text);
  const { spec, metadata } = (await stored()) ?? {};
  assert.equal([spec?.version, spec?.channel, spec?.upgradePolicy], ['1.0.0', undefined, undefined]);
  assert.is(metadata?.annotations?.['store.gsv.dev/rotate-requested-at'], asked);
  assert.ok(metadata?.annotations?.['store.gsv.dev/upgrade-requested-at']);
  assert.is((await upgrade({ channel: 'Stable' })).status, 202);
  const following = (await stored())?.spec;
  assert.equal([following?.version, following?.channel], [undefined, 'Stable']);
  assert.is((await upgrade({ version: '9.9.9' })).body.code, 'reference_invalid');
  assert.is((await upgrade({ version: '1.0.0', channel: 'Stable' })).body.code, 'invalid_request');
  assert.is((await upgrade({})).body.code, 'invalid_request');
});

test('deleting removes the Instance', async () => {
  await world.makeInstance('doomed');
  assert.is((await world.call('DELETE', `${INSTANCES}/doomed`, { as: 'admin' })).status, 202);
  assert.is((await world.call('GET', `${INSTANCES}/doomed`)).body.code, 'instance_not_found');
});

test('the list is paged and can be narrowed to a Project', async () => {
  await world.makeInstance('in-other', { projectRef: { name: 'other' } });
  const all = await world.call('GET', `${INSTANCES}?limit=2`);
  assert.is(all.body.items.length, 2);
  assert.type(all.body.next, 'string');
  const narrow = await world.call('GET', INSTANCES, { as: 'narrow' });
  assert.equal(
    narrow.body.items.map((item: { name: string }) => item.name),
    ['in-other'],
  );
  const other = await world.call('GET', `${INSTANCES}?project=other`);
  assert.equal(other.body.items, narrow.body.items);
});

test('the timeline names every phase in order', async () => {
  await world.makeInstance(
    'timed',
    {},
    { timeline: { ordered: '2026-01-01T00:00:00Z', ready: '2026-01-01T00:00:03Z' } },
  );
  const { body } = await world.call('GET', `${INSTANCES}/timed/timeline`);
  assert.equal(body.phases[0], { name: 'ordered', time: '2026-01-01T00:00:00Z' });
  assert.equal(body.phases[6], { name: 'ready', time: '2026-01-01T00:00:03Z' });
  assert.equal(body.phases[7], { name: 'firstResult', time: null });
});

test('a buyer secret goes through to the runner under a ticket for exactly it', async () => {
  const { metadata } = await world.makeInstance('secretive', {}, { secretVersions: [{ name: 'signing', version: 1 }] });
  const path = `${INSTANCES}/secretive/secrets`;
  const reply = await world.call('PUT', `${path}/crm-key`, { body: { value: 'canary-value', version: 0 } });
  assert.is(reply.status, 200, reply.text);
  assert.is(reply.body.name, 'crm-key');
  assert.not.match(reply.text, /canary/);
  const written = world.runner.secrets.at(-1);
  assert.equal(written?.body, { value: 'canary-value', version: 0 });
  assert.is(written?.ticket.secret, 'crm-key');
  assert.equal(written?.ticket.instance, { organization: 'acme', name: 'secretive', uid: metadata.uid });
  const list = await world.call('GET', path);
  assert.equal(list.body.items, [
    { name: 'crm-key', source: 'Buyer', description: 'Key of your CRM', version: null },
    { name: 'signing', source: 'Generated', version: 1 },
  ]);
});

test('a secret of the version that the Instance is to take next can be set before, and the operator is told', async () => {
  const present = await world.store.get('OfferingVersion', { name: 'claims-agent-1.0.0' });
  if (!present) throw new Error('the sample version is gone');
  const secret = { name: 'erp-key', capability: 'claims', source: 'Buyer', rotation: { overlapSeconds: 0 } };
  const document = parseContract(present.spec.contract);
  const contract = { ...document, version: '1.5.0', secrets: [...document.secrets, secret as ContractSecret] };
  await world.store.create('OfferingVersion', {
    metadata: { name: 'claims-agent-1.5.0' },
    spec: { ...present.spec, version: '1.5.0', contract: { ...contract }, contractDigest: contractDigest(contract) },
  });
  const key = { name: 'moving', namespace: 'gsv-org-acme' };
  await world.makeInstance('moving', { version: '1.5.0' });
  assert.is((await world.store.get('Instance', key))?.status?.version, '1.0.0');
  const reply = await world.call('PUT', `${INSTANCES}/moving/secrets/erp-key`, { body: { value: 'long-enough' } });
  assert.is(reply.status, 200, reply.text);
  const names = (await world.call('GET', `${INSTANCES}/moving/secrets`)).body.items.map(
    (item: { name: string }) => item.name,
  );
  assert.equal(names, ['crm-key', 'signing', 'erp-key']);
  const told = (await world.store.get('Instance', key))?.metadata.annotations?.['store.gsv.dev/secret-set-at'];
  assert.ok(Date.parse(told ?? '') > 0);
});

for (const [reason, secret, body, status, code] of [
  ['that the contract does not declare', 'other', { value: 'long-enough' }, 404, 'secret_not_found'],
  ['that is not the buyer’s', 'signing', { value: 'long-enough' }, 404, 'secret_not_found'],
  ['without a value', 'crm-key', {}, 422, 'invalid_request'],
  ['larger than a secret', 'crm-key', { value: 'x'.repeat(20_000) }, 422, 'invalid_request'],
  ['larger than the route takes', 'crm-key', { value: 'x'.repeat(200_000) }, 413, 'body_too_large'],
] as const)
  test(`a secret ${reason} is ${status}`, async () => {
    const before = world.runner.secrets.length;
    const reply = await world.call('PUT', `${INSTANCES}/claims/secrets/${secret}`, { body });
    assert.is(reply.body.code, code);
    assert.is(reply.status, status);
    assert.is(world.runner.secrets.length, before);
    assert.not.match(reply.text, /x{20}|long-enough/);
  });

test('a secret that somebody else has set meanwhile is a version conflict', async () => {
  world.runner.conflict = true;
  const reply = await world.call('PUT', `${INSTANCES}/claims/secrets/crm-key`, {
    body: { value: 'abcdefgh', version: 3 },
  });
  world.runner.conflict = false;
  assert.is(reply.status, 409);
  assert.is(reply.body.code, 'version_conflict');
});
