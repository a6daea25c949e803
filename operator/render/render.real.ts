import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { testCluster } from '../../hack/cluster/testing.ts';
import { manifestsOf } from '../../hack/testing/rendered.ts';

/**
 * The rendered objects as Argo CD would bring them: their very bytes, by server-side apply, to a real API server with
 * strict validation. Its YAML reader is a third one, and Pod Security is enforced by its admission, not by our list.
 */
const TESTDATA = join(import.meta.dirname, 'testdata');
const COLLECTIONS: Record<string, string> = {
  'v1 ConfigMap': 'configmaps',
  'v1 LimitRange': 'limitranges',
  'v1 ResourceQuota': 'resourcequotas',
  'v1 Service': 'services',
  'v1 ServiceAccount': 'serviceaccounts',
  'apps/v1 Deployment': 'deployments',
  'networking.k8s.io/v1 NetworkPolicy': 'networkpolicies',
  'policy/v1 PodDisruptionBudget': 'poddisruptionbudgets',
};

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; generation?: number; resourceVersion?: string };
  spec?: { template?: { metadata: object; spec: Record<string, unknown> } };
}
interface Rendered {
  file: string;
  text: string;
  manifest: Manifest;
}
interface Answer {
  status: number;
  body: Manifest & { message?: string };
}

const cluster = await testCluster({ controllers: false });
const ca = readFileSync(cluster.caFile);

function call(method: string, path: string, body: string, type = 'application/apply-patch+yaml'): Promise<Answer> {
  const headers = { authorization: `Bearer ${cluster.adminToken}`, 'content-type': type };
  return new Promise((resolve, reject) => {
    const sent = request(`${cluster.url}${path}`, { method, headers, ca }, (response) => {
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Answer['body'] }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function path({ apiVersion, kind, metadata }: Manifest, dryRun: boolean): string {
  const query = `fieldManager=argocd-controller&force=true&fieldValidation=Strict${dryRun ? '&dryRun=All' : ''}`;
  if (kind === 'Namespace') return `/api/v1/namespaces/${metadata.name}?${query}`;
  const root = apiVersion.includes('/') ? 'apis' : 'api';
  const plural = COLLECTIONS[`${apiVersion} ${kind}`];
  return `/${root}/${apiVersion}/namespaces/${metadata.namespace}/${plural}/${metadata.name}?${query}`;
}

const apply = ({ text, manifest }: Rendered, dryRun = false): Promise<Answer> =>
  call('PATCH', path(manifest, dryRun), text);

function tree(name: string): Rendered[] {
  const folder = join(TESTDATA, name, 'out');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'));
  const texts = manifestsOf(new Map(files.map((file) => [file, readFileSync(join(folder, file), 'utf8')])));
  const rendered = [...texts].map(([file, text]) => ({
    file,
    text,
    manifest: parse(text, { version: '1.1' }) as Manifest,
  }));
  const known = ({ manifest }: Rendered): boolean =>
    manifest.kind === 'Namespace' || COLLECTIONS[`${manifest.apiVersion} ${manifest.kind}`] !== undefined;
  // The Namespace first and policies before pods, as the waves say.
  return rendered.filter(known).sort((a, b) => order(a.manifest) - order(b.manifest));
}

function order({ kind }: Manifest): number {
  return ['Namespace', 'ServiceAccount'].indexOf(kind) < 0 ? 2 : ['Namespace', 'ServiceAccount'].indexOf(kind);
}

const CASES = readdirSync(TESTDATA, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

for (const name of CASES) {
  test(`${name}: every core object is accepted strictly, and applying it again changes nothing`, async (t) => {
    const objects = tree(name);
    for (const each of objects) {
      const { status, body } = await apply(each);
      assert.ok(status === 200 || status === 201, `${each.file}: ${body.message}`);
    }
    for (const each of objects) {
      if (each.manifest.kind === 'Namespace') continue;
      const dry = await apply(each, true);
      assert.is(dry.status, 200, `${each.file}: ${dry.body.message}`);
      const [before, after] = [await apply(each), await apply(each)];
      assert.is(before.body.metadata.resourceVersion, after.body.metadata.resourceVersion, `${each.file} drifts`);
    }
    t.diagnostic(`${objects.length} objects applied`);
  });
}

function podOf({ spec, metadata }: Manifest, change: (pod: Record<string, unknown>) => void = () => undefined): string {
  const pod = structuredClone(spec?.template?.spec ?? {});
  change(pod);
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...spec?.template?.metadata, name: 'probe', namespace: metadata.namespace },
    spec: pod,
  });
}

const tryPod = (namespace: string | undefined, pod: string): Promise<Answer> =>
  call('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All&fieldValidation=Strict`, pod, 'application/json');

type Container = { securityContext: Record<string, unknown>; resources?: unknown };

test('a pod of the rendered template passes Pod Security restricted, and every way to loosen it does not', async () => {
  const deployment = tree('instance-namespace').find(({ manifest }) => manifest.kind === 'Deployment')?.manifest;
  assert.ok(deployment);
  const { namespace } = deployment.metadata;
  const accepted = await tryPod(namespace, podOf(deployment));
  assert.is(accepted.status, 201, accepted.body.message);
  const first = (pod: Record<string, unknown>): Container =>
    (pod.containers as Container[])[0] ?? { securityContext: {} };
  const loosenings: [string, (pod: Record<string, unknown>) => void][] = [
    ['root', (pod) => Object.assign(pod, { securityContext: { seccompProfile: { type: 'RuntimeDefault' } } })],
    ['no seccomp', (pod) => Object.assign(pod, { securityContext: { runAsNonRoot: true } })],
    ['host network', (pod) => Object.assign(pod, { hostNetwork: true })],
    [
      'a host path',
      (pod) => Object.assign((pod.volumes as object[])[0] ?? {}, { emptyDir: undefined, hostPath: { path: '/' } }),
    ],
    ['capabilities', (pod) => Object.assign(first(pod).securityContext, { capabilities: {} })],
    ['escalation', (pod) => Object.assign(first(pod).securityContext, { allowPrivilegeEscalation: true })],
  ];
  for (const [reason, change] of loosenings) {
    const refused = await tryPod(namespace, podOf(deployment, change));
    assert.is(refused.status, 403, `${reason}: ${refused.body.message}`);
    assert.match(refused.body.message ?? '', /violates PodSecurity "restricted:latest"/, reason);
  }
});

test('control: an unknown field and a wrong type are refused by the server', async () => {
  const deployment = tree('instance-namespace').find(({ manifest }) => manifest.kind === 'Deployment');
  assert.ok(deployment);
  const edits: [from: string, to: string, message: RegExp][] = [
    ['replicas: 0', 'replicas: "1"', /expected numeric|invalid|wrong type|string/i],
    ['revisionHistoryLimit: 2', 'revisionHistoryLimits: 2', /field not declared|unknown field/],
    ['enableServiceLinks: false', 'enableServiceLink: false', /field not declared|unknown field/],
  ];
  for (const [from, to, message] of edits) {
    const text = deployment.text.replace(from, to);
    assert.is.not(text, deployment.text, from);
    const refused = await apply({ ...deployment, text }, true);
    assert.ok(refused.status >= 400, `${to} is refused`);
    assert.match(refused.body.message ?? '', message);
  }
});
