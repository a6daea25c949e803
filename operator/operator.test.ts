import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Registry } from 'prom-client';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { DevelopmentSecrets } from '../config/secrets/development.ts';
import { secretCapability } from '../hack/testing/operator/catalog.ts';
import { NS, World } from '../hack/testing/operator/world.ts';
import { LocalDelivery } from './delivery/local.ts';
import { ensureBareRemote } from './git/remote.ts';
import { GitWriter } from './git/writer.ts';
import { startOperator } from './operator.ts';
import { defaultPlatform } from './render/platform.ts';

const KEY = { namespace: NS, name: 'claims' };
const run = promisify(execFile);

test('with a real Git repository, local delivery and the development secrets an Instance goes up and down', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-operator-'));
  const repository = join(folder, 'remote.git');
  await ensureBareRemote(repository, 'main');
  const world = await World.open();
  const directory = join(folder, 'work.git');
  const git = await GitWriter.open({
    directory,
    remote: repository,
    branch: 'main',
    clock: () => new Date(world.clock.now()),
  });
  const delivery = new LocalDelivery({ repository, branch: 'main' });
  const secrets = new DevelopmentSecrets({ dataDir: folder, quickstart: true });
  const log = async (...args: string[]) => (await run('git', ['-C', repository, 'log', ...args])).stdout;
  try {
    await world.start((doors) => ({ ...doors, git, delivery, secrets }));
    await world.catalog({ capability: secretCapability() });
    await world.order('claims', { fulfilment: world.pay() });
    assert.is(await world.condition('Instance', KEY), 'False/BuyerSecretMissing');
    const { metadata, status: waiting } = await world.instance();
    await secrets.write(`t/${waiting?.workloadNamespace}/${metadata.uid}/crm-token`, { value: 'canary-value' });
    await world.advance(15_000);
    const { status } = await world.instance();
    assert.is(await world.condition('Instance', KEY), 'True/Succeeded');
    assert.is(await world.condition('Instance', KEY, 'Synced'), 'True/LocalDelivery');
    const body = await log('-1', '--format=%B', status?.commit ?? '');
    assert.ok(body.includes(`Gsv-Instance-Uid: ${metadata.uid}`), body);
    assert.not.ok((await log('-p')).includes('canary-value'));
    const commits = (await log('--format=%H')).trim().split('\n').length;

    await world.stop();
    world.writes.length = 0;
    await world.start((doors) => ({ ...doors, git, delivery, secrets }));
    assert.equal(world.writes, []);
    assert.is((await log('--format=%H')).trim().split('\n').length, commits);

    await world.delete('Instance', KEY);
    await world.advance(10_000);
    assert.is(await world.store.get('Instance', KEY), undefined);
    const { stdout: tree } = await run('git', ['-C', repository, 'ls-tree', '-r', '--name-only', 'main']);
    assert.not.ok(tree.includes('/instances/'));
    assert.ok(tree.includes('/project/'), 'the skeleton keeps the path non-empty');
    assert.is(await secrets.metadata(`t/${status?.workloadNamespace}/${metadata.uid}/crm-token`), undefined);
  } finally {
    await world.close();
    await git.close();
    await delivery.close();
    await rm(folder, { recursive: true, force: true });
  }
});

test('workers start with the operator and end before it; readiness and figures are told', async () => {
  const world = await World.open();
  const told: string[] = [];
  const registry = new Registry();
  try {
    const { store, ledger, secrets, blobs, git, delivery, probe, clock } = world;
    const operator = startOperator({
      ...{ store, ledger, secrets, blobs, git, delivery, probe, clock, registry },
      settings: {
        publicUrl: 'https://store.example.com',
        platform: defaultPlatform('https://git.example.com/r', 'main'),
      },
      log: createLogger({ part: 'operator', level: 'silent' }),
      workers: [
        {
          start: () => {
            told.push('started');
            return { close: async () => void told.push('closed') };
          },
        },
      ],
    });
    assert.equal(await operator.reasons(), ['the watches are not synced yet']);
    await operator.ready;
    assert.equal(await operator.reasons(), []);
    await world.apply('Capability', { name: 'broken' }, secretCapability());
    await world.settle();
    await operator.close();
    assert.equal(told, ['started', 'closed']);
    const figures = await registry.metrics();
    assert.match(figures, 'gsv_operator_reconcile_total{controller="capability",outcome="Succeeded"} 1');
    assert.match(figures, 'gsv_operator_status_writes_total{controller="capability"} 1');
  } finally {
    await world.close();
  }
});

test('a new order does not wait until a new leader has looked at the whole fleet', async () => {
  const world = await World.open();
  const fleet = 40;
  try {
    await world.start();
    await world.catalog();
    for (let each = 0; each < fleet; each++) await world.order(`old-${each}`, { fulfilment: world.pay(each) });
    await world.stop();
    await world.order('zz-new', { fulfilment: world.pay(fleet) });
    const visited = new Set<string>();
    let before = 0;
    // The first visits stand still until all keys have come to the queue, as with a slow runner.
    const come = new Promise((resolve) => setTimeout(resolve, 200));
    const probe = async (organization: string, instance: string) => {
      await come;
      if (!world.writes.some((write) => write.endsWith('Instance zz-new'))) before += 1;
      visited.add(instance);
      return world.probe.probe(organization, instance);
    };
    world.writes.length = 0;
    await world.start((doors) => ({ ...doors, probe: { probe } }));
    assert.is(visited.size, fleet + 1, 'all are visited');
    assert.ok(before < fleet / 2, `${before} others came first`);
  } finally {
    await world.close();
  }
});
