/**
 * The whole store on a real API server: each process by itself, with the account, the rights and the
 * ledger scopes that it has in production, from a signed order to a receipt.
 */
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { isReady } from '../../crds/conditions.ts';
import { testCluster } from '../cluster/testing.ts';
import { firstRun } from '../quickstart/first-run.ts';
import { awaitCredits, awaitReady, postOrder } from '../quickstart/order.ts';
import { Stopwatch } from '../quickstart/phases.ts';
import { BUYER, startInstallation } from './installation.ts';
import { kubectl } from './kubectl.ts';

const cluster = await testCluster();
const installation = await startInstallation(cluster);
after(() => installation.close());
const { store, ledger, shop, urls, folder } = installation;
const operator = installation.startOperator();

test('a signed order becomes a running Instance and a receipt that names it', async (t) => {
  await operator.says('this process leads');
  await installation.loadCatalog();
  const watch = new Stopwatch(({ name, ms }, detail) => t.diagnostic(`${name} ${ms} ms: ${detail}`));
  const delivery = await shop.order(folder);
  const posted = await postOrder(delivery, urls.api, watch);
  const ordered = await awaitCredits(posted, shop.url, store, ledger, watch);
  const instance = await awaitReady(ordered, store, watch);
  const run = await firstRun(instance, urls.run, await installation.issuer.mint(BUYER), ledger, watch);
  assert.ok(run.receipt.amountMicrocredits > 0);
  assert.ok((await ledger.audit()).ok);
});

test('every object of ours is Ready', async () => {
  const kinds = ['Organization', 'Project', 'Team', 'Wallet', 'Instance', 'Offering', 'OfferingVersion'] as const;
  for (const kind of kinds) {
    const objects = await store.list(kind);
    assert.ok(objects.length > 0, kind);
    for (const object of objects) assert.ok(isReady(object), `${kind} ${object.metadata.name}`);
  }
});

test('nobody was refused anything: the shipped roles are enough', () => {
  const refusals = installation.logs().match(/[^"]*is forbidden: [^"\\]*\\?"[^"]*/g) ?? [];
  assert.equal([...new Set(refusals)], []);
});

test('kubectl deletes the Instance, and nothing of it remains', async () => {
  const [instance] = await store.list('Instance');
  const { name = '', namespace = '' } = instance?.metadata ?? {};
  await kubectl(cluster.kubeconfig, 'delete', 'gsvi', name, '-n', namespace, '--timeout=60s');
  assert.is(await store.get('Instance', { name, namespace }), undefined);
});

test('told to stop, every process ends with 0', async () => {
  assert.is(await operator.stop(), 0);
  for (const each of Object.values(installation.processes).reverse()) assert.is(await each.stop(), 0);
});
