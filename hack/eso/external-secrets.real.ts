/**
 * A real External Secrets, with the rights of its chart and no others, between a real Vault and a real API server,
 * over the manifests that we render: what arrives, what does not, what the operator makes of it, and who heals it.
 */
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Secret } from '../../config/secret-setting.ts';
import { VaultSecrets } from '../../config/secrets/vault.ts';
import { TENANT_ACCOUNT } from '../../config/secrets.ts';
import { AuditLog } from '../cluster/audit.ts';
import { startCluster } from '../cluster/cluster.ts';
import { ServiceAccounts } from '../cluster/service-accounts.ts';
import { asAdministrator, prepareLogins, prepareVault } from '../vault/prepare.ts';
import { testVault } from '../vault/testing.ts';
import { externalSecretStatus, type Verdict } from './double.ts';
import { EXTERNAL_SECRETS } from './roles.ts';
import { type Shown, Tenant } from './tenant.ts';
import { testExternalSecrets } from './testing.ts';

/** Its pauses after failures double from 1 s to 7 minutes; no test lets them grow. Milliseconds. */
const PATIENCE_MS = 60_000;
const POLL_MS = 50;
/** Far longer than it takes to bring a value that it knows of. Milliseconds. */
const NEVER_MS = 3_000;
const USER = `system:serviceaccount:${EXTERNAL_SECRETS.namespace}:${EXTERNAL_SECRETS.account}`;
const CANARY = 'canary-of-a-tenant';

const log = (line: string): void => void process.stderr.write(`# ${line}\n`);
const audit = new AuditLog();
after(() => audit.remove());
const cluster = await startCluster({ apiServerArgs: audit.apiServerArgs, log });
after(() => cluster.close());
const vault = await testVault({ cluster });
after(() => vault.close());
const root = { url: vault.url, token: vault.rootToken, mount: vault.mount };
await prepareVault(root);
await prepareLogins(root, vault.accessor);
const operator = await openAsOperator();
after(() => operator.close());
let externalSecrets = await testExternalSecrets(cluster);
after(() => externalSecrets.close());
const acme = new Tenant('acme', cluster.kubeconfig, vault);
const globex = new Tenant('globex', cluster.kubeconfig, vault);
await acme.open(operator);
await globex.open(operator);

async function openAsOperator(): Promise<VaultSecrets> {
  const accounts = new ServiceAccounts(cluster);
  await accounts.create('gsv-system', 'gsv-operator');
  const jwt = Secret.of(await accounts.token({ namespace: 'gsv-system', name: 'gsv-operator', audience: 'vault' }));
  await accounts.close();
  const auth = { kind: 'kubernetes' as const, role: 'gsv-operator', mount: 'kubernetes', jwt };
  return new VaultSecrets({ url: vault.url, mount: vault.mount, auth });
}

async function until(what: string, holds: () => Promise<boolean>): Promise<number> {
  const started = Date.now();
  while (!(await holds())) {
    if (Date.now() - started > PATIENCE_MS) throw new Error(`never: ${what}\n${externalSecrets.logTail()}`);
    await delay(POLL_MS);
  }
  return Date.now() - started;
}

const ready = (tenant: Tenant, name: string) =>
  until(`${name} is ready`, async () => (await tenant.shown(name)).state.ready);
const refused = (tenant: Tenant, name: string) =>
  until(`${name} is refused`, async () => (await tenant.shown(name)).state.reason === 'SecretSyncedError');

/** What an Instance shows all the time, without a change. */
async function remains(tenant: Tenant, name: string, holds: (shown: Shown) => boolean): Promise<void> {
  for (const end = Date.now() + NEVER_MS; Date.now() < end; await delay(POLL_MS)) {
    const shown = await tenant.shown(name);
    assert.ok(holds(shown), JSON.stringify(shown));
  }
}

/** The double says of the ExternalSecret what the real one has said. */
async function sameAsDouble(tenant: Tenant, name: string, verdict: Verdict): Promise<void> {
  const { metadata, status } = (await tenant.externalSecret(name)) ?? {};
  if (metadata === undefined) throw new Error(`${name} is not there`);
  const doubled = externalSecretStatus(metadata, verdict, status, 'now');
  const read = ({ conditions, syncedResourceVersion, refreshTime }: NonNullable<typeof status> = {}) => ({
    conditions: conditions?.map(({ lastTransitionTime, ...rest }) => ({
      ...rest,
      at: lastTransitionTime !== undefined,
    })),
    syncedResourceVersion,
    refreshed: refreshTime !== undefined,
  });
  assert.equal(read(doubled), read(status));
  const other = verdict === 'synced' ? 'unreadable' : 'synced';
  assert.not.equal(read(externalSecretStatus(metadata, other, status, 'now')), read(status), 'the check can fail');
}

