import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { CapabilitySpec } from '../../crds/generated/kinds.ts';
import { secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const KEY = { namespace: NS, name: 'claims' };
const ROTATE = 'store.gsv.dev/rotate-requested-at';
const OVERLAP_SECONDS = 3_600;
const DAY_MS = 86_400_000;

function capability(rotation: object = {}): CapabilitySpec {
  const [buyer, generated] = secretCapability().secrets ?? [];
  if (!buyer || !generated) throw new Error('the capability lacks its secrets');
  const overlap = { rotation: { overlapSeconds: OVERLAP_SECONDS, ...rotation } };
  return {
    ...secretCapability(),
    secrets: [
      { ...buyer, rotation: { overlapSeconds: 60 } },
      { ...generated, ...overlap },
    ],
  };
}

async function withReady(run: (world: World) => Promise<void>, rotation: object = {}) {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog({ capability: capability(rotation) });
    await world.order('claims', { fulfilment: world.pay() });
    await world.secrets.write(await pathOf(world, 'crm-token'), { value: 'first' });
    await world.advance(5_000);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    await run(world);
  } finally {
    await world.close();
  }
}

async function pathOf(world: World, secret: string): Promise<string> {
  const { metadata, status } = await world.instance();
  return `t/${status?.workloadNamespace}/${metadata.uid}/${secret}`;
}

const rotationOf = async (world: World) => (await world.instance()).status?.rotation;
const versionOf = async (world: World, secret: string) =>
  world.secrets.values.get(await pathOf(world, secret))?.version;
const destroyed = (world: World) => world.secrets.destroyed.map((each) => each.split('/').at(-1));

test('a request makes one new version, delivers it through Git, proves it, and ends the old one after the overlap', () =>
  withReady(async (world) => {
    const commits = world.git.commits.length;
    await world.annotate({ [ROTATE]: '2026-01-01T00:00:05Z' });
    assert.is(await versionOf(world, 'signing-key'), 2);
    assert.is(await versionOf(world, 'crm-token'), 1);
    assert.is(world.git.commits.length, commits + 1);
    const external = [...world.git.files].find(([path]) => path.includes('/instances/'))?.[1] ?? '';
    assert.match(external, /force-sync: "crm-token=1,signing-key=2"/);
    const overlapping = await rotationOf(world);
    assert.is(overlapping?.phase, 'Overlap');
    assert.is(overlapping?.requestedAt, '2026-01-01T00:00:05Z');
    assert.equal(overlapping?.secrets, [{ name: 'signing-key', from: 1, to: 2 }]);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    await world.advance(OVERLAP_SECONDS * 1000 - 1_000);
    assert.equal(destroyed(world), []);
    await world.advance(2_000);
    assert.equal(destroyed(world), ['signing-key@1']);
    assert.is((await rotationOf(world))?.phase, 'Done');
    await world.advance(DAY_MS);
    assert.is(await versionOf(world, 'signing-key'), 2);
  }));

test('while a run would still use the old version it stays, the Instance serves, and the condition says why', () =>
  withReady(async (world) => {
    const { reply } = world.probe;
    world.probe.reply = (...who) => {
      const answer = reply(...who);
      return answer.ok ? { ...answer, secrets: answer.secrets.map(({ name }) => ({ name, version: 1 })) } : answer;
    };
    await world.annotate({ [ROTATE]: '2026-01-01T00:00:05Z' });
    await world.advance(2 * OVERLAP_SECONDS * 1000);
    assert.is(await world.condition('Instance', KEY), 'False/RotationUnproven');
    assert.is(await world.condition('Instance', KEY, 'RuntimeReady'), 'False/RotationUnproven');
    assert.is((await world.instance()).status?.lifecycle, 'Active');
    assert.is((await rotationOf(world))?.phase, 'Proving');
    assert.equal(destroyed(world), []);
    assert.is(await versionOf(world, 'signing-key'), 2);
    world.probe.restore();
    await world.advance(2_000);
    assert.is((await rotationOf(world))?.phase, 'Overlap');
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('a second request during the overlap makes a third version, and both old ones end together', () =>
  withReady(async (world) => {
    await world.annotate({ [ROTATE]: '2026-01-01T00:00:05Z' });
    await world.annotate({ [ROTATE]: '2026-01-01T00:00:06Z' });
    assert.is(await versionOf(world, 'signing-key'), 3);
    assert.equal((await rotationOf(world))?.secrets, [{ name: 'signing-key', from: 1, to: 3 }]);
    await world.advance(OVERLAP_SECONDS * 1000);
    assert.equal(destroyed(world), ['signing-key@1', 'signing-key@2']);
  }));

test('a secret that its buyer sets anew takes the same way, without a version of ours', () =>
  withReady(async (world) => {
    await world.secrets.write(await pathOf(world, 'crm-token'), { value: 'second' });
    await world.advance(900_000);
    assert.equal((await rotationOf(world))?.secrets, [{ name: 'crm-token', from: 1, to: 2 }]);
    assert.is((await rotationOf(world))?.requestedAt, undefined);
    await world.advance(60_000);
    assert.equal(destroyed(world), ['crm-token@1']);
    assert.is(await versionOf(world, 'signing-key'), 1);
  }));

test('the period of the contract rotates without anybody asking', () =>
  withReady(
    async (world) => {
      await world.advance(DAY_MS - 60_000);
      assert.is(await versionOf(world, 'signing-key'), 1);
      await world.advance(120_000);
      assert.is(await versionOf(world, 'signing-key'), 2);
      await world.advance(DAY_MS - 600_000);
      assert.is(await versionOf(world, 'signing-key'), 2);
      assert.equal(destroyed(world), ['signing-key@1']);
      await world.advance(600_000);
      assert.is(await versionOf(world, 'signing-key'), 3);
    },
    { periodDays: 1 },
  ));

test('a request waits for the end of a pause: what rests can prove nothing', () =>
  withReady(async (world) => {
    const { spec } = await world.instance();
    await world.apply('Instance', KEY, { ...spec, suspend: true });
    await world.annotate({ [ROTATE]: '2026-01-01T00:00:05Z' });
    assert.is(await versionOf(world, 'signing-key'), 1);
    await world.store.apply(
      'Instance',
      { metadata: { ...KEY, annotations: { [ROTATE]: '2026-01-01T00:00:05Z' } }, spec },
      { fieldManager: 'test' },
    );
    await world.settle();
    assert.is(await versionOf(world, 'signing-key'), 2);
  }));

for (const [reason, value] of [
  ['no time', 'now'],
  ['empty', ''],
  ['a day without a time', '2026-01-01'],
] as const)
  test(`a request that is ${reason} is nobody's`, () =>
    withReady(async (world) => {
      await world.annotate({ [ROTATE]: value });
      assert.is(await versionOf(world, 'signing-key'), 1);
      assert.is(await rotationOf(world), undefined);
      assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    }));

test('a request on an Instance without generated secrets is answered and does nothing', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    await world.order('claims', { fulfilment: world.pay() });
    await world.annotate({ [ROTATE]: '2026-01-01T00:00:05Z' });
    const rotation = await rotationOf(world);
    assert.equal([rotation?.phase, rotation?.requestedAt], ['Done', '2026-01-01T00:00:05Z']);
  } finally {
    await world.close();
  }
});
