/** Logins of workload namespaces: who gets in, what they reach, and what the operator may not make of them. */
import { afterEach, beforeEach, test } from 'node:test';
import { SignJWT } from 'jose';
import { request } from 'undici';
import * as assert from 'uvu/assert';
import { startVaultDouble, type VaultDouble } from '../../hack/vault/double.ts';
import { asAdministrator, issueToken, prepareLogins, prepareVault } from '../../hack/vault/prepare.ts';
import { Secret } from '../secret-setting.ts';
import { SecretsError, TENANT_ACCOUNT, TENANT_POLICY } from '../secrets.ts';
import { VaultSecrets } from './vault.ts';
import { operatorPolicy } from './vault-policies.ts';

const KEY = new TextEncoder().encode('the key of the cluster’s service accounts');
const NS = 'gsv-w-acme-default-0a1b2c3d';
const OTHER = 'gsv-w-globex-default-0a1b2c3d';
const MINUTE = 60_000;

let now: number;
let double: VaultDouble;
let root: { url: string; token: string; mount: string };
let operator: VaultSecrets;

beforeEach(async () => {
  now = Date.now();
  double = await startVaultDouble({ serviceAccounts: KEY, now: () => now });
  root = { url: double.url, token: double.rootToken, mount: 'secret' };
  await prepareVault(root);
  await prepareLogins(root, double.accessor);
  const token = Secret.of(await issueToken(root, ['gsv-operator'], '24h'));
  operator = new VaultSecrets({ url: double.url, mount: 'secret', auth: { kind: 'token', token }, now: () => now });
  for (const namespace of [NS, OTHER]) {
    await operator.putRole(namespace, { serviceAccount: TENANT_ACCOUNT, namespace, policies: [TENANT_POLICY] });
    await operator.write(`t/${namespace}/uid/key`, { value: namespace });
  }
});
afterEach(async () => {
  await operator.close();
  await double.close();
});

