import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { plainCapability, secretCapability } from '../../hack/testing/operator/catalog.ts';
import { type Obstacle, testObstacle } from '../../hack/testing/operator/obstacle.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';
import { GitError } from '../git/errors.ts';

const KEY = { namespace: NS, name: 'claims' };
const OTHER_LINE = 'TGluZTo5';

const OBSTACLES: Obstacle[] = [
  {
    reason: 'FulfilmentNotFound',
    treatment: 'Waiting',
    shows: 'Funded',
    given: async (world) => {
      await world.catalog();
      return { fulfilment: { shop: 's', order: 'o', line: OTHER_LINE, ordinal: 0 } };
    },
    cure: async (world) =>
      void world.pay(0, { shop: 's', order: 'o', line: OTHER_LINE } as Parameters<World['pay']>[1]),
    withinMs: 5_000,
  },
  {
    reason: 'FulfilmentMismatch',
    treatment: 'Terminal',
    shows: 'Funded',
    given: async (world) => {
      await world.catalog();
      return { fulfilment: world.pay(0, { plan: 'pro' }) };
    },
  },
  {
    reason: 'FulfilmentAlreadyClaimed',
    treatment: 'Terminal',
    shows: 'Funded',
    given: async (world) => {
      await world.catalog();
      return { fulfilment: world.pay(0, { instanceUid: 'another' }) };
    },
  },
  {
    reason: 'FulfilmentExpired',
    treatment: 'Waiting',
    shows: 'Funded',
    given: async (world) => {
      await world.catalog();
      return { fulfilment: world.pay(0, { paidThrough: '2025-12-31T23:00:00Z' }) };
    },
  },
  {
    reason: 'CreditsExhausted',
    treatment: 'Waiting',
    shows: 'Funded',
    given: async (world) => {
      await world.catalog();
      world.ledger.credit('acme.main', 11_999);
      return {};
    },
    cure: async (world) => {
      world.ledger.credit('acme.main', 12_000);
      world.ledger.emit('wallet.recovered', 'acme.main');
      await world.settle();
    },
  },
  {
    reason: 'LedgerUnavailable',
    treatment: 'Transient',
    shows: 'Ready',
    given: async (world) => {
      await world.catalog();
      world.ledger.unavailable = true;
      return {};
    },
    cure: async (world) => {
      world.ledger.unavailable = false;
      world.ledger.credit('acme.main', 12_000);
    },
    withinMs: 60_000,
  },
  {
    reason: 'BuyerSecretMissing',
    treatment: 'Waiting',
    shows: 'SecretsReady',
    given: async (world) => {
      await world.catalog({ capability: secretCapability() });
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      const { metadata, status } = await world.instance();
      await world.secrets.write(`t/${status?.workloadNamespace}/${metadata.uid}/crm-token`, { value: 'x' });
    },
    withinMs: 5_000,
  },
  {
    reason: 'PlatformSecretMissing',
    treatment: 'Waiting',
    shows: 'SecretsReady',
    given: async (world) => {
      const secrets = [{ name: 'partner-key', source: 'Platform' as const }];
      await world.catalog({ capability: { ...plainCapability(), secrets } });
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      const { metadata, status } = await world.instance();
      await world.secrets.write(`t/${status?.workloadNamespace}/${metadata.uid}/partner-key`, { value: 'x' });
    },
    withinMs: 5_000,
  },
  {
    reason: 'SecretsUnavailable',
    treatment: 'Transient',
    shows: 'Ready',
    given: async (world) => {
      await world.catalog();
      world.secrets.unavailable = true;
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      world.secrets.unavailable = false;
    },
    withinMs: 1_000,
  },
  {
    reason: 'GitUnavailable',
    treatment: 'Transient',
    shows: 'Ready',
    given: async (world) => {
      await world.catalog();
      world.git.failure = new GitError('remote_unreachable', 'no route');
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      world.git.failure = undefined;
    },
    withinMs: 1_000,
  },
  {
    reason: 'GitUnauthorized',
    treatment: 'Transient',
    shows: 'Ready',
    given: async (world) => {
      await world.catalog();
      world.git.failure = new GitError('auth_failed', 'no', { words: 'in its own words' });
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      world.git.failure = undefined;
    },
    withinMs: 1_000,
  },
  {
    reason: 'GitRejected',
    treatment: 'Transient',
    shows: 'Ready',
    given: async (world) => {
      await world.catalog();
      world.git.failure = new GitError('rejected', 'no', { words: 'in its own words' });
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      world.git.failure = undefined;
    },
    withinMs: 1_000,
  },
  {
    reason: 'RenderRefused',
    treatment: 'Terminal',
    shows: 'Committed',
    given: async (world) => {
      await world.catalog();
      world.git.failure = new GitError('path_refused', 'a path with ..');
      return { fulfilment: world.pay() };
    },
  },
  {
    reason: 'GitPathConflict',
    treatment: 'Waiting',
    shows: 'Committed',
    given: async (world) => {
      await world.catalog();
      world.git.failure = new GitError('path_conflict', 'a file is there');
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      world.git.failure = undefined;
    },
    withinMs: 300_000,
  },
  {
    reason: 'SyncPending',
    treatment: 'Waiting',
    shows: 'Synced',
    given: async (world) => {
      await world.catalog();
      world.delivery.obstacle = { reason: 'OutOfSync', message: 'Two objects are behind.' };
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      world.delivery.obstacle = undefined;
    },
    withinMs: 1_000,
  },
  {
    reason: 'ManifestInvalid',
    treatment: 'Waiting',
    shows: 'Synced',
    given: async (world) => {
      await world.catalog();
      world.delivery.obstacle = { reason: 'ManifestInvalid', message: 'A Secret may not be committed.' };
      return { fulfilment: world.pay() };
    },
    cure: async (world) => {
      world.delivery.obstacle = undefined;
    },
    withinMs: 30_000,
  },
  {
    reason: 'RuntimeNotReady',
    treatment: 'Waiting',
    shows: 'RuntimeReady',
    given: async (world) => {
      await world.catalog();
      refuse(world, 'runtime_unavailable');
      return { fulfilment: world.pay() };
    },
    cure: async (world) => world.probe.restore(),
    withinMs: 2_000,
  },
  {
    reason: 'ProbeFailed',
    treatment: 'Waiting',
    shows: 'RuntimeReady',
    given: async (world) => {
      await world.catalog();
      refuse(world, 'artifact_corrupt');
      return { fulfilment: world.pay() };
    },
    cure: async (world) => world.probe.restore(),
    withinMs: 2_000,
  },
];

function refuse(world: World, code: string): void {
  world.probe.reply = () => ({ ok: false, code, detail: 'it does not work.' });
}

for (const obstacle of OBSTACLES) testObstacle(obstacle);

test('a waiting that lasts is one status write, however often it is looked at', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog({ capability: secretCapability() });
    await world.order('claims', { fulfilment: world.pay() });
    world.writes.length = 0;
    await world.advance(60_000);
    assert.equal(
      world.writes.filter((write) => write.includes('Instance')),
      [],
    );
  } finally {
    await world.close();
  }
});

test('a secret value in config is refused without repeating it', async () => {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog({ capability: secretCapability() });
    await world.order('claims', { fulfilment: world.pay(), config: { 'crm-token': 'hunter2-canary' } });
    assert.is(await world.condition('Instance', KEY), 'False/ConfigInvalid');
    assert.not.ok(JSON.stringify((await world.instance()).status).includes('hunter2-canary'));
  } finally {
    await world.close();
  }
});
