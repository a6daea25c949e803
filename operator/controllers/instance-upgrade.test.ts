import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { CapabilitySpec } from '../../crds/generated/kinds.ts';
import { plainCapability, publishedVersion, secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const KEY = { namespace: NS, name: 'claims' };
const OFFERING = { name: 'claims-agent' };
const UPGRADE = 'store.gsv.dev/upgrade-requested-at';
/** A new version has this long to answer. */
const WINDOW_MS = 300_000;

async function withReady(run: (world: World) => Promise<void>, capability: CapabilitySpec = plainCapability()) {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog({ capability });
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    await run(world);
  } finally {
    await world.close();
  }
}

async function publish(
  world: World,
  version: string,
  overrides: Parameters<typeof publishedVersion>[4] = {},
  capability?: CapabilitySpec,
) {
  const triage = capability ?? plainCapability();
  if (capability) await world.apply('Capability', { name: 'triage' }, triage);
  const spec = await publishedVersion(world.blobs, 'claims-agent', version, { triage }, overrides);
  await world.apply('OfferingVersion', { name: `claims-agent-${version}` }, spec);
  return spec;
}

async function pin(world: World, version: string, overrides: object = {}): Promise<void> {
  const { spec } = await world.instance();
  await world.apply('Instance', KEY, { ...spec, version, ...overrides });
  await world.advance(1_000);
}

/** A runner on which Instances of this version do not work. */
function breakVersion(world: World, version: string, code = 'artifact_corrupt'): void {
  const { reply } = world.probe;
  world.probe.reply = (organization, name) => {
    const bound = world.store.watch('Instance').get({ namespace: NS, name })?.status?.version;
    return bound === version ? { ok: false, code, detail: 'it does not work.' } : reply(organization, name);
  };
}

const statusOf = async (world: World) => (await world.instance()).status;

