/**
 * What only a real Vault and a real API server show: logins decided by TokenReview, lives of tokens as
 * Vault counts them, seals, standbys, and policies as its own parser reads them.
 */
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import * as assert from 'uvu/assert';
import { startCluster } from '../../hack/cluster/cluster.ts';
import { ServiceAccounts } from '../../hack/cluster/service-accounts.ts';
import { asAdministrator, prepareLogins, prepareVault } from '../../hack/vault/prepare.ts';
import { testVault } from '../../hack/vault/testing.ts';
import { Secret } from '../secret-setting.ts';
import { SecretsError, TENANT_ACCOUNT, TENANT_POLICY } from '../secrets.ts';
import { VaultSecrets, type VaultSecretsOptions } from './vault.ts';

const PATH = 't/gsv-w-a/uid/token';
const POLL_MS = 50;
const PATIENCE_MS = 30_000;

const cluster = await startCluster({ controllers: false, log: (line) => void process.stderr.write(`# ${line}\n`) });
const vault = await testVault({ cluster });
const root = { url: vault.url, token: vault.rootToken, mount: vault.mount };
const accounts = new ServiceAccounts(cluster);
const opened: VaultSecrets[] = [];

before(async () => {
  await prepareVault(root);
  await prepareLogins(root, vault.accessor);
  for (const [namespace, name] of [
    ['gsv-system', 'gsv-operator'],
    ['gsv-system', 'gsv-runner'],
    ['gsv-system', 'default'],
    ['elsewhere', 'gsv-operator'],
    ['gsv-w-a', TENANT_ACCOUNT],
    ['gsv-w-ab', TENANT_ACCOUNT],
  ] as const)
    await accounts.create(namespace, name);
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
});
after(async () => {
  await accounts.close();
  await vault.close();
  await cluster.close();
});

function open(options: Partial<VaultSecretsOptions> = {}): VaultSecrets {
  const auth = { kind: 'token' as const, token: Secret.of(vault.rootToken) };
  const store = new VaultSecrets({ url: vault.url, mount: vault.mount, auth, ...options });
  opened.push(store);
  return store;
}

/** Logs in with a token of the API server, as a pod of ours would. */
async function login(role: string, namespace = 'gsv-system', name = role, audience = 'vault'): Promise<VaultSecrets> {
  const jwt = Secret.of(await accounts.token({ namespace, name, audience }));
  return open({ auth: { kind: 'kubernetes', role, mount: 'kubernetes', jwt } });
}

async function refused(code: SecretsError['code'], action: () => Promise<unknown>): Promise<SecretsError> {
  try {
    await action();
  } catch (error) {
    assert.instance(error, SecretsError, inspect(error));
    assert.is((error as SecretsError).code, code, (error as SecretsError).message);
    return error as SecretsError;
  }
  throw new Error(`expected a SecretsError ${code}`);
}

function isDenied(call: Promise<unknown>): Promise<boolean> {
  return call.then(
    () => false,
    (error: unknown) => error instanceof SecretsError && error.code === 'permission_denied',
  );
}

/** How a call with this token ends: `allowed`, or a line with its status. */
async function refusal(token: string, path: string, body?: Record<string, unknown>): Promise<string> {
  const answer = asAdministrator({ url: vault.url, token }, body ? 'POST' : 'GET', path, body);
  return answer.then(
    () => 'allowed',
    (error: unknown) => String((error as Error).message),
  );
}

/** Tokens that came from Kubernetes logins and still live: accessor -> seconds since the epoch of the last renewal. */
async function loginsOf(role: string): Promise<Map<string, number>> {
  const { data } = await asAdministrator(root, 'GET', 'auth/token/accessors?list=true');
  const found = new Map<string, number>();
  for (const accessor of (data as { keys: string[] }).keys) {
    const looked = asAdministrator(root, 'POST', 'auth/token/lookup-accessor', { accessor });
    // It may end between the two calls.
    const answer = await looked.catch(() => undefined);
    const token = answer?.data as { path: string; meta: { role?: string } | null; last_renewal_time?: number };
    if (token?.meta?.role === role) found.set(accessor, token.last_renewal_time ?? 0);
  }
  return found;
}

