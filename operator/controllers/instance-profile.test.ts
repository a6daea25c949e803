import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';
import { manifestsOf } from '../../hack/testing/rendered.ts';

async function withWorld(body: (world: World) => Promise<void>): Promise<void> {
  const world = await World.open();
  try {
    await world.start();
    await body(world);
  } finally {
    await world.close();
  }
}

/** `<Kind>-<name>` of what Git declares for Instances. */
const declared = (world: World): string[] =>
  [...manifestsOf(world.git.files).keys()]
    .filter((path) => path.includes('/instances/'))
    .map((path) => path.split('#').at(-1) ?? '')
    .sort();

test('under profile Namespace an Instance gets a key of its own, written once, and a runtime that takes it', () =>
  withWorld(async (world) => {
    await world.catalog();
    await world.apply('Project', { namespace: NS, name: 'default' }, { runtimeProfile: 'Namespace' });
    await world.order('claims', { fulfilment: world.pay() });
    const instance = await world.instance();
    assert.is(await world.condition('Instance', { namespace: NS, name: 'claims' }), 'True/Succeeded');
    assert.equal(instance.status?.secretVersions, [{ name: 'runtime-key', version: 1 }]);
    assert.ok(declared(world).includes('Deployment-i-claims'));
    const path = `t/${instance.status?.workloadNamespace}/${instance.metadata.uid}/runtime-key`;
    const key = world.secrets.values.get(path);
    assert.match(key?.data.value ?? '', /^[\w-]{43}$/);
    assert.not.ok(
      [...world.git.files.values()].some((text) => text.includes(key?.data.value ?? '-')),
      'no key in Git',
    );
  }));

test('a Project that moves from Shared to Namespace gives its Instances runtimes, and back again takes them', () =>
  withWorld(async (world) => {
    await world.catalog({ capability: secretCapability() });
    await world.order('claims', { fulfilment: world.pay() });
    const { metadata, status } = await world.instance();
    await world.secrets.write(`t/${status?.workloadNamespace}/${metadata.uid}/crm-token`, { value: 'x' });
    await world.advance(10_000);
    const shared = ['ConfigMap-i-claims', 'ExternalSecret-i-claims', 'ServiceAccount-i-claims'];
    assert.equal(declared(world), shared);
    await world.apply('Project', { namespace: NS, name: 'default' }, { runtimeProfile: 'Namespace' });
    await world.advance(10_000);
    const runtime = ['Deployment-i-claims', 'PodDisruptionBudget-i-claims', 'Service-i-claims'];
    const named = ['ExternalSecret-i-claims-runtime-1', 'NetworkPolicy-i-claims-runtime'];
    assert.equal(declared(world), [...shared, ...runtime, ...named].sort());
    await world.apply('Project', { namespace: NS, name: 'default' }, { runtimeProfile: 'Shared' });
    await world.advance(10_000);
    assert.equal(declared(world), shared);
  }));
