/**
 * ArgoDelivery against a real Argo CD that applies our rendered tree from a real Git repository, with a real External
 * Secrets that reads a real Vault.
 */
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { secretPath } from '../../../config/secrets.ts';
import { startDelivery } from '../../../hack/argocd/delivery.ts';
import { kubectlApply } from '../../../hack/argocd/kubectl.ts';
import { rootApplications } from '../../../hack/argocd/roots.ts';
import { kubectl } from '../../../hack/processes/kubectl.ts';
import { manifestsOf } from '../../../hack/testing/rendered.ts';
import { workloadNamespace } from '../../render/paths.ts';
import {
  instanceOwns,
  projectOwns,
  projectRemoval,
  renderInstance,
  renderProject,
  rootApplicationName,
} from '../../render/render.ts';
import type { DeclaredObject, DeliveryState, DeliveryTarget, Remains } from '../delivery.ts';
import type { ArgoDelivery } from './delivery.ts';

/** Far more than a busy machine needs; a change that is not applied by then never is. Milliseconds. */
const LIMIT_MS = 120_000;
const POLL_MS = 100;
/** Argo CD applies in a fraction of it what it is going to apply. Milliseconds. */
const NEVER_MS = 5_000;

const { cluster, argo, externalSecrets, remote, writer, store, delivery, secrets, platform, putRole } =
  await startDelivery();
const organization = { metadata: { name: 'acme', uid: 'org-uid' } };
const project = { metadata: { name: 'default', uid: 'project-uid' }, spec: {} };
const namespace = workloadNamespace('acme', 'default', 'project-uid');
const instance = (tone: string, name = 'claims') => ({
  metadata: { name, uid: `${name}-uid` },
  spec: { plan: 'pro', config: { tone } },
});
const contract = {
  offering: 'claims-agent',
  version: '1.0.0',
  secrets: [{ name: 'token', source: 'Buyer' as const }],
  connectors: [],
  limits: { runSeconds: 120 },
  plans: [],
};

function rendered(
  tone: string,
  name: string,
): { input: Parameters<typeof instanceOwns>[0]; files: Map<string, string> } {
  const input = { organization, project, instance: instance(tone, name), contract, platform };
  return { input, files: renderInstance({ ...input, contractDigest: `sha256:${'0'.repeat(64)}` }) };
}

async function commitInstance(tone: string, name = 'claims', force?: string): Promise<DeliveryTarget> {
  const { input, files } = rendered(tone, name);
  const change = { owns: instanceOwns(input), files, subject: `Instance ${name} ${tone}`, trailers: {} };
  const { commit } = await writer.commit(force === undefined ? change : { ...change, force });
  return {
    ...{ organization: 'acme', project: 'default', instance: name, instanceUid: `${name}-uid`, commit },
    ...{ workloadNamespace: namespace, objects: [...manifestsOf(files).values()].map(declared) },
  };
}

function declared(text: string): DeclaredObject {
  const { apiVersion, kind, metadata } = parse(text) as {
    apiVersion: string;
    kind: string;
    metadata: { name: string };
  };
  return { group: apiVersion.split('/').slice(0, -1).join('/'), kind, ...metadata };
}

/** Asks as the operator does until the answer is as wanted; returns it with its time. */
async function until(target: DeliveryTarget, wanted: (state: DeliveryState) => boolean, say: (line: string) => void) {
  const started = Date.now();
  let told = '';
  for (;;) {
    await delivery.refresh(target);
    const state = await delivery.state(target);
    const line = `${state.reason}: ${state.message}`;
    if (line !== told) say(`${Date.now() - started} ms ${line}`);
    told = line;
    if (wanted(state)) return state;
    if (Date.now() - started > LIMIT_MS) throw new Error(`${line}\n${argo.logTail()}`);
    await delay(POLL_MS);
  }
}

const synced = ({ synced: is }: DeliveryState): boolean => is;

async function gone(scope: Parameters<ArgoDelivery['remains']>[0], say: (line: string) => void): Promise<void> {
  const started = Date.now();
  let told = '';
  for (;;) {
    const left = await delivery.remains(scope);
    if (left === undefined) return say(`${Date.now() - started} ms gone`);
    if (left.message !== told) say(`${Date.now() - started} ms ${left.reason}: ${left.message}`);
    told = left.message;
    if (Date.now() - started > LIMIT_MS) throw new Error(`${left.message}\n${argo.logTail()}`);
    await delivery.refresh(scope);
    await delay(POLL_MS);
  }
}

const putToken = (name: string): Promise<unknown> =>
  secrets.write(secretPath(namespace, `${name}-uid`, 'token'), { value: 'a token' });