test('a pin switches, proves, and remembers where it came from', () =>
  withReady(async (world) => {
    const next = await publish(world, '1.1.0');
    await pin(world, '1.1.0');
    const status = await statusOf(world);
    assert.equal([status?.version, status?.previousVersion, status?.upgrade], ['1.1.0', '1.0.0', undefined]);
    assert.is(status?.contractDigest, next.contractDigest);
    assert.is(await world.condition('Instance', KEY, 'UpToDate'), 'True/Succeeded');
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

const REFUSED: [
  reason: string,
  version: string,
  overrides: Parameters<typeof publishedVersion>[4],
  expected: string,
][] = [
  ['does not take over from the one that runs', '2.0.0', {}, 'UpgradeRefused'],
  ['names a range without the one that runs', '1.2.0', { upgradesFrom: '>=1.1.0 <1.2.0' }, 'UpgradeRefused'],
  ['is older', '0.9.0', {}, 'DowngradeRefused'],
  ['has no such plan', '1.1.0', { plans: [{ name: 'gold', includedMicrocredits: 1 }] }, 'PlanNotFound'],
  ['needs more isolation', '1.1.0', { minimumRuntimeProfile: 'Namespace' }, 'RuntimeProfileTooLow'],
];

for (const [reason, version, overrides, expected] of REFUSED)
  test(`a pinned version that ${reason} is refused, and the old one runs on untouched`, () =>
    withReady(async (world) => {
      const before = await statusOf(world);
      const commits = world.git.commits.length;
      await publish(world, version, overrides);
      await pin(world, version);
      assert.is(await world.condition('Instance', KEY), `False/${expected}`);
      assert.is(await world.condition('Instance', KEY, 'UpToDate'), `False/${expected}`);
      assert.is(await world.condition('Instance', KEY, 'Stalled'), `True/${expected}`);
      assert.is(await world.condition('Instance', KEY, 'Accepted'), 'True/Succeeded');
      const status = await statusOf(world);
      assert.equal(
        [status?.version, status?.contractDigest, status?.lifecycle, status?.upgrade],
        ['1.0.0', before?.contractDigest, 'Active', undefined],
      );
      assert.is(world.git.commits.length, commits);
    }));

test('a version that is not there yet is waited for', () =>
  withReady(async (world) => {
    await pin(world, '1.1.0');
    assert.is(await world.condition('Instance', KEY), 'False/VersionNotFound');
    assert.is((await statusOf(world))?.version, '1.0.0');
    await publish(world, '1.1.0');
    await world.advance(1_000);
    assert.is((await statusOf(world))?.version, '1.1.0');
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('a config that fits only the new version comes with it, and one that fits neither is refused', () =>
  withReady(async (world) => {
    const capability = plainCapability();
    const schema = { type: 'object', properties: { mood: { type: 'string' } }, additionalProperties: false };
    await publish(world, '1.1.0', {}, { ...capability, version: '1.1.0', config: { schema } });
    await pin(world, '1.1.0', { config: { tone: 'calm' } });
    assert.is(await world.condition('Instance', KEY), 'False/ConfigInvalid');
    assert.is(await world.condition('Instance', KEY, 'Accepted'), 'True/Succeeded');
    await pin(world, '1.1.0', { config: { mood: 'fine' } });
    assert.is((await statusOf(world))?.version, '1.1.0');
    await pin(world, '1.1.0', { config: { neither: true } });
    assert.is(await world.condition('Instance', KEY, 'Accepted'), 'False/ConfigInvalid');
  }));

test('a secret that only the new version asks for is waited for before the switch', () =>
  withReady(async (world) => {
    await publish(world, '1.1.0', {}, { ...secretCapability(), version: '1.1.0' });
    await pin(world, '1.1.0');
    assert.is(await world.condition('Instance', KEY), 'False/BuyerSecretMissing');
    const { metadata, status } = await world.instance();
    assert.equal([status?.version, status?.lifecycle], ['1.0.0', 'Active']);
    await world.secrets.write(`t/${status?.workloadNamespace}/${metadata.uid}/crm-token`, { value: 'x' });
    await world.advance(6_000);
    assert.is((await statusOf(world))?.version, '1.1.0');
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('a version that does not answer gives way to the old one, once, until somebody asks again', () =>
  withReady(async (world) => {
    const before = await statusOf(world);
    await publish(world, '1.1.0');
    breakVersion(world, '1.1.0');
    await pin(world, '1.1.0');
    assert.is((await statusOf(world))?.upgrade?.phase, 'Proving');
    assert.is(await world.condition('Instance', KEY), 'False/ProbeFailed');
    await world.advance(WINDOW_MS - 10_000);
    assert.is((await statusOf(world))?.version, '1.1.0');
    await world.advance(20_000);
    const status = await statusOf(world);
    assert.equal([status?.version, status?.contractDigest], ['1.0.0', before?.contractDigest]);
    assert.equal(
      [status?.upgrade?.phase, status?.upgrade?.to, status?.upgrade?.cause],
      ['RolledBack', '1.1.0', 'ProbeFailed'],
    );
    assert.is(status?.lifecycle, 'Active');
    assert.is(await world.condition('Instance', KEY), 'False/UpgradeRolledBack');
    assert.is(await world.condition('Instance', KEY, 'RuntimeReady'), 'True/Succeeded');
    assert.match(world.git.commits.at(-1)?.subject ?? '', /claims-agent 1\.0\.0$/);
    const commits = world.git.commits.length;
    await world.advance(3_600_000);
    assert.is(world.git.commits.length, commits);

    world.probe.restore();
    await world.annotate({ [UPGRADE]: '2026-01-01T01:00:00Z' });
    await world.advance(1_000);
    const again = await statusOf(world);
    assert.equal(
      [again?.version, again?.upgradeRequestedAt, again?.upgrade],
      ['1.1.0', '2026-01-01T01:00:00Z', undefined],
    );
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('a runner that is away speaks against no version', () =>
  withReady(async (world) => {
    await publish(world, '1.1.0');
    breakVersion(world, '1.1.0', 'runner_unavailable');
    await pin(world, '1.1.0');
    await world.advance(3 * WINDOW_MS);
    assert.equal([(await statusOf(world))?.version, (await statusOf(world))?.upgrade?.phase], ['1.1.0', 'Proving']);
    world.probe.restore();
    await world.advance(2_000);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('one that was paused while it was to prove itself has its time when it is resumed', () =>
  withReady(async (world) => {
    await publish(world, '1.1.0');
    breakVersion(world, '1.1.0');
    await pin(world, '1.1.0');
    const { spec } = await world.instance();
    await world.apply('Instance', KEY, { ...spec, suspend: true });
    await world.advance(2 * WINDOW_MS);
    await world.apply('Instance', KEY, spec);
    await world.advance(WINDOW_MS - 10_000);
    assert.is((await statusOf(world))?.version, '1.1.0');
    await world.advance(20_000);
    assert.is((await statusOf(world))?.version, '1.0.0');
  }));

test('a Manual Instance takes the version of its channel when it is asked to, and only then', () =>
  withReady(async (world) => {
    await publish(world, '1.1.0');
    const { spec } = await world.get('Offering', OFFERING);
    await world.apply('Offering', OFFERING, { ...spec, channel: '1.1.0' });
    await world.advance(900_000);
    assert.is((await statusOf(world))?.version, '1.0.0');
    await world.annotate({ [UPGRADE]: '2026-01-01T00:15:00Z' });
    await world.advance(1_000);
    assert.equal(
      [(await statusOf(world))?.version, (await statusOf(world))?.upgradeRequestedAt],
      ['1.1.0', '2026-01-01T00:15:00Z'],
    );
    await publish(world, '1.2.0');
    await world.apply('Offering', OFFERING, { ...spec, channel: '1.2.0' });
    await world.advance(900_000);
    assert.is((await statusOf(world))?.version, '1.1.0');
  }));
