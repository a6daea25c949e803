import { type TestContext, test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import { GitError } from '../git/errors.ts';
import { skeletonFolder, workloadNamespace } from '../render/paths.ts';
import { defaultPlatform, instanceOwns, projectOwns, renderInstance, renderProject } from '../render/render.ts';
import type { DeliveryTarget } from './delivery.ts';
import { LocalDelivery } from './local.ts';

const organization = { metadata: { name: 'acme', uid: 'org-uid' } };
const project = { metadata: { name: 'default', uid: 'project-uid' }, spec: {} };
const instance = { metadata: { name: 'claims', uid: 'instance-uid' }, spec: { plan: 'pro', config: { tone: 'on' } } };
const owns = instanceOwns({ organization, project, instance });
const own = owns[0] ?? '';
const contract = {
  offering: 'claims-agent',
  version: '1.0.0',
  secrets: [{ name: 'token', source: 'Buyer' as const }],
  connectors: [{ name: 'crm', url: 'https://crm.example/mcp' }],
  limits: { runSeconds: 120 },
  plans: [],
};
const platform = {
  ...defaultPlatform('https://git.example.com/r.git', 'main'),
  runtime: { image: `mirror.example.com/lfx@sha256:${'5'.repeat(64)}` },
};

const projectChange = {
  owns: projectOwns({ organization, project }),
  files: renderProject({
    organization,
    project,
    projects: [project],
    platform,
  }),
  subject: 'project',
  trailers: {},
};
const instanceChange = {
  owns,
  files: renderInstance({
    organization,
    project,
    instance,
    contract,
    platform,
    contractDigest: `sha256:${'0'.repeat(64)}`,
  }),
  subject: 'instance',
  trailers: {},
};

function target(commit: string): DeliveryTarget {
  const namespace = workloadNamespace('acme', 'default', 'project-uid');
  return {
    organization: 'acme',
    project: 'default',
    instance: 'claims',
    instanceUid: 'instance-uid',
    workloadNamespace: namespace,
    commit,
  };
}

async function committed(t: TestContext): Promise<{ remote: GitRemote; delivery: LocalDelivery; commit: string }> {
  const remote = await GitRemote.create();
  const delivery = new LocalDelivery({ repository: remote.path, branch: 'main' });
  t.after(async () => {
    await delivery.close();
    await remote[Symbol.asyncDispose]();
  });
  const writer = await remote.writer('operator');
  await writer.commit(projectChange);
  const { commit } = await writer.commit(instanceChange);
  return { remote, delivery, commit };
}

/** Replaces or adds one file as somebody else would, and asks about the new tip. */
async function tampered(
  t: TestContext,
  path: string,
  text: string,
): Promise<{ reason: string; message: string; synced: boolean }> {
  const { remote, delivery } = await committed(t);
  await remote.foreign({ [path]: text });
  const state = await delivery.state(target(await remote.git('rev-parse', 'main')));
  return state;
}

test('what the renderer wrote and the writer committed is synced', async (t) => {
  const { delivery, commit } = await committed(t);
  await delivery.refresh(target(commit));
  const state = await delivery.state(target(commit));
  assert.equal([state.synced, state.reason], [true, 'LocalDelivery'], state.message);
  assert.match((await delivery.remains(target(commit)))?.message ?? '', own);
  assert.ok((await delivery.workload(target(commit))).ready);
});

test('a removed Instance is gone, and its old commit is no longer synced', async (t) => {
  const { remote, delivery, commit } = await committed(t);
  const writer = await remote.writer('operator-2');
  await writer.remove({ owns, subject: 'remove', trailers: {} });
  assert.is(await delivery.remains(target(commit)), undefined);
  assert.is((await delivery.state(target(commit))).reason, 'ManifestsMissing');
});

test('a commit that is not there, or is none, is named', async (t) => {
  const { delivery } = await committed(t);
  for (const commit of ['0'.repeat(40), '', 'main', 'a b', '--all']) {
    assert.is((await delivery.state(target(commit))).reason, 'CommitNotFound', commit);
  }
});

test('an Instance whose Project is not committed yet is not synced', async (t) => {
  await using remote = await GitRemote.create();
  const { commit } = await (await remote.writer()).commit(instanceChange);
  const delivery = new LocalDelivery({ repository: remote.path, branch: 'main' });
  t.after(() => delivery.close());
  const state = await delivery.state(target(commit));
  assert.equal([state.synced, state.reason], [false, 'ManifestsMissing']);
  assert.match(state.message, /platform\//);
});

const beside = (text: string): string => `${instanceChange.files.get(own)}---\n${text}`;
const labels = 'labels: { store.gsv.dev/instance-uid: instance-uid }';
const namespace = `namespace: ${workloadNamespace('acme', 'default', 'project-uid')}`;
const configMap = (metadata: string): string => `apiVersion: v1\nkind: ConfigMap\nmetadata: { ${metadata} }\n`;

/** Beside what the renderer wrote, in place of it, or in a file of the skeleton. */
const FAULTS: [where: 'beside' | 'instead' | 'x.txt', text: string, message: RegExp, reason: string][] = [
  ['beside', 'a: [', /not YAML/, 'broken YAML'],
  ['instead', '', /no manifest/, 'an empty file'],
  ['beside', '- a\n', /not a YAML mapping/, 'a list'],
  ['beside', 'a: 1\na: 2\n', /not YAML/, 'a key twice'],
  ['beside', `a: &a [1]\nb: *a\n`, /alias/, 'an alias'],
  ['x.txt', 'a: 1', /not a \.yaml file/, 'another kind of file'],
  ['beside', 'kind: ConfigMap\n', /apiVersion/, 'no apiVersion'],
  ['beside', 'apiVersion: v1\nkind: on\n', /kind/, 'a kind that YAML reads as a boolean'],
  [
    'beside',
    'apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: a }\n',
    /not allowed/,
    'a cluster-scoped kind',
  ],
  [
    'beside',
    'apiVersion: external-secrets.io/v1beta1\nkind: ExternalSecret\n',
    /not allowed/,
    'a version that is not served',
  ],
  [
    'beside',
    `${configMap(`name: a, namespace: kube-system, ${labels}`)}`,
    /metadata\.namespace is not/,
    'another namespace',
  ],
  ['beside', `${configMap(`name: a, ${labels}`)}`, /metadata\.namespace is missing/, 'no namespace'],
  ['beside', `${configMap(`name: 1, ${namespace}, ${labels}`)}`, /name is missing or not a string/, 'a number as name'],
  ['beside', `${configMap(`name: A_b, ${namespace}, ${labels}`)}`, /not a DNS name/, 'a name that is none'],
  ['beside', `${configMap(`name: a, ${namespace}`)}`, /instance-uid/, 'an object of nobody'],
  [
    'beside',
    `${configMap(`name: a, ${namespace}, labels: { store.gsv.dev/instance-uid: instance-uid, b: no }`)}`,
    /labels\[b\] is not a string/,
    'a boolean label',
  ],
  ['beside', `${configMap(`name: i-claims, ${namespace}, ${labels}`)}`, /declared twice/, 'an object twice'],
  [
    'beside',
    `${configMap(`name: a, ${namespace}, ${labels}`)}---\n${configMap(`name: a, ${namespace}, ${labels}`)}`,
    /declared twice/,
    'twice in one file',
  ],
];

for (const [where, text, message, reason] of FAULTS) {
  test(`refused in the file of an Instance: ${reason}`, async (t) => {
    const path = where === 'x.txt' ? `${skeletonFolder('acme', 'default')}/x.txt` : own;
    const state = await tampered(t, path, where === 'beside' ? beside(text) : text);
    assert.equal([state.synced, state.reason], [false, 'ManifestInvalid']);
    assert.match(state.message, message);
    assert.match(state.message, /^[^\n]+\.$/);
  });
}

test('the runtime of profile Namespace is synced, and each way to loosen it is refused', async (t) => {
  const isolated = { ...project, spec: { runtimeProfile: 'Namespace' as const } };
  const files = renderInstance({
    organization,
    project: isolated,
    instance,
    contract,
    platform,
    contractDigest: `sha256:${'0'.repeat(64)}`,
  });
  const { remote, delivery } = await committed(t);
  await (await remote.writer('second')).commit({ ...instanceChange, files });
  const state = await delivery.state(target(await remote.git('rev-parse', 'main')));
  assert.is(state.reason, 'LocalDelivery', state.message);
  const edits: [from: RegExp, to: string, message: RegExp][] = [
    [/@sha256:[0-9a-f]{64}/, ':latest', /not named by digest/],
    [/runAsNonRoot: true/, 'runAsNonRoot: false', /run as root/],
    [/type: RuntimeDefault/, 'type: Unconfined', /no seccomp profile/],
    [/(?<=kind: Deployment[\s\S]*)automountServiceAccountToken: false/, 'hostIPC: false', /ServiceAccount token/],
    [/enableServiceLinks: false/, 'hostNetwork: true', /hostNetwork/],
    [/allowPrivilegeEscalation: false/, 'allowPrivilegeEscalation: true', /not restricted/],
    [/- ALL/, '- NET_RAW', /not restricted/],
    [/readOnlyRootFilesystem: true/, 'readOnlyRootFilesystem: false', /not restricted/],
    [/limits:/, 'claims:', /limits is not a mapping/],
    [/emptyDir:/, 'hostPath:', /no emptyDir/],
    [/type: ClusterIP/, 'type: LoadBalancer', /reachable from outside/],
  ];
  const text = files.get(own) ?? '';
  for (const [from, to, message] of edits) {
    assert.match(text, from);
    await remote.foreign({ [own]: text.replace(from, to) });
    const refused = await delivery.state(target(await remote.git('rev-parse', 'main')));
    assert.is(refused.reason, 'ManifestInvalid', `${from}`);
    assert.match(refused.message, message);
    await remote.foreign({ [own]: text });
  }
});

test('an object of the skeleton declared again by an Instance is refused', async (t) => {
  const text = `apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: project-secrets, ${namespace}, ${labels} }\n`;
  assert.match((await tampered(t, own, beside(text))).message, /project-secrets is declared twice/);
});

test('an Application that leads elsewhere is refused', async (t) => {
  const [path = '', text = ''] = [...projectChange.files].find(([file]) => file.endsWith('/application.yaml')) ?? [];
  const edits: [from: RegExp, to: string, message: RegExp][] = [
    [/path: tenants\/.*/, 'path: tenants/00/globex/default', /source\.path/],
    [/project: gsv-org-acme/, 'project: default', /spec\.project/],
    [/(destination:\n.*\n *namespace: ).*/, '$1kube-system', /destination\.namespace/],
  ];
  for (const [from, to, message] of edits) {
    assert.match(text, from);
    const state = await tampered(t, path, text.replace(from, to));
    assert.is(state.reason, 'ManifestInvalid');
    assert.match(state.message, message);
  }
});

test('a fault in the skeleton blocks the Instances of the Project, one in another Instance does not', async (t) => {
  assert.not.ok((await tampered(t, `${skeletonFolder('acme', 'default')}/x.yaml`, 'a: [')).synced);
  assert.ok((await tampered(t, own.replace('claims-', 'other-'), 'a: [')).synced);
});

test('a repository that is not there is an error, not an answer', async () => {
  const delivery = new LocalDelivery({ repository: '/nonexistent/remote.git', branch: 'main' });
  await assertGitError(() => delivery.state(target('0'.repeat(40))));
  await assertGitError(() => delivery.remains(target('0'.repeat(40))));
});

async function assertGitError(work: () => Promise<unknown>): Promise<void> {
  const error = await work().then(
    () => undefined,
    (caught: unknown) => caught,
  );
  assert.instance(error, GitError);
}