async function until(holds: () => Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await delay(POLL_MS);
  }
}

async function shortRole(name: string, ttl: string, maxTtl: string): Promise<void> {
  await asAdministrator(root, 'POST', `auth/kubernetes/role/${name}`, {
    bound_service_account_names: 'gsv-operator',
    bound_service_account_namespaces: 'gsv-system',
    audience: 'vault',
    token_policies: 'gsv-operator',
    token_ttl: ttl,
    token_max_ttl: maxTtl,
  });
}

test('operator and runner log in with their ServiceAccounts, which the API server vouches for', async () => {
  const [operator, runner] = [await login('gsv-operator'), await login('gsv-runner')];
  assert.is((await operator.write(PATH, { value: 'one' }, { cas: 0 })).version, 1);
  assert.is((await runner.writeBuyerSecret(PATH, { value: 'two' }, { cas: 1 })).version, 2);
  assert.is((await operator.metadata(PATH))?.version, 2);
  await refused('permission_denied', () => runner.metadata(PATH));
  await refused('permission_denied', () => operator.session('gsv-i-uid', 60));
});

for (const [reason, namespace, name, audience, words] of [
  ['another account', 'gsv-system', 'default', 'vault', 'service account name not authorized'],
  ['another namespace', 'elsewhere', 'gsv-operator', 'vault', 'namespace not authorized'],
  ['another audience', 'gsv-system', 'gsv-operator', 'https://elsewhere', 'invalid audience (aud) claim'],
] as const) {
  test(`a login is refused to ${reason}, and the error says so`, async () => {
    const store = await login('gsv-operator', namespace, name, audience);
    assert.match((await refused('permission_denied', () => store.metadata(PATH))).message, words);
  });
}

test('a login is refused with a token that was changed, or whose account is gone, or for a role that is not there', async () => {
  await accounts.create('gsv-system', 'gsv-leaver');
  const auth = { kind: 'kubernetes' as const, role: 'leaver', mount: 'kubernetes' };
  await asAdministrator(root, 'POST', 'auth/kubernetes/role/leaver', {
    bound_service_account_names: 'gsv-leaver',
    bound_service_account_namespaces: 'gsv-system',
    audience: 'vault',
    token_policies: 'gsv-operator',
  });
  const wish = { namespace: 'gsv-system', name: 'gsv-leaver', audience: 'vault' };
  const token = await accounts.token(wish);
  const [head, claims = '', signature] = token.split('.');
  const other = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { exp: number };
  const forged = [head, Buffer.from(JSON.stringify({ ...other, exp: other.exp + 1 })).toString('base64url'), signature];
  assert.is(await open({ auth: { ...auth, jwt: Secret.of(token) } }).metadata('t/gsv-w-a/uid/absent'), undefined);
  const changed = open({ auth: { ...auth, jwt: Secret.of(forged.join('.')) } });
  await refused('permission_denied', () => changed.metadata(PATH));
  await accounts.remove('gsv-system', 'gsv-leaver');
  // The API server remembers for some seconds whom it knew.
  await until(() => isDenied(open({ auth: { ...auth, jwt: Secret.of(token) } }).metadata(PATH)), 'its end');
  const missing = open({ auth: { ...auth, role: 'nobody', jwt: Secret.of(token) } });
  assert.match((await refused('unavailable', () => missing.metadata(PATH))).message, 'invalid role name');
});

test('a token is renewed before its end, even of an idle process', async () => {
  await shortRole('renewed', '4s', '10m');
  const store = await login('renewed', 'gsv-system', 'gsv-operator');
  await store.metadata(PATH);
  const [first] = [...(await loginsOf('renewed')).keys()];
  await until(async () => ((await loginsOf('renewed')).get(String(first)) ?? 0) > 0, 'renewed');
  await store.metadata(PATH);
  assert.equal([...(await loginsOf('renewed')).keys()], [first]);
});

