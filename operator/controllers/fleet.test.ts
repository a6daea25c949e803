import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { plainCapability, publishedVersion } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const OFFERING = { name: 'claims-agent' };
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
/** A group is left alone for this long when it is as it should be, and changes of Instances are told 5 s later. */
const SOAK_MS = 120_000;
const TOLD_MS = 11_000;
const WINDOW_MS = 300_000;

/** A fleet that follows the channel by itself, the next version published but not in the channel. */
async function withFleet(run: (world: World) => Promise<void>, names: readonly string[] = NAMES) {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    for (const [index, name] of names.entries())
      await world.order(name, { fulfilment: world.pay(index), upgradePolicy: 'Automatic' });
    await publish(world, '1.1.0');
    await world.advance(TOLD_MS);
    await run(world);
  } finally {
    await world.close();
  }
}

async function publish(world: World, version: string, terms: Parameters<typeof publishedVersion>[4] = {}) {
  const spec = await publishedVersion(world.blobs, 'claims-agent', version, { triage: plainCapability() }, terms);
  await world.apply('OfferingVersion', { name: `claims-agent-${version}` }, spec);
}

async function channel(world: World, version: string): Promise<void> {
  const { spec } = await world.get('Offering', OFFERING);
  await world.apply('Offering', OFFERING, { ...spec, channel: version });
  await world.advance(1_000);
}

const rolloutOf = async (world: World) => (await world.get('Offering', OFFERING)).status?.rollout;

async function running(world: World, version: string): Promise<string[]> {
  const instances = await world.store.list('Instance', { namespace: NS });
  return instances.filter(({ status }) => status?.version === version).map(({ metadata }) => metadata.name);
}

/** A runner on which this version works only for some. */
function breakVersion(world: World, version: string, works: (name: string) => boolean = () => false): void {
  const { reply } = world.probe;
  world.probe.reply = (organization, name) => {
    const { status } = world.store.watch('Instance').get({ namespace: NS, name }) ?? {};
    // At its first visit an Instance has not said yet what it is bound to.
    const bound = status?.version ?? world.store.watch('Offering').get(OFFERING)?.spec.channel;
    if (bound !== version || works(name)) return reply(organization, name);
    return { ok: false, code: 'artifact_corrupt', detail: 'it does not work.' };
  };
}

test('a canary goes first, then growing groups, each after the last was well for a while; no spec is written', () =>
  withFleet(async (world) => {
    assert.is(await rolloutOf(world), undefined);
    const specs = (await world.store.list('Instance', { namespace: NS })).map(({ spec }) => spec);
    await channel(world, '1.1.0');
    assert.is((await running(world, '1.1.0')).length, 1);
    assert.is(await world.condition('Offering', OFFERING, 'RolledOut'), 'False/RolloutProgressing');
    assert.is(await world.condition('Offering', OFFERING), 'True/Succeeded');
    await world.advance(SOAK_MS - 1_000);
    assert.is((await running(world, '1.1.0')).length, 1);
    await world.advance(TOLD_MS);
    assert.is((await running(world, '1.1.0')).length, 5);
    await world.advance(SOAK_MS + TOLD_MS);
    assert.is((await running(world, '1.1.0')).length, 7);
    await world.advance(SOAK_MS + TOLD_MS);
    const rollout = await rolloutOf(world);
    assert.equal(
      [rollout?.phase, rollout?.group, rollout?.total, rollout?.updated, rollout?.failed, rollout?.held],
      ['Complete', 3, 7, 7, 0, 0],
    );
    assert.is(await world.condition('Offering', OFFERING, 'RolledOut'), 'True/Succeeded');
    assert.equal(
      (await world.store.list('Instance', { namespace: NS })).map(({ spec }) => spec),
      specs,
    );
  }));

