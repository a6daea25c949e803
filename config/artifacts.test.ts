import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { blobStoreContract } from './artifacts.suite.ts';
import { blobStoreOf, openBlobStore, putArtifact } from './artifacts.ts';
import { Secret } from './secret-setting.ts';
import { SettingsError } from './settings.ts';

const folder = await mkdtemp(join(tmpdir(), 'gsv-blobs-'));
after(() => rm(folder, { recursive: true, force: true }));
const store = openBlobStore(pathToFileURL(folder).href);

blobStoreContract('folder', async () => store);

test('publishing the same bytes twice stores one object', async () => {
  const bytes = new TextEncoder().encode('{"name":"another flow"}');
  const { sha256 } = await putArtifact(store, bytes);
  await putArtifact(store, bytes);
  assert.is((await readdir(join(folder, 'artifacts/sha256', sha256.slice(0, 2)))).length, 1);
});

const KEYS = { accessKey: Secret.of('a'), secretKey: Secret.of('canary') };
for (const [reason, url, options, says] of [
  ['a scheme that is not offered', 'ftp://bucket/prefix', {}, 'ftp://'],
  ['an S3 store without keys', 's3://bucket/prefix', {}, 'GSV_S3_ACCESS_KEY'],
  ['a bucket that no service takes', 's3://Bucket_/x', KEYS, 's3://bucket'],
  ['a prefix that climbs', 's3://bucket/a//b', KEYS, 's3://bucket/prefix'],
] as const)
  test(`${reason} is refused with a sentence`, () => {
    assert.throws(
      () => openBlobStore(url, options),
      (error: Error) => error instanceof TypeError && error.message.includes(says),
    );
  });

test('what the settings name wrongly is a problem of the settings', () => {
  const settings = { s3Endpoint: undefined, s3AccessKey: undefined, s3SecretKey: undefined };
  assert.throws(
    () => blobStoreOf({ ...settings, artifactsUrl: 's3://bucket' }),
    (error: unknown) => error instanceof SettingsError,
  );
});
