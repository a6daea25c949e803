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

test('when only a finalizer of somebody else holds it, the object says whose, and nothing of ours is done again', () =>
  withReady(async (world, uid) => {
    const { metadata } = await world.instance();
    const hold = async (finalizers: string[], { resourceVersion }: { resourceVersion: string }) =>
      world.store.setFinalizers('Instance', KEY, finalizers, { resourceVersion });
    await hold(['store.gsv.dev/instance', 'example.com/held'], metadata);
    await world.settle();
    await world.delete('Instance', KEY);
    await world.advance(1_000);
    const { status, metadata: left } = await world.instance();
    assert.equal(left.finalizers, ['example.com/held']);
    assert.equal(secretsOf(world, uid), []);
    const ready = status?.conditions?.find(({ type }) => type === 'Ready');
    assert.match(ready?.message ?? '', 'finalizers of others: example.com/held.');
    world.writes.length = 0;
    await world.advance(120_000);
    assert.equal(
      world.writes.filter((write) => write.includes('Instance')),
      [],
    );
    await hold([], (await world.instance()).metadata);
    assert.is(await world.store.get('Instance', KEY), undefined);
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

test('runs that are going may end before anything is taken away', () =>
  withReady(async (world, uid) => {
    world.ledger.holds.set('hold_1', uid);
    world.ledger.holds.set('hold_of_another', 'another');
    await world.delete('Instance', KEY);
    assert.is(await world.condition('Instance', KEY), 'False/RunsDraining');
    assert.ok(world.git.mentioning(uid).length > 0);
    world.ledger.holds.delete('hold_1');
    await world.advance(2_000);
    assert.is(await world.store.get('Instance', KEY), undefined);
    assert.equal(world.ledger.voids, []);
    assert.ok(world.ledger.holds.has('hold_of_another'));
  }));

test('a run that never ends loses its hold when the wait is over, by a key of its own', () =>
  withReady(async (world, uid) => {
    world.ledger.holds.set('hold_1', uid);
    world.ledger.holds.set('hold_2', uid);
    await world.delete('Instance', KEY);
    await world.advance(599_000);
    assert.is(await world.condition('Instance', KEY), 'False/RunsDraining');
    await world.advance(2_000);
    assert.is(await world.store.get('Instance', KEY), undefined);
    assert.equal(world.ledger.voids, [`remove:${uid}:hold_1`, `remove:${uid}:hold_2`]);
    assert.equal(secretsOf(world, uid), []);
  }));

test('a hold that was captured at the last moment holds nothing up', () =>
  withReady(async (world, uid) => {
    world.ledger.holds.set('hold_1', uid);
    const { voidHold } = world.ledger;
    world.ledger.voidHold = (hold, body, key) => {
      world.ledger.holds.delete(hold);
      return voidHold.call(world.ledger, hold, body, key);
    };
    await world.delete('Instance', KEY);
    await world.advance(601_000);
    assert.is(await world.store.get('Instance', KEY), undefined);
    assert.equal(world.ledger.voids, []);
  }));

test('in a namespace that is being removed the way down creates nothing', () =>
  withReady(async (world, uid) => {
    world.writes.length = 0;
    await world.delete('Namespace', { name: NS });
    await world.advance(1_000);
    assert.is(await world.store.get('Instance', KEY), undefined);
    assert.equal(secretsOf(world, uid), []);
    assert.equal(world.git.mentioning(uid), []);
    assert.equal(
      world.writes.filter((write) => /^(create|apply) (?!Namespace )/.test(write)),
      [],
    );
  }));
