/** The manifests we ship: they parse, hang together, and keep to least privilege. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parseAllDocuments } from 'yaml';
import { CATALOGUE } from '../config/settings.ts';
import { defaultPlatform, renderProject, rootApplicationName } from '../operator/render/render.ts';

const ROOT = join(import.meta.dirname, '..');
const FOLDER = join(ROOT, 'kustomize');

interface Container {
  image: string;
  command: string[];
  env?: { name: string; value: string }[];
  securityContext: unknown;
}
interface Manifest {
  file: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  resources?: string[];
  components?: string[];
  patches?: { path?: string }[];
  images?: { name: string; digest?: string }[];
  configMapGenerator?: { name: string; literals?: string[] }[];
  rules?: { apiGroups: string[]; resources: string[]; verbs: string[] }[];
  roleRef?: { kind: string; name: string };
  subjects?: { name: string; namespace: string }[];
  spec?: Record<string, unknown>;
}

function read(file: string): Manifest[] {
  return parseAllDocuments(readFileSync(file, 'utf8'), { version: '1.1', strict: true, uniqueKeys: true }).map(
    (document) => {
      assert.equal([...document.errors, ...document.warnings], [], file);
      return { ...(document.toJS() as Manifest), file };
    },
  );
}

const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  // The health checks carry their tests with them, in Argo CD's own layout.
  .filter((name) => name.endsWith('.yaml') && !name.includes('resource_customizations'))
  .map((name) => join(FOLDER, name));
const manifests = files.flatMap(read);
const kustomizations = files.filter((file) => file.endsWith('kustomization.yaml'));
const ofKind = (kind: string): Manifest[] => manifests.filter((manifest) => manifest.kind === kind);

interface PodTemplate {
  spec: { serviceAccountName: string; securityContext: Record<string, unknown>; containers: Container[] };
}
const pods = ofKind('Deployment').map((deployment) => ({
  name: deployment.metadata.name,
  pod: (deployment.spec as { template: PodTemplate }).template.spec,
}));

test('every file of kustomize is used by a kustomization, and everything one names exists', () => {
  const used = new Set(kustomizations);
  for (const file of [...kustomizations, join(ROOT, 'crds', 'kustomization.yaml')]) {
    const [kustomization] = read(file);
    const patches = (kustomization?.patches ?? []).flatMap(({ path }) => path ?? []);
    for (const name of [...(kustomization?.resources ?? []), ...(kustomization?.components ?? []), ...patches]) {
      const target = normalize(join(dirname(file), name));
      assert.ok(existsSync(target), `${relative(ROOT, file)} names ${name}`);
      if (target.endsWith('.yaml')) used.add(target);
      else assert.ok(existsSync(join(target, 'kustomization.yaml')), `${name} is a kustomization`);
    }
  }
  assert.equal(
    files.filter((file) => !used.has(file)).map((file) => relative(ROOT, file)),
    [],
  );
});

test('the kustomization of the resource definitions lists every one of them', () => {
  const crds = readdirSync(join(ROOT, 'crds')).filter((name) => /^store\.gsv\.dev_.*\.yaml$/.test(name));
  assert.ok(crds.length >= 10);
  assert.equal(read(join(ROOT, 'crds', 'kustomization.yaml'))[0]?.resources?.toSorted(), crds.sort());
});

test('every process runs restricted, from the one image, with an account and an entry file that exist', () => {
  assert.equal(pods.map(({ name }) => name).sort(), [
    'gsv-edge-api',
    'gsv-edge-run',
    'gsv-ledger',
    'gsv-operator',
    'gsv-runner',
  ]);
  const accounts = ofKind('ServiceAccount').map(({ metadata }) => metadata.name);
  for (const { name, pod } of pods) {
    assert.ok(accounts.includes(pod.serviceAccountName), `${name} has its account`);
    assert.ok(pod.securityContext.runAsNonRoot, name);
    assert.equal(pod.securityContext.seccompProfile, { type: 'RuntimeDefault' }, name);
    for (const container of pod.containers) {
      assert.is(container.image, 'gsv-agent-store', name);
      assert.equal(
        container.securityContext,
        { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
        name,
      );
      const script = container.command.slice(1).find((argument) => !argument.startsWith('--')) ?? '';
      assert.ok(existsSync(join(ROOT, script)) && script !== '', `${name} starts ${script}`);
    }
  }
});

test('an overlay names the image by digest', () => {
  const overlays = ofKind('Kustomization').filter(({ file }) => file.includes('overlays'));
  assert.ok(overlays.length > 0);
  for (const { images, file } of overlays) {
    assert.match(images?.find(({ name }) => name === 'gsv-agent-store')?.digest ?? '', /^sha256:[0-9a-f]{64}$/, file);
  }
});

test('every variable is a setting that we have', () => {
  const known = new Set(Object.values(CATALOGUE).flatMap(({ env }) => [env as string, `${env}_FILE`]));
  const used = [
    ...pods.flatMap(({ pod }) => pod.containers.flatMap(({ env }) => (env ?? []).map(({ name }) => name))),
    ...ofKind('Kustomization').flatMap(({ configMapGenerator }) =>
      (configMapGenerator ?? []).flatMap(({ literals }) => (literals ?? []).map((text) => text.split('=')[0] ?? '')),
    ),
  ];
  assert.ok(used.length > 10);
  assert.equal(
    used.filter((name) => !known.has(name)),
    [],
  );
});

test('every binding leads to a role and an account of ours', () => {
  const roles = [...ofKind('Role'), ...ofKind('ClusterRole')].map(({ kind, metadata }) => `${kind} ${metadata.name}`);
  const accounts = ofKind('ServiceAccount').map(({ metadata }) => `${metadata.namespace} ${metadata.name}`);
  for (const { roleRef, subjects, metadata } of [...ofKind('RoleBinding'), ...ofKind('ClusterRoleBinding')]) {
    assert.ok(roles.includes(`${roleRef?.kind} ${roleRef?.name}`), metadata.name);
    // What is for sale may be shown to every login; nothing else is bound to people.
    if (metadata.name === 'gsv-catalog-reader')
      assert.equal(
        subjects?.map(({ name }) => name),
        ['system:authenticated'],
      );
    else
      for (const { name, namespace } of subjects ?? [])
        assert.ok(accounts.includes(`${namespace} ${name}`), metadata.name);
  }
});

/** Group, resources and verbs beyond reading that any of our accounts may have. Everything else goes through Git. */
const WRITES: Record<string, string[]> = {
  '': ['events', 'namespaces'],
  'store.gsv.dev': ['*/status', 'instances', 'organizations', 'projects', 'wallets'],
  'argoproj.io': ['applications'],
  'coordination.k8s.io': ['leases'],
};

