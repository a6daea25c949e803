import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { NS, World } from '../../hack/testing/operator/world.ts';

const TEAM = { namespace: NS, name: 'buyers' };
const KEY = { namespace: NS, name: 'ci' };

async function withWorld(run: (world: World) => Promise<void>): Promise<void> {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    await run(world);
  } finally {
    await world.close();
  }
}

test('a Team shows its members, and waits for the Projects of its grants', () =>
  withWorld(async (world) => {
    await world.apply('Team', TEAM, {
      members: [
        { name: 'buyer', email: 'buyer@example.com' },
        { name: 'robot', subject: 'https://idp.example.com|42' },
      ],
      grants: [{ name: 'run', role: 'Operator', projectRef: { name: 'later' } }],
    });
    assert.is(await world.condition('Team', TEAM), 'False/ProjectNotFound');
    assert.equal((await world.get('Team', TEAM)).status?.members, [
      { name: 'buyer' },
      { name: 'robot', subject: 'https://idp.example.com|42' },
    ]);
    await world.apply('Project', { namespace: NS, name: 'later' }, {});
    assert.is(await world.condition('Team', TEAM), 'True/Succeeded');
  }));

test('the subject that an email was pinned to stays while the member does', () =>
  withWorld(async (world) => {
    const members = [{ name: 'buyer', email: 'buyer@example.com' }];
    await world.apply('Team', TEAM, { members, grants: [] });
    const { status } = await world.get('Team', TEAM);
    const pinned = { ...status, members: [{ name: 'buyer', subject: 'https://idp.example.com|7' }] };
    await world.store.applyStatus('Team', TEAM, pinned, { fieldManager: 'test' });
    await world.apply('Team', TEAM, { members, grants: [{ name: 'read', role: 'Viewer' }] });
    assert.equal((await world.get('Team', TEAM)).status?.members, pinned.members);
    await world.apply('Team', TEAM, { members: [], grants: [] });
    assert.equal((await world.get('Team', TEAM)).status?.members, []);
  }));

test('an ApiKey waits for its Instances and expires by itself', () =>
  withWorld(async (world) => {
    await world.apply('ApiKey', KEY, {
      hash: `sha256:${'a'.repeat(64)}`,
      owner: 'https://idp.example.com|7',
      instances: ['claims'],
      expiresTime: '2026-01-01T00:10:00Z',
    });
    assert.is(await world.condition('ApiKey', KEY), 'False/InstanceNotFound');
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(await world.condition('ApiKey', KEY), 'True/Succeeded');
    await world.advance(600_000);
    assert.is(await world.condition('ApiKey', KEY, 'Stalled'), 'True/KeyExpired');
  }));
