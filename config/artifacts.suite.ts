import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { ArtifactError, type BlobStore, getArtifact, putArtifact } from './artifacts.ts';

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const bytes = text('{"name":"flow"}');

/** Larger than one chunk of any client or server; every byte value occurs. */
const LARGE = Uint8Array.from({ length: 6 * 1024 * 1024 }, (_, index) => (index * 31) % 256);

/** What every blob store promises. `open` is called once, in the first test. */
export function blobStoreContract(name: string, open: () => Promise<BlobStore>): void {
  let opened: Promise<BlobStore> | undefined;
  const store = (): Promise<BlobStore> => {
    opened ??= open();
    return opened;
  };

  test(`${name}: an artifact is found again under its digest`, async () => {
    const reference = await putArtifact(await store(), bytes);
    assert.is(reference.uri, `artifact://sha256/${reference.sha256}`);
    assert.is(reference.sizeBytes, bytes.byteLength);
    assert.equal([...(await getArtifact(await store(), reference.sha256))], [...bytes]);
    assert.equal(await putArtifact(await store(), bytes), reference);
  });

  test(`${name}: a blob is replaced, deleted, and deleted again`, async () => {
    const blobs = await store();
    await blobs.put('results/one.json', text('first'));
    await blobs.put('results/one.json', text('second'));
    assert.is(new TextDecoder().decode(await blobs.get('results/one.json')), 'second');
    await blobs.delete('results/one.json');
    assert.is(await blobs.get('results/one.json'), undefined);
    await blobs.delete('results/one.json');
  });

  test(`${name}: an empty and a large blob come back as they were`, async () => {
    const blobs = await store();
    await blobs.put('sizes/empty', new Uint8Array());
    assert.is((await blobs.get('sizes/empty'))?.byteLength, 0);
    await blobs.put('sizes/large', LARGE);
    assert.ok(Buffer.from(LARGE).equals((await blobs.get('sizes/large')) ?? new Uint8Array()));
  });

  test(`${name}: a changed artifact is refused, a missing one is named`, async () => {
    const blobs = await store();
    const { sha256 } = await putArtifact(blobs, text('other'));
    await blobs.put(`artifacts/sha256/${sha256.slice(0, 2)}/${sha256}.json`, text('tampered'));
    assert.is(await codeOf(getArtifact(blobs, sha256)), 'artifact_corrupt');
    assert.is(await codeOf(getArtifact(blobs, '0'.repeat(64))), 'artifact_missing');
  });

  for (const key of ['../outside', 'a/../../b', '/etc/passwd', 'a//b', '', '.hidden', 'a\0b', 'a?versionId=1']) {
    test(`${name}: the key ${JSON.stringify(key)} is refused`, async () => {
      const blobs = await store();
      for (const attempt of [blobs.put(key, bytes), blobs.get(key), blobs.delete(key)]) {
        const error = await attempt.then(
          () => undefined,
          (reason: unknown) => reason,
        );
        assert.instance(error, RangeError);
      }
    });
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return error instanceof ArtifactError ? error.code : 'other';
  }
}
