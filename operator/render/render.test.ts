import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { manifestsOf } from '../../hack/testing/rendered.ts';
import { egressRules } from './egress.ts';
import type { InstanceInput, RenderedContract } from './input.ts';
import { instanceFile, platformFolderOf, projectPlatformFolder, secretPath, workloadNamespace } from './paths.ts';
import {
  defaultPlatform,
  projectRemoval,
  RenderError,
  type RenderErrorCode,
  renderInstance,
  renderOrganization,
  renderProject,
} from './render.ts';

const platform = defaultPlatform('https://git.example.com/gsv/delivery.git', 'main');
const organization = { metadata: { name: 'acme', uid: 'org-uid' } };
const project = { metadata: { name: 'default', uid: 'project-uid' }, spec: {} };

function contract(more: Partial<RenderedContract> = {}): RenderedContract {
  return {
    offering: 'claims-agent',
    version: '1.0.0',
    secrets: [],
    connectors: [],
    limits: { runSeconds: 120 },
    plans: [{ name: 'pro', limits: { runSeconds: 300 } }],
    ...more,
  };
}

function instance(more: Partial<InstanceInput> = {}): InstanceInput {
  return {
    organization,
    project,
    instance: { metadata: { name: 'claims', uid: 'instance-uid' }, spec: { plan: 'pro', config: {} } },
    contract: contract(),
    platform,
    contractDigest: `sha256:${'0'.repeat(64)}`,
    ...more,
  };
}

function refusal(work: () => unknown): RenderErrorCode {
  try {
    work();
  } catch (error) {
    if (error instanceof RenderError) return error.code;
    throw error;
  }
  throw new Error('nothing was thrown');
}

type Rendered = {
  kind: string;
  metadata: { name: string; namespace?: string; labels: Record<string, string> };
} & Record<string, unknown>;

function objects(files: Map<string, string>): Rendered[] {
  return [...manifestsOf(files).values()].map((text) => parse(text) as Rendered);
}

test('profiles that are not offered are refused by name, for the Project and for its Instances', () => {
  // Namespace, because this platform names no image for the runtime.
  for (const runtimeProfile of ['Namespace', 'VCluster', 'Cluster'] as const) {
    const other = { ...project, spec: { runtimeProfile } };
    assert.is(
      refusal(() => renderProject({ organization, project: other, projects: [], platform })),
      'profile_not_offered',
    );
    assert.is(
      refusal(() => renderInstance(instance({ project: other }))),
      'profile_not_offered',
    );
  }
});

test('a name that is no DNS label never enters a path', () => {
  const names = [
    '',
    '.',
    '..',
    '../x',
    'a/b',
    'A',
    'a_b',
    'a.b',
    '-a',
    'a-',
    'a\n',
    'ä',
    'a'.repeat(64),
    'a\0',
    'a b',
    '{{x}}',
  ];
  for (const name of names) {
    const named = { metadata: { name, uid: 'u' } };
    const renders = [
      () => renderProject({ organization: named, project, projects: [], platform }),
      () => renderProject({ organization, project: { ...named, spec: {} }, projects: [], platform }),
      () => renderOrganization({ organization, projects: [named], platform }),
      () => renderInstance(instance({ instance: { ...named, spec: { plan: 'p' } } })),
    ];
    for (const render of renders) assert.is(refusal(render), 'invalid_name', JSON.stringify(name));
  }
  for (const uid of ['', '../x', 'a/b', 'a b', 'a\nb', 'x'.repeat(65)]) {
    assert.is(
      refusal(() => instanceFile('acme', 'default', 'a', uid)),
      'invalid_name',
      uid,
    );
  }
  for (const secret of ['', '..', 'a..b', 'a/b', '.a', 'a\n', 'a b']) {
    assert.is(
      refusal(() => secretPath('gsv-w-x', 'uid', secret)),
      'invalid_name',
      secret,
    );
  }
});

