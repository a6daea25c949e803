import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { NS, World } from '../../hack/testing/operator/world.ts';

const KEY = { namespace: NS, name: 'claims' };

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

const retries = (world: World) => world.git.commits.filter(({ trailers }) => 'Gsv-Retry-Of' in trailers);

test('a commit that the delivery has given up is committed anew, once', () =>
  withWorld(async (world) => {
    world.delivery.obstacle = {
      reason: 'RetriesExhausted',
      message: 'ExternalSecret i-claims: the store is away.',
      exhausted: true,
      revision: 'a'.repeat(40),
    };
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'False/RetriesExhausted');
    await world.advance(300_000);
    assert.equal(
      retries(world).map(({ trailers }) => [trailers['Gsv-Retry-Of'], trailers['Gsv-Instance-Uid'] !== undefined]),
      [['a'.repeat(40), true]],
    );

    world.delivery.obstacle = { ...world.delivery.obstacle, revision: 'b'.repeat(40) };
    await world.advance(60_000);
    assert.is(retries(world).length, 2);

    world.delivery.obstacle = undefined;
    await world.advance(60_000);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.is(retries(world).length, 2);
  }));

test('what waits or is refused is not committed anew', () =>
  withWorld(async (world) => {
    world.delivery.obstacle = { reason: 'ManifestInvalid', message: 'Bad.' };
    await world.order('claims', { fulfilment: world.pay() });
    await world.advance(300_000);
    assert.equal(retries(world), []);
  }));

test('what is applied but does not work keeps RuntimeReady False, by the word of the delivery', () =>
  withWorld(async (world) => {
    world.delivery.unready = { reason: 'Unheard', message: 'No pod.' };
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'True/LocalDelivery');
    assert.is(await world.condition('Instance', KEY, 'RuntimeReady'), 'False/RuntimeNotReady');
    assert.is(world.probe.calls, 0);
    world.delivery.unready = undefined;
    await world.advance(5_000);
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
  }));
