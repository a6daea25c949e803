import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkedKey } from './artifacts/key.ts';
import { S3BlobStore } from './artifacts/s3.ts';
import type { Secret } from './secret-setting.ts';
import { type Settings, SettingsError } from './settings.ts';

/** Flat storage of immutable or short-lived bytes: artifacts, run results, later documents. */
export interface BlobStore {
  /** Writes all or nothing; an equal key is replaced. */
  put(key: string, bytes: Uint8Array): Promise<void>;
  get(key: string): Promise<Uint8Array | undefined>;
  /** Absent keys are no error. */
  delete(key: string): Promise<void>;
}

/** Where an artifact lies: content-addressed, so the name is also the proof. */
export interface ArtifactReference {
  /** `artifact://sha256/<64 hex digits>` */
  uri: string;
  sha256: string;
  sizeBytes: number;
}

export class ArtifactError extends Error {
  readonly code: 'artifact_missing' | 'artifact_corrupt';
  constructor(code: ArtifactError['code'], message: string) {
    super(message);
    this.name = 'ArtifactError';
    this.code = code;
  }
}

/** How to reach an S3 store; unused by a folder. */
export interface BlobStoreOptions {
  endpoint?: string | undefined;
  accessKey?: Secret | undefined;
  secretKey?: Secret | undefined;
}

/**
 * Opens the store that `GSV_ARTIFACTS_URL` names; nothing is asked of it yet.
 *
 * @throws TypeError for a scheme that is not offered, and for an S3 store without keys
 */
export function openBlobStore(url: string, { endpoint, accessKey, secretKey }: BlobStoreOptions = {}): BlobStore {
  const parsed = new URL(url);
  if (parsed.protocol === 'file:') return new FolderBlobStore(fileURLToPath(parsed));
  if (parsed.protocol !== 's3:')
    throw new TypeError(
      `GSV_ARTIFACTS_URL: ${parsed.protocol}// is not offered; use s3://bucket/prefix or file:///an/absolute/folder`,
    );
  if (accessKey === undefined || secretKey === undefined)
    throw new TypeError('GSV_ARTIFACTS_URL names an S3 store: GSV_S3_ACCESS_KEY and GSV_S3_SECRET_KEY are required');
  return new S3BlobStore(parsed, { endpoint, accessKey, secretKey });
}

/** The store that a process' settings name. @throws SettingsError */
export function blobStoreOf(
  settings: { artifactsUrl: string } & Settings<'s3Endpoint' | 's3AccessKey' | 's3SecretKey'>,
): BlobStore {
  const { artifactsUrl, s3Endpoint: endpoint, s3AccessKey: accessKey, s3SecretKey: secretKey } = settings;
  try {
    return openBlobStore(artifactsUrl, { endpoint, accessKey, secretKey });
  } catch (error) {
    if (error instanceof TypeError) throw new SettingsError([error.message]);
    throw error;
  }
}

class FolderBlobStore implements BlobStore {
  readonly #root: string;
  constructor(root: string) {
    this.#root = resolve(root);
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(key);
    await mkdir(dirname(path), { recursive: true });
    const temporary = `${path}.${randomUUID()}.part`;
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    // The rename is what makes the write all or nothing for a reader and for a crash.
    await rename(temporary, path);
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path(key));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async delete(key: string): Promise<void> {
    await rm(this.#path(key), { force: true });
  }

  #path(key: string): string {
    const path = join(this.#root, checkedKey(key));
    if (!path.startsWith(this.#root + sep)) throw new RangeError('blob key is not valid');
    return path;
  }
}

/** Stores the bytes under their sha256. Storing the same bytes again changes nothing. */
export async function putArtifact(store: BlobStore, bytes: Uint8Array): Promise<ArtifactReference> {
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const key = artifactKey(sha256);
  if ((await store.get(key)) === undefined) await store.put(key, bytes);
  return { uri: `artifact://sha256/${sha256}`, sha256, sizeBytes: bytes.byteLength };
}

/**
 * Reads an artifact and proves that it is the one.
 *
 * @throws ArtifactError artifact_missing, artifact_corrupt
 */
export async function getArtifact(store: BlobStore, sha256: string): Promise<Uint8Array> {
  const bytes = await store.get(artifactKey(sha256));
  if (bytes === undefined) {
    throw new ArtifactError('artifact_missing', `the artifact sha256:${sha256} is not in the store; publish it again`);
  }
  if (createHash('sha256').update(bytes).digest('hex') !== sha256) {
    throw new ArtifactError(
      'artifact_corrupt',
      `the artifact sha256:${sha256} does not have that digest; publish it again`,
    );
  }
  return bytes;
}

function artifactKey(sha256: string): string {
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new RangeError('an artifact digest is 64 lower-case hex digits');
  return `artifacts/sha256/${sha256.slice(0, 2)}/${sha256}.json`;
}