test('a canary that fails stops the rollout and goes back; the others never left', () =>
  withFleet(async (world) => {
    breakVersion(world, '1.1.0');
    await channel(world, '1.1.0');
    const [canary = ''] = await running(world, '1.1.0');
    await world.advance(WINDOW_MS + 3 * TOLD_MS);
    assert.equal(await running(world, '1.1.0'), []);
    const rollout = await rolloutOf(world);
    assert.equal([rollout?.phase, rollout?.updated, rollout?.failed], ['Halted', 0, 1]);
    assert.is(await world.condition('Offering', OFFERING), 'False/RolloutHalted');
    assert.is(await world.condition('Offering', OFFERING, 'RolledOut'), 'False/RolloutHalted');
    const key = { namespace: NS, name: canary };
    assert.is(await world.condition('Instance', key), 'True/Succeeded');
    assert.is(await world.condition('Instance', key, 'UpToDate'), 'False/UpgradeRolledBack');
    await world.advance(3_600_000);
    assert.equal(await running(world, '1.1.0'), []);

    await publish(world, '1.2.0');
    await channel(world, '1.2.0');
    await world.advance(4 * (SOAK_MS + TOLD_MS));
    assert.is((await running(world, '1.2.0')).length, 7);
    assert.is(await world.condition('Offering', OFFERING), 'True/Succeeded');
    assert.is(await world.condition('Instance', key, 'UpToDate'), 'True/Succeeded');
  }));

test('a group in which too many fail stops the rollout: those that work stay, the failed go back', () =>
  withFleet(async (world) => {
    await channel(world, '1.1.0');
    const [canary] = await running(world, '1.1.0');
    breakVersion(world, '1.1.0', (name) => name === canary);
    await world.advance(SOAK_MS + WINDOW_MS + 4 * TOLD_MS);
    assert.equal(await running(world, '1.1.0'), [canary]);
    const rollout = await rolloutOf(world);
    assert.equal([rollout?.phase, rollout?.updated, rollout?.failed, rollout?.group], ['Halted', 1, 4, 2]);
  }));

test('a restart in the middle goes on where it was, with the same order', () =>
  withFleet(async (world) => {
    await channel(world, '1.1.0');
    const canary = await running(world, '1.1.0');
    await world.advance(SOAK_MS / 2);
    const before = await rolloutOf(world);
    await world.stop();
    await world.start();
    await world.advance(TOLD_MS);
    assert.equal(await running(world, '1.1.0'), canary);
    assert.is((await rolloutOf(world))?.soakingSince, before?.soakingSince);
    await world.advance(SOAK_MS / 2);
    assert.is((await running(world, '1.1.0')).length, 5);
  }));

test('whom a version does not fit, who rests and who decides for himself holds nobody up', () =>
  withFleet(async (world) => {
    const edit = async (name: string, change: object) => {
      const { spec } = await world.instance(name);
      await world.apply('Instance', { namespace: NS, name }, { ...spec, ...change });
    };
    const { upgradePolicy: _policy, ...manual } = (await world.instance('a')).spec;
    await world.apply('Instance', { namespace: NS, name: 'a' }, manual);
    await edit('b', { suspend: true });
    await world.order('c-pro', { fulfilment: world.pay(20, { plan: 'pro' }), plan: 'pro', upgradePolicy: 'Automatic' });
    await publish(world, '1.2.0', { plans: [{ name: 'starter', includedMicrocredits: 1_000_000 }] });
    await world.advance(TOLD_MS);
    await channel(world, '1.2.0');
    await world.advance(4 * (SOAK_MS + TOLD_MS));
    const rollout = await rolloutOf(world);
    assert.equal([rollout?.phase, rollout?.total, rollout?.updated, rollout?.held], ['Complete', 6, 5, 1]);
    assert.equal((await running(world, '1.0.0')).sort(), ['a', 'c-pro']);
    assert.is(await world.condition('Instance', { namespace: NS, name: 'b' }, 'UpToDate'), 'False/UpgradeProving');
    assert.is(await world.condition('Instance', { namespace: NS, name: 'c-pro' }, 'UpToDate'), 'False/PlanNotFound');
    assert.is(await world.condition('Instance', { namespace: NS, name: 'c-pro' }), 'True/Succeeded');
    await edit('b', { suspend: false });
    await world.advance(TOLD_MS);
    assert.is(await world.condition('Instance', { namespace: NS, name: 'b' }, 'UpToDate'), 'True/Succeeded');
  }));

