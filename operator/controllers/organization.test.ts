import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { NS, World } from '../../hack/testing/operator/world.ts';
import { platformRoot } from '../render/paths.ts';
import { ORGANIZATION_UID_LABEL } from './organization.ts';

const ACME = { display: { title: 'Acme' } };

async function withWorld(run: (world: World) => Promise<void>): Promise<void> {
  const world = await World.open();
  try {
    await world.start();
    await run(world);
  } finally {
    await world.close();
  }
}

test('an Organization gets its namespace, labelled with its uid, after its finalizer is persisted', () =>
  withWorld(async (world) => {
    await world.apply('Organization', { name: 'acme' }, ACME);
    const { metadata, status } = await world.get('Organization', { name: 'acme' });
    const namespace = await world.get('Namespace', { name: NS });
    assert.is(namespace.metadata.labels?.[ORGANIZATION_UID_LABEL], metadata.uid);
    assert.is(status?.namespace, NS);
    assert.is(await world.condition('Organization', { name: 'acme' }), 'True/Succeeded');
    assert.ok(world.writes.indexOf('finalizers Organization acme') < world.writes.indexOf(`create Namespace ${NS}`));
  }));

test('a foreign namespace of the name is never adopted; once it is gone the Organization gets its own', () =>
  withWorld(async (world) => {
    await world.apply('Namespace', { name: NS }, {});
    await world.apply('Organization', { name: 'acme' }, ACME);
    assert.is(await world.condition('Organization', { name: 'acme' }), 'False/NamespaceConflict');
    assert.is(await world.condition('Organization', { name: 'acme' }, 'Stalled'), 'True/NamespaceConflict');
    assert.is((await world.get('Namespace', { name: NS })).metadata.labels, undefined);
    await world.delete('Namespace', { name: NS });
    assert.is(await world.condition('Organization', { name: 'acme' }), 'True/Succeeded');
  }));

test('a namespace of its own that is being removed is waited for, and made anew', () =>
  withWorld(async (world) => {
    const [organization, team] = [{ name: 'acme' }, { namespace: NS, name: 'held' }];
    await world.apply('Organization', organization, ACME);
    await world.apply('Team', team, { members: [], grants: [] });
    const hold = async (...finalizers: string[]) => {
      const { resourceVersion } = (await world.get('Team', team)).metadata;
      await world.store.setFinalizers('Team', team, finalizers, { resourceVersion });
    };
    await hold('example.com/held');
    await world.delete('Namespace', { name: NS });
    assert.is(await world.condition('Organization', organization), 'False/NamespaceTerminating');
    assert.is(await world.condition('Organization', organization, 'Stalled'), '-');
    await hold();
    await world.advance(2_000);
    assert.is(await world.condition('Organization', organization), 'True/Succeeded');
    assert.is((await world.get('Namespace', { name: NS })).metadata.deletionTimestamp, undefined);
  }));

test('what lies in a namespace of no Organization waits for one and says so', () =>
  withWorld(async (world) => {
    const [namespace, name] = ['gsv-org-nobody', 'lost'];
    await world.apply('Namespace', { name: namespace }, {});
    await world.apply('Project', { namespace, name }, {});
    await world.apply('Wallet', { namespace, name }, {});
    await world.apply('Team', { namespace, name }, { members: [], grants: [] });
    await world.apply(
      'Instance',
      { namespace, name },
      { projectRef: { name }, offeringRef: { name }, plan: 'starter', walletRef: { name } },
    );
    for (const kind of ['Project', 'Wallet', 'Team', 'Instance'] as const) {
      assert.is(await world.condition(kind, { namespace, name }), 'False/OrganizationNotFound', kind);
      assert.is(await world.condition(kind, { namespace, name }, 'Stalled'), '-', kind);
    }
  }));

test('deleting a conflicting Organization leaves the foreign namespace alone', () =>
  withWorld(async (world) => {
    await world.apply('Namespace', { name: NS }, {});
    await world.apply('Organization', { name: 'acme' }, ACME);
    await world.delete('Organization', { name: 'acme' });
    assert.is(await world.store.get('Organization', { name: 'acme' }), undefined);
    assert.ok(await world.store.get('Namespace', { name: NS }));
  }));

