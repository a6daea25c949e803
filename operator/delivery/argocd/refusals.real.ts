/**
 * The contract of the delivery port on a real Argo CD, and what a cluster refuses: quota, Pod Security, a kind that
 * it does not know. The condition of the Instance has to carry the words of whoever refused.
 */
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { secretPath } from '../../../config/secrets.ts';
import { startDelivery } from '../../../hack/argocd/delivery.ts';
import { kubectlApply } from '../../../hack/argocd/kubectl.ts';
import { rootApplications } from '../../../hack/argocd/roots.ts';
import { kubectl } from '../../../hack/processes/kubectl.ts';
import { Committer } from '../../../hack/testing/delivery-committer.ts';
import { rootApplicationName } from '../../render/render.ts';
import { type DeliveryBench, deliveryContract } from '../contract.suite.ts';
import type { DeliveryState, DeliveryTarget } from '../delivery.ts';

/** Far more than a busy machine needs; what has not come to be by then never will. Milliseconds. */
const LIMIT_MS = 180_000;
const POLL_MS = 100;

/** The clock of the delivery runs ahead by it. */
let aheadMs = 0;

const { cluster, argo, externalSecrets, remote, writer, store, delivery, secrets, platform, putRole } =
  await startDelivery({
    workloads: true,
    now: () => Date.now() + aheadMs,
  });
const committer = new Committer(writer, { project: 'contract', platform });
const { namespace } = committer;
await putRole(namespace);
// Without retries: with ours, Argo CD gives a commit up after two and a half minutes.
await committer.project((text) => text.replace('limit: 5', 'limit: 0'));
await kubectlApply(cluster.kubeconfig, await rootApplications(platform.repoUrl, [rootApplicationName('acme')]));

async function commit(name: string, tone: string, force?: string): Promise<DeliveryTarget> {
  await secrets.write(secretPath(namespace, `${name}-uid`, 'token'), { value: 'a token' });
  return committer.instance(name, tone, force === undefined ? {} : { force });
}

const until: DeliveryBench['until'] = async (what, target, holds) => {
  const started = Date.now();
  while (!(await holds())) {
    if (Date.now() - started > LIMIT_MS)
      throw new Error(
        `it never came to be: ${what}: ${JSON.stringify(await delivery.state(target))}\n${argo.logTail()}`,
      );
    await delivery.refresh(target);
    await delay(POLL_MS);
  }
};

deliveryContract(
  'ArgoDelivery with a real Argo CD',
  async () => ({
    delivery,
    commit,
    // What a ConfigMap holds are strings.
    commitFaulty: async (name) => {
      await secrets.write(secretPath(namespace, `${name}-uid`, 'token'), { value: 'a token' });
      return committer.instance(name, 'calm', {
        edit: (text) => text.replace(/config\.json: .*/, 'config.json: { a: { b: c } }'),
      });
    },
    mend: () => undefined,
    remove: (name) => committer.remove(name),
    until,
    again: (name, force) => commit(name, 'calm', force),
    close: async () => undefined,
  }),
  { lags: true },
);

/** The first state that is about more than waiting. */
async function refusal(target: DeliveryTarget): Promise<DeliveryState> {
  const waiting = ['SyncPending', 'ManifestsMissing', 'ApplicationMissing', 'AppProjectMissing'];
  await until('it is refused', target, async () => !waiting.includes((await delivery.state(target)).reason));
  return delivery.state(target);
}

test('a quota that is used up: the condition has the words of the API server', async (t) => {
  const quota = ['create', 'quota', 'tight', '--hard=count/configmaps=1', '-n', namespace];
  await kubectl(cluster.kubeconfig, ...quota);
  const target = await commit('over', 'calm');
  let message = '';
  await until('it is refused', target, async () => {
    ({ message } = await delivery.state(target));
    return /quota/.test(message);
  });
  t.diagnostic(message);
  assert.match(message, /ConfigMap i-over: .*exceeded quota: tight/);
  await kubectl(cluster.kubeconfig, 'delete', 'quota', 'tight', '-n', namespace);
  const cured = await commit('over', 'brisk');
  await until('it is synced', cured, async () => (await delivery.state(cured)).synced);
});