test('a system that is away when the next group is due does not let the whole fleet loose when it is back', () =>
  withFleet(async (world) => {
    await channel(world, '1.1.0');
    const [canary] = await running(world, '1.1.0');
    const { reply } = world.probe;
    breakVersion(world, '1.0.0', (name) => name === canary);
    for (const name of NAMES) {
      const { spec } = await world.instance(name);
      await world.apply('Instance', { namespace: NS, name }, { ...spec, config: { tone: 'brisk' } });
    }
    await world.advance(2 * SOAK_MS);
    assert.is((await rolloutOf(world))?.phase, 'Rolling');
    assert.is((await rolloutOf(world))?.held, 6);
    const writes = world.writes.filter((each) => each.includes('Offering')).length;
    await world.advance(2 * SOAK_MS);
    assert.is(world.writes.filter((each) => each.includes('Offering')).length, writes);
    world.probe.reply = reply;
    breakVersion(world, '1.1.0', (name) => name === canary);
    await world.advance(WINDOW_MS + 4 * TOLD_MS);
    const rollout = await rolloutOf(world);
    assert.equal([rollout?.phase, rollout?.updated, rollout?.failed, rollout?.group], ['Halted', 1, 4, 2]);
  }));

test('a new Instance that waits for something of its own holds up no group', () =>
  withFleet(async (world) => {
    await channel(world, '1.1.0');
    breakVersion(world, '1.1.0', (name) => !name.startsWith('new'));
    // So many that the places of some are before that of the canary.
    for (let at = 0; at < 12; at++)
      await world.order(`new${at}`, { fulfilment: world.pay(20 + at), upgradePolicy: 'Automatic' });
    await world.advance(3 * (SOAK_MS + TOLD_MS));
    const rollout = await rolloutOf(world);
    assert.equal([rollout?.phase, rollout?.updated, rollout?.held], ['Complete', 7, 12]);
  }));

test('a new Instance gets the version of the channel at once, also in the middle of a rollout', () =>
  withFleet(async (world) => {
    await channel(world, '1.1.0');
    await world.order('fresh', { fulfilment: world.pay(20), upgradePolicy: 'Automatic' });
    await world.advance(1_000);
    assert.ok((await running(world, '1.1.0')).includes('fresh'));
    assert.is((await running(world, '1.1.0')).length, 2);
  }));

test('times of the Offering act by themselves: sales end, then Instances rest, and the successor is named', () =>
  withFleet(
    async (world) => {
      const { spec } = await world.get('Offering', OFFERING);
      await world.apply('Offering', OFFERING, {
        ...spec,
        endOfSaleTime: '2026-01-01T01:00:00Z',
        endOfLifeTime: '2026-01-01T02:00:00Z',
        migrateTo: { name: 'claims-agent-next' },
      });
      const lifecycle = async () => (await world.get('Offering', OFFERING)).status?.lifecycle;
      assert.is(await lifecycle(), 'Published');
      await world.advance(3_600_000);
      assert.is(await lifecycle(), 'EndOfSale');
      assert.is(await world.condition('Instance', { namespace: NS, name: 'a' }), 'True/Succeeded');
      world.ledger.credit('acme.main', 1_000_000);
      const latecomers: [name: string, spec: Parameters<World['order']>[1], condition: string][] = [
        ['late', {}, 'False/OfferingEndOfSale'],
        ['unpaid', { fulfilment: { ...world.pay(20), ordinal: 21 } }, 'False/OfferingEndOfSale'],
        ['other-plan', { fulfilment: world.pay(22, { plan: 'pro' }) }, 'False/OfferingEndOfSale'],
        ['used', { fulfilment: world.pay(23, { instanceUid: 'another' }) }, 'False/OfferingEndOfSale'],
        // Its order was placed while it was sold, or there would be no unit.
        ['sold-before', { fulfilment: world.pay(24) }, 'True/Succeeded'],
      ];
      for (const [name, spec, condition] of latecomers) {
        await world.order(name, spec);
        assert.is(await world.condition('Instance', { namespace: NS, name }), condition, name);
      }
      await world.advance(3_600_000);
      assert.is(await lifecycle(), 'EndOfLife');
      const { status } = await world.instance('a');
      assert.is(status?.effective?.cause, 'OfferingEndOfLife');
      assert.match(status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? '', /"claims-agent-next"/);
      assert.equal((await world.get('Offering', OFFERING)).spec.lifecycle, 'Published');
    },
    ['a'],
  ));