test('at the longest life of a token a new login replaces it, unseen by the caller', async () => {
  await shortRole('ending', '2s', '3s');
  const store = await login('ending', 'gsv-system', 'gsv-operator');
  const seen = new Set<string>();
  await until(async () => {
    await store.metadata(PATH);
    for (const accessor of (await loginsOf('ending')).keys()) seen.add(accessor);
    return seen.size >= 3;
  }, 'three logins');
});

test('a token that was revoked is replaced by one login, unseen by the caller', async () => {
  await shortRole('revoked', '10m', '1h');
  const store = await login('revoked', 'gsv-system', 'gsv-operator');
  await store.metadata(PATH);
  const [accessor] = [...(await loginsOf('revoked')).keys()];
  await asAdministrator(root, 'POST', 'auth/token/revoke-accessor', { accessor });
  assert.equal([...(await loginsOf('revoked')).keys()], []);
  await Promise.all([store.metadata(PATH), store.metadata(PATH), store.metadata(PATH)]);
  assert.is((await loginsOf('revoked')).size, 1);
});

test('a session ends with its ttl, and holds its one policy', async () => {
  const [operator, runner] = [await login('gsv-operator'), await login('gsv-runner')];
  await operator.putPolicy('gsv-i-uid', [{ path: 't/gsv-w-a/uid/*', capabilities: ['read'] }]);
  await operator.write(PATH, { value: 'one' });
  await refused('permission_denied', () => runner.session('gsv-operator', 60));
  const session = await runner.session('gsv-i-uid', 2);
  assert.equal((await session.read(PATH))?.data, { value: 'one' });
  await until(() => isDenied(session.read(PATH)), 'the end of the session');
});

test('Vault makes a token of a policy that is not there, and says so in one warning', async () => {
  const body = { policies: ['gsv-i-nowhere'], ttl: '60s' };
  const answer = await asAdministrator(root, 'POST', 'auth/token/create/gsv-run', body);
  assert.equal(answer.warnings, ['Policy "gsv-i-nowhere" does not exist']);
  assert.equal((answer.auth as { policies: string[] }).policies, ['gsv-i-nowhere']);
  const runner = await login('gsv-runner');
  await refused('policy_missing', () => runner.session('gsv-i-nowhere', 60));
});

test('a token role that nobody has made is named', async () => {
  const runner = await login('gsv-runner');
  await asAdministrator(root, 'DELETE', 'auth/token/roles/gsv-run');
  try {
    const error = await refused('unavailable', () => runner.session('gsv-i-uid', 60));
    assert.match(error.message, 'token role gsv-run: Vault answered 400 (unknown role)');
  } finally {
    await prepareVault(root);
  }
});

