/** Tenants and our own processes on a real API server with RBAC: who may do what, and nothing else. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { findCondition } from '../crds/conditions.ts';
import { KINDS, type Kind } from '../crds/kinds.ts';
import { KubernetesStore } from '../crds/store/kubernetes.ts';
import { KubernetesApi } from '../crds/store/kubernetes-api.ts';
import { KubernetesConnection } from '../crds/store/kubernetes-connection.ts';
import { testCluster } from '../hack/cluster/testing.ts';
import { plainCapability, publishedVersion } from '../hack/testing/operator/catalog.ts';
import { FakeLedger } from '../hack/testing/operator/fake-ledger.ts';
import { FakeBlobs, FakeDelivery, FakeGit, FakeProbe, FakeSecrets } from '../hack/testing/operator/fakes.ts';
import { startOperator } from './operator.ts';
import { defaultPlatform, renderAccess } from './render/render.ts';

const ROOT = join(import.meta.dirname, '..');
const ISSUER = 'https://id.example.com';
const run = promisify(execFile);
const cluster = await testCluster();
const api = new KubernetesApi(new KubernetesConnection(cluster.kubeconfig));
const store = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig });
const folder = await mkdtemp(join(tmpdir(), 'gsv-tenancy-'));
after(async () => {
  await Promise.all([store.close(), api.close(), rm(folder, { recursive: true })]);
});

async function kubectl(...args: string[]): Promise<{ ok: boolean; text: string }> {
  try {
    const { stdout } = await run('kubectl', ['--kubeconfig', cluster.kubeconfig, ...args]);
    return { ok: true, text: stdout };
  } catch (error) {
    return { ok: false, text: (error as { stderr: string }).stderr };
  }
}

const platform = defaultPlatform('https://git.example.com/gsv.git', 'main');
for (const name of ['gsv-org-acme', 'gsv-org-globex', 'gsv-system', 'gsv-w-acme-default-1dee6e3e'])
  await store.create('Namespace', { metadata: { name }, spec: {} });

interface Caller {
  user: string;
  groups?: string[];
}

const TEAMS = (['Viewer', 'Operator', 'Admin', 'Billing'] as const).map((role) => ({
  spec: {
    members: [
      { name: 'one', subject: `${ISSUER}|${role.toLowerCase()}` },
      { name: 'all', group: `acme-${role.toLowerCase()}` },
    ],
    grants: [{ name: 'g', role }],
  },
}));
const rendered = renderAccess({
  organization: { metadata: { name: 'acme', uid: 'o-1' } },
  projects: [{ metadata: { name: 'default', uid: 'p-1' } }],
  teams: TEAMS,
  platform,
});
await writeFile(join(folder, 'access.yaml'), [...rendered.values()].join('---\n'));
for (const file of [
  join(folder, 'access.yaml'),
  join(ROOT, 'kustomize/components/tenant-kubectl/catalog-reader.yaml'),
  join(ROOT, 'kustomize/base/accounts.yaml'),
  join(ROOT, 'kustomize/base/roles.yaml'),
  join(ROOT, 'kustomize/base/admission.yaml'),
]) {
  const applied = await kubectl('apply', '--server-side', '-f', file);
  if (!applied.ok) throw new Error(applied.text);
}

/** What the API server's authorizer says; `resource` is `plural[/subresource][.group]`. */
async function may(caller: Caller, verb: string, resource: string, namespace?: string): Promise<boolean> {
  const [, plural, subresource, group = ''] = /^([^/.]+)(?:\/([^.]+))?(?:\.(.+))?$/.exec(resource) ?? [];
  const attributes = { verb, resource: plural, subresource, group, namespace };
  const spec = { user: caller.user, groups: ['system:authenticated', ...(caller.groups ?? [])] };
  const review = (await api.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { ...spec, resourceAttributes: attributes },
    },
    repeat: 'always',
  })) as { status: { allowed: boolean } };
  return review.status.allowed;
}

