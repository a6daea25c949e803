import { randomUUID } from 'node:crypto';
import { beforeEach, test } from 'node:test';
import * as assert from 'uvu/assert';
import {
  instancePolicy,
  type SecretsAdmin,
  type SecretsBroker,
  SecretsError,
  secretPath,
  TENANT_ACCOUNT,
  TENANT_POLICY,
} from './secrets.ts';

/** What every secrets adapter promises. `open` may return the same store again: each test uses paths of its own. */
export function secretsContract(name: string, open: () => Promise<SecretsAdmin & SecretsBroker>): void {
  let store: SecretsAdmin & SecretsBroker;
  let uid: string;
  let path: (secret: string) => string;
  beforeEach(async () => {
    store = await open();
    uid = randomUUID();
    path = (secret) => secretPath('gsv-w-acme-default-00000000', uid, secret);
  });
  const promise = (behaviour: string, body: () => Promise<void>): void => {
    test(`${name}: ${behaviour}`, body);
  };
  const readOnly = async (): Promise<void> =>
    store.putPolicy(instancePolicy(uid), [{ path: path('*'), capabilities: ['read'] }]);

  promise('versions count from 1 and metadata never has the value', async () => {
    assert.is((await store.write(path('a'), { value: 'one' })).version, 1);
    assert.is((await store.write(path('a'), { value: 'two' })).version, 2);
    const metadata = await store.metadata(path('a'));
    assert.is(metadata?.version, 2);
    assert.ok(Date.parse(metadata?.updatedTime ?? '') > 0);
    assert.equal(Object.keys(metadata ?? {}).sort(), ['updatedTime', 'version']);
    assert.is(await store.metadata(path('b')), undefined);
  });

  promise('check-and-set: 0 creates, the present version replaces, anything else is cas_mismatch', async () => {
    await store.write(path('a'), { value: 'one' }, { cas: 0 });
    await refused('cas_mismatch', () => store.write(path('a'), { value: 'x' }, { cas: 0 }));
    await refused('cas_mismatch', () => store.write(path('a'), { value: 'x' }, { cas: 2 }));
    assert.is((await store.write(path('a'), { value: 'two' }, { cas: 1 })).version, 2);
    await refused('cas_mismatch', () => store.write(path('b'), { value: 'x' }, { cas: 1 }));
    assert.is(await store.metadata(path('b')), undefined);
  });

  promise('of concurrent writes with one version, one wins', async () => {
    const writes = Array.from({ length: 8 }, (_, index) => store.write(path('a'), { value: `v${index}` }, { cas: 0 }));
    const settled = await Promise.allSettled(writes);
    assert.is(settled.filter(({ status }) => status === 'fulfilled').length, 1);
    assert.is((await store.metadata(path('a')))?.version, 1);
  });

  promise('a session reads what its policy names, and nothing else', async () => {
    await readOnly();
    await store.write(path('a'), { value: 'one' });
    const other = secretPath('gsv-w-acme-default-00000000', randomUUID(), 'a');
    await store.write(other, { value: 'other' });
    const session = await store.session(instancePolicy(uid), 60);
    assert.equal(await session.read(path('a')), { version: 1, data: { value: 'one' } });
    assert.is(await session.read(path('absent')), undefined);
    await refused('permission_denied', () => session.read(other));
    await refused('permission_denied', () => session.write(path('a'), { value: 'x' }));
    await refused('permission_denied', () => session.write(path('new'), { value: 'x' }));
  });

  promise('create and update are different rights', async () => {
    await store.putPolicy(instancePolicy(uid), [{ path: path('a'), capabilities: ['create'] }]);
    const session = await store.session(instancePolicy(uid), 60);
    assert.is((await session.write(path('a'), { value: 'one' })).version, 1);
    await refused('permission_denied', () => session.write(path('a'), { value: 'two' }));
    await refused('permission_denied', () => session.read(path('a')));
  });

  promise('a session of an absent policy is policy_missing; a deleted policy ends its sessions’ rights', async () => {
    await refused('policy_missing', () => store.session(instancePolicy(uid), 60));
    await readOnly();
    await store.write(path('a'), { value: 'one' });
    const session = await store.session(instancePolicy(uid), 60);
    await store.deletePolicy(instancePolicy(uid));
    await refused('permission_denied', () => session.read(path('a')));
    await store.deletePolicy(instancePolicy(uid));
  });

  promise('a buyer secret is written only where buyer secrets lie', async () => {
    assert.is((await store.writeBuyerSecret(path('a'), { value: 'one' }, { cas: 0 })).version, 1);
    await refused('cas_mismatch', () => store.writeBuyerSecret(path('a'), { value: 'two' }, { cas: 0 }));
    for (const elsewhere of ['t/only', 'platform/x/y/z', `${path('a')}/deeper`, 't/../platform/a', 't//a/b'])
      await refused('permission_denied', () => store.writeBuyerSecret(elsewhere, { value: 'x' }));
  });

  promise('destroying old versions leaves the present one, and may be repeated', async () => {
    await readOnly();
    for (const value of ['one', 'two', 'three']) await store.write(path('a'), { value });
    const session = await store.session(instancePolicy(uid), 60);
    for (let twice = 0; twice < 2; twice += 1) {
      await store.destroyVersions(path('a'), [1, 2]);
      assert.equal(await session.read(path('a')), { version: 3, data: { value: 'three' } });
      assert.is((await store.metadata(path('a')))?.version, 3);
    }
    assert.is((await store.write(path('a'), { value: 'four' }, { cas: 3 })).version, 4);
    await store.destroyVersions(path('absent'), [1]);
    assert.is(await store.metadata(path('absent')), undefined);
    await refused('permission_denied', () => store.destroyVersions('t/../platform/a', [1]));
  });

  promise('destroying a tree takes whole segments, and versions begin anew', async () => {
    await store.write(path('a'), { value: 'one' });
    await store.write(path('a'), { value: 'two' });
    const neighbour = secretPath('gsv-w-acme-default-00000000', `${uid}-2`, 'a');
    await store.write(neighbour, { value: 'stays' });
    await store.destroyTree(`t/gsv-w-acme-default-00000000/${uid}`);
    assert.is(await store.metadata(path('a')), undefined);
    assert.is((await store.metadata(neighbour))?.version, 1);
    assert.is((await store.write(path('a'), { value: 'anew' }, { cas: 0 })).version, 1);
    await store.destroyTree('t/nothing-here');
  });

  promise('a role is put once or again, seen by its name, and gone when deleted', async () => {
    const namespace = `gsv-w-acme-${uid.slice(0, 8)}`;
    const binding = { serviceAccount: TENANT_ACCOUNT, namespace, policies: [TENANT_POLICY] };
    await store.putRole(namespace, binding);
    await store.putRole(namespace, binding);
    assert.is((await store.names()).roles.filter((each) => each === namespace).length, 1);
    await store.deleteRole(namespace);
    await store.deleteRole(namespace);
    assert.not.ok((await store.names()).roles.includes(namespace));
    for (const name of ['gsv-operator', 'gsv-w-', 'gsv-w-a/b', 'gsv-w-..', 'GSV-W-A', `gsv-w-${'a'.repeat(58)}`])
      await refused('permission_denied', () => store.putRole(name, binding));
  });

  promise('names tells policies and trees of ours, without a value', async () => {
    await readOnly();
    await store.write(path('a'), { value: 'canary' });
    await store.write(path('b'), { value: 'canary' });
    const before = await store.names();
    assert.ok(before.policies.includes(instancePolicy(uid)));
    assert.is(before.trees.filter((each) => each === `t/gsv-w-acme-default-00000000/${uid}`).length, 1);
    assert.not.match(JSON.stringify(before), /canary/);
    await store.deletePolicy(instancePolicy(uid));
    await store.destroyTree(`t/gsv-w-acme-default-00000000/${uid}`);
    const after = await store.names();
    assert.not.match(JSON.stringify(after), uid);
  });

  promise('an error names the path and never a value', async () => {
    await store.write(path('a'), { value: 'canary-in-the-store' });
    const error = await refused('cas_mismatch', () =>
      store.write(path('a'), { value: 'canary-in-the-call' }, { cas: 0 }),
    );
    assert.not.match(`${error.message} ${error.stack}`, /canary/);
  });
}

async function refused(code: SecretsError['code'], action: () => Promise<unknown>): Promise<SecretsError> {
  try {
    await action();
  } catch (error) {
    assert.instance(error, SecretsError);
    assert.is((error as SecretsError).code, code, (error as SecretsError).message);
    return error as SecretsError;
  }
  throw new Error(`expected a SecretsError ${code}`);
}
