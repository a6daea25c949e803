/**
 * Profile Namespace: the Secret that External Secrets makes of the runtime's key, the Deployment that needs it, and
 * what a rotation does to its pods. The controllers of Deployments are Kubernetes' own; the kubelet is played.
 */
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Secret } from '../../config/secret-setting.ts';
import { VaultSecrets } from '../../config/secrets/vault.ts';
import type { Deployment, ExternalSecret } from '../../crds/kinds.ts';
import { workloadState } from '../../operator/delivery/argocd/workload-state.ts';
import { startCluster } from '../cluster/cluster.ts';
import { prepareLogins } from '../vault/prepare.ts';
import { testVault } from '../vault/testing.ts';
import { declared, Tenant } from './tenant.ts';
import { testExternalSecrets } from './testing.ts';

const PATIENCE_MS = 60_000;
const POLL_MS = 100;
/** Kubernetes makes the pod of a changed Deployment in a fraction of it. Milliseconds. */
const NEVER_MS = 3_000;

interface Pod {
  metadata: { name: string; deletionTimestamp?: string };
  spec: { containers: { name: string; env: { name: string; valueFrom?: { secretKeyRef: SecretKey } }[] }[] };
  status: { conditions?: { type: string; status: string }[] };
}
type SecretKey = { name: string; key: string };

const cluster = await startCluster({ workloads: true, log: (line) => void process.stderr.write(`# ${line}\n`) });
after(() => cluster.close());
const vault = await testVault({ cluster });
after(() => vault.close());
const root = { url: vault.url, token: vault.rootToken, mount: vault.mount };
await prepareLogins(root, vault.accessor);
const operator = new VaultSecrets({ ...root, auth: { kind: 'token', token: Secret.of(root.token) } });
after(() => operator.close());
let externalSecrets = await testExternalSecrets(cluster);
after(() => externalSecrets.close());
const acme = new Tenant('acme', cluster.kubeconfig, vault, 'Namespace');
await acme.open(operator);

const list = async <T>(kind: string): Promise<T[]> =>
  (JSON.parse(await acme.kubectl('get', kind, '-o', 'json')) as { items: T[] }).items;
const pods = async (): Promise<Pod[]> =>
  (await list<Pod>('pods')).filter(({ metadata }) => metadata.deletionTimestamp === undefined);
const isReady = ({ status }: Pod): boolean =>
  status.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false;

/** What the operator says of the workload; `objects` are those of the newest commit. */
async function state(keyVersion: number) {
  const names = ['i-claims', `i-claims-runtime-${keyVersion}`];
  const secrets = names.flatMap((name) => acme.rendered('ExternalSecret', name).slice(0, 1));
  const objects = [...secrets, ...acme.rendered('Deployment').slice(0, 1)].map(declared);
  const externals = (await list<ExternalSecret>('externalsecrets')).filter(({ metadata }) =>
    names.includes(metadata.name),
  );
  return workloadState({ objects, externalSecrets: externals, deployments: await list<Deployment>('deployments') });
}

/** As a kubelet: a container starts when every key that its environment names is there, and is ready then. */
async function kubelet(): Promise<void> {
  for (const { metadata, spec, status } of await pods()) {
    if (isReady({ metadata, spec, status })) continue;
    const wanted = spec.containers.flatMap(({ env }) => env.flatMap(({ valueFrom }) => valueFrom?.secretKeyRef ?? []));
    const found = await Promise.all(wanted.map(({ name, key }) => keyOf(name, key)));
    if (found.includes(undefined)) continue;
    const conditions = ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready'].map((type) => ({
      type,
      status: 'True',
    }));
    const patch = JSON.stringify({ status: { phase: 'Running', conditions } });
    await acme.kubectl('patch', 'pod', metadata.name, '--subresource=status', '--type=merge', '-p', patch);
  }
}

async function keyOf(secret: string, key: string): Promise<string | undefined> {
  const text = await acme.kubectl('get', 'secret', secret, '--ignore-not-found', '-o', `jsonpath={.data.${key}}`);
  return text === '' ? undefined : Buffer.from(text, 'base64').toString();
}

async function ready(keyVersion: number): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    await kubelet();
    const { ready: is, message } = await state(keyVersion);
    if (is) return;
    if (Date.now() > end) throw new Error(`${message}\n${externalSecrets.logTail()}`);
    await delay(POLL_MS);
  }
}

test('the runtime starts with the key that External Secrets has brought', async () => {
  await operator.write(acme.path('claims', 'token'), { value: 'first' });
  await operator.write(acme.path('claims', 'runtime-key'), { value: 'key-1' });
  await acme.instance('claims', { token: 1, 'runtime-key': 1 });
  await ready(1);
  assert.is(await keyOf('i-claims-runtime-1', 'key'), 'key-1');
  assert.is((await pods()).length, 1);
});

test('what changes nothing restarts nothing', async () => {
  const before = await pods();
  await acme.instance('claims', { token: 1, 'runtime-key': 1 });
  for (const end = Date.now() + NEVER_MS; Date.now() < end; await delay(POLL_MS))
    assert.equal(
      (await pods()).map(({ metadata }) => metadata.name),
      before.map(({ metadata }) => metadata.name),
    );
});

test('a rotation of the buyer’s secret restarts the pod, and counts only when the new one is ready', async () => {
  const [before] = await pods();
  await operator.write(acme.path('claims', 'token'), { value: 'second' }, { cas: 1 });
  await acme.instance('claims', { token: 2, 'runtime-key': 1 });
  const { ready: at, reason } = await state(1);
  assert.not.ok(at, reason);
  await ready(1);
  assert.equal(await acme.values('claims'), { token: 'second' });
  const [after, ...more] = await pods();
  assert.is.not(after?.metadata.name, before?.metadata.name);
  assert.equal(more, []);
});

test('a pod with a new key waits for its Secret while the old one serves, and the old Secret goes with its owner', async () => {
  const [before] = await pods();
  await externalSecrets.close();
  await operator.write(acme.path('claims', 'runtime-key'), { value: 'key-2' }, { cas: 1 });
  await acme.instance('claims', { token: 2, 'runtime-key': 2 });
  for (const end = Date.now() + NEVER_MS; Date.now() < end; await delay(POLL_MS)) {
    await kubelet();
    const serving = (await pods()).filter(isReady).map(({ metadata }) => metadata.name);
    assert.equal(serving, [before?.metadata.name]);
  }
  assert.is((await pods()).length, 2, 'the new one is there, and waits');
  externalSecrets = await testExternalSecrets(cluster);
  await ready(2);
  assert.is(await keyOf('i-claims-runtime-2', 'key'), 'key-2');
  // As Argo CD prunes it.
  await acme.kubectl('delete', 'externalsecret', 'i-claims-runtime-1');
  for (const end = Date.now() + PATIENCE_MS; (await keyOf('i-claims-runtime-1', 'key')) !== undefined; )
    assert.ok(Date.now() < end, 'its Secret stays');
});