test('one templated policy lets each workload namespace read its own secrets and no other’s', async () => {
  const operator = await login('gsv-operator');
  for (const namespace of ['gsv-w-a', 'gsv-w-ab'])
    await operator.putRole(namespace, { serviceAccount: TENANT_ACCOUNT, namespace, policies: [TENANT_POLICY] });
  await operator.write('t/gsv-w-a/tenant/token', { value: 'of a' });
  await operator.write('t/gsv-w-ab/tenant/token', { value: 'of ab' });
  const tokenOf = async (namespace: string, role = namespace): Promise<string> => {
    const jwt = await accounts.token({ namespace, name: TENANT_ACCOUNT, audience: 'vault' });
    const { auth } = await asAdministrator({ ...root, token: '' }, 'POST', 'auth/kubernetes/login', { role, jwt });
    return (auth as { client_token: string }).client_token;
  };
  for (const [own, value, other] of [
    ['gsv-w-a', 'of a', 'gsv-w-ab'],
    ['gsv-w-ab', 'of ab', 'gsv-w-a'],
  ] as const) {
    const token = await tokenOf(own);
    const read = await asAdministrator({ url: vault.url, token }, 'GET', `secret/data/t/${own}/tenant/token`);
    assert.equal((read.data as { data: unknown }).data, { value });
    const closed = [`data/t/${other}/tenant/token`, `metadata/t/${other}/tenant/token`, 'data/t', `data/t/${own}`];
    for (const path of [...closed, 'metadata/t?list=true', `metadata/t/${own}?list=true`])
      assert.match(await refusal(token, `secret/${path}`), '403', path);
    assert.match(await refusal(token, `secret/data/t/${own}/tenant/token`, { data: { value: 'x' } }), '403');
  }
  assert.match(String(await tokenOf('gsv-w-a', 'gsv-w-ab').catch(String)), '403', 'nor log in as another');
  await operator.deleteRole('gsv-w-ab');
  assert.match(String(await tokenOf('gsv-w-ab').catch(String)), '400', 'nor at all, once the role is gone');
});

test('the operator can write no role but one that binds a workload namespace to the tenant policy', async () => {
  const right = { serviceAccount: TENANT_ACCOUNT, namespace: 'gsv-w-roles', policies: [TENANT_POLICY] };
  const operator = await login('gsv-operator');
  await operator.putRole('gsv-w-roles', right);
  const wrong = [
    { ...right, policies: ['gsv-operator'] },
    { ...right, policies: [TENANT_POLICY, 'gsv-operator'] },
    { ...right, serviceAccount: '*' },
    { ...right, namespace: '*' },
    { ...right, namespace: 'kube-system' },
  ];
  for (const binding of wrong) await refused('permission_denied', () => operator.putRole('gsv-w-roles', binding));
  const jwt = await accounts.token({ namespace: 'gsv-system', name: 'gsv-operator', audience: 'vault' });
  const answer = await asAdministrator(root, 'POST', 'auth/kubernetes/login', { role: 'gsv-operator', jwt });
  const { client_token: token } = answer.auth as { client_token: string };
  const elsewhere = { bound_service_account_names: 'x', bound_service_account_namespaces: 'gsv-w-x' };
  for (const [path, body, reason] of [
    ['auth/kubernetes/role/gsv-operator', elsewhere, 'its own role'],
    ['auth/kubernetes/role/gsv-w-roles', { token_no_default_policy: true }, 'a parameter that is not named'],
    ['auth/kubernetes/config', { kubernetes_host: 'https://x' }, 'whom Vault asks'],
    ['sys/policies/acl/gsv-tenant', { policy: '' }, 'the tenant policy'],
    ['sys/policies/acl/gsv-operator', { policy: '' }, 'its own policy'],
    ['auth/token/create', { policies: ['default'] }, 'a token'],
    [`secret/metadata/${PATH}`, { max_versions: 1 }, 'metadata'],
  ] as const)
    assert.match(await refusal(token, path, body), '403', reason);
  assert.match(await refusal(token, `secret/data/${PATH}`), '403', 'a value');
});

test('a sealed server is unavailable, and the token holds when it is open again', async () => {
  const store = await login('gsv-operator');
  await store.write('t/gsv-w-a/sealed/a', { value: 'one' });
  await vault.seal();
  try {
    assert.match((await refused('unavailable', () => store.metadata(PATH))).message, 'Vault is sealed');
  } finally {
    await vault.unseal();
  }
  assert.is((await store.metadata('t/gsv-w-a/sealed/a'))?.version, 1);
});

