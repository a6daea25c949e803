/**
 * The whole store with the parts of production that can be had: a real API server, a real Argo CD, a real External
 * Secrets, a real Vault, a real PostgreSQL; each process of ours by itself. The shop is a double.
 */
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { isReady } from '../../crds/conditions.ts';
import { type Instance, organizationNamespace } from '../../crds/kinds.ts';
import { REFRESH_ANNOTATION } from '../../operator/delivery/argocd/refresher.ts';
import { startArgoCd } from '../argocd/argocd.ts';
import { kubectlApply } from '../argocd/kubectl.ts';
import { rootApplications } from '../argocd/roots.ts';
import { AuditLog } from '../cluster/audit.ts';
import { testCluster } from '../cluster/testing.ts';
import { EXTERNAL_SECRETS } from '../eso/roles.ts';
import { testExternalSecrets } from '../eso/testing.ts';
import { firstRun } from '../quickstart/first-run.ts';
import { awaitCredits, awaitReady, postOrder } from '../quickstart/order.ts';
import { Stopwatch } from '../quickstart/phases.ts';
import { refused, shippedGrants, unusedGrants } from './grants.ts';
import { BUYER, startInstallation } from './installation.ts';
import { kubectl } from './kubectl.ts';

/** What the operator reads and annotates only with Argo CD; all else is shown by `manners.real.ts`. */
const ARGO_GROUPS = ['argoproj.io', 'apps', 'external-secrets.io'];
const EXTERNAL_SECRETS_USER = `system:serviceaccount:${EXTERNAL_SECRETS.namespace}:${EXTERNAL_SECRETS.account}`;
const PATIENCE_MS = 120_000;
const POLL_MS = 100;
/** Ten times what Argo CD needs to heal. Milliseconds. */
const HEALED_MS = 20_000;
/** A watch stands in the audit log once it has ended. Milliseconds. */
const WATCH_ENDS_MS = 1_000;

const say = (line: string): void => void process.stderr.write(`# ${line}\n`);
const audit = new AuditLog();
after(() => audit.remove());
const cluster = await testCluster({ apiServerArgs: audit.apiServerArgs });
const externalSecrets = await testExternalSecrets(cluster);
after(() => externalSecrets.close());
const argo = await startArgoCd({ cluster, log: say });
after(() => argo.close());
const installation = await startInstallation(cluster);
after(() => installation.close());
const { store, ledger, shop, urls, folder, repository } = installation;
const remote = pathToFileURL(repository).href;
const operator = installation.startOperator({ GSV_DELIVERY: 'argocd', GSV_GIT_REMOTE: remote });
const NS = organizationNamespace('acme');

const CRM = { namespace: NS, name: 'crm' };

const get = (...args: string[]): Promise<string> => kubectl(cluster.kubeconfig, 'get', ...args);

/** @returns milliseconds */
async function until(what: string, holds: () => Promise<boolean>): Promise<number> {
  const started = Date.now();
  while (!(await holds())) {
    if (Date.now() - started > PATIENCE_MS) throw new Error(`still not so: ${what}\n${externalSecrets.logTail()}`);
    await delay(POLL_MS);
  }
  return Date.now() - started;
}

