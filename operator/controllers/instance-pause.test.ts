import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { plainCapability, secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const KEY = { namespace: NS, name: 'claims' };
const OFFERING = { name: 'claims-agent' };
const HOUR_MS = 3_600_000;

const LADDER = {
  exhaustion: [
    { action: 'Notify' as const, afterSeconds: 0 },
    { action: 'Pause' as const, afterSeconds: 3600 },
    { action: 'Terminate' as const, afterSeconds: 7200 },
  ],
};

const generatedOnly = () => ({ ...secretCapability(), secrets: secretCapability().secrets?.slice(1) ?? [] });

async function withWorld(run: (world: World) => Promise<void>, options: Parameters<World['catalog']>[0] = {}) {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog(options);
    await run(world);
  } finally {
    await world.close();
  }
}

/** Paid for until half past midnight, then the ladder of {@link LADDER}. */
function withEndingPlan(
  run: (world: World, uid: string) => Promise<void>,
  overrides: Parameters<World['order']>[1] = {},
) {
  return withWorld(
    async (world) => {
      await world.order('claims', { fulfilment: world.pay(0, { paidThrough: '2026-01-01T00:30:00Z' }), ...overrides });
      await run(world, (await world.instance()).metadata.uid);
    },
    { capability: generatedOnly(), version: LADDER },
  );
}

async function stateOf(world: World): Promise<string> {
  const { effective, lifecycle } = (await world.instance()).status ?? {};
  return `${effective?.state}/${effective?.cause ?? '-'}/${lifecycle}`;
}

test('a spec that changes during a pause is in Git before the pause ends, and Ready stays as it was', () =>
  withWorld(async (world) => {
    await world.order('claims', { fulfilment: world.pay() });
    const { spec } = await world.instance();
    await world.apply('Instance', KEY, { ...spec, suspend: true });
    assert.is(await stateOf(world), 'Paused/Suspended/Paused');
    const commits = world.git.commits.length;
    const changed = await world.apply('Instance', KEY, { ...spec, suspend: true, config: { tone: 'brisk' } });
    const { status } = await world.instance();
    assert.is(world.git.commits.length, commits + 1);
    assert.is(status?.commit, world.git.commits.at(-1)?.commit);
    assert.is(status?.observedGeneration, changed.metadata.generation);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'True/LocalDelivery');
    const { calls } = world.probe;
    await world.apply('Instance', KEY, { ...spec, config: { tone: 'brisk' } });
    assert.is(await stateOf(world), 'Running/-/Active');
    assert.is(world.probe.calls, calls + 1);
    assert.is(world.git.commits.length, commits + 1);
  }));

test('a pause takes the pod of profile Namespace away, and resuming brings it back', () =>
  withWorld(async (world) => {
    await world.apply('Project', { namespace: NS, name: 'default' }, { runtimeProfile: 'Namespace' });
    await world.order('claims', { fulfilment: world.pay() });
    const replicas = () => {
      const deployment = [...world.git.files].find(([path]) => path.includes('/instances/'))?.[1] ?? '';
      return /replicas: (\d+)/.exec(deployment)?.[1];
    };
    const { spec } = await world.instance();
    assert.is(replicas(), '1');
    await world.apply('Instance', KEY, { ...spec, suspend: true });
    assert.is(replicas(), '0');
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'True/LocalDelivery');
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' }, suspend: true });
    await world.apply('Instance', KEY, spec);
    assert.is(replicas(), '0');
    assert.is(await stateOf(world), 'Paused/OrganizationSuspended/Paused');
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
    assert.is(replicas(), '1');
    assert.is(await stateOf(world), 'Running/-/Active');
  }));

test('what cannot be rendered during a pause is said, and the pause holds', () =>
  withWorld(async (world) => {
    await world.order('claims', { fulfilment: world.pay() });
    const { spec } = await world.instance();
    await world.apply('Instance', KEY, { ...spec, suspend: true, config: { tone: 'rude' } });
    assert.is(await world.condition('Instance', KEY), 'False/ConfigInvalid');
    assert.is(await stateOf(world), 'Paused/Suspended/Paused');
  }));

test('a pause that is not applied yet is one already, and waits for its end', () =>
  withWorld(async (world) => {
    await world.order('claims', { fulfilment: world.pay() });
    const { spec } = await world.instance();
    world.delivery.obstacle = { reason: 'SyncPending', message: 'Two objects are behind.' };
    await world.apply('Instance', KEY, { ...spec, suspend: true });
    assert.is(await stateOf(world), 'Paused/Suspended/Paused');
    assert.is(await world.condition('Instance', KEY), 'False/SyncPending');
    world.delivery.obstacle = undefined;
    await world.advance(1_000);
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'True/LocalDelivery');
    assert.is(await world.condition('Instance', KEY, 'Reconciling'), '-');
  }));