/** Asks until what is left of a removal is as wanted. */
async function left(scope: Parameters<ArgoDelivery['remains']>[0], wanted: (remains: Remains) => boolean) {
  for (const end = Date.now() + LIMIT_MS; ; await delay(POLL_MS)) {
    await delivery.refresh(scope);
    const remains = await delivery.remains(scope);
    if (remains !== undefined && wanted(remains)) return remains;
    if (Date.now() > end) throw new Error(`${remains?.message}\n${argo.logTail()}`);
  }
}

test('an Instance of a new Project: the root creates the Application, which applies it', async (t) => {
  await putRole(namespace);
  await putToken('claims');
  // Without retries: with ours, Argo CD gives a commit up after two and a half minutes.
  const rendered = renderProject({ organization, project, projects: [project], platform });
  const files = new Map([...rendered].map(([path, text]) => [path, text.replace('limit: 5', 'limit: 0')]));
  await writer.commit({ owns: projectOwns({ organization, project }), files, subject: 'project', trailers: {} });
  const target = await commitInstance('calm');
  assert.is((await delivery.state(target)).reason, 'RootApplicationMissing');
  const ours = await rootApplications(platform.repoUrl, [rootApplicationName('acme')]);
  await kubectlApply(cluster.kubeconfig, ours);
  await until(target, synced, (line) => t.diagnostic(line));
  const state = await delivery.workload(target);
  assert.ok(state.ready, state.message);
});

test('an update is applied soon after the push', async (t) => {
  await until(await commitInstance('brisk'), synced, (line) => t.diagnostic(line));
  const config = await kubectl(cluster.kubeconfig, 'get', 'configmap', 'i-claims', '-n', namespace, '-o', 'yaml');
  assert.match(config, /brisk/);
});

test('an Instance that an earlier release left as a folder becomes a file, and Argo CD makes no object anew', async (t) => {
  const say = (line: string) => t.diagnostic(line);
  await putToken('moved');
  const { input, files } = rendered('calm', 'moved');
  const [, stem = ''] = instanceOwns(input);
  const folder = new Map(
    [...manifestsOf(files)].map(([path, text]) => [`${stem}/${path.split('#')[1]}.yaml`.toLowerCase(), text]),
  );
  const { commit } = await writer.commit({ owns: [stem], files: folder, subject: 'as before', trailers: {} });
  const names = { organization: 'acme', project: 'default', instance: 'moved', instanceUid: 'moved-uid', commit };
  const objects = [...folder.values()].map(declared);
  await until({ ...names, workloadNamespace: namespace, objects }, synced, say);
  const wanted = ['get', 'cm/i-moved', 'sa/i-moved', 'externalsecret/i-moved', '-n', namespace];
  const live = () => kubectl(cluster.kubeconfig, ...wanted, '-o', 'custom-columns=:kind,:metadata.uid');
  const before = await live();
  await until(await commitInstance('calm', 'moved'), synced, say);
  assert.is(await live(), before);
  assert.not.ok((await remote.files()).some((path) => path.startsWith(`${stem}/`)));
  await until(await commitInstance('brisk', 'moved'), synced, say);
  assert.is(await live(), before);
  const removed = await writer.remove({ owns: instanceOwns(input), subject: 'remove', trailers: {} });
  await gone({ ...names, workloadNamespace: namespace, commit: removed.commit }, say);
});