async function call(method: 'GET' | 'POST', path: string, token?: string, body?: unknown) {
  const response = await request(`${double.url}/v1/${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...(token === undefined ? {} : { 'x-vault-token': token }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.body.text();
  const parsed = (text === '' ? {} : JSON.parse(text)) as {
    auth?: { client_token: string; lease_duration: number; policies: string[] };
    data?: { data?: unknown };
  };
  return { status: response.statusCode, body: parsed };
}

/** A login as External Secrets makes it. */
async function login(role: string, namespace: string, account = TENANT_ACCOUNT, audience = 'vault') {
  const claims = { 'kubernetes.io': { namespace, serviceaccount: { name: account, uid: `${namespace}-${account}` } } };
  const jwt = await new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setAudience(audience).sign(KEY);
  return call('POST', 'auth/kubernetes/login', undefined, { role, jwt });
}

test('a namespace logs in under its own role and reads what is its own', async () => {
  const { status, body } = await login(NS, NS);
  assert.is(status, 200);
  assert.equal(body.auth?.policies, ['default', TENANT_POLICY]);
  const token = body.auth?.client_token ?? '';
  const read = await call('GET', `secret/data/t/${NS}/uid/key`, token);
  assert.equal(read.body.data?.data, { value: NS });
  for (const [path, reason] of [
    [`secret/data/t/${OTHER}/uid/key`, 'another namespace’s secret'],
    [`secret/metadata/t/${OTHER}/uid/key`, 'its metadata'],
    [`secret/metadata/t/${NS}/uid?list=true`, 'a listing, even of its own'],
    ['sys/policies/acl/gsv-operator', 'a policy'],
    [`auth/kubernetes/role/${NS}`, 'its own role'],
  ] as const)
    assert.is((await call('GET', path, token)).status, 403, reason);
  assert.is((await call('POST', `secret/data/t/${NS}/uid/key`, token, { data: { value: 'x' } })).status, 403);
});

test('nobody else gets in', async () => {
  const table: [role: string, namespace: string, account: string, audience: string, status: number, reason: string][] =
    [
      [NS, OTHER, TENANT_ACCOUNT, 'vault', 403, 'the role of another namespace'],
      [NS, NS, 'default', 'vault', 403, 'another account of the namespace'],
      [NS, NS, TENANT_ACCOUNT, 'kubernetes', 403, 'a token for another audience'],
      ['gsv-w-gone-default-0a1b2c3d', NS, TENANT_ACCOUNT, 'vault', 400, 'a role that nobody wrote'],
      ['gsv-operator', NS, TENANT_ACCOUNT, 'vault', 403, 'the operator’s role'],
    ];
  for (const [role, namespace, account, audience, status, reason] of table)
    assert.is((await login(role, namespace, account, audience)).status, status, reason);
});

test('a login is short, can be renewed to its longest life, and no further', async () => {
  const { body } = await login(NS, NS);
  const token = body.auth?.client_token ?? '';
  assert.is(body.auth?.lease_duration, 600);
  const read = async () => (await call('GET', `secret/data/t/${NS}/uid/key`, token)).status;
  for (let minute = 9; minute <= 27; minute += 9) {
    now += 9 * MINUTE;
    assert.is((await call('POST', 'auth/token/renew-self', token, {})).status, 200);
    assert.is(await read(), 200);
  }
  now += 3 * MINUTE;
  assert.is(await read(), 403, 'the longest life is over');
});

test('after the role is gone nobody logs in, and tokens end by themselves', async () => {
  const { body } = await login(NS, NS);
  await operator.deleteRole(NS);
  assert.is((await login(NS, NS)).status, 400);
  now += 10 * MINUTE;
  assert.is((await call('GET', `secret/data/t/${NS}/uid/key`, body.auth?.client_token ?? '')).status, 403);
});

test('a role that is right is read and not written again; a changed one is put right', async () => {
  const role = { serviceAccount: TENANT_ACCOUNT, namespace: NS, policies: [TENANT_POLICY] };
  const before = double.counts().requests;
  await operator.putRole(NS, role);
  assert.is(double.counts().requests - before, 1);
  const table: [change: Record<string, unknown>, reason: string][] = [
    [{ bound_service_account_namespaces: ['*'] }, 'any namespace'],
    [{ bound_service_account_names: ['default'] }, 'another account'],
    [{ token_policies: ['root-like'] }, 'another policy'],
    [{ audience: 'kubernetes' }, 'another audience'],
    [{ token_ttl: '24h', token_max_ttl: '48h' }, 'longer lives'],
  ];
  for (const [change, reason] of table) {
    await asAdministrator(root, 'POST', `auth/kubernetes/role/${NS}`, change);
    const start = double.counts().requests;
    await operator.putRole(NS, role);
    assert.is(double.counts().requests - start, 2, reason);
    assert.is((await login(NS, NS)).status, 200, reason);
    assert.is((await login(NS, OTHER)).status, 403, reason);
  }
});

test('Vault itself keeps the operator from making a role of anything else', async () => {
  const token = await issueToken(root, ['gsv-operator'], '1h');
  const right = {
    bound_service_account_names: TENANT_ACCOUNT,
    bound_service_account_namespaces: NS,
    audience: 'vault',
    token_policies: TENANT_POLICY,
    token_ttl: '10m',
    token_max_ttl: '30m',
  };
  const table: [name: string, body: Record<string, unknown>, status: number, reason: string][] = [
    ['gsv-w-new', right, 204, 'control: as the operator writes it'],
    ['gsv-w-new', { ...right, token_policies: 'gsv-operator' }, 403, 'another policy'],
    ['gsv-w-new', { ...right, token_policies: 'gsv-tenant,root' }, 403, 'one more policy'],
    ['gsv-w-new', { ...right, token_policies: ['gsv-tenant', 'x'] }, 403, 'a list of policies'],
    ['gsv-w-new', { ...right, policies: 'x' }, 403, 'the old name of the same parameter'],
    [
      'gsv-w-new',
      { ...right, bound_service_account_namespaces: 'kube-system' },
      403,
      'a namespace that is no workload’s',
    ],
    ['gsv-w-new', { ...right, bound_service_account_names: '*' }, 403, 'any account'],
    ['gsv-w-new', { ...right, token_ttl: '24h' }, 403, 'a longer life'],
    ['gsv-operator', right, 403, 'the role of a process'],
    ['admin', right, 403, 'a role that is not ours'],
  ];
  for (const [name, body, status, reason] of table)
    assert.is((await call('POST', `auth/kubernetes/role/${name}`, token, body)).status, status, reason);
});

test('a wrong mount is named, never taken for a missing role', async () => {
  const token = Secret.of(root.token);
  const lost = new VaultSecrets({
    url: double.url,
    mount: 'secret',
    auth: { kind: 'token', token },
    logins: { authMount: 'elsewhere', audience: 'vault' },
  });
  try {
    await lost.putRole(NS, { serviceAccount: TENANT_ACCOUNT, namespace: NS, policies: [TENANT_POLICY] });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, SecretsError);
    assert.is((error as SecretsError).code, 'unavailable');
  } finally {
    await lost.close();
  }
});

test('so is the policy of an Instance, and an operator that may not look writes it as ever', async () => {
  const path = 'sys/policies/acl/gsv-i-uid';
  const put = async (): Promise<number> => {
    const before = double.counts().requests;
    await operator.putPolicy('gsv-i-uid', [{ path: `t/${NS}/uid/*`, capabilities: ['read'] }]);
    return double.counts().requests - before;
  };
  const text = async (): Promise<unknown> => (await asAdministrator(root, 'GET', path)).data;
  assert.is(await put(), 2, 'looked at and written');
  const wanted = await text();
  assert.is(await put(), 1, 'looked at');
  await asAdministrator(root, 'POST', path, { policy: 'path "secret/data/*" { capabilities = ["read"] }' });
  assert.is(await put(), 2, 'put right');
  assert.equal(await text(), wanted);
  const own = operatorPolicy('secret', { authMount: 'kubernetes', audience: 'vault' });
  const former = own.replace(/("sys\/policies\/acl\/gsv-i-\*" \{[^}]*)"read", /, '$1');
  assert.is.not(former, own);
  await asAdministrator(root, 'POST', 'sys/policies/acl/gsv-operator', { policy: former });
  await asAdministrator(root, 'DELETE', path);
  await put();
  assert.equal(await text(), wanted, 'written without a look');
  assert.is(await put(), 1, 'the refusal is remembered');
});
