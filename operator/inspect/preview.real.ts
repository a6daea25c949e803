import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { OWN_KINDS } from '../../crds/definitions.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { testCluster } from '../../hack/cluster/testing.ts';
import { readCatalog } from '../publish/catalog.ts';

const ROOT = join(import.meta.dirname, '../..');
const NAMESPACE = 'gsv-org-acme';

const cluster = await testCluster({ controllers: false });
const store = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig });
const folder = await mkdtemp(join(tmpdir(), 'gsv-preview-'));
after(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

const instance = (plan: string) => ({
  metadata: { namespace: NAMESPACE, name: 'claims' },
  spec: {
    projectRef: { name: 'default' },
    offeringRef: { name: 'claims-agent' },
    walletRef: { name: 'main' },
    plan,
  },
});

test('a preview reads the present state from a real API server, and writes nothing there', async () => {
  const options = { fieldManager: 'test' };
  for (const { kind, metadata, spec } of await readCatalog(join(ROOT, 'config/samples'))) {
    const known = OWN_KINDS.find((each) => each === kind);
    if (known === undefined || metadata.namespace !== undefined) continue;
    await store.apply(known, { metadata: { name: metadata.name }, spec } as Parameters<typeof store.apply>[1], options);
  }
  await store.create('Namespace', { metadata: { name: NAMESPACE }, spec: {} });
  await store.apply('Project', { metadata: { namespace: NAMESPACE, name: 'default' }, spec: {} }, options);
  const present = await store.apply('Instance', instance('starter'), options);
  const file = join(folder, 'wanted.yaml');
  await writeFile(file, stringify({ apiVersion: 'store.gsv.dev/v1alpha1', kind: 'Instance', ...instance('pro') }));
  const args = ['operator/inspect/preview.ts', '-f', file, '--kubeconfig', cluster.kubeconfig, '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT });
  const { files, entitlements } = JSON.parse(stdout) as { files: { action: string }[]; entitlements: { plan: object } };
  assert.equal(entitlements.plan, { before: 'starter', after: 'pro' });
  assert.equal(
    files.map(({ action }) => action),
    ['Changed'],
  );
  const now = await store.get('Instance', { namespace: NAMESPACE, name: 'claims' });
  assert.is(now?.metadata.resourceVersion, present.metadata.resourceVersion);
});