test('nobody may write what belongs to Git, and nobody may read Secrets or roles', () => {
  const rules = [...ofKind('Role'), ...ofKind('ClusterRole')].flatMap(({ rules }) => rules ?? []);
  assert.ok(rules.length > 5);
  for (const { apiGroups, resources, verbs } of rules) {
    assert.not.ok(verbs.includes('*') || apiGroups.includes('*') || resources.includes('secrets'));
    assert.not.ok(apiGroups.includes('rbac.authorization.k8s.io'));
    if (verbs.every((verb) => ['get', 'list', 'watch'].includes(verb))) continue;
    for (const group of apiGroups) {
      for (const resource of resources) assert.ok(WRITES[group]?.includes(resource), `${group} ${resource} ${verbs}`);
    }
  }
});

test('the root AppProject allows exactly the kinds of the platform root, and roles', () => {
  const project = { metadata: { name: 'default', uid: 'p' }, spec: {} };
  const platform = defaultPlatform('https://git.example.com/r.git', 'main');
  const rendered = renderProject({
    organization: { metadata: { name: 'acme', uid: 'o' } },
    project,
    projects: [],
    platform,
  });
  const kinds = [...rendered]
    .filter(([path]) => path.startsWith('platform/'))
    .map(([, text]) => /^kind: (.*)$/m.exec(text)?.[1]);
  const spec = ofKind('AppProject')[0]?.spec as Record<
    'clusterResourceWhitelist' | 'namespaceResourceWhitelist',
    { kind: string }[]
  >;
  assert.equal(
    spec.clusterResourceWhitelist.map(({ kind }) => kind),
    ['Namespace'],
  );
  const allowed = [...spec.clusterResourceWhitelist, ...spec.namespaceResourceWhitelist].map(({ kind }) => kind);
  assert.equal(allowed.sort(), [...new Set([...kinds, 'Role', 'RoleBinding'])].sort());
});

interface RootSpec {
  source: { path: string; directory: { include: string } };
  syncPolicy: { automated: object; syncOptions: string[] };
}

test('sixteen root Applications share the platform root, each path to exactly one, and to the one the operator refreshes', () => {
  const roots = ofKind('Application').map(({ metadata, spec }) => ({
    name: metadata.name,
    ...(spec as unknown as RootSpec),
  }));
  assert.is(roots.length, 16);
  for (const { source, syncPolicy } of roots) {
    assert.is(source.path, 'platform');
    assert.ok(syncPolicy.syncOptions.includes('ServerSideApply=true'));
    assert.equal(syncPolicy.automated, { prune: true, selfHeal: true, allowEmpty: true });
  }
  const project = { metadata: { name: 'default', uid: 'p' }, spec: {} };
  const platform = defaultPlatform('https://git.example.com/r.git', 'main');
  const used = new Set<string>();
  for (let index = 0; index < 200; index += 1) {
    const organization = { metadata: { name: `org-${index}`, uid: `o-${index}` } };
    for (const path of renderProject({ organization, project, projects: [], platform }).keys()) {
      if (!path.startsWith('platform/')) continue;
      const names = roots.filter(({ source }) => matches(source.directory.include, path.slice('platform/'.length)));
      assert.equal(
        names.map(({ name }) => name),
        [rootApplicationName(organization.metadata.name)],
        path,
      );
      used.add(names[0]?.name ?? '');
    }
  }
  assert.is(used.size, 16, 'every root has its share');
});

/** Argo CD's glob has no separator: a star runs over slashes, so the first character decides. */
function matches(glob: string, path: string): boolean {
  return new RegExp(`^${glob.replace(/\*+/g, '.*')}$`).test(path);
}