test('a foreign file that is no YAML is named, and its removal cures it', async (t) => {
  const path = 'tenants/82/acme/default/foreign.yaml';
  // What does not even look like a manifest is passed over by Argo CD.
  await remote.foreign({ [path]: 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: foreign }\ndata: a: b: [' });
  const target = await commitInstance('calm');
  const state = await until(
    target,
    ({ reason }) => reason === 'ComparisonError',
    (line) => t.diagnostic(line),
  );
  assert.match(state.message, /foreign\.yaml/);
  await remote.foreign({ [path]: 'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: foreign }\n' });
  await until(await commitInstance('brisk'), synced, (line) => t.diagnostic(line));
});

test('a commit that was given up is not tried again when the cause is cured, a new one is', async (t) => {
  const say = (line: string) => t.diagnostic(line);
  const target = await commitInstance('calm', 'second');
  const { revision = '', message } = await until(target, ({ exhausted }) => exhausted === true, say);
  assert.match(message, /ExternalSecret i-second: could not get secret data from provider/);
  await putToken('second');
  const before = await until(target, ({ reason }) => reason === 'RetriesExhausted', say);
  assert.ok(before.exhausted);
  await until(await commitInstance('calm', 'second', revision), synced, say);
});

/** An admission that does not answer refuses every deletion of an ExternalSecret, as that of External Secrets itself does. */
const AWAY = {
  apiVersion: 'admissionregistration.k8s.io/v1',
  kind: 'ValidatingWebhookConfiguration',
  metadata: { name: 'away' },
  webhooks: [
    {
      ...{ name: 'away.gsv.dev', admissionReviewVersions: ['v1'], sideEffects: 'None', failurePolicy: 'Fail' },
      clientConfig: { url: 'https://127.0.0.1:1/' },
      rules: [
        {
          ...{ apiGroups: ['external-secrets.io'], apiVersions: ['v1'] },
          ...{ operations: ['DELETE'], resources: ['externalsecrets'] },
        },
      ],
    },
  ],
};

test('a removal that was given up is not tried again when nothing refuses it any more, a new commit of it is', async (t) => {
  const say = (line: string) => t.diagnostic(line);
  await putToken('kept');
  await until(await commitInstance('calm', 'kept'), synced, say);
  await kubectlApply(cluster.kubeconfig, [JSON.stringify(AWAY)]);
  const { input } = rendered('calm', 'kept');
  const removal = { owns: instanceOwns(input), subject: 'remove kept', trailers: {} };
  const { commit } = await writer.remove(removal);
  const scope = { organization: 'acme', project: 'default', workloadNamespace: namespace };
  const target = { ...scope, instance: 'kept', instanceUid: 'kept-uid', commit };
  const { message, givenUp = '' } = await left(target, (remains) => remains.givenUp !== undefined);
  say(message);
  assert.match(message, /ExternalSecret i-kept: .*failed calling webhook "away\.gsv\.dev"/);
  await kubectl(cluster.kubeconfig, 'delete', 'validatingwebhookconfiguration', 'away');
  await delay(NEVER_MS);
  assert.is((await delivery.remains(target))?.givenUp, givenUp);
  const { commit: again } = await writer.remove({ ...removal, force: givenUp });
  await gone({ ...target, commit: again }, say);
});

test('a correction is taken between two attempts at what it corrects', async (t) => {
  const say = (line: string) => t.diagnostic(line);
  const other = { metadata: { name: 'other', uid: 'other-uid' }, spec: {} };
  const there = workloadNamespace('acme', 'other', 'other-uid');
  await putRole(there);
  const files = renderProject({ organization, project: other, projects: [project, other], platform });
  await writer.commit({ owns: projectOwns({ organization, project: other }), files, subject: 'other', trailers: {} });
  const put = async (data: string): Promise<DeliveryTarget> => {
    const text = `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: foreign }\ndata: ${data}\n`;
    await remote.foreign({ 'tenants/82/acme/other/foreign.yaml': text });
    const commit = await remote.git('rev-parse', 'main');
    const names = { organization: 'acme', project: 'other', instance: 'none', instanceUid: 'none' };
    return { ...names, workloadNamespace: there, commit, objects: [] };
  };
  const state = await until(await put('{ a: { b: c } }'), ({ reason }) => reason === 'SyncError', say);
  assert.match(state.message, /^ConfigMap foreign: /);
  await until(await put('{ a: b }'), synced, say);
  const removal = projectRemoval({ organization, project: other });
  const { commit } = await writer.remove({ owns: removal.platform, subject: 'remove other', trailers: {} });
  await gone({ organization: 'acme', project: 'other', workloadNamespace: there, commit }, say);
});

test('an Instance is gone when its objects are, and then its Project', async (t) => {
  const input = { organization, project, instance: instance('brisk') };
  const { commit } = await writer.remove({ owns: instanceOwns(input), subject: 'remove', trailers: {} });
  const scope = { organization: 'acme', project: 'default', workloadNamespace: namespace };
  await gone({ ...scope, instance: 'claims', instanceUid: 'claims-uid', commit }, (line) => t.diagnostic(line));
  const left = await kubectl(cluster.kubeconfig, 'get', 'cm,sa,netpol', '-n', namespace, '-o', 'name');
  assert.not.match(left, /i-claims/);
  const second = { organization, project, instance: instance('calm', 'second') };
  await writer.remove({ owns: instanceOwns(second), subject: 'remove', trailers: {} });
  const removal = projectRemoval({ organization, project });
  const removed = await writer.remove({ owns: removal.platform, subject: 'remove project', trailers: {} });
  await gone({ ...scope, commit: removed.commit }, (line) => t.diagnostic(line));
  assert.is(await store.get('Namespace', { name: namespace }), undefined);
});

test('no program has ended meanwhile', () => {
  assert.equal(argo.ended(), []);
  assert.not.ok(externalSecrets.ended());
});