test('pods that Pod Security refuses: the workload is not ready, with the words of the admission', async (t) => {
  const labels = { 'app.kubernetes.io/part-of': 'gsv-agent-store', 'store.gsv.dev/instance-uid': 'loose-uid' };
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'i-loose', namespace, labels },
    spec: {
      selector: { matchLabels: { app: 'loose' } },
      template: {
        metadata: { labels: { app: 'loose' } },
        spec: {
          containers: [
            {
              name: 'loose',
              image: 'example.com/loose:1',
              resources: { limits: { cpu: '1', memory: '64Mi' }, requests: { cpu: '1', memory: '64Mi' } },
            },
          ],
        },
      },
    },
  };
  await remote.foreign({ 'tenants/82/acme/contract/loose.yaml': JSON.stringify(deployment) });
  const commit = await remote.git('rev-parse', 'main');
  const objects = [{ group: 'apps', kind: 'Deployment', name: 'i-loose' }];
  const names = { organization: 'acme', project: 'contract', instance: 'loose', instanceUid: 'loose-uid' };
  const target = { ...names, workloadNamespace: namespace, commit, objects };
  await until(
    'its pods are refused',
    target,
    async () => (await delivery.workload(target)).reason === 'ReplicaFailure',
  );
  const { message } = await delivery.workload(target);
  t.diagnostic(message);
  assert.match(message, /Deployment i-loose: .*violates PodSecurity/);
});

test('an object that goes in the middle of a sync: the operation is ended, and the next commit is applied', async (t) => {
  const project = new Committer(writer, { project: 'stalled', platform });
  await putRole(project.namespace);
  await project.project();
  const names = { organization: 'acme', project: 'stalled', instance: 'lost', instanceUid: 'lost-uid' };
  const put = async (...manifests: object[]): Promise<DeliveryTarget> => {
    const text = manifests.map((manifest) => JSON.stringify(manifest)).join('\n---\n');
    await remote.foreign({ 'tenants/82/acme/stalled/lost.yaml': text });
    const commit = await remote.git('rev-parse', 'main');
    return { ...names, workloadNamespace: project.namespace, commit, objects: [] };
  };
  const wave = (count: number) => ({ name: 'lost', annotations: { 'argocd.argoproj.io/sync-wave': String(count) } });
  // Nobody schedules its pods, so Argo CD waits; without a later wave it would not.
  const labels = { app: 'lost' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'lost', image: 'example.com/lost:1' }] } };
  const spec = { selector: { matchLabels: labels }, template };
  const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: wave(-1), spec };
  const late = { apiVersion: 'v1', kind: 'ConfigMap', metadata: wave(5) };
  const target = await put(deployment, late);
  const state = () => delivery.state(target);
  const waits = async () =>
    (await store.get('Application', { namespace: argo.namespace, name: project.namespace }))?.status?.operationState
      ?.message === 'waiting for healthy state of apps/Deployment/lost';
  await until('Argo CD waits for the Deployment', target, waits);
  await kubectl(cluster.kubeconfig, 'delete', 'deployment', 'lost', '-n', project.namespace);
  await until('the operation stands still', target, async () => (await state()).reason === 'SyncStalled');
  t.diagnostic((await state()).message);
  assert.match((await state()).message, /Deployment lost/);
  assert.ok(await waits(), 'left alone it goes on waiting');
  aheadMs += 60_000;
  await until('the commit is given up', target, async () => (await state()).exhausted === true);
  t.diagnostic((await state()).message);
  const next = await put(late);
  await until('the next commit is applied', next, async () => (await delivery.state(next)).synced);
});

test('a kind that the cluster does not know: the condition names it', async (t) => {
  await kubectl(cluster.kubeconfig, 'delete', 'crd', 'externalsecrets.external-secrets.io');
  // With retries, so that the state between two of them is seen.
  const patient = new Committer(writer, { project: 'patient', platform });
  await putRole(patient.namespace);
  await patient.project();
  const target = await patient.instance('unknown', 'calm');
  const { reason, message } = await refusal(target);
  t.diagnostic(`${reason}: ${message}`);
  assert.is(reason, 'KindMissing');
  assert.match(message, /ExternalSecret/);
});

test('no program has ended meanwhile', () => {
  assert.equal(argo.ended(), []);
  assert.not.ok(externalSecrets.ended());
});