const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'];
const READ = ['get', 'list', 'watch'];
const gsv = (plural: string) => `${plural}.store.gsv.dev`;
/** Everything in a tenant's reach, and what must never be. */
const RESOURCES = [
  ...Object.values(KINDS)
    .filter(({ apiVersion }) => apiVersion.startsWith('store.gsv.dev/'))
    .flatMap(({ plural }) => [gsv(plural), `${plural}/status.store.gsv.dev`]),
  'secrets',
  'configmaps',
  'pods',
  'pods/log',
  'pods/exec',
  'serviceaccounts/token',
  'events',
  'namespaces',
  'roles.rbac.authorization.k8s.io',
  'rolebindings.rbac.authorization.k8s.io',
  'applications.argoproj.io',
  'deployments.apps',
];

async function rights(caller: Caller, namespace?: string): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  await Promise.all(
    RESOURCES.map(async (resource) => {
      const verdicts = await Promise.all(VERBS.map((verb) => may(caller, verb, resource, namespace)));
      const held = VERBS.filter((_, index) => verdicts[index]);
      if (held.length > 0) found[resource] = held;
    }),
  );
  return found;
}

const CATALOG = Object.fromEntries(
  ['capabilities', 'creditpacks', 'offerings', 'offeringversions'].map((plural) => [gsv(plural), READ]),
);
const SEEN = {
  ...CATALOG,
  [gsv('instances')]: READ,
  [gsv('projects')]: READ,
  [gsv('teams')]: READ,
  [gsv('wallets')]: READ,
  events: READ,
};
const WRITE = [...READ, 'create', 'update', 'patch', 'delete'];
const OWN: Record<string, Record<string, string[]>> = {
  viewer: SEEN,
  operator: { ...SEEN, [gsv('instances')]: [...READ, 'update', 'patch'] },
  admin: { ...SEEN, [gsv('instances')]: WRITE, [gsv('teams')]: WRITE, [gsv('apikeys')]: WRITE },
  billing: { ...CATALOG, [gsv('wallets')]: READ },
};

for (const [role, own] of Object.entries(OWN)) {
  const callers: [Caller, string][] = [
    [{ user: `${ISSUER}#${role}` }, 'by subject'],
    [{ user: 'whoever', groups: [`acme-${role}`] }, 'by group'],
  ];
  for (const [caller, how] of callers)
    test(`${role} ${how}: its rights in its namespaces, the catalog, and nothing anywhere else`, async () => {
      assert.equal(await rights(caller, 'gsv-org-acme'), own);
      assert.equal(await rights(caller, 'gsv-org-globex'), CATALOG);
      assert.equal(await rights(caller, 'gsv-system'), CATALOG);
      assert.equal(await rights(caller), CATALOG, 'cluster-scoped: no list of Organizations either');
      const workload = { ...CATALOG, pods: READ, events: READ, 'deployments.apps': READ };
      assert.equal(await rights(caller, 'gsv-w-acme-default-1dee6e3e'), role === 'billing' ? CATALOG : workload);
    });
}

test('control: the administrator may do all of it, a stranger reads the catalog only', async () => {
  const admin = await rights({ user: 'admin', groups: ['system:masters'] }, 'gsv-org-acme');
  assert.is(Object.keys(admin).length, RESOURCES.length);
  assert.equal(await rights({ user: `${ISSUER}#stranger` }, 'gsv-org-acme'), CATALOG);
});