test('an Organization goes after its children, and its namespace and Teams with it', () =>
  withWorld(async (world) => {
    await world.catalog();
    await world.order('claims', { fulfilment: world.pay() });
    await world.apply('Team', { namespace: NS, name: 'buyers' }, { members: [], grants: [] });
    await world.delete('Organization', { name: 'acme' });
    assert.is(await world.condition('Organization', { name: 'acme' }), 'False/ChildrenRemain');
    const { status } = await world.get('Organization', { name: 'acme' });
    const message = status?.conditions?.[0]?.message ?? '';
    for (const child of ['Instance claims', 'Project default', 'Wallet main'])
      assert.ok(message.includes(child), child);
    await world.delete('Project', { namespace: NS, name: 'default' });
    assert.is(await world.condition('Project', { namespace: NS, name: 'default' }), 'False/ChildrenRemain');
    await world.delete('Wallet', { namespace: NS, name: 'main' });
    await world.delete('Instance', { namespace: NS, name: 'claims' });
    await world.advance(5_000);
    assert.is(await world.store.get('Organization', { name: 'acme' }), undefined);
    assert.is(await world.store.get('Namespace', { name: NS }), undefined);
    assert.equal([...world.git.files.keys()], []);
  }));

test('a Project has its workload namespace and its manifests in Git, named after its uid', () =>
  withWorld(async (world) => {
    await world.catalog();
    const { metadata, status } = await world.get('Project', { namespace: NS, name: 'default' });
    assert.match(status?.workloadNamespace ?? '', /^gsv-w-acme-default-[0-9a-f]{8}$/);
    assert.ok(world.git.commits.some(({ commit }) => commit === status?.commit));
    assert.equal(metadata.finalizers, ['store.gsv.dev/project']);
  }));

test('every Project that there is, and no other, is a destination of the AppProject', () =>
  withWorld(async (world) => {
    await world.catalog();
    const file = `${platformRoot('acme')}/organization/appproject.yaml`;
    const namespaceOf = async (name: string) =>
      (await world.get('Project', { namespace: NS, name })).status?.workloadNamespace ?? 'none';
    await Promise.all(['a', 'b', 'c'].map((name) => world.apply('Project', { namespace: NS, name }, {})));
    const gone = await namespaceOf('b');
    for (const name of ['default', 'a', 'b', 'c'])
      assert.ok(world.git.files.get(file)?.includes(await namespaceOf(name)), name);
    await world.delete('Project', { namespace: NS, name: 'b' });
    assert.is(await world.store.get('Project', { namespace: NS, name: 'b' }), undefined);
    assert.not.ok(world.git.files.get(file)?.includes(gone));
  }));

test('a commit that is held up does not drop the destination of a Project that came meanwhile', () =>
  withWorld(async (world) => {
    await world.apply('Organization', { name: 'acme' }, ACME);
    const held = Promise.withResolvers<void>();
    world.git.gate = async (subject) => (subject === 'Project acme/a' ? held.promise : undefined);
    for (const name of ['a', 'b']) {
      await world.store.apply('Project', { metadata: { namespace: NS, name }, spec: {} }, { fieldManager: 'test' });
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    held.resolve();
    await world.settle();
    const appProject = world.git.files.get(`${platformRoot('acme')}/organization/appproject.yaml`) ?? '';
    for (const name of ['a', 'b'])
      assert.ok(
        appProject.includes((await world.get('Project', { namespace: NS, name })).status?.workloadNamespace ?? '?'),
        name,
      );
  }));

for (const runtimeProfile of ['VCluster', 'Cluster'] as const) {
  test(`runtime profile ${runtimeProfile} is not offered, and nothing is committed for it`, () =>
    withWorld(async (world) => {
      await world.apply('Organization', { name: 'acme' }, ACME);
      await world.apply('Project', { namespace: NS, name: 'big' }, { runtimeProfile });
      const key = { namespace: NS, name: 'big' };
      assert.is(await world.condition('Project', key, 'Stalled'), 'True/ProfileNotOffered');
      assert.is((await world.get('Project', key)).metadata.finalizers, undefined);
      assert.not.ok(world.git.commits.some(({ subject }) => subject.startsWith('Project')));
    }));
}

test('a suspended Organization keeps its namespace and says nothing new', () =>
  withWorld(async (world) => {
    await world.apply('Organization', { name: 'acme' }, ACME);
    await world.apply('Organization', { name: 'acme' }, { ...ACME, suspend: true });
    const { metadata, status } = await world.get('Organization', { name: 'acme' });
    assert.is(status?.observedGeneration, metadata.generation);
    assert.is(await world.condition('Organization', { name: 'acme' }), 'True/Succeeded');
  }));
