/** What `kustomize/` installs is what a real API server takes: base, the reference overlay, and every component that stands alone. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { startArgoCd } from './argocd/argocd.ts';
import { testCluster } from './cluster/testing.ts';
import { kubectl } from './processes/kubectl.ts';

const FOLDER = join(import.meta.dirname, '../kustomize');
const log = (line: string): void => void process.stderr.write(`# ${line}\n`);

const { kubeconfig, ...cluster } = await testCluster();
// Its CRDs are the published ones; nothing of it has to run any more.
await (await startArgoCd({ cluster: { kubeconfig, ...cluster }, log })).close();
// A dry run makes no namespace for what follows in it.
await kubectl(kubeconfig, 'apply', '--server-side', '-f', join(FOLDER, 'base/namespace.yaml'));

/** What the server would have taken, as `kind.group/name`. @throws Error with its words */
async function dryRun(folder: string): Promise<string[]> {
  const apply = ['apply', '--server-side', '--force-conflicts', '--dry-run=server'];
  const said = await kubectl(kubeconfig, ...apply, '-k', folder);
  const lines = said.split('\n').filter((line) => line !== '');
  for (const line of lines) assert.match(line, / serverside-applied \(server dry run\)$/);
  return lines.map((line) => line.split(' ')[0] ?? '');
}

/** An overlay of a test's own on the reference. */
async function dryRunOf(more: string): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-overlay-'));
  const to = (path: string) => relative(folder, join(FOLDER, path));
  try {
    const head = 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n';
    const text = `${head}resources: [${to('overlays/reference')}]\n${more.replaceAll('FOLDER', to('.'))}`;
    await writeFile(join(folder, 'kustomization.yaml'), text);
    return await dryRun(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test('the base: CRDs, roles, processes', async (t) => {
  const taken = await dryRun(join(FOLDER, 'base'));
  t.diagnostic(`${taken.length} objects`);
  for (const id of [
    'deployment.apps/gsv-operator',
    'customresourcedefinition.apiextensions.k8s.io/instances.store.gsv.dev',
  ])
    assert.ok(taken.includes(id), id);
  assert.is(await kubectl(kubeconfig, 'get', 'deployments', '-n', 'gsv-system', '-o', 'name'), '');
});

test('the reference overlay, with the root Applications', async (t) => {
  const taken = await dryRun(join(FOLDER, 'overlays/reference'));
  t.diagnostic(`${taken.length} objects`);
  assert.is(taken.filter((id) => id.startsWith('application.argoproj.io/gsv-platform-')).length, 16);
});

test('the reference overlay with every component that needs no Argo CD in it', async (t) => {
  const components = ['openmeter', 'tenant-kubectl'].map((name) => `FOLDER/components/${name}`);
  const taken = await dryRunOf(`components: [${components.join(', ')}]\n`);
  t.diagnostic(`${taken.length} objects`);
  assert.ok(taken.some((id) => id.startsWith('clusterrole.rbac.authorization.k8s.io/gsv-catalog')));
});

test('the dry run is not blind: a field that does not exist is refused', async () => {
  const patch = 'patch: \'[{ "op": "add", "path": "/spec/replicass", "value": 2 }]\'';
  const error = await dryRunOf(`patches:\n  - target: { kind: Deployment, name: gsv-operator }\n    ${patch}\n`).catch(
    (caught: unknown) => caught,
  );
  assert.match((error as Error).message, /replicass/);
});
