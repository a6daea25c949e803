import type { S3Client } from '@aws-sdk/client-s3';
import type { BlobStore } from '../artifacts.ts';
import type { Secret } from '../secret-setting.ts';
import { checkedKey } from './key.ts';

export interface S3Options {
  /** Base URL of an S3-compatible service; absent: AWS itself, in the region of the environment. */
  endpoint?: string | undefined;
  accessKey: Secret;
  secretKey: Secret;
}

/** Any region: services that are not AWS ignore it, but a signature needs one. */
const REGION = 'us-east-1';
/** One request; artifacts are a few MiB. Milliseconds. */
const REQUEST_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** The SDK's own count: the first try and two more, with jitter. */
const ATTEMPTS = 3;
/** Bucket names of AWS, which every service accepts. */
const BUCKET = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const PREFIX = /^([\w-][\w.-]*(\/[\w-][\w.-]*)*)?$/;

/**
 * Blobs in an S3-compatible bucket. An object is written all or nothing by the service itself. The
 * SDK is loaded with the first call: it is the slowest import that we have, and folders do without it.
 */
export class S3BlobStore implements BlobStore {
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #options: S3Options;
  #opened: Promise<Opened> | undefined;

  /** @param url `s3://bucket` or `s3://bucket/prefix`. @throws TypeError for a malformed one */
  constructor(url: URL, options: S3Options) {
    this.#bucket = url.host;
    this.#prefix = url.pathname.replace(/^\/|\/$/g, '');
    if (!BUCKET.test(this.#bucket) || !PREFIX.test(this.#prefix))
      throw new TypeError('GSV_ARTIFACTS_URL: an S3 store is s3://bucket or s3://bucket/prefix');
    this.#options = options;
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    const { client, sdk } = await this.#open();
    await client.send(new sdk.PutObjectCommand({ ...this.#object(key), Body: bytes, ContentLength: bytes.byteLength }));
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const { client, sdk } = await this.#open();
    try {
      const { Body } = await client.send(new sdk.GetObjectCommand(this.#object(key)));
      return await Body?.transformToByteArray();
    } catch (error) {
      if (error instanceof sdk.NoSuchKey) return undefined;
      throw error;
    }
  }

  async delete(key: string): Promise<void> {
    const { client, sdk } = await this.#open();
    await client.send(new sdk.DeleteObjectCommand(this.#object(key)));
  }

  #object(key: string): { Bucket: string; Key: string } {
    const checked = checkedKey(key);
    return { Bucket: this.#bucket, Key: this.#prefix === '' ? checked : `${this.#prefix}/${checked}` };
  }

  #open(): Promise<Opened> {
    this.#opened ??= open(this.#options);
    return this.#opened;
  }
}

interface Opened {
  client: S3Client;
  sdk: typeof import('@aws-sdk/client-s3');
}

async function open({ endpoint, accessKey, secretKey }: S3Options): Promise<Opened> {
  const sdk = await import('@aws-sdk/client-s3');
  const client = new sdk.S3Client({
    region: REGION,
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    // The SDK keeps what does not end soon; these do, so that rotated keys are used with the next call.
    credentials: async () => ({
      accessKeyId: accessKey.reveal(),
      secretAccessKey: secretKey.reveal(),
      expiration: new Date(),
    }),
    maxAttempts: ATTEMPTS,
    // The service's own checksums are enough; older compatible services refuse the newer trailers.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { requestTimeout: REQUEST_TIMEOUT_MS, connectionTimeout: CONNECT_TIMEOUT_MS },
  });
  return { client, sdk };
}
