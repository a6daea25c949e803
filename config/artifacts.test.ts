import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { ArtifactError, type BlobStore, getArtifact, openBlobStore, putArtifact } from './artifacts.ts';

let folder: string;
let store: BlobStore;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gsv-blobs-'));
  store = openBlobStore(pathToFileURL(folder).href);
});
after(() => rm(folder, { recursive: true, force: true }));

const bytes = new TextEncoder().encode('{"name":"flow"}');

test('an artifact is found again under its digest', async () => {
  const reference = await putArtifact(store, bytes);
  assert.is(reference.uri, `artifact://sha256/${reference.sha256}`);
  assert.is(reference.sizeBytes, bytes.byteLength);
  assert.equal([...(await getArtifact(store, reference.sha256))], [...bytes]);
});

test('publishing the same bytes twice stores one object', async () => {
  const first = await putArtifact(store, bytes);
  const second = await putArtifact(store, bytes);
  assert.equal(first, second);
  assert.is((await readdir(join(folder, 'artifacts/sha256', first.sha256.slice(0, 2)))).length, 1);
});

test('a changed artifact is refused', async () => {
  const { sha256 } = await putArtifact(store, new TextEncoder().encode('other'));
  await writeFile(join(folder, 'artifacts/sha256', sha256.slice(0, 2), `${sha256}.json`), 'tampered');
  assert.is(await codeOf(getArtifact(store, sha256)), 'artifact_corrupt');
});

test('a missing artifact is named', async () => {
  assert.is(await codeOf(getArtifact(store, '0'.repeat(64))), 'artifact_missing');
});

for (const key of ['../outside', 'a/../../b', '/etc/passwd', 'a//b', '', '.hidden', 'a\0b']) {
  test(`the key ${JSON.stringify(key)} cannot leave the folder`, async () => {
    let refused = false;
    await store.put(key, bytes).catch((error: unknown) => {
      refused = error instanceof RangeError;
    });
    assert.ok(refused);
  });
}

test('a scheme that is not offered is named', () => {
  assert.throws(
    () => openBlobStore('s3://bucket/prefix'),
    (error: Error) => error.message.includes('s3:'),
  );
});

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error instanceof ArtifactError ? error.code : 'other';
  }
}