test('a tenant’s own kubectl: sees its objects, changes one, and cannot raise itself', async () => {
  const as = ['--as', `${ISSUER}#admin`, '-n', 'gsv-org-acme'];
  const file = join(folder, 'team.yaml');
  const team = (status = '') =>
    `apiVersion: store.gsv.dev/v1alpha1\nkind: Team\nmetadata: { name: t }\nspec: { members: [], grants: [] }\n${status}`;
  await writeFile(file, team());
  assert.ok((await kubectl(...as, 'apply', '-f', file)).ok);
  assert.match((await kubectl(...as, 'get', 'gsvt', '-o', 'name')).text, 'team.store.gsv.dev/t');
  const refused: [args: string[], reason: string][] = [
    [['get', 'gsvi', '-A'], 'all namespaces'],
    [['get', 'gsvg'], 'the list of Organizations'],
    [['get', 'gsvi', '-n', 'gsv-org-globex'], 'another Organization'],
    [['get', 'secrets'], 'Secrets'],
    [['patch', 'role', 'gsv-admin', '--type=merge', '-p', '{"rules":[]}'], 'its own role'],
    [['create', 'rolebinding', 'x', '--clusterrole=cluster-admin', '--user=x'], 'a binding'],
    [['patch', 'gsvt', 't', '--subresource=status', '--type=merge', '-p', '{"status":{}}'], 'a status'],
    [['create', 'token', 'default'], 'a token'],
  ];
  for (const [args, reason] of refused) {
    const { ok, text } = await kubectl(...as, ...args);
    assert.not.ok(ok, reason);
    assert.match(text, /forbidden/i, reason);
  }
});

test('a tenant neither drops our finalizer nor breaks the glass; an administrator may do both', async () => {
  const file = join(folder, 'instance.yaml');
  const spec = 'offeringRef: { name: o }, plan: p, projectRef: { name: default }, walletRef: { name: main }';
  await writeFile(
    file,
    `apiVersion: store.gsv.dev/v1alpha1\nkind: Instance\nmetadata: { name: held, namespace: gsv-org-acme, finalizers: [store.gsv.dev/instance] }\nspec: { ${spec} }\n`,
  );
  assert.ok((await kubectl('create', '-f', file)).ok);
  const drop = ['patch', 'gsvi', 'held', '-n', 'gsv-org-acme', '--type=merge', '-p', '{"metadata":{"finalizers":[]}}'];
  const force = [
    'annotate',
    '--overwrite',
    'gsvi',
    'held',
    '-n',
    'gsv-org-acme',
    'store.gsv.dev/force-removal=workload',
  ];
  const usual = [
    'annotate',
    '--overwrite',
    'gsvi',
    'held',
    '-n',
    'gsv-org-acme',
    'store.gsv.dev/rotate-requested-at=2026-01-31T12:00:00Z',
  ];
  // A policy is enforced a moment after it was stored; a dry run changes nothing until then.
  for (let tries = 0; tries < 100; tries++)
    if (!(await kubectl('--as', `${ISSUER}#admin`, ...force, '--dry-run=server')).ok) break;
  for (const role of ['operator', 'admin']) {
    const as = ['--as', `${ISSUER}#${role}`];
    assert.match((await kubectl(...as, ...drop)).text, /finalizers of store\.gsv\.dev are the operator/, role);
    assert.match((await kubectl(...as, ...force)).text, /is for administrators of the platform/, role);
    assert.ok((await kubectl(...as, ...usual)).ok, 'what is theirs to change');
  }
  assert.ok((await kubectl(...force)).ok);
  assert.ok(
    (await kubectl('--as', `${ISSUER}#admin`, ...usual.slice(0, -1), 'note=x')).ok,
    'what stands is no offence',
  );
  assert.ok((await kubectl('--as', account('gsv-operator').user, ...drop)).ok, 'the operator lets go');
});