test('a suspended Organization and an ended Offering pause without a new commit, and are named', () =>
  withWorld(async (world) => {
    await world.order('claims', { fulfilment: world.pay() });
    const commits = world.git.commits.filter(({ subject }) => subject.startsWith('Instance')).length;
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' }, suspend: true });
    assert.is(await stateOf(world), 'Paused/OrganizationSuspended/Paused');
    assert.is(await world.condition('Instance', KEY), 'False/OrganizationSuspended');
    assert.is(await world.condition('Instance', KEY, 'Stalled'), 'True/OrganizationSuspended');
    const { spec } = await world.get('Offering', OFFERING);
    const ended = { ...spec, migrateTo: { name: 'claims-agent-next' } };
    await world.apply('Offering', OFFERING, { ...ended, lifecycle: 'EndOfSale' });
    await world.apply('Offering', OFFERING, { ...ended, lifecycle: 'EndOfLife' });
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
    assert.is(await stateOf(world), 'Paused/OfferingEndOfLife/Paused');
    const ready = (await world.instance()).status?.conditions?.find(({ type }) => type === 'Ready');
    assert.match(ready?.message ?? '', /successor is "claims-agent-next"/);
    assert.is(world.git.commits.filter(({ subject }) => subject.startsWith('Instance')).length, commits);
  }));

test('when the Organization goes on, an Instance that its owner paused no longer names it', () =>
  withWorld(async (world) => {
    await world.order('claims', { fulfilment: world.pay() });
    const { spec } = await world.instance();
    await world.apply('Instance', KEY, { ...spec, suspend: true });
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' }, suspend: true });
    assert.is(await world.condition('Instance', KEY, 'Stalled'), 'True/OrganizationSuspended');
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
    assert.is(await stateOf(world), 'Paused/Suspended/Paused');
    assert.is(await world.condition('Instance', KEY), 'Unknown/Suspended');
    assert.is(await world.condition('Instance', KEY, 'Stalled'), '-');
    await world.apply('Instance', KEY, spec);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));

test('the exhaustion ladder is climbed to its end, and the object stays for its owner to delete', () =>
  withEndingPlan(async (world, uid) => {
    const { spec } = await world.instance();
    await world.advance(HOUR_MS);
    assert.is(await stateOf(world), 'Running/-/Active');
    assert.is(await world.condition('Instance', KEY, 'Funded'), 'False/FulfilmentExpired');
    await world.advance(HOUR_MS);
    assert.is(await stateOf(world), 'Paused/FulfilmentExpired/Paused');
    assert.ok(world.git.mentioning(uid).length > 0);
    await world.advance(HOUR_MS);
    assert.is(await stateOf(world), 'Terminated/FulfilmentExpired/Terminated');
    assert.is(await world.condition('Instance', KEY), 'False/Terminated');
    assert.equal(world.git.mentioning(uid), []);
    assert.equal([...world.secrets.values.keys()], []);
    assert.equal((await world.instance()).spec, spec);
    const unit = world.ledger.fulfilments[0];
    if (unit) unit.paidThrough = '2027-01-01T00:00:00Z';
    await world.advance(HOUR_MS);
    assert.is(await stateOf(world), 'Terminated/FulfilmentExpired/Terminated');
    await world.delete('Instance', KEY);
    assert.is(await world.store.get('Instance', KEY), undefined);
  }));

test('money that comes before the end of the grace brings it back with its secrets', () =>
  withEndingPlan(async (world) => {
    const secrets = [...world.secrets.values];
    await world.advance(2 * HOUR_MS);
    assert.is(await stateOf(world), 'Paused/FulfilmentExpired/Paused');
    const unit = world.ledger.fulfilments[0];
    if (unit) unit.paidThrough = '2027-01-01T00:00:00Z';
    await world.advance(60_000);
    assert.is(await stateOf(world), 'Running/-/Active');
    assert.equal([...world.secrets.values], secrets);
  }));

test('deletionPolicy Retain keeps the secrets of one that was ended', () =>
  withEndingPlan(
    async (world, uid) => {
      await world.advance(3 * HOUR_MS);
      assert.is(await stateOf(world), 'Terminated/FulfilmentExpired/Terminated');
      assert.is([...world.secrets.values.keys()].filter((path) => path.includes(uid)).length, 1);
      assert.not.ok(world.secrets.policies.has(`gsv-i-${uid}`));
    },
    { deletionPolicy: 'Retain' },
  ));

test('the grace goes on while the owner has paused it', () =>
  withEndingPlan(async (world) => {
    const { spec } = await world.instance();
    await world.apply('Instance', KEY, { ...spec, suspend: true });
    await world.advance(3 * HOUR_MS);
    assert.is(await stateOf(world), 'Terminated/FulfilmentExpired/Terminated');
  }));

test('an operator that was away for the whole grace says that it ends before it takes anything away', () =>
  withEndingPlan(async (world) => {
    await world.stop();
    await world.advance(5 * HOUR_MS);
    let seen: string | undefined;
    const remove = world.git.remove.bind(world.git);
    world.git.remove = async (removal) => {
      seen ??= await stateOf(world);
      return remove(removal);
    };
    await world.start();
    await world.advance(1_000);
    assert.is(seen, 'Terminated/FulfilmentExpired/Terminating');
    assert.is(await stateOf(world), 'Terminated/FulfilmentExpired/Terminated');
  }));

test('an exhausted wallet ends nobody whose contract has no such rung', () =>
  withWorld(
    async (world) => {
      world.ledger.credit('acme.main', 1_000_000);
      await world.order();
      world.ledger.credit('acme.main', 0);
      world.ledger.emit('wallet.exhausted', 'acme.main');
      await world.advance(3 * HOUR_MS);
      assert.is(await stateOf(world), 'Paused/CreditsExhausted/Paused');
    },
    { capability: plainCapability() },
  ));
