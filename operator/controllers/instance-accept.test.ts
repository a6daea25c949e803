import { plainCapability, publishedVersion } from '../../hack/testing/operator/catalog.ts';
import { type Obstacle, testObstacle } from '../../hack/testing/operator/obstacle.ts';
import { NS } from '../../hack/testing/operator/world.ts';

const offering = (overrides: object) => ({
  category: 'Agent' as const,
  display: { title: 'Claims Agent' },
  lifecycle: 'Published' as const,
  channel: '1.0.0',
  ...overrides,
});

const OBSTACLES: Obstacle[] = [
  {
    reason: 'OfferingNotFound',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      await world.delete('Offering', { name: 'claims-agent' });
      return {};
    },
    cure: async (world) => void (await world.apply('Offering', { name: 'claims-agent' }, offering({}))),
  },
  {
    reason: 'OfferingNotPublished',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog({ offering: { lifecycle: 'Draft' } });
      return {};
    },
    cure: async (world) => void (await world.apply('Offering', { name: 'claims-agent' }, offering({}))),
  },
  {
    reason: 'OfferingPaused',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      await world.apply('Offering', { name: 'claims-agent' }, offering({ lifecycle: 'Paused' }));
      return {};
    },
    cure: async (world) => void (await world.apply('Offering', { name: 'claims-agent' }, offering({}))),
  },
  {
    reason: 'OfferingEndOfSale',
    treatment: 'Terminal',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      await world.apply('Offering', { name: 'claims-agent' }, offering({ lifecycle: 'EndOfSale' }));
      return {};
    },
  },
  {
    reason: 'VersionNotFound',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      return { version: '2.0.0' };
    },
    cure: async (world) => {
      const spec = await publishedVersion(world.blobs, 'claims-agent', '2.0.0', { triage: plainCapability() });
      await world.apply('OfferingVersion', { name: 'claims-agent-2.0.0' }, spec);
    },
  },
  {
    reason: 'VersionNotVerified',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      const spec = await publishedVersion(
        world.blobs,
        'claims-agent',
        '2.0.0',
        { triage: plainCapability() },
        {
          flow: { data: { nodes: [] } },
        },
      );
      world.blobs.blobs.clear();
      await world.apply('OfferingVersion', { name: 'claims-agent-2.0.0' }, spec);
      return { version: '2.0.0' };
    },
    cure: async (world) => {
      await publishedVersion(
        world.blobs,
        'claims-agent',
        '2.0.0',
        { triage: plainCapability() },
        {
          flow: { data: { nodes: [] } },
        },
      );
    },
    withinMs: 10_000,
  },
  {
    reason: 'PlanNotFound',
    treatment: 'Terminal',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      return { plan: 'gold' };
    },
  },
  {
    reason: 'ConfigInvalid',
    treatment: 'Terminal',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      return { config: { tone: 'loud' } };
    },
  },
  {
    reason: 'ProjectNotFound',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      return { projectRef: { name: 'other' } };
    },
    cure: async (world) => void (await world.apply('Project', { namespace: NS, name: 'other' }, {})),
  },
  {
    reason: 'ProjectNotReady',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      await world.apply('Project', { namespace: NS, name: 'big' }, { runtimeProfile: 'VCluster' });
      return { projectRef: { name: 'big' } };
    },
  },
  {
    reason: 'RuntimeProfileTooLow',
    treatment: 'Terminal',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog({ version: { minimumRuntimeProfile: 'Namespace' } });
      return {};
    },
  },
  {
    reason: 'WalletNotFound',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      return { walletRef: { name: 'spare' } };
    },
    cure: async (world) => {
      await world.apply('Wallet', { namespace: NS, name: 'spare' }, {});
      world.ledger.credit('acme.spare', 1_000_000);
      world.ledger.emit('wallet.recovered', 'acme.spare');
      await world.settle();
    },
  },
  {
    reason: 'WalletNotAllowed',
    treatment: 'Terminal',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      await world.apply('Wallet', { namespace: NS, name: 'main' }, { allowedProjects: ['other'] });
      world.ledger.credit('acme.main', 1_000_000);
      return {};
    },
    cure: async (world) => void (await world.apply('Wallet', { namespace: NS, name: 'main' }, {})),
  },
  {
    reason: 'QuotaExceeded',
    treatment: 'Waiting',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      await world.apply('Project', { namespace: NS, name: 'default' }, { quota: { maxInstances: 1 } });
      await world.order('first', { fulfilment: world.pay(1) });
      return {};
    },
    cure: async (world) => void (await world.apply('Project', { namespace: NS, name: 'default' }, {})),
  },
  {
    reason: 'OrganizationSuspended',
    treatment: 'Terminal',
    shows: 'Accepted',
    given: async (world) => {
      await world.catalog();
      await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' }, suspend: true });
      return {};
    },
    cure: async (world) => void (await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } })),
  },
];

for (const obstacle of OBSTACLES) testObstacle(obstacle);