test('a request that is no time is refused at once, by name', async () => {
  const ask = (annotation: string, value: string) =>
    kubectl('annotate', '--overwrite', 'gsvi', 'asked', '-n', 'gsv-org-acme', `${annotation}=${value}`);
  const file = join(folder, 'asked.yaml');
  const spec = 'offeringRef: { name: o }, plan: p, projectRef: { name: default }, walletRef: { name: main }';
  const metadata = '{ name: asked, namespace: gsv-org-acme }';
  await writeFile(
    file,
    `apiVersion: store.gsv.dev/v1alpha1\nkind: Instance\nmetadata: ${metadata}\nspec: { ${spec} }\n`,
  );
  assert.ok((await kubectl('create', '-f', file)).ok);
  for (const annotation of ['store.gsv.dev/rotate-requested-at', 'store.gsv.dev/upgrade-requested-at']) {
    for (const value of ['now', '2026-01-31', '2026-13-01T00:00:00Z', '']) {
      const { ok, text } = await kubectl(
        'annotate',
        '--overwrite',
        'gsvi',
        'asked',
        '-n',
        'gsv-org-acme',
        `${annotation}=${value}`,
        '--dry-run=server',
      );
      assert.not.ok(ok, `${annotation}=${value}`);
      assert.ok(text.includes(`${annotation} is a time like 2026-01-31T12:00:00Z`), text);
    }
    assert.ok((await ask(annotation, '2026-01-31T12:00:00.5+01:00')).ok);
  }
});

const account = (name: string): Caller => ({
  user: `system:serviceaccount:gsv-system:${name}`,
  groups: ['system:serviceaccounts', 'system:serviceaccounts:gsv-system'],
});

test('the shipped roles: each process has what its calls need, and none of what belongs to Git', async () => {
  const table: [name: string, verb: string, resource: string, namespace: string | undefined, allowed: boolean][] = [
    ['gsv-operator', 'list', gsv('instances'), undefined, true],
    ['gsv-operator', 'create', gsv('instances'), 'gsv-org-acme', true],
    ['gsv-operator', 'patch', 'instances/status.store.gsv.dev', 'gsv-org-acme', true],
    ['gsv-operator', 'update', 'instances/status.store.gsv.dev', 'gsv-org-acme', false],
    ['gsv-operator', 'patch', gsv('projects'), 'gsv-org-acme', true],
    ['gsv-operator', 'patch', gsv('teams'), 'gsv-org-acme', false],
    ['gsv-operator', 'patch', gsv('offerings'), undefined, false],
    ['gsv-operator', 'delete', gsv('instances'), 'gsv-org-acme', false],
    ['gsv-operator', 'create', 'namespaces', undefined, true],
    ['gsv-operator', 'patch', 'applications.argoproj.io', 'argocd', true],
    ['gsv-operator', 'create', 'applications.argoproj.io', 'argocd', false],
    ['gsv-operator', 'create', 'rolebindings.rbac.authorization.k8s.io', 'gsv-org-acme', false],
    ['gsv-operator', 'get', 'secrets', 'gsv-system', false],
    ['gsv-operator', 'create', 'deployments.apps', 'gsv-org-acme', false],
    ['gsv-edge-run', 'watch', gsv('instances'), undefined, true],
    ['gsv-edge-run', 'patch', gsv('instances'), 'gsv-org-acme', false],
    ['gsv-edge-api', 'patch', gsv('instances'), 'gsv-org-acme', true],
    ['gsv-edge-api', 'patch', gsv('wallets'), 'gsv-org-acme', false],
    ['gsv-edge-api', 'patch', 'instances/status.store.gsv.dev', 'gsv-org-acme', false],
    ['gsv-runner', 'get', gsv('instances'), 'gsv-org-acme', true],
    ['gsv-runner', 'get', gsv('teams'), 'gsv-org-acme', false],
    ['gsv-runner', 'get', 'secrets', 'gsv-org-acme', false],
    ['gsv-ledger', 'get', gsv('instances'), 'gsv-org-acme', false],
  ];
  for (const [name, verb, resource, namespace, allowed] of table)
    assert.is(await may(account(name), verb, resource, namespace), allowed, `${name} ${verb} ${resource}`);
});

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 240; turn++) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  throw new Error(`it never came to this: ${what}`);
}

