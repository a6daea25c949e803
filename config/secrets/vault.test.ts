import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { inspect } from 'node:util';
import { SignJWT } from 'jose';
import * as assert from 'uvu/assert';
import { startVaultDouble, type VaultDouble } from '../../hack/vault/double.ts';
import { asAdministrator, issueToken, prepareLogins, prepareVault } from '../../hack/vault/prepare.ts';
import { Secret } from '../secret-setting.ts';
import { SecretsError } from '../secrets.ts';
import { VaultSecrets, type VaultSecretsOptions } from './vault.ts';

const KEY = new TextEncoder().encode('the key of the cluster’s service accounts');
const PATH = 't/ns-a/uid/token';
const SECOND = 1000;

let now: number;
let double: VaultDouble;
let root: { url: string; token: string; mount: string };
let opened: VaultSecrets[];

beforeEach(async () => {
  now = Date.now();
  opened = [];
  double = await startVaultDouble({ serviceAccounts: KEY, now: () => now });
  root = { url: double.url, token: double.rootToken, mount: 'secret' };
  await prepareVault(root);
  await prepareLogins(root, double.accessor);
});
afterEach(async () => {
  await Promise.all(opened.map((store) => store.close()));
  await double.close();
});

function open(options: Partial<VaultSecretsOptions>): VaultSecrets {
  const auth = { kind: 'token' as const, token: Secret.of(double.rootToken) };
  const store = new VaultSecrets({ url: double.url, mount: 'secret', auth, now: () => now, ...options });
  opened.push(store);
  return store;
}

async function account(namespace: string, name: string, audience = 'vault'): Promise<Secret> {
  const claims = { 'kubernetes.io': { namespace, serviceaccount: { name, uid: `uid-of-${name}` } } };
  const jwt = new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setAudience(audience);
  return Secret.of(await jwt.sign(KEY));
}

