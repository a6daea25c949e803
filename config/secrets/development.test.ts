import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { secretsContract } from '../secrets.suite.ts';
import { SecretsError } from '../secrets.ts';
import { DevelopmentSecrets, type DevelopmentSecretsOptions } from './development.ts';

let root: string;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'gsv-secrets-'));
});
after(() => rm(root, { recursive: true, force: true }));

const folder = (): Promise<string> => mkdtemp(join(root, 'case-'));
const PATH = 't/ns/uid/token';

secretsContract('development secrets', async () => new DevelopmentSecrets({ dataDir: root, quickstart: true }));

test('outside the quickstart it is refused', () => {
  const elsewhere = { dataDir: root, quickstart: false } as unknown as DevelopmentSecretsOptions;
  assert.throws(
    () => new DevelopmentSecrets(elsewhere),
    (error: unknown) => error instanceof SecretsError && error.code === 'permission_denied',
  );
});

test('secrets and policies survive a restart, in a file only its owner can read', async () => {
  const dataDir = await folder();
  const first = new DevelopmentSecrets({ dataDir, quickstart: true });
  await first.putPolicy('p', [{ path: 't/ns/uid/*', capabilities: ['read'] }]);
  await first.write(PATH, { value: 'kept' });
  assert.is((await stat(join(dataDir, 'secrets.json'))).mode & 0o777, 0o600);
  const second = new DevelopmentSecrets({ dataDir, quickstart: true });
  const session = await second.session('p', 60);
  assert.equal(await session.read(PATH), { version: 1, data: { value: 'kept' } });
});

test('a session’s rights end with its ttl', async () => {
  let now = 1_000_000;
  const store = new DevelopmentSecrets({ dataDir: await folder(), quickstart: true, now: () => now });
  await store.putPolicy('p', [{ path: 't/ns/uid/*', capabilities: ['read'] }]);
  await store.write(PATH, { value: 'x' });
  const session = await store.session('p', 60);
  now += 59_999;
  assert.is((await session.read(PATH))?.version, 1);
  now += 1;
  try {
    await session.read(PATH);
    assert.unreachable();
  } catch (error) {
    assert.is((error as SecretsError).code, 'permission_denied');
  }
});

test('concurrent writes of one process all arrive, and leave one file', async () => {
  const dataDir = await folder();
  const store = new DevelopmentSecrets({ dataDir, quickstart: true });
  await Promise.all(Array.from({ length: 20 }, (_, index) => store.write(`t/ns/uid/s${index}`, { value: 'v' })));
  const again = new DevelopmentSecrets({ dataDir, quickstart: true });
  for (let index = 0; index < 20; index++) assert.is((await again.metadata(`t/ns/uid/s${index}`))?.version, 1);
  assert.equal(await readdir(dataDir), ['secrets.json']);
});

test('a damaged file is a sentence that says what to do and quotes nothing', async () => {
  const dataDir = await folder();
  await writeFile(join(dataDir, 'secrets.json'), '{"secrets": {"t/a/b/c": {"data": {"value": "canary"}');
  assert.throws(
    () => new DevelopmentSecrets({ dataDir, quickstart: true }),
    (error: unknown) =>
      error instanceof SecretsError &&
      error.code === 'unavailable' &&
      /damaged/.test(error.message) &&
      !/canary/.test(`${error.message} ${error.stack}`),
  );
});

test('a failed write changes nothing, in memory or on disk', async () => {
  const dataDir = await folder();
  const store = new DevelopmentSecrets({ dataDir, quickstart: true });
  await store.write(PATH, { value: 'first' });
  const kept = await readFile(join(dataDir, 'secrets.json'), 'utf8');
  await rm(dataDir, { recursive: true });
  try {
    await store.write(PATH, { value: 'second' });
    assert.unreachable();
  } catch (error) {
    assert.is((error as SecretsError).code, 'unavailable');
  }
  assert.is((await store.metadata(PATH))?.version, 1);
  assert.match(kept, 'first');
});
