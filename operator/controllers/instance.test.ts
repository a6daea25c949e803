import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { secretCapability } from '../../hack/testing/operator/catalog.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';

const KEY = { namespace: NS, name: 'claims' };

async function withWorld(run: (world: World) => Promise<void>): Promise<void> {
  const world = await World.open();
  try {
    await world.start();
    await run(world);
  } finally {
    await world.close();
  }
}

test('a paid Instance climbs the whole ladder and says so', () =>
  withWorld(async (world) => {
    await world.catalog({ capability: secretCapability() });
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(await world.condition('Instance', KEY), 'False/BuyerSecretMissing');
    const { status: waiting } = await world.instance();
    assert.is(waiting?.lifecycle, 'Provisioning');
    assert.ok(waiting?.conditions?.find(({ type }) => type === 'SecretsReady')?.message.includes('"crm-token"'));

    const { metadata } = await world.instance();
    await world.secrets.write(
      `t/${waiting?.workloadNamespace}/${metadata.uid}/crm-token`,
      { value: 'canary' },
      { cas: 0 },
    );
    await world.advance(10_000);

    const { status } = await world.instance();
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.equal(
      status?.conditions?.map(({ type }) => type),
      ['Ready', 'Accepted', 'UpToDate', 'Funded', 'SecretsReady', 'Committed', 'Synced', 'RuntimeReady'],
    );
    assert.is(status?.lifecycle, 'Active');
    assert.is(status?.observedGeneration, 1);
    assert.is(status?.version, '1.0.0');
    assert.is(status?.url, 'https://store.example.com/v1/instances/acme/claims/runs');
    assert.is(status?.commit, world.git.commits.at(-1)?.commit);
    assert.equal(status?.secretVersions, [
      { name: 'crm-token', version: 1 },
      { name: 'signing-key', version: 1 },
    ]);
    assert.equal(Object.keys(status?.timeline ?? {}).sort(), [
      'accepted',
      'committed',
      'funded',
      'ordered',
      'ready',
      'secretsReady',
      'synced',
    ]);
    assert.is(status?.timeline?.ordered, '2025-12-31T23:59:58Z');
    assert.is(world.ledger.fulfilments[0]?.instanceUid, metadata.uid);
    assert.is(world.git.commits.at(-1)?.trailers['Gsv-Instance-Uid'], metadata.uid);
    assert.not.ok(JSON.stringify([...world.git.files, status]).includes('canary'));
  }));