async function process(name: 'gsv-operator' | 'gsv-runner'): Promise<VaultSecrets> {
  const jwt = await account('gsv-system', name);
  return open({ auth: { kind: 'kubernetes', role: name, mount: 'kubernetes', jwt } });
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

test('one Kubernetes login serves many calls, concurrent first ones too', async () => {
  const store = await process('gsv-operator');
  await Promise.all(['a', 'b', 'c'].map((name) => store.write(`t/ns-a/uid/${name}`, { value: 'x' })));
  assert.is(double.counts().logins, 1);
});

for (const [reason, namespace, name, audience] of [
  ['another account', 'gsv-system', 'default', 'vault'],
  ['another namespace', 'tenant', 'gsv-operator', 'vault'],
  ['another audience', 'gsv-system', 'gsv-operator', 'kubernetes'],
] as const) {
  test(`a login is refused to ${reason}`, async () => {
    const jwt = await account(namespace, name, audience);
    const store = open({ auth: { kind: 'kubernetes', role: 'gsv-operator', mount: 'kubernetes', jwt } });
    await refused('permission_denied', () => store.metadata(PATH));
    assert.is(double.counts().logins, 0);
  });
}

test('a token is renewed in the last third of its life, and not before', async () => {
  const store = await process('gsv-operator');
  await store.metadata(PATH);
  now += 6 * 60 * SECOND;
  await store.metadata(PATH);
  assert.is(double.counts().renewals, 0);
  now += 2 * 60 * SECOND;
  await store.metadata(PATH);
  assert.equal([double.counts().logins, double.counts().renewals], [1, 1]);
});

test('near the longest life of a token, and after its end, a new login replaces it', async () => {
  const store = await process('gsv-operator');
  for (let minutes = 0; minutes < 62; minutes += 2) {
    await store.metadata(PATH);
    now += 2 * 60 * SECOND;
  }
  assert.is(double.counts().logins, 2);
  now += 24 * 60 * 60 * SECOND;
  await store.metadata(PATH);
  assert.is(double.counts().logins, 3);
});

test('the token of an idle process is renewed as well', async () => {
  const live = await startVaultDouble();
  try {
    const token = await issueToken({ url: live.url, token: live.rootToken, mount: 'secret' }, ['gsv-operator'], '2s');
    const store = open({ url: live.url, auth: { kind: 'token', token: Secret.of(token) }, now: Date.now });
    await refused('permission_denied', () => store.metadata(PATH));
    while (live.counts().renewals === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.is(live.counts().renewals, 1);
  } finally {
    await live.close();
  }
});

test('a token that the server no longer knows is replaced by one login, unseen by the caller', async () => {
  const store = await process('gsv-operator');
  await store.write(PATH, { value: 'one' });
  double.revokeTokens();
  const versions = await Promise.all([store.metadata(PATH), store.metadata(PATH), store.metadata(PATH)]);
  assert.equal(
    versions.map((each) => each?.version),
    [1, 1, 1],
  );
  assert.is(double.counts().logins, 2);
});

test('a right that is really missing costs one more login, and is permission_denied', async () => {
  const store = await process('gsv-runner');
  await refused('permission_denied', () => store.metadata(PATH));
  assert.is(double.counts().logins, 2);
});

test('a rotated token file takes effect after the old token was refused', async () => {
  let token = await issueToken(root, ['gsv-operator'], '10m');
  const store = open({ auth: { kind: 'token', token: new Secret(() => token) } });
  await store.metadata(PATH);
  double.revokeTokens();
  await refused('permission_denied', () => store.metadata(PATH));
  token = await issueToken(root, ['gsv-operator'], '10m');
  assert.is(await store.metadata(PATH), undefined);
});

test('sealed, standby and silent servers are unavailable, and work goes on when they are back', async () => {
  const store = await process('gsv-operator');
  await store.write(PATH, { value: 'one' });
  double.seal();
  assert.match((await refused('unavailable', () => store.metadata(PATH))).message, 'Vault is sealed');
  assert.is((await refused('unavailable', () => store.metadata(PATH))).words, 'Vault is sealed');
  double.standby();
  await refused('unavailable', () => store.metadata(PATH));
  double.unseal();
  assert.is((await store.metadata(PATH))?.version, 1);
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await new Promise((resolve) => silent.once('listening', resolve));
  const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  await refused('unavailable', () => open({ url, timeoutMs: 200 }).metadata(PATH));
  silent.closeAllConnections();
  silent.close();
  await refused('unavailable', () => open({ url }).metadata(PATH));
});

test('authorities that cannot be read are named at start', async () => {
  const error = await refused('unavailable', async () => open({ caFile: 'no/such/authority.pem' }));
  assert.match(error.message, 'no/such/authority.pem');
});

test('a redirect is not followed: the token stays with the configured host', async () => {
  const leader = await startVaultDouble();
  try {
    double.standby(leader.url);
    assert.match((await refused('unavailable', () => open({}).metadata(PATH))).message, 'GSV_VAULT_ADDR');
    assert.is(leader.counts().requests, 0);
  } finally {
    await leader.close();
  }
});

test('operator and runner write secrets and can read none', async () => {
  await open({}).write(PATH, { value: 'one' });
  for (const policy of ['gsv-operator', 'gsv-runner']) {
    const token = await issueToken(root, [policy], '10m');
    const answer = await asAdministrator({ ...root, token }, 'GET', `secret/data/${PATH}`).catch(String);
    assert.match(String(answer), '403');
  }
});

test('a session takes an Instance’s policy only, and ends with its ttl', async () => {
  const [operator, runner] = [await process('gsv-operator'), await process('gsv-runner')];
  await operator.putPolicy('gsv-i-uid', [{ path: 't/ns-a/uid/*', capabilities: ['read'] }]);
  await operator.write(PATH, { value: 'one' });
  await refused('permission_denied', () => runner.session('gsv-operator', 60));
  await refused('permission_denied', () => operator.session('gsv-i-uid', 60));
  const session = await runner.session('gsv-i-uid', 60);
  assert.equal(await session.read(PATH), { version: 1, data: { value: 'one' } });
  now += 60 * SECOND;
  await refused('permission_denied', () => session.read(PATH));
});

test('a token role that adds policies to a session is refused', async () => {
  await asAdministrator(root, 'POST', 'sys/policies/acl/gsv-i-uid', { policy: '' });
  const wrapped = createServer(async (_, outgoing) => {
    outgoing.setHeader('content-type', 'application/json');
    outgoing.end(
      JSON.stringify({ auth: { client_token: 't', policies: ['default', 'gsv-i-uid'], lease_duration: 60 } }),
    );
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => wrapped.once('listening', resolve));
  const url = `http://127.0.0.1:${(wrapped.address() as AddressInfo).port}`;
  await refused('permission_denied', () => open({ url }).session('gsv-i-uid', 60));
  wrapped.closeAllConnections();
  wrapped.close();
});

test('where the mount requires check-and-set, the operator names the present version by itself', async () => {
  await asAdministrator(root, 'POST', 'secret/config', { cas_required: true });
  const [operator, runner] = [await process('gsv-operator'), await process('gsv-runner')];
  assert.is((await operator.write(PATH, { value: 'one' })).version, 1);
  assert.is((await operator.write(PATH, { value: 'two' })).version, 2);
  await refused('cas_mismatch', () => runner.writeBuyerSecret(PATH, { value: 'x' }));
  assert.is((await runner.writeBuyerSecret(PATH, { value: 'three' }, { cas: 2 })).version, 3);
});

test('a secret whose latest version was deleted counts as absent, and can be created again', async () => {
  const store = await process('gsv-operator');
  for (const how of ['delete', 'destroy']) {
    const path = `t/ns-a/uid/${how}`;
    await store.write(path, { value: 'one' });
    await asAdministrator(root, 'POST', `secret/${how}/${path}`, { versions: [1] });
    assert.is(await store.metadata(path), undefined);
    assert.is(await (await openSession()).read(path), undefined);
    assert.is((await store.write(path, { value: 'anew' }, { cas: 0 })).version, 2);
  }
});

async function openSession() {
  const runner = await process('gsv-runner');
  await open({}).putPolicy('gsv-i-uid', [{ path: 't/ns-a/uid/*', capabilities: ['read'] }]);
  return runner.session('gsv-i-uid', 60);
}

test('a tree is destroyed at every depth', async () => {
  const store = await process('gsv-operator');
  for (const path of ['t/ns-a/u', 't/ns-a/u/a', 't/ns-a/u/b/c', 't/ns-a/u/b/d/e', 't/ns-a/u2/a'])
    await store.write(path, { value: 'x' });
  await store.destroyTree('t/ns-a/u');
  for (const path of ['t/ns-a/u', 't/ns-a/u/a', 't/ns-a/u/b/c', 't/ns-a/u/b/d/e'])
    assert.is(await store.metadata(path), undefined, path);
  assert.is((await store.metadata('t/ns-a/u2/a'))?.version, 1);
});

test('a mount that does not exist is unavailable, never an absent secret', async () => {
  const store = open({ mount: 'elsewhere' });
  await refused('unavailable', () => store.metadata(PATH));
  await refused('unavailable', () => store.destroyTree('t/ns-a'));
});

test('no path leaves the tree: every odd segment is refused before any request', async () => {
  const store = open({});
  const before = double.counts().requests;
  const odd = ['..', '.', '', 'a%2fb', 'a?b', 'a#b', 'a b', '+', '*', '{{x}}', 'a\\b', 'a.', 'a\nb', 'ü'];
  for (const segment of odd) {
    const path = `t/ns-a/${segment}/x`;
    await refused('permission_denied', () => store.write(path, { value: 'x' }));
    await refused('permission_denied', () => store.writeBuyerSecret(path, { value: 'x' }));
    await refused('permission_denied', () => store.metadata(path));
    await refused('permission_denied', () => store.destroyTree(path));
    await refused('permission_denied', () => store.putPolicy('gsv-i-uid', [{ path, capabilities: ['read'] }]));
    await refused('permission_denied', () => store.putPolicy(segment, []));
    await refused('permission_denied', () => store.session(segment, 60));
  }
  assert.is(double.counts().requests, before);
});

test('no error holds a value, a token or a service account token, whatever the server says', async () => {
  const canary = /canary/;
  let status = 200;
  const echo = createServer(async (incoming, outgoing) => {
    let text = JSON.stringify(incoming.headers);
    for await (const chunk of incoming) text += String(chunk);
    outgoing.writeHead(status, { 'content-type': 'application/json' });
    outgoing.end(status === 200 ? `<html>${text}` : JSON.stringify({ errors: [text, 'permission denied'] }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => echo.once('listening', resolve));
  const url = `http://127.0.0.1:${(echo.address() as AddressInfo).port}`;
  const secret = Secret.of('canary-credential');
  const stores = [
    open({ url, auth: { kind: 'token', token: secret } }),
    open({ url, auth: { kind: 'kubernetes', role: 'r', mount: 'kubernetes', jwt: secret } }),
    open({ url: 'http://127.0.0.1:1', auth: { kind: 'token', token: secret } }),
  ];
  let seen = 0;
  for (status of [200, 400, 403, 404, 429, 500, 503])
    for (const store of stores)
      for (const action of [
        () => store.write(PATH, { value: 'canary-value' }),
        () => store.metadata(PATH),
        () => store.session('gsv-i-uid', 60),
        () => store.destroyTree('t/ns-a'),
      ]) {
        const error = await action().then(
          () => assert.unreachable('answered'),
          (caught: unknown) => caught,
        );
        assert.instance(error, SecretsError);
        assert.not.match(inspect(error, { depth: 10, showHidden: true }), canary);
        seen += 1;
      }
  assert.is(seen, 84);
  assert.not.match(inspect(stores, { depth: 10, showHidden: true }), canary);
  echo.closeAllConnections();
  echo.close();
});
