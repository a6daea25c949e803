import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { capabilityDigest } from '../../crds/contract.ts';
import { plainCapability, publishedVersion, secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const VERSION = { name: 'claims-agent-1.0.0' };
const OFFERING = { name: 'claims-agent' };

async function withWorld(run: (world: World) => Promise<void>): Promise<void> {
  const world = await World.open();
  try {
    await world.start();
    await run(world);
  } finally {
    await world.close();
  }
}

async function offer(world: World): Promise<void> {
  await world.apply('Capability', { name: 'triage' }, plainCapability());
  await world.apply('Offering', OFFERING, {
    category: 'Agent',
    display: { title: 'Claims Agent' },
    lifecycle: 'Published',
    channel: '1.0.0',
  });
}

test('a version is verified when contract and artifact are what was promised', () =>
  withWorld(async (world) => {
    await world.catalog();
    const { spec, status } = await world.get('OfferingVersion', VERSION);
    assert.equal(status?.verified, { contractDigest: spec.contractDigest, artifactSha256: spec.artifact.sha256 });
    assert.is(await world.condition('OfferingVersion', VERSION), 'True/Succeeded');
    assert.is((await world.get('Offering', OFFERING)).status?.publishedVersion, '1.0.0');
    const { status: capability } = await world.get('Capability', { name: 'triage' });
    assert.is(capability?.digest, capabilityDigest(plainCapability()));
  }));

test('a promise of another contract is refused', () =>
  withWorld(async (world) => {
    await offer(world);
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.0.0', { triage: plainCapability() });
    await world.apply('OfferingVersion', VERSION, { ...spec, contractDigest: `sha256:${'0'.repeat(64)}` });
    assert.is(await world.condition('OfferingVersion', VERSION, 'Stalled'), 'True/ContractDigestMismatch');
    assert.is((await world.get('OfferingVersion', VERSION)).status?.verified, undefined);
    assert.is(await world.condition('Offering', OFFERING), 'False/VersionNotVerified');
  }));

test('a contract that is consistent in itself but not what its parts compile to is refused', () =>
  withWorld(async (world) => {
    await offer(world);
    const cheap = plainCapability();
    for (const dimension of cheap.metering?.dimensions ?? []) dimension.priceMicrocredits = 1;
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.0.0', { triage: cheap });
    await world.apply('OfferingVersion', VERSION, spec);
    assert.is(await world.condition('OfferingVersion', VERSION), 'False/ContractDigestMismatch');
  }));

test('a capability that contradicts itself is refused with the place, and has no digest', () =>
  withWorld(async (world) => {
    const schema = { type: 'object', properties: { tone: { $ref: 'https://example.com/tone.json' } } };
    await world.apply('Capability', { name: 'triage' }, { ...plainCapability(), config: { schema } });
    assert.is(await world.condition('Capability', { name: 'triage' }, 'Stalled'), 'True/CapabilityInvalid');
    const { status } = await world.get('Capability', { name: 'triage' });
    assert.is(status?.digest, undefined);
    assert.match(
      status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? '',
      '/spec/config/schema/properties/tone',
    );
  }));

test('a version without a compiled contract is refused', () =>
  withWorld(async (world) => {
    await offer(world);
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.0.0', { triage: plainCapability() });
    const { contract: _, contractDigest: __, ...uncompiled } = spec;
    await world.apply('OfferingVersion', VERSION, uncompiled);
    assert.is(await world.condition('OfferingVersion', VERSION, 'Stalled'), 'True/ContractInvalid');
  }));

test('an artifact store that is away is tried again, and takes back nothing that was proven', () =>
  withWorld(async (world) => {
    await world.catalog();
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.1.0', { triage: plainCapability() });
    const read = world.blobs.get;
    world.blobs.get = () => Promise.reject(new Error('no route'));
    await world.apply('OfferingVersion', { name: 'claims-agent-1.1.0' }, spec);
    assert.is(
      await world.condition('OfferingVersion', { name: 'claims-agent-1.1.0' }),
      'False/ArtifactStoreUnavailable',
    );
    await world.stop();
    await world.start();
    assert.is(await world.condition('OfferingVersion', VERSION), 'False/ArtifactStoreUnavailable');
    assert.ok((await world.get('OfferingVersion', VERSION)).status?.verified);
    world.blobs.get = read;
    await world.advance(2_000);
    for (const name of ['claims-agent-1.0.0', 'claims-agent-1.1.0'])
      assert.is(await world.condition('OfferingVersion', { name }), 'True/Succeeded');
  }));

test('a capability that is missing is waited for; one in another version is refused', () =>
  withWorld(async (world) => {
    await offer(world);
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.0.0', { other: plainCapability() });
    await world.apply('OfferingVersion', VERSION, spec);
    assert.is(await world.condition('OfferingVersion', VERSION), 'False/CapabilityNotFound');
    await world.apply('Capability', { name: 'other' }, { ...plainCapability(), version: '2.0.0' });
    assert.is(await world.condition('OfferingVersion', VERSION), 'False/CapabilityVersionMismatch');
    await world.delete('Capability', { name: 'other' });
    await world.apply('Capability', { name: 'other' }, plainCapability());
    assert.is(await world.condition('OfferingVersion', VERSION), 'True/Succeeded');
  }));

test('a version once verified stays so when its capability moves on', () =>
  withWorld(async (world) => {
    await world.catalog();
    await world.apply('Capability', { name: 'triage' }, { ...secretCapability(), version: '2.0.0' });
    await world.advance(900_000);
    assert.is(await world.condition('OfferingVersion', VERSION), 'True/Succeeded');
  }));

test('an artifact that is not there is waited for', () =>
  withWorld(async (world) => {
    await offer(world);
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.0.0', { triage: plainCapability() });
    const kept = new Map(world.blobs.blobs);
    world.blobs.blobs.clear();
    await world.apply('OfferingVersion', VERSION, spec);
    assert.is(await world.condition('OfferingVersion', VERSION), 'False/ArtifactMissing');
    for (const [key, bytes] of kept) world.blobs.blobs.set(key, bytes);
    await world.advance(10_000);
    assert.is(await world.condition('OfferingVersion', VERSION), 'True/Succeeded');
  }));

test('an artifact of another digest or size is refused', () =>
  withWorld(async (world) => {
    await offer(world);
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.0.0', { triage: plainCapability() });
    for (const key of world.blobs.blobs.keys()) world.blobs.blobs.set(key, new TextEncoder().encode('{}'));
    await world.apply('OfferingVersion', VERSION, spec);
    assert.is(await world.condition('OfferingVersion', VERSION, 'Stalled'), 'True/ArtifactCorrupt');
  }));

test('a flow that carries a secret is refused with node and field, not with the secret', () =>
  withWorld(async (world) => {
    await offer(world);
    const template = { api_key: { value: 'sk-canary0123456789abcdefghijkl', password: true, load_from_db: false } };
    const flow = { data: { nodes: [{ id: 'Model-7', data: { type: 'Model', node: { template } } }] } };
    const terms = { flow };
    const spec = await publishedVersion(world.blobs, 'claims-agent', '1.0.0', { triage: plainCapability() }, terms);
    await world.apply('OfferingVersion', VERSION, spec);
    assert.is(await world.condition('OfferingVersion', VERSION, 'Stalled'), 'True/SecretInArtifact');
    const { status } = await world.get('OfferingVersion', VERSION);
    const text = JSON.stringify(status);
    assert.ok(text.includes('Model-7') && text.includes('api_key'));
    assert.not.ok(text.includes('canary'));
  }));

test('a SKU that two objects sell is refused on both, and heals when one lets go', () =>
  withWorld(async (world) => {
    await world.catalog({ offering: { skus: [{ sku: 'CLAIMS', plan: 'starter' }] } });
    const pack = { sku: 'CLAIMS', amountMicrocredits: 1, kind: 'Purchased' as const };
    await world.apply('CreditPack', { name: 'pack' }, pack);
    assert.is(await world.condition('CreditPack', { name: 'pack' }, 'Stalled'), 'True/SkuConflict');
    assert.is(await world.condition('Offering', OFFERING, 'Stalled'), 'True/SkuConflict');
    await world.delete('CreditPack', { name: 'pack' });
    assert.is(await world.condition('Offering', OFFERING), 'True/Succeeded');
  }));

test('a SKU must sell a plan of the published version', () =>
  withWorld(async (world) => {
    await world.catalog({ offering: { skus: [{ sku: 'GOLD', plan: 'gold' }] } });
    assert.is(await world.condition('Offering', OFFERING, 'Stalled'), 'True/PlanNotFound');
  }));

test('an Offering counts its Instances, once for many', () =>
  withWorld(async (world) => {
    await world.catalog();
    world.writes.length = 0;
    for (const ordinal of [0, 1, 2]) await world.order(`claims-${ordinal}`, { fulfilment: world.pay(ordinal) });
    await world.order('broken', { plan: 'gold' });
    await world.advance(10_000);
    assert.equal((await world.get('Offering', OFFERING)).status?.instances, { total: 4, ready: 3 });
    assert.is(world.writes.filter((write) => write === 'status Offering claims-agent').length, 1);
    await world.delete('Instance', { namespace: NS, name: 'broken' });
    await world.advance(10_000);
    assert.equal((await world.get('Offering', OFFERING)).status?.instances, { total: 3, ready: 3 });
  }));

test('a pack for Offerings that do not exist waits for them', () =>
  withWorld(async (world) => {
    const scope = { offerings: ['claims-agent'] };
    await world.apply('CreditPack', { name: 'p' }, { sku: 'P', amountMicrocredits: 1, kind: 'Purchased', scope });
    assert.is(await world.condition('CreditPack', { name: 'p' }), 'False/OfferingNotFound');
    await world.catalog();
    assert.is(await world.condition('CreditPack', { name: 'p' }), 'True/Succeeded');
  }));
