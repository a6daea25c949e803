/** Roles of an Organization's people follow its Teams. */
import { afterEach, beforeEach, test } from 'node:test';
import * as assert from 'uvu/assert';
import { NS, World } from '../../hack/testing/operator/world.ts';

let world: World;

beforeEach(async () => {
  world = await World.open();
  await world.start();
  await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
  await world.apply('Project', { namespace: NS, name: 'default' }, {});
});
afterEach(() => world.close());

const TEAM = { namespace: NS, name: 'people' };
const files = () => [...world.git.files.keys()].filter((path) => path.includes('/acme/access/'));
const binding = () => [...world.git.files].find(([path]) => path.endsWith('/operator-rolebinding.yaml'))?.[1] ?? '';

test('a Team makes roles, its change changes them, its removal takes them away', async () => {
  assert.equal(files(), []);
  const members = [{ name: 'ops', group: 'acme-ops' }];
  await world.apply('Team', TEAM, { members, grants: [{ name: 'run', role: 'Operator' }] });
  assert.match(binding(), 'name: acme-ops');
  assert.is(files().length, 4, 'two in each namespace');
  await world.apply('Team', TEAM, { members, grants: [{ name: 'run', role: 'Billing' }] });
  assert.equal(
    files().map((path) => path.split('/').at(-1)),
    ['billing-role.yaml', 'billing-rolebinding.yaml'],
  );
  await world.delete('Team', TEAM);
  assert.equal(files(), []);
});

test('an address is bound once its login is known', async () => {
  const spec = {
    members: [{ name: 'ben', email: 'ben@example.com' }],
    grants: [{ name: 'run', role: 'Operator' as const }],
  };
  await world.apply('Team', TEAM, spec);
  assert.equal(files(), []);
  const { status } = await world.get('Team', TEAM);
  const members = [{ name: 'ben', subject: 'https://id.example.com|77aa' }];
  await world.store.applyStatus('Team', TEAM, { ...status, members }, { fieldManager: 'edge' });
  await world.settle();
  assert.match(binding(), 'name: "https://id.example.com#77aa"');
});

test('a Project’s own commit leaves the roles alone, and the Organization takes them along', async () => {
  const members = [{ name: 'ops', group: 'acme-ops' }];
  await world.apply('Team', TEAM, { members, grants: [{ name: 'run', role: 'Viewer' }] });
  await world.apply('Project', { namespace: NS, name: 'default' }, { quota: { maxInstances: 3 } });
  assert.is(files().length, 4);
  await world.apply('Project', { namespace: NS, name: 'second' }, {});
  assert.is(files().length, 6, 'and one more workload namespace');
  for (const name of ['default', 'second']) await world.delete('Project', { namespace: NS, name });
  await world.delete('Organization', { name: 'acme' });
  await world.advance(60_000);
  assert.equal(files(), []);
});