test('a foreign namespace is not adopted; a deleted one lets everything in it end', async () => {
  const git = new FakeGit();
  const secrets = new FakeSecrets();
  const blobs = new FakeBlobs();
  const ledger = new FakeLedger();
  const operator = startOperator({
    store,
    ledger,
    secrets,
    blobs,
    git,
    delivery: new FakeDelivery(git),
    probe: new FakeProbe(() => ({ ok: false, code: 'none', detail: 'nothing runs here' })),
    settings: { publicUrl: 'https://store.example.com', platform },
    log: createLogger({ part: 'operator', level: 'silent' }),
  });
  try {
    await operator.ready;
    const ready = async (kind: Kind, name: string, namespace?: string) => {
      const object = await store.get(kind, { name, ...(namespace === undefined ? {} : { namespace }) });
      return findCondition(object?.status?.conditions as Parameters<typeof findCondition>[0], 'Ready')?.reason;
    };
    const write = (kind: Kind, metadata: object, spec: object) =>
      store.apply(kind, { metadata, spec } as never, { fieldManager: 'test' });
    const triage = plainCapability();
    await write('Capability', { name: 'triage' }, triage);
    const offering = { category: 'Agent', display: { title: 'Claims' }, lifecycle: 'Published', channel: '1.0.0' };
    await write('Offering', { name: 'claims-agent' }, offering);
    const version = await publishedVersion(blobs, 'claims-agent', '1.0.0', { triage });
    await write('OfferingVersion', { name: 'claims-agent-1.0.0' }, version);
    await write('Organization', { name: 'globex' }, { display: { title: 'Globex' } });
    await until('the conflict is named', async () => (await ready('Organization', 'globex')) === 'NamespaceConflict');
    const foreign = await store.get('Namespace', { name: 'gsv-org-globex' });
    assert.is(foreign?.metadata.labels?.['store.gsv.dev/organization-uid'], undefined);

    await write('Organization', { name: 'zeta' }, { display: { title: 'Zeta' } });
    await until('zeta has its namespace', async () => (await ready('Organization', 'zeta')) === 'Succeeded');
    const namespace = 'gsv-org-zeta';
    await write('Project', { namespace, name: 'default' }, {});
    await write('Wallet', { namespace, name: 'main' }, {});
    await until('the wallet is open', async () => ledger.wallets.has('zeta.main'));
    ledger.credit('zeta.main', 10_000_000);
    const refs = {
      projectRef: { name: 'default' },
      offeringRef: { name: 'claims-agent' },
      walletRef: { name: 'main' },
    };
    for (const name of ['one', 'two'])
      await write('Instance', { namespace, name }, { ...refs, plan: 'starter', config: {} });
    const held = async (): Promise<number> => {
      const kinds = ['Project', 'Wallet', 'Instance'] as const;
      const lists = await Promise.all(kinds.map((kind) => store.list(kind, { namespace })));
      return lists.flat().filter(({ metadata }) => (metadata.finalizers ?? []).length > 0).length;
    };
    await until('finalizers hold what has effects', async () => (await held()) === 4);
    assert.is(secrets.roles.size, 1);
    // Spent: a wallet with money would block, as it must.
    ledger.credit('zeta.main', 0);
    const first = (await store.get('Namespace', { name: namespace }))?.metadata.uid;
    assert.ok((await kubectl('delete', 'namespace', namespace, '--timeout=100s')).ok, 'it ends by itself');
    assert.is(secrets.roles.size, 0);
    assert.equal(
      [...git.files.keys()].filter((path) => path.includes('/zeta/projects') || path.startsWith('tenants/')),
      [],
    );
    await until('the Organization has a namespace again', async () => {
      const present = await store.get('Namespace', { name: namespace });
      return present !== undefined && present.metadata.uid !== first;
    });
    assert.ok((await kubectl('delete', 'gsvg', 'zeta', 'globex', '--timeout=100s')).ok);
    assert.ok(await store.get('Namespace', { name: 'gsv-org-globex' }), 'the foreign namespace stays');
    await until('its own is gone', async () => (await store.get('Namespace', { name: namespace })) === undefined);
  } finally {
    await operator.close();
  }
});