test('a standby redirects, and is refused: the token stays with the configured host; active, it answers', async (t) => {
  const pair = await testVault({ standby: true });
  t.after(() => pair.close());
  const auth = { kind: 'token' as const, token: Secret.of(pair.rootToken) };
  const [first, second] = [open({ url: pair.url, auth }), open({ url: String(pair.standbyUrl), auth })];
  await first.write(PATH, { value: 'one' });
  assert.match((await refused('unavailable', () => second.metadata(PATH))).message, 'GSV_VAULT_ADDR');
  await pair.seal();
  const takenOver = async (): Promise<boolean> => (await second.metadata(PATH).catch(() => undefined)) !== undefined;
  await until(takenOver, 'the standby takes over');
  await refused('unavailable', () => first.metadata(PATH));
  await pair.unseal();
  assert.match((await refused('unavailable', () => first.metadata(PATH))).message, 'GSV_VAULT_ADDR');
});

test('a server with TLS is believed by its authority, and by no other', async (t) => {
  const tls = { certFile: cluster.caFile, keyFile: cluster.caFile.replace(/\.crt$/, '.key') };
  const secure = await testVault({ tls });
  t.after(() => secure.close());
  const auth = { kind: 'token' as const, token: Secret.of(secure.rootToken) };
  assert.match(secure.url, /^https:/);
  await open({ url: secure.url, auth, caFile: tls.certFile }).write(PATH, { value: 'one' });
  const stranger = open({ url: secure.url, auth });
  assert.match((await refused('unavailable', () => stranger.metadata(PATH))).message, /SELF_SIGNED|UNABLE_TO/);
});

test('a secret whose latest version was deleted or destroyed counts as absent, and can be created again', async () => {
  const [operator, runner] = [await login('gsv-operator'), await login('gsv-runner')];
  await operator.putPolicy('gsv-i-uid', [{ path: 't/gsv-w-a/uid/*', capabilities: ['read'] }]);
  const session = await runner.session('gsv-i-uid', 60);
  for (const how of ['delete', 'destroy']) {
    const path = `t/gsv-w-a/uid/${how}`;
    await operator.write(path, { value: 'one' });
    await asAdministrator(root, 'POST', `secret/${how}/${path}`, { versions: [1] });
    assert.is(await operator.metadata(path), undefined);
    assert.is(await session.read(path), undefined);
    assert.is((await operator.write(path, { value: 'anew' }, { cas: 0 })).version, 2);
  }
});

test('a tree is destroyed at every depth, with all versions', async () => {
  const store = await login('gsv-operator');
  const tree = ['t/gsv-w-a/u', 't/gsv-w-a/u/a', 't/gsv-w-a/u/b/c', 't/gsv-w-a/u/b/d/e'];
  for (const path of [...tree, 't/gsv-w-a/u2/a', 't/gsv-w-a/u/a']) await store.write(path, { value: 'x' });
  await store.destroyTree('t/gsv-w-a/u');
  for (const path of tree) {
    assert.is(await store.metadata(path), undefined, path);
    assert.match(await refusal(vault.rootToken, `secret/data/${path}?version=1`), '404', path);
  }
  assert.is((await store.metadata('t/gsv-w-a/u2/a'))?.version, 1);
});

test('where the mount requires check-and-set, the operator names the present version by itself', async () => {
  await asAdministrator(root, 'POST', 'secret/config', { cas_required: true });
  try {
    const [operator, runner] = [await login('gsv-operator'), await login('gsv-runner')];
    const path = 't/gsv-w-a/cas/a';
    assert.is((await operator.write(path, { value: 'one' })).version, 1);
    assert.is((await operator.write(path, { value: 'two' })).version, 2);
    await refused('cas_mismatch', () => runner.writeBuyerSecret(path, { value: 'x' }));
    assert.is((await runner.writeBuyerSecret(path, { value: 'three' }, { cas: 2 })).version, 3);
  } finally {
    await asAdministrator(root, 'POST', 'secret/config', { cas_required: false });
  }
});

test('a mount that does not exist is unavailable, never an absent secret', async () => {
  const store = open({ mount: 'elsewhere' });
  await refused('unavailable', () => store.metadata(PATH));
  await refused('unavailable', () => store.destroyTree('t/gsv-w-a'));
});
