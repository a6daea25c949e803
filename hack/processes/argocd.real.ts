/**
 * The whole store with the parts of production that can be had: a real API server, a real Argo CD, a real
 * Vault, a real PostgreSQL; each process of ours by itself. External Secrets and the shop are doubles.
 */
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { organizationNamespace } from '../../crds/kinds.ts';
import { startArgoCd } from '../argocd/argocd.ts';
import { ExternalSecretsDouble } from '../argocd/external-secrets.ts';
import { kubectlApply } from '../argocd/kubectl.ts';
import { rootApplications } from '../argocd/roots.ts';
import { AuditLog } from '../cluster/audit.ts';
import { testCluster } from '../cluster/testing.ts';
import { firstRun } from '../quickstart/first-run.ts';
import { awaitCredits, awaitReady, postOrder } from '../quickstart/order.ts';
import { Stopwatch } from '../quickstart/phases.ts';
import { refused, shippedGrants, unusedGrants } from './grants.ts';
import { BUYER, startInstallation } from './installation.ts';
import { kubectl } from './kubectl.ts';

/** What the operator reads and annotates only with Argo CD; all else is shown by `manners.real.ts`. */
const ARGO_GROUPS = ['argoproj.io', 'apps', 'external-secrets.io'];
/** A watch stands in the audit log once it has ended. Milliseconds. */
const WATCH_ENDS_MS = 1_000;

const say = (line: string): void => void process.stderr.write(`# ${line}\n`);
const audit = new AuditLog();
after(() => audit.remove());
const cluster = await testCluster({ apiServerArgs: audit.apiServerArgs });
const secrets = await ExternalSecretsDouble.start(cluster);
after(() => secrets.close());
const argo = await startArgoCd({ cluster, log: say });
after(() => argo.close());
const installation = await startInstallation(cluster);
after(() => installation.close());
const { store, ledger, shop, urls, folder, repository } = installation;
const remote = pathToFileURL(repository).href;
const operator = installation.startOperator({ GSV_DELIVERY: 'argocd', GSV_GIT_REMOTE: remote });
const NS = organizationNamespace('acme');

const get = (...args: string[]): Promise<string> => kubectl(cluster.kubeconfig, 'get', ...args);

test('an order becomes an Instance that Argo CD has applied, and a receipt that names its commit', async (t) => {
  await operator.says('this process leads');
  await kubectlApply(cluster.kubeconfig, await rootApplications(remote));
  await installation.loadCatalog();
  const watch = new Stopwatch(({ name, ms }, detail) => t.diagnostic(`${name} ${ms} ms: ${detail}`));
  const posted = await postOrder(await shop.order(folder), urls.api, watch);
  const ordered = await awaitCredits(posted, shop.url, store, ledger, watch);
  const instance = await awaitReady(ordered, store, watch);
  await firstRun(instance, urls.run, await installation.issuer.mint(BUYER), ledger, watch);
  const { workloadNamespace = '' } = instance.status ?? {};
  const applied = await get(
    'configmap,serviceaccount,resourcequota,networkpolicy',
    '-n',
    workloadNamespace,
    '-o',
    'name',
  );
  for (const object of [`configmap/i-${instance.metadata.name}`, 'resourcequota/project', 'project-default-deny'])
    assert.ok(applied.includes(object), `${object} in ${applied}`);
  assert.match(await get('namespace', workloadNamespace, '-o', 'yaml'), /enforce: restricted/);
  t.diagnostic(`${watch.phases.reduce((sum, { ms }) => sum + ms, 0)} ms from the order to the receipt`);
});

test('what somebody changes by hand is put back', async () => {
  const [instance] = await store.list('Instance');
  const namespace = instance?.status?.workloadNamespace ?? '';
  await kubectl(cluster.kubeconfig, 'delete', 'networkpolicy', 'project-default-deny', '-n', namespace);
  for (let left = 300; ; left -= 1) {
    if ((await get('networkpolicy', '-n', namespace, '-o', 'name')).includes('project-default-deny')) return;
    if (left === 0) throw new Error(`the policy does not come back\n${argo.logTail()}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
});

test('kubectl removes Instance, Wallet and Project in their order, and the cluster is left clean', async () => {
  const [instance] = await store.list('Instance');
  const { name = '' } = instance?.metadata ?? {};
  const namespace = instance?.status?.workloadNamespace ?? '';
  const remove = (kind: string, object: string): Promise<string> =>
    kubectl(cluster.kubeconfig, 'delete', kind, object, '-n', NS, '--timeout=110s');
  await remove('gsvi', name);
  await remove('gsvp', 'default');
  const left = await get('applications.argoproj.io', '-n', 'argocd', '-o', 'name');
  assert.not.ok(left.includes(namespace), left);
  assert.is(await store.get('Namespace', { name: namespace }), undefined);
});

test('nobody was refused anything and no program has ended', () => {
  const refusals = installation.logs().match(/[^"]*is forbidden: [^"\\]*\\?"[^"]*/g) ?? [];
  assert.equal([...new Set(refusals)], []);
  assert.equal(argo.ended(), []);
});

test('the rights on Argo CD, Deployments and ExternalSecrets are enough, and all are used', async () => {
  assert.is(await operator.stop(), 0);
  await delay(WATCH_ENDS_MS);
  const requests = audit.requests();
  const grants = shippedGrants().filter(({ group }) => ARGO_GROUPS.includes(group));
  assert.ok(grants.length > 0);
  assert.equal(refused(requests), []);
  assert.equal(unusedGrants(grants, requests), []);
});
