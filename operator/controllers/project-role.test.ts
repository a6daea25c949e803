/** The Vault role of a workload namespace: there before its SecretStore, gone with the Project. */
import { afterEach, beforeEach, test } from 'node:test';
import * as assert from 'uvu/assert';
import { NS, World } from '../../hack/testing/operator/world.ts';

let world: World;

beforeEach(async () => {
  world = await World.open();
  await world.start();
});
afterEach(() => world.close());

const PROJECT = { namespace: NS, name: 'default' };

function secretStore(): string | undefined {
  return [...world.git.files].find(([path]) => path.endsWith('/project/secretstore.yaml'))?.[1];
}

test('the role bears the namespace’s name, binds its one account, and is what the SecretStore names', async () => {
  await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
  const { metadata } = await world.apply('Project', PROJECT, {});
  const { status } = await world.get('Project', PROJECT);
  const namespace = status?.workloadNamespace ?? '';
  assert.match(namespace, /^gsv-w-acme-default-/);
  assert.equal(
    [...world.secrets.roles],
    [[namespace, { serviceAccount: 'project-secrets', namespace, policies: ['gsv-tenant'] }]],
  );
  assert.match(secretStore() ?? '', `role: ${namespace}`);
  assert.match(secretStore() ?? '', 'name: project-secrets');
  assert.ok(metadata.uid);
});

test('without the role nothing is committed; it goes on when Vault is back', async () => {
  world.secrets.unavailable = true;
  await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
  await world.apply('Project', PROJECT, {});
  assert.is(await world.condition('Project', PROJECT), 'False/SecretsUnavailable');
  assert.is(secretStore(), undefined);
  world.secrets.unavailable = false;
  await world.advance(300_000);
  assert.is(await world.condition('Project', PROJECT), 'True/Succeeded');
  assert.ok(secretStore());
});

test('the role goes with the Project, after its manifests, and the Project waits for that', async () => {
  await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
  await world.apply('Project', PROJECT, {});
  world.secrets.unavailable = true;
  await world.delete('Project', PROJECT);
  assert.is(secretStore(), undefined);
  assert.is(world.secrets.roles.size, 1);
  assert.ok(await world.store.get('Project', PROJECT), 'the finalizer holds it');
  world.secrets.unavailable = false;
  await world.advance(300_000);
  assert.is(world.secrets.roles.size, 0);
  assert.is(await world.store.get('Project', PROJECT), undefined);
});
