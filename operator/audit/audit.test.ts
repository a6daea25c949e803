import { afterEach, beforeEach, test } from 'node:test';
import { Registry } from 'prom-client';
import * as assert from 'uvu/assert';
import { createLogger } from '../../config/log.ts';
import { NS, World } from '../../hack/testing/operator/world.ts';
import { type AuditDoors, audit } from './audit.ts';
import { AUDITED, identity } from './compare.ts';
import { AuditWorker } from './worker.ts';

const GONE = '99999999-9999-4999-8999-999999999999';
let world: World;
let applications: string[];
let uid: string;

beforeEach(async () => {
  world = await World.open();
  await world.start();
  await world.catalog();
  world.ledger.credit('acme.main', 10_000_000);
  const fulfilment = world.pay();
  ({ uid } = (await world.order('claims', { fulfilment })).metadata);
  await world.advance(60_000);
  assert.is(await world.condition('Instance', { namespace: NS, name: 'claims' }), 'True/Succeeded');
  applications = [...world.secrets.roles.keys()];
});
afterEach(() => world.close());

function doors(): AuditDoors {
  const { store, ledger, secrets, git, clock } = world;
  const list = (async (kind: string) =>
    kind === 'Application'
      ? applications.map((name) => ({ metadata: { name } }))
      : store.list(kind as 'Instance')) as AuditDoors['store']['list'];
  return {
    store: { list },
    ledger: {
      findFulfilments: (query) => ledger.findFulfilments(query as never),
      listWallets: async () => ({
        items: [...ledger.wallets.values()].filter(({ state }) => state === 'open'),
        next: null,
      }),
    },
    secrets,
    gitPaths: async () => [...git.files.keys()],
    argocd: true,
    now: () => clock.now(),
  };
}

const look = async (pause: () => Promise<void> = async () => undefined) => (await audit(doors(), pause)).map(identity);
const only = <T>(values: Iterable<T>): T => {
  const [first] = values;
  if (first === undefined) throw new Error('there is none');
  return first;
};

test('control: a world in order has no finding, in none of its stages', async () => {
  assert.equal(await look(), []);
  await world.order('second');
  assert.equal(await look(), []);
});

const unit = { shop: 's', order: 'o', line: 'l', wallet: 'acme.main', offering: 'claims-agent', plan: 'starter' };
const role = () => only(world.secrets.roles.keys());
const plants: [plant: () => unknown, finding: () => string, reason: string][] = [
  [() => world.ledger.pay({ ...unit, ordinal: 7 }), () => 'Fulfilment orphan s o l 7', 'paid, and nothing made of it'],
  [
    () => world.ledger.pay({ ...unit, ordinal: 8, instanceUid: GONE, paidThrough: '2199-01-01T00:00:00Z' }),
    () => 'Fulfilment orphan s o l 8',
    'paid ahead, and its Instance is gone',
  ],
  [() => world.ledger.fulfilments.splice(0), () => `Fulfilment missing ${NS}/claims`, 'a claim on nothing'],
  [() => world.ledger.putWallet('old.main', { ownerUid: GONE }), () => 'Wallet orphan old.main', 'a wallet of nobody'],
  [() => world.ledger.wallets.clear(), () => `Wallet missing ${NS}/main`, 'a book that lost a wallet'],
  [
    () => world.git.files.set('tenants/82/acme/default/instances/old-12345678.yaml', ''),
    () => 'GitPath orphan tenants/82/acme/default/instances/old-12345678',
    'the file of an Instance that is gone',
  ],
  [
    () => world.git.files.set('tenants/82/acme/default/instances/old-12345678/x.yaml', ''),
    () => 'GitPath orphan tenants/82/acme/default/instances/old-12345678',
    'its folder, from an earlier release',
  ],
  [
    () => world.git.files.set('tenants/82/acme/old/project/x.yaml', ''),
    () => 'GitPath orphan tenants/82/acme/old/project',
    'a skeleton of a Project that is gone',
  ],
  [
    () => world.git.files.set('platform/82/acme/projects/old-12345678/x.yaml', ''),
    () => 'GitPath orphan platform/82/acme/projects/old-12345678',
    'the platform’s part of it',
  ],
  [
    () => world.git.files.set('platform/00/ghost/organization/appproject.yaml', ''),
    () => 'GitPath orphan platform/00/ghost',
    'an Organization that is gone',
  ],
  [
    () => {
      for (const path of world.git.files.keys()) if (path.includes('/instances/')) world.git.files.delete(path);
    },
    () => 'GitPath missing tenants/82/acme/default/instances/claims-',
    'a file that somebody removed',
  ],
  [() => world.secrets.policies.set(`gsv-i-${GONE}`, []), () => `VaultPolicy orphan gsv-i-${GONE}`, 'a policy'],
  [() => world.secrets.policies.delete(`gsv-i-${uid}`), () => `VaultPolicy missing ${NS}/claims`, 'no policy'],
  [
    () => world.secrets.values.set(`t/gsv-w-a-b-12345678/${GONE}/x`, { version: 1, data: {} }),
    () => `VaultTree orphan t/gsv-w-a-b-12345678/${GONE}`,
    'secrets of nobody',
  ],
  [
    () => world.secrets.roles.set('gsv-w-a-b-12345678', { ...only(world.secrets.roles.values()) }),
    () => 'VaultRole orphan gsv-w-a-b-12345678',
    'a login of nobody',
  ],
  [() => world.secrets.roles.clear(), () => `VaultRole missing ${applications[0]}`, 'no login'],
  [() => applications.push('gsv-w-a-b-12345678'), () => 'Application orphan gsv-w-a-b-12345678', 'an Application'],
  [() => applications.splice(0), () => `Application missing ${role()}`, 'no Application'],
];