test('a workload namespace is a label of at most 63 characters that keeps the hash, and differs by uid', () => {
  const long = workloadNamespace('a'.repeat(55), 'b'.repeat(63), 'uid');
  assert.is(long.length, 63);
  assert.match(long, /^gsv-w-a+-[0-9a-f]{8}$/);
  assert.is.not(workloadNamespace('a', 'b-c', 'one'), workloadNamespace('a-b', 'c', 'two'));
  assert.match(workloadNamespace('acme', 'default', 'uid'), /^gsv-w-acme-default-[0-9a-f]{8}$/);
  const namespace = workloadNamespace('acme', 'default', 'uid');
  assert.is(platformFolderOf('acme', 'default', namespace), projectPlatformFolder('acme', 'default', 'uid'));
});

test('the successor of an Instance or Project of the same name has another place', () => {
  assert.is.not(instanceFile('acme', 'default', 'a', 'one'), instanceFile('acme', 'default', 'a', 'two'));
  const removal = (uid: string): string[] =>
    projectRemoval({ organization, project: { metadata: { name: 'default', uid }, spec: {} } }).platform;
  assert.is.not(removal('one')[0], removal('two')[0]);
});

test('config under the name of a secret of the contract is refused, and the message does not show it', () => {
  const input = instance({
    instance: { metadata: { name: 'a', uid: 'u' }, spec: { plan: 'p', config: { token: 'hunter2' } } },
    contract: contract({ secrets: [{ name: 'token', source: 'Buyer' }] }),
  });
  assert.is(
    refusal(() => renderInstance(input)),
    'secret_in_config',
  );
  assert.throws(
    () => renderInstance(input),
    (error: Error) => !error.message.includes('hunter2'),
  );
});

test('config in another order of members renders the same bytes', () => {
  const render = (config: Record<string, unknown>): string[] => [
    ...renderInstance(
      instance({ instance: { metadata: { name: 'a', uid: 'u' }, spec: { plan: 'p', config } } }),
    ).values(),
  ];
  assert.equal(render({ a: 1, b: { c: [1], d: 2 } }), render({ b: { d: 2, c: [1] }, a: 1 }));
});

test('a new secret version changes the ExternalSecret and nothing else', () => {
  const terms = contract({ secrets: [{ name: 'token', source: 'Buyer' }] });
  const render = (version: number): Map<string, string> =>
    manifestsOf(renderInstance(instance({ contract: terms, secretVersions: [{ name: 'token', version }] })));
  const [one, two] = [render(1), render(2)];
  const different = [...one.keys()].filter((path) => one.get(path) !== two.get(path));
  assert.equal(
    different.map((path) => path.split('#').at(-1)),
    ['ExternalSecret-i-claims'],
  );
});

test('the tenants root holds only namespaced kinds of the whitelist, all in the workload namespace', () => {
  const files = new Map([
    ...renderProject({ organization, project, projects: [project], platform }),
    ...renderInstance(instance()),
  ]);
  const [appProject] = objects(new Map([...files].filter(([path]) => path.endsWith('/appproject.yaml'))));
  const spec = appProject?.spec as {
    namespaceResourceWhitelist: { kind: string }[];
    clusterResourceWhitelist: unknown[];
  };
  assert.equal(spec.clusterResourceWhitelist, []);
  const allowed = new Set(spec.namespaceResourceWhitelist.map(({ kind }) => kind));
  const tenants = objects(new Map([...files].filter(([path]) => path.startsWith('tenants/'))));
  assert.ok(tenants.length > 5);
  for (const { kind, metadata } of tenants) {
    assert.ok(allowed.has(kind), kind);
    assert.is(metadata.namespace, workloadNamespace('acme', 'default', 'project-uid'));
  }
});

test('the AppProject names the namespace of every Project once and of no other Organization', () => {
  const projects = [project, { metadata: { name: 'claims', uid: 'x' } }, project];
  const [appProject] = objects(renderProject({ organization, project, projects, platform }));
  assert.ok(appProject);
  const { destinations } = appProject.spec as { destinations: { namespace: string }[] };
  assert.equal(
    destinations.map(({ namespace }) => namespace),
    [workloadNamespace('acme', 'claims', 'x'), workloadNamespace('acme', 'default', 'project-uid')],
  );
});

