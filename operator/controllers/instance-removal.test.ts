import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const KEY = { namespace: NS, name: 'claims' };

async function withReady(run: (world: World, uid: string) => Promise<void>, spec: Parameters<World['order']>[1] = {}) {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog({ capability: { ...secretCapability(), secrets: secretCapability().secrets?.slice(1) ?? [] } });
    await world.order('claims', { fulfilment: world.pay(), ...spec });
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    await run(world, (await world.instance()).metadata.uid);
  } finally {
    await world.close();
  }
}

const secretsOf = (world: World, uid: string) => [...world.secrets.values.keys()].filter((path) => path.includes(uid));

test('removal goes down in order: Terminating, Git, workload gone, secrets, finalizer', () =>
  withReady(async (world, uid) => {
    world.delivery.stuck = true;
    await world.delete('Instance', KEY);
    const { status, metadata } = await world.instance();
    assert.is(status?.lifecycle, 'Terminating');
    assert.is(await world.condition('Instance', KEY), 'False/WorkloadRemains');
    assert.equal(world.git.mentioning(uid), []);
    assert.is(secretsOf(world, uid).length, 1);
    assert.ok(world.secrets.policies.has(`gsv-i-${uid}`));
    assert.equal(metadata.finalizers, ['store.gsv.dev/instance']);

    world.delivery.stuck = false;
    await world.advance(1_000);
    assert.is(await world.store.get('Instance', KEY), undefined);
    assert.equal(secretsOf(world, uid), []);
    assert.not.ok(world.secrets.policies.has(`gsv-i-${uid}`));
  }));

test('the removal is written to status before the first manifest goes', () =>
  withReady(async (world) => {
    let lifecycle: string | undefined;
    const remove = world.git.remove.bind(world.git);
    world.git.remove = async (removal) => {
      lifecycle = (await world.instance()).status?.lifecycle;
      return remove(removal);
    };
    await world.delete('Instance', KEY);
    assert.is(lifecycle, 'Terminating');
    assert.is(await world.store.get('Instance', KEY), undefined);
  }));

test('deletionPolicy Retain keeps the data and ends the right to read it', () =>
  withReady(
    async (world, uid) => {
      await world.delete('Instance', KEY);
      assert.is(await world.store.get('Instance', KEY), undefined);
      assert.is(secretsOf(world, uid).length, 1);
      assert.not.ok(world.secrets.policies.has(`gsv-i-${uid}`));
    },
    { deletionPolicy: 'Retain' },
  ));

test('a system that is away holds the removal up, and the removal goes on when it is back', () =>
  withReady(async (world) => {
    world.secrets.unavailable = true;
    await world.delete('Instance', KEY);
    assert.is(await world.condition('Instance', KEY), 'False/SecretsUnavailable');
    world.secrets.unavailable = false;
    await world.advance(10_000);
    assert.is(await world.store.get('Instance', KEY), undefined);
  }));

test('an Instance that was never accepted goes at once and leaves Git alone', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    const commits = world.git.commits.length;
    await world.order('claims', { plan: 'gold' });
    await world.delete('Instance', KEY);
    assert.is(await world.store.get('Instance', KEY), undefined);
    assert.is(world.git.commits.length, commits);
  } finally {
    await world.close();
  }
});

test('a successor of the same name is another Instance: it inherits nothing', () =>
  withReady(async (world, uid) => {
    await world.delete('Instance', KEY);
    await world.order('claims', { fulfilment: world.pay(1) });
    const { metadata, status } = await world.instance();
    assert.is.not(metadata.uid, uid);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.equal(secretsOf(world, uid), []);
    assert.is(secretsOf(world, metadata.uid).length, 1);
    assert.is(status?.commit, world.git.commits.at(-1)?.commit);
  }));
