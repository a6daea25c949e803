/** The contract of the blob store on a real S3 server, and what only a server can refuse. */
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { startS3Server } from '../hack/s3/server.ts';
import { blobStoreContract } from './artifacts.suite.ts';
import { type BlobStore, openBlobStore } from './artifacts.ts';
import { Secret } from './secret-setting.ts';

const server = await startS3Server((line) => void process.stderr.write(`# ${line}\n`));
after(() => server.close());

function open(prefix = '', keys: { accessKey?: string; secretKey?: string } = {}): BlobStore {
  return openBlobStore(`s3://${server.bucket}${prefix}`, {
    endpoint: server.endpoint,
    accessKey: Secret.of(keys.accessKey ?? server.accessKey),
    secretKey: Secret.of(keys.secretKey ?? server.secretKey),
  });
}

blobStoreContract('S3 bucket', async () => open());
blobStoreContract('S3 bucket with a prefix', async () => open('/gsv/artifacts'));

test('a prefix keeps two stores of one bucket apart', async () => {
  await open('/one').put('key', new Uint8Array([1]));
  assert.is(await open('/two').get('key'), undefined);
  assert.equal([...((await open().get('one/key')) ?? [])], [1]);
});

test('wrong keys are refused, and the error carries none of them', async () => {
  const secretKey = 'wrong-secret-canary';
  const error = await open('', { secretKey })
    .put('key', new Uint8Array())
    .then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
  assert.is(error?.name, 'SignatureDoesNotMatch');
  assert.not.ok(JSON.stringify(error).includes(secretKey) || String(error).includes(secretKey));
});

test('rotated keys are used at the next call', async () => {
  let secret = 'not-yet';
  const store = openBlobStore(`s3://${server.bucket}`, {
    endpoint: server.endpoint,
    accessKey: Secret.of(server.accessKey),
    secretKey: new Secret(() => secret),
  });
  assert.is(
    await store.get('key').then(
      () => 'answered',
      () => 'refused',
    ),
    'refused',
  );
  secret = server.secretKey;
  assert.is(await store.get('absent'), undefined);
});