test('credentials in the address of the repository never reach a manifest', () => {
  const addresses: [remote: string, shown: string][] = [
    ['https://bot:hunter2@git.example.com/r.git', 'https://git.example.com/r.git'],
    ['https://hunter2@git.example.com/r.git', 'https://git.example.com/r.git'],
    ['ssh://git:hunter2@git.example.com/r.git', 'ssh://git@git.example.com/r.git'],
    ['ssh://git@git.example.com/r.git', 'ssh://git@git.example.com/r.git'],
    ['git@git.example.com:r.git', 'git@git.example.com:r.git'],
    ['/srv/git/r.git', '/srv/git/r.git'],
  ];
  for (const [remote, shown] of addresses) {
    const files = renderProject({ organization, project, projects: [], platform: { ...platform, repoUrl: remote } });
    const text = [...files.values()].join('');
    assert.not.match(text, /hunter2/);
    assert.ok(text.includes(`repoURL: "${shown}"`), shown);
    assert.ok(text.includes(`- "${shown}"`), shown);
  }
});

test('an egress target opens what a NetworkPolicy can say and never the node or its metadata', () => {
  const cases: [target: string, rules: number, hosts: string[], reason: string][] = [
    ['https://api.example.com/x', 0, ['api.example.com'], 'names are beyond a NetworkPolicy'],
    ['*.example.com:8443', 0, ['*.example.com:8443'], 'a wildcard with a port'],
    ['192.0.2.1', 1, [], 'an address'],
    ['http://192.0.2.1:8080', 1, [], 'an address with a port'],
    ['192.0.2.0/24', 1, [], 'a network'],
    ['[2001:db8::1]:443', 1, [], 'IPv6'],
    ['http://a.b.svc:80', 1, [], 'a service of the cluster'],
    ['127.0.0.1', 0, [], 'loopback'],
    ['http://2130706433/', 0, [], 'loopback in disguise'],
    ['http://0x7f.1/', 0, [], 'loopback in disguise'],
    ['169.254.169.254', 0, [], 'cloud metadata'],
    ['http://[::ffff:169.254.169.254]/', 0, [], 'cloud metadata mapped to IPv6'],
    ['[::1]', 0, [], 'loopback of IPv6'],
    ['169.0.0.0/8', 0, [], 'a network around the metadata'],
    ['0.0.0.0/0', 0, [], 'everything'],
    ['128.0.0.0/1', 0, [], 'half of everything'],
    ['not a url\n- x', 0, [], 'no target at all'],
    ['a,b', 0, [], 'would split the annotation'],
  ];
  for (const [target, rules, hosts, reason] of cases) {
    const egress = egressRules([target, target], 'platform', platform);
    assert.is(egress.rules.length, rules, `${target}: ${reason}`);
    assert.equal(egress.hosts, hosts, `${target}: ${reason}`);
  }
});

test('nobody opens a namespace of the store, of another tenant or of the cluster itself', () => {
  for (const namespace of ['gsv-system', 'argocd', 'kube-system', 'gsv-w-globex-default-00000000', 'gsv-org-globex']) {
    assert.equal(egressRules([`http://ledger.${namespace}.svc:7101`], 'platform', platform), { rules: [], hosts: [] });
  }
});

test('a tenant opens neither private networks nor services of the cluster; the platform may', () => {
  for (const target of [
    '10.1.2.3',
    '172.20.0.0/16',
    '192.168.0.1:8080',
    'http://db.other.svc',
    'fd00::1',
    '8.0.0.0/5',
  ]) {
    assert.is(egressRules([target], 'tenant', platform).rules.length, 0, target);
    assert.is(egressRules([target], 'platform', platform).rules.length, 1, target);
  }
  assert.is(egressRules(['203.0.113.9'], 'tenant', platform).rules.length, 1);
});