test('the SecretStore that we render works, and a secret comes with our labels and its owner', async (t) => {
  const took = await until('the store works', async () => (await acme.storeCondition())?.reason === 'Valid');
  await operator.write(acme.path('claims', 'token'), { value: CANARY });
  await acme.instance('claims', { token: 1 });
  t.diagnostic(`the store after ${took} ms, the Secret after ${await ready(acme, 'claims')} ms`);
  assert.equal((await acme.shown('claims')).values, { token: CANARY });
  await sameAsDouble(acme, 'claims', 'synced');
  const { metadata } = JSON.parse(await acme.kubectl('get', 'secret', 'i-claims', '-o', 'json')) as {
    metadata: { labels: Record<string, string>; ownerReferences: { kind: string }[] };
  };
  assert.is(metadata.labels['store.gsv.dev/instance-uid'], 'claims-uid');
  assert.equal(
    metadata.ownerReferences.map(({ kind }) => kind),
    ['ExternalSecret'],
  );
});

test('it changes nothing in the spec that we render, so Argo CD sees no difference', async () => {
  const { metadata, spec } = (await acme.externalSecret('claims')) ?? {};
  const [rendered] = acme.rendered('ExternalSecret');
  assert.is(metadata?.generation, 1, 'not by its visits');
  // A map may have more members than we render; of a list Argo CD compares the whole.
  const { data } = spec as { data?: unknown };
  assert.ok(rendered);
  assert.equal(data, rendered.spec?.data, 'nor by the defaults of its definition');
});

test('a rotation comes as soon as it is told of, and not before', async (t) => {
  const before = await acme.externalSecret('claims');
  await operator.write(acme.path('claims', 'token'), { value: `${CANARY}-2` }, { cas: 1 });
  await remains(acme, 'claims', ({ values }) => values?.token === CANARY);
  await acme.instance('claims', { token: 2 });
  t.diagnostic(`after ${await ready(acme, 'claims')} ms`);
  // Ready is believed only when it speaks of this version: then the value must be there.
  assert.equal((await acme.shown('claims')).values, { token: `${CANARY}-2` });
  const { status } = (await acme.externalSecret('claims')) ?? {};
  assert.is.not(status?.syncedResourceVersion, before?.status?.syncedResourceVersion);
  assert.ok(Date.parse(status?.refreshTime ?? '') > Date.parse(before?.status?.refreshTime ?? ''));
});

test('a value that is missing beside one that is there makes no Secret, and its writing heals it', async (t) => {
  await operator.write(acme.path('half', 'token'), { value: CANARY });
  await acme.instance('half', { token: 1, other: 1 });
  await refused(acme, 'half');
  await remains(acme, 'half', ({ state, values }) => !state.ready && values === undefined);
  await sameAsDouble(acme, 'half', 'unreadable');
  assert.match(await acme.events('ExternalSecret', 'i-half'), 'Secret does not exist');
  await operator.write(acme.path('half', 'other'), { value: CANARY });
  t.diagnostic(`healed after ${await ready(acme, 'half')} ms`);
  assert.equal((await acme.shown('half')).values, { other: CANARY, token: CANARY });
});

test('control: with the deletion policies that we do not render, it is Ready without the value', async () => {
  await operator.write(acme.path('lenient', 'token'), { value: CANARY });
  await acme.instance('lenient', { token: 1, other: 1 }, ({ kind, spec }) => {
    if (kind === 'ExternalSecret') Object.assign(spec?.target as object, { deletionPolicy: 'Delete' });
  });
  await until('it is Ready', async () => (await acme.shown('lenient')).condition?.status === 'True');
  assert.equal((await acme.shown('lenient')).values, { token: CANARY });
  await acme.instance('empty', { token: 1 }, ({ kind, spec }) => {
    if (kind === 'ExternalSecret') Object.assign(spec?.target as object, { deletionPolicy: 'Delete' });
  });
  await until('it is Ready', async () => (await acme.shown('empty')).condition?.reason === 'SecretDeleted');
  const { state, values, condition } = await acme.shown('empty');
  assert.equal(
    [condition?.status, values, state.ready],
    ['True', undefined, false],
    'but the operator is not taken in',
  );
});

test('a tenant that names another tenant’s path is refused by Vault, and nothing of it comes', async () => {
  await globex.instance('thief', { token: 1 }, ({ kind, spec }) => {
    const [first] = (spec?.data ?? []) as { remoteRef: { key: string } }[];
    if (kind === 'ExternalSecret' && first) first.remoteRef.key = acme.path('claims', 'token');
  });
  await refused(globex, 'thief');
  await remains(globex, 'thief', ({ state, values }) => !state.ready && values === undefined);
  await sameAsDouble(globex, 'thief', 'unreadable');
  const events = await globex.events('ExternalSecret', 'i-thief');
  assert.match(events, 'Code: 403');
  assert.not.match(events, CANARY);
});