for (const [plant, finding, reason] of plants)
  test(`named, and nothing else: ${reason}`, async () => {
    await plant();
    const found = await look();
    assert.is(found.length, 1, found.join('\n'));
    assert.ok(found[0]?.startsWith(finding()), found[0]);
  });

test('what is gone at the second look was a change under way, not a finding', async () => {
  world.secrets.roles.set('gsv-w-a-b-12345678', only(world.secrets.roles.values()));
  const found = await look(async () => void world.secrets.roles.delete('gsv-w-a-b-12345678'));
  assert.equal(found, []);
});

test('a unit whose paid time is over, and one of a credit pack, need no Instance', async () => {
  world.ledger.pay({ ...unit, ordinal: 1, instanceUid: GONE, paidThrough: '2001-01-01T00:00:00Z' });
  const { plan: _, offering: __, ...pack } = unit;
  world.ledger.pay({ ...pack, ordinal: 2 });
  assert.equal(await look(), []);
});

test('a system that is away ends the audit: half an inventory would name orphans that are none', async () => {
  world.secrets.unavailable = true;
  const failure: unknown = await audit(doors(), async () => undefined).catch((error: unknown) => error);
  assert.instance(failure, Error);
});

test('the periodic report counts by kind, and reports again after a system was away', async () => {
  const registry = new Registry();
  const log = createLogger({ part: 'operator', level: 'silent' });
  const worker = new AuditWorker({ doors: doors(), everyMs: 3_600_000, clock: world.clock, log, registry });
  const running = worker.start();
  const gauge = async (kind: string) =>
    (await registry.getSingleMetric('gsv_audit_orphans')?.get())?.values.find(({ labels }) => labels.kind === kind)
      ?.value;
  world.secrets.unavailable = true;
  await world.advance(3_600_000);
  assert.is(await gauge('VaultRole'), undefined);
  world.secrets.unavailable = false;
  world.secrets.roles.set('gsv-w-a-b-12345678', only(world.secrets.roles.values()));
  await world.advance(3_600_000);
  await world.advance(30_000);
  assert.is(await gauge('VaultRole'), 1);
  for (const kind of AUDITED) if (kind !== 'VaultRole') assert.is(await gauge(kind), 0, kind);
  running.close();
});
