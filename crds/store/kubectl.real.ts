import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { testCluster } from '../../hack/cluster/testing.ts';
import { definitionOf, OWN_KINDS, schemaOf } from '../definitions.ts';
import { KINDS } from '../kinds.ts';
import { condition } from './contract-fixtures.ts';
import { KubernetesStore } from './kubernetes.ts';

const CRDS = join(import.meta.dirname, '..');
const NAMESPACE = 'gsv-org-acme';
/** kubectl ends sooner, with its own words. Milliseconds. */
const KUBECTL_TIMEOUT_MS = 60_000;

const cluster = await testCluster();
const store = await KubernetesStore.open({ kubeConfig: cluster.kubeconfig });
const folder = await mkdtemp(join(tmpdir(), 'gsv-kubectl-'));
after(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

interface Answer {
  ok: boolean;
  text: string;
}

async function kubectl(...args: string[]): Promise<Answer> {
  const env = { ...process.env, KUBECONFIG: cluster.kubeconfig };
  try {
    const { stdout, stderr } = await promisify(execFile)('kubectl', args, { env, timeout: KUBECTL_TIMEOUT_MS });
    return { ok: true, text: stdout + stderr };
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as { code?: unknown; stdout?: string; stderr?: string };
    if (code === 'ENOENT') throw new Error('kubectl is not on the PATH: this suite needs it');
    return { ok: false, text: stdout + stderr };
  }
}

async function works(...args: string[]): Promise<string> {
  const { ok, text } = await kubectl(...args);
  assert.ok(ok, `kubectl ${args.join(' ')}: ${text}`);
  return text;
}

async function manifest(object: object): Promise<string> {
  const file = join(folder, 'object.yaml');
  await writeFile(file, stringify(object));
  return file;
}

const instance = (spec: object = {}) => ({
  apiVersion: 'store.gsv.dev/v1alpha1',
  kind: 'Instance',
  metadata: { name: 'claims', namespace: NAMESPACE },
  spec: {
    projectRef: { name: 'default' },
    offeringRef: { name: 'claims-agent' },
    plan: 'starter',
    walletRef: { name: 'main' },
    ...spec,
  },
});

await works('create', 'namespace', NAMESPACE);

test('apply -k installs the CRDs, and again says that nothing changed', async () => {
  await works('apply', '--server-side', '--force-conflicts', '-k', CRDS);
  const text = await works('apply', '--server-side', '-k', CRDS);
  assert.is(text.match(/serverside-applied/g)?.length, OWN_KINDS.length, text);
});

test('apply makes an Instance, again leaves it, a change is configured, a wrong one is explained', async () => {
  assert.match(await works('apply', '-f', await manifest(instance())), 'instance.store.gsv.dev/claims created');
  assert.match(await works('apply', '-f', await manifest(instance())), 'unchanged');
  assert.match(await works('apply', '-f', await manifest(instance({ suspend: true }))), 'configured');
  const both = await kubectl('apply', '-f', await manifest(instance({ version: '1.0.0', channel: 'Stable' })));
  assert.not.ok(both.ok);
  assert.match(both.text, 'spec.channel');
  assert.match(both.text, 'version pins and channel follows; write one of them or neither');
  const unknown = await kubectl('apply', '-f', await manifest(instance({ plam: 'starter' })));
  assert.match(unknown.text, 'unknown field "spec.plam"');
});

test('the operator may apply what kubectl applied, and kubectl goes on afterwards', async () => {
  const { metadata, spec } = instance({ suspend: false });
  await store.apply('Instance', { metadata, spec }, { fieldManager: 'gsv-gateway' });
  const there = await works('get', 'gsvi', 'claims', '-n', NAMESPACE, '-o', 'jsonpath={.spec.suspend}');
  assert.is(there, 'false');
  await works('apply', '-f', await manifest(instance()));
});

for (const kind of OWN_KINDS) {
  test(`get ${KINDS[kind].shortName} shows the columns of ${kind}, ending in READY, STATUS, AGE`, async () => {
    const columns = definitionOf(kind).spec.versions[0]?.additionalPrinterColumns ?? [];
    const text = await readFile(join(CRDS, 'testdata/examples', `${kind.toLowerCase()}.yaml`), 'utf8');
    const file = join(folder, 'example.yaml');
    await writeFile(file, text);
    await works('apply', '-f', file);
    const header = async (...more: string[]): Promise<string[]> => {
      const [first = ''] = (await works('get', KINDS[kind].shortName, '-A', ...more)).split('\n');
      return first.split(/ {2,}/).map((name) => name.trim());
    };
    const expected = (wide: boolean): string[] => [
      ...(KINDS[kind].namespaced ? ['NAMESPACE'] : []),
      'NAME',
      ...columns.filter((each) => wide || (each.priority ?? 0) === 0).map((each) => each.name.toUpperCase()),
    ];
    assert.equal(await header(), expected(false));
    assert.equal(await header('-o', 'wide'), expected(true));
    assert.equal((await header()).slice(-3), ['READY', 'STATUS', 'AGE']);
    await works('delete', '-f', file);
  });

  test(`explain knows ${kind} and its spec`, async () => {
    const { description = '', properties } = schemaOf(kind);
    const plain = (text: string): string => text.replaceAll(/\s+/g, ' ');
    assert.match(plain(await works('explain', KINDS[kind].shortName)), description);
    const explained = plain(await works('explain', `${KINDS[kind].plural}.store.gsv.dev.spec`));
    for (const [field, schema] of Object.entries(properties?.spec?.properties ?? {})) {
      assert.match(explained, `${field} <`);
      assert.match(explained, plain(schema.description ?? 'a field without description'));
    }
  });
}

test('get gsv shows the objects of all kinds', async () => {
  const text = await works('get', 'gsv', '-A');
  assert.match(text, 'instance.store.gsv.dev/claims');
});

test('wait --for=condition=Ready ends when the status says so, and describe tells why', async () => {
  const key = { namespace: NAMESPACE, name: 'claims' };
  const wait = ['wait', '--for=condition=Ready', 'gsvi/claims', '-n', NAMESPACE];
  const { metadata } = (await store.get('Instance', key)) ?? { metadata: { generation: 0 } };
  const observedGeneration = metadata.generation;
  const report = (status: 'True' | 'False', reason: string, message: string) =>
    store.applyStatus(
      'Instance',
      key,
      {
        observedGeneration,
        lifecycle: status === 'True' ? 'Active' : 'Provisioning',
        conditions: [{ ...condition, status, reason, message, observedGeneration }],
      },
      { fieldManager: 'gsv-operator' },
    );
  await report('False', 'BuyerSecretMissing', 'Secret crm-token waits for the buyer.');
  const early = await kubectl(...wait, '--timeout=1s');
  assert.not.ok(early.ok, 'it is not Ready yet');
  const described = await works('describe', 'gsvi', 'claims', '-n', NAMESPACE);
  assert.match(described, 'BuyerSecretMissing');
  assert.match(described, 'Secret crm-token waits for the buyer.');
  assert.match(described, /Plan:\s+starter/);

  const waiting = works(...wait, '--timeout=45s');
  await report('True', 'Succeeded', 'It is ready.');
  assert.match(await waiting, 'instance.store.gsv.dev/claims condition met');
  const row = (await works('get', 'gsvi', 'claims', '-n', NAMESPACE, '--no-headers')).split(/ {2,}/);
  assert.equal(row.slice(0, 3), ['claims', 'claims-agent', 'starter']);
  assert.ok(row.includes('Active') && row.includes('True') && row.includes('Succeeded'), row.join(' | '));
});

test('get --field-selector finds by reference', async () => {
  const find = (selector: string) => works('get', 'gsvi', '-n', NAMESPACE, '-o', 'name', '--field-selector', selector);
  assert.match(await find('spec.offeringRef.name=claims-agent'), 'claims');
  assert.not.match(await find('spec.offeringRef.name=another'), 'claims');
});

test('delete waits for our finalizer', async () => {
  const key = { namespace: NAMESPACE, name: 'claims' };
  const there = await store.get('Instance', key);
  assert.ok(there);
  if (there === undefined) return;
  await store.setFinalizers('Instance', key, ['store.gsv.dev/instance'], there.metadata);
  const deleting = works('delete', 'gsvi', 'claims', '-n', NAMESPACE, '--timeout=45s');
  const cache = store.watch('Instance');
  const marked = await new Promise<{ resourceVersion: string }>((resolve) => {
    cache.onChange(() => {
      const metadata = cache.get(key)?.metadata;
      if (metadata?.deletionTimestamp !== undefined) resolve(metadata);
    });
  });
  assert.is(await store.setFinalizers('Instance', key, [], marked), undefined);
  assert.match(await deleting, 'deleted');
});