const WRONG: [login: object, words: RegExp, reason: string][] = [
  [{ role: acme.namespace }, /namespace not authorized/, 'another tenant’s role'],
  [{ role: 'gsv-operator' }, /service account name not authorized/, 'the operator’s role'],
  [
    { serviceAccountRef: { name: 'default', audiences: ['vault'] } },
    /service account name not authorized/,
    'an account',
  ],
  [
    { serviceAccountRef: { name: TENANT_ACCOUNT, audiences: ['https://kubernetes.default.svc'] } },
    /audience/,
    'an audience',
  ],
];
for (const [login, words, reason] of WRONG)
  test(`a SecretStore that logs in with ${reason} other than its own does not work`, async () => {
    await globex.open(operator, ({ kind, spec }) => {
      const { vault: provider } = (spec?.provider ?? {}) as { vault: { auth: { kubernetes: object } } };
      if (kind === 'SecretStore') Object.assign(provider.auth.kubernetes, login);
    });
    await until('it is refused', async () => words.test(await globex.events('SecretStore', 'project')));
    assert.equal(await globex.storeCondition(), {
      ...{ status: 'False', reason: 'InvalidProviderConfig', message: 'unable to create client' },
    });
    await globex.open(operator);
    await until('its own works', async () => (await globex.storeCondition())?.status === 'True');
  });

test('a role that somebody has changed is put right by the operator’s next visit', async (t) => {
  const path = `auth/kubernetes/role/${globex.namespace}`;
  const { data } = await asAdministrator(root, 'GET', path);
  await asAdministrator(root, 'POST', path, {
    ...(data as Record<string, unknown>),
    bound_service_account_names: ['somebody'],
  });
  await operator.write(globex.path('own', 'token'), { value: CANARY });
  await globex.instance('own', { token: 1 });
  await refused(globex, 'own');
  await globex.open(operator);
  t.diagnostic(`after ${await ready(globex, 'own')} ms`);
});

test('a sealed Vault takes away nothing that is there, and once it is open the rotation comes', async (t) => {
  await operator.write(acme.path('claims', 'token'), { value: `${CANARY}-3` }, { cas: 2 });
  await vault.seal();
  await acme.instance('claims', { token: 3 });
  await refused(acme, 'claims');
  await sameAsDouble(acme, 'claims', 'unreadable');
  assert.equal((await acme.shown('claims')).values, { token: `${CANARY}-2` });
  assert.match(await acme.events('ExternalSecret', 'i-claims'), 'Vault is sealed');
  await vault.unseal();
  t.diagnostic(`after ${await ready(acme, 'claims')} ms`);
  assert.equal((await acme.shown('claims')).values, { token: `${CANARY}-3` });
});

test('no login outlives its reading', async (t) => {
  let tokens = 0;
  await until('all are revoked', async () => {
    const { data } = await asAdministrator(root, 'GET', 'auth/token/accessors?list=true');
    const all = (data as { keys: string[] }).keys.map(async (accessor) => {
      const looked = asAdministrator(root, 'POST', 'auth/token/lookup-accessor', { accessor });
      const found = await looked.catch(() => undefined);
      return ((found?.data ?? {}) as { meta?: { role?: string } }).meta?.role ?? '';
    });
    tokens = all.length;
    return (await Promise.all(all)).every((role) => !role.startsWith('gsv-w-'));
  });
  t.diagnostic(`${tokens} tokens, none of a workload namespace`);
});

test('an ExternalSecret that goes takes its Secret along, also while Vault is sealed', async (t) => {
  await vault.seal();
  const started = Date.now();
  await acme.kubectl('delete', 'externalsecret', 'i-claims', '--timeout=60s');
  await until('the Secret is gone', async () => (await acme.values('claims')) === undefined);
  t.diagnostic(`after ${Date.now() - started} ms`);
  await vault.unseal();
});

test('while nobody runs External Secrets it stays, held by a finalizer', async () => {
  await externalSecrets.close();
  await acme.kubectl('delete', 'externalsecret', 'i-half', '--wait=false');
  const { metadata } = (await acme.externalSecret('half')) ?? {};
  assert.ok(metadata?.deletionTimestamp);
  assert.equal(metadata?.finalizers, ['externalsecrets.external-secrets.io/externalsecret-cleanup']);
  externalSecrets = await testExternalSecrets(cluster);
  await until('it is gone', async () => (await acme.externalSecret('half')) === undefined);
});

test('the rights of its chart were enough, it has not ended, and its log holds no value', (t) => {
  const own = audit.requests().filter(({ user }) => user === USER);
  const forbidden = own.filter((request) => request.forbidden);
  assert.ok(own.some(({ resource, verb }) => resource === 'serviceaccounts/token' && verb === 'create'));
  assert.equal(forbidden, []);
  assert.not.ok(externalSecrets.ended());
  assert.not.match(externalSecrets.logTail(), CANARY);
  t.diagnostic(`${own.length} requests, ${Math.round(externalSecrets.memory() / 2 ** 20)} MiB`);
});
