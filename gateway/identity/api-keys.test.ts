import { createHash, randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { Problem } from '../../config/problem.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import { ApiKeys } from './api-keys.ts';

const NAMESPACE = 'gsv-org-acme';
const OWNER = 'https://issuer.example|s1';

let store: EmbeddedStore;
let keys: ApiKeys;
let now = Date.parse('2026-06-01T00:00:00Z');

before(async () => {
  store = await EmbeddedStore.open();
  await store.create('Namespace', { metadata: { name: NAMESPACE }, spec: {} });
  const cache = store.watch('ApiKey');
  await cache.synced;
  keys = new ApiKeys(cache, () => now);
});
after(async () => {
  keys.close();
  await store.close();
});

async function issue(name: string, more: { instances?: string[]; expiresTime?: string } = {}): Promise<string> {
  const key = `gsvk_${randomBytes(32).toString('base64url')}`;
  const hash = `sha256:${createHash('sha256').update(key).digest('hex')}`;
  await store.create('ApiKey', { metadata: { name, namespace: NAMESPACE }, spec: { hash, owner: OWNER, ...more } });
  await seen(name, true);
  return key;
}

async function seen(name: string, there: boolean): Promise<void> {
  while ((store.watch('ApiKey').get({ name, namespace: NAMESPACE }) !== undefined) !== there)
    await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
}

function codeOf(key: string): string {
  try {
    keys.caller(key);
    return 'accepted';
  } catch (error) {
    return error instanceof Problem ? error.code : String(error);
  }
}

test('a key stands for its owner, within its bounds', async () => {
  const caller = keys.caller(await issue('one', { instances: ['claims'] }));
  assert.equal(caller, {
    subject: OWNER,
    emailVerified: false,
    groups: [],
    apiKey: { organization: 'acme', name: 'one', instances: ['claims'] },
  });
  assert.is(keys.caller(await issue('two')).apiKey?.instances, undefined);
});

test('a key ends at its time and with its object', async () => {
  const key = await issue('three', { expiresTime: '2026-06-01T00:00:10Z' });
  assert.is(codeOf(key), 'accepted');
  now += 10_000;
  assert.is(codeOf(key), 'token_expired');
  const other = await issue('four');
  assert.is(codeOf(other), 'accepted');
  await store.delete('ApiKey', { name: 'four', namespace: NAMESPACE });
  await seen('four', false);
  assert.is(codeOf(other), 'token_invalid');
});

for (const [reason, key] of [
  ['unknown', `gsvk_${'A'.repeat(43)}`],
  ['too short to be one', 'gsvk_abc'],
  ['too long', `gsvk_${'A'.repeat(500)}`],
  ['of strange characters', `gsvk_${'%'.repeat(43)}`],
] as const)
  test(`a key that is ${reason} is refused`, () => {
    assert.is(codeOf(key), 'token_invalid');
  });

test('the hash itself opens nothing', async () => {
  const key = await issue('five');
  const hash = createHash('sha256').update(key).digest('hex');
  assert.is(codeOf(`gsvk_${hash}`), 'token_invalid');
});