/** The buyer's secret of the Instance `crm`, through the edge. */
async function setSecret(value: string): Promise<boolean> {
  const { ok } = await fetch(`${urls.api}/api/orgs/acme/instances/crm/secrets/crm-token`, {
    method: 'PUT',
    headers: {
      authorization: `Bearer ${await installation.issuer.mint(BUYER)}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ value }),
  });
  return ok;
}

async function crm(holds: (instance: Instance) => boolean): Promise<boolean> {
  const instance = await store.get('Instance', CRM);
  return instance !== undefined && holds(instance);
}

/** What the cluster holds of it. */
async function crmToken(): Promise<string> {
  const namespace = (await store.get('Instance', CRM))?.status?.workloadNamespace ?? '';
  const text = await get('secret', 'i-crm', '-n', namespace, '--ignore-not-found', '-o', 'jsonpath={.data.crm-token}');
  return Buffer.from(text, 'base64').toString();
}

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

test('the secret that a buyer sets comes into the cluster, and so does the next', async (t) => {
  const grants = [{ name: 'admin', role: 'Admin' as const }];
  const team = { members: [{ name: 'buyer', email: BUYER }], grants };
  await store.apply('Team', { metadata: { namespace: NS, name: 'buyers' }, spec: team }, { fieldManager: 'test' });
  const spec = {
    ...{ projectRef: { name: 'default' }, offeringRef: { name: 'crm-followup' }, plan: 'basic' },
    ...{ walletRef: { name: 'main' }, config: { region: 'eu' } },
  };
  await store.apply('Instance', { metadata: CRM, spec }, { fieldManager: 'test' });
  await until('crm waits for its secret', () =>
    crm(({ status }) => status?.conditions?.some(({ reason }) => reason === 'BuyerSecretMissing') ?? false),
  );
  await until('the edge takes it', () => setSecret('first-of-crm'));
  t.diagnostic(`Ready after ${await until('crm is ready', () => crm(isReady))} ms`);
  assert.is(await crmToken(), 'first-of-crm');
  await until('the edge takes it', () => setSecret('second-of-crm'));
  const proven = until('the rotation is proven', () =>
    crm((instance) => instance.status?.rotation?.phase === 'Overlap' && isReady(instance)),
  );
  t.diagnostic(`rotated after ${await proven} ms`);
  assert.is(await crmToken(), 'second-of-crm');
});

test('what somebody changes by hand is put back', async (t) => {
  const [instance] = await store.list('Instance');
  const namespace = instance?.status?.workloadNamespace ?? '';
  await kubectl(cluster.kubeconfig, 'delete', 'networkpolicy', 'project-default-deny', '-n', namespace);
  const isBack = async () =>
    (await get('networkpolicy', '-n', namespace, '-o', 'name')).includes('project-default-deny');
  // A comparison that meets the end of an operation starts no other, and no event follows. Argo CD's poll, each two
  // minutes as installed and switched off here, is what heals that.
  for (let polls = 0; ; polls += 1) {
    for (let left = HEALED_MS / POLL_MS; left > 0; left -= 1) {
      if (await isBack()) return t.diagnostic(`back after ${polls} polls`);
      await delay(POLL_MS);
    }
    if (polls === 5) throw new Error(`the policy does not come back\n${argo.logTail()}`);
    await kubectl(
      cluster.kubeconfig,
      'annotate',
      'application',
      namespace,
      '-n',
      'argocd',
      `${REFRESH_ANNOTATION}=normal`,
    );
  }
});

test('kubectl removes Instances, Wallet and Project in their order, and the cluster is left clean', async () => {
  const [instance] = await store.list('Instance');
  const namespace = instance?.status?.workloadNamespace ?? '';
  const remove = (kind: string, object: string): Promise<string> =>
    kubectl(cluster.kubeconfig, 'delete', kind, object, '-n', NS, '--timeout=110s');
  await remove('gsvi', CRM.name);
  await until('its Secret is gone', async () => (await get('secret', '-n', namespace, '-o', 'name')) === '');
  for (const { metadata } of await store.list('Instance')) await remove('gsvi', metadata.name);
  await remove('gsvp', 'default');
  const left = await get('applications.argoproj.io', '-n', 'argocd', '-o', 'name');
  assert.not.ok(left.includes(namespace), left);
  assert.is(await store.get('Namespace', { name: namespace }), undefined);
});

test('nobody was refused anything and no program has ended', () => {
  const refusals = installation.logs().match(/[^"]*is forbidden: [^"\\]*\\?"[^"]*/g) ?? [];
  // Nothing may be made in a namespace that is going, whoever asks: an Event of the last moment, for one.
  assert.equal([...new Set(refusals.filter((text) => !text.includes('because it is being terminated')))], []);
  assert.equal(argo.ended(), []);
  assert.not.ok(externalSecrets.ended());
  const own = audit.requests().filter(({ user }) => user === EXTERNAL_SECRETS_USER);
  assert.ok(own.length > 0);
  assert.equal(
    own.filter(({ forbidden }) => forbidden),
    [],
  );
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
