import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';

/** Bits of the key that signs service account tokens; what Kubernetes itself takes. */
const KEY_BITS = 2048;

/** Who may speak to the API server, and the files that say so. */
export interface Credentials {
  adminToken: string;
  controllersToken: string;
  /** CSV for `--token-auth-file`. */
  tokensFile: string;
  /** Signs service account tokens. */
  signingKeyFile: string;
  /** Where the API server puts the certificate that it makes for itself on its first start. */
  certificates: string;
  /** The certificate with its CA: what a client has to trust. */
  caFile: string;
}

/** Makes tokens and keys in the folder, or reads those that are there. */
export async function credentialsIn(folder: string): Promise<Credentials> {
  const certificates = join(folder, 'certificates');
  await mkdir(certificates, { recursive: true, mode: 0o700 });
  const tokensFile = join(folder, 'tokens.csv');
  const signingKeyFile = join(folder, 'service-accounts.key');
  if (!existsSync(tokensFile)) {
    const line = (user: string): string => `${randomBytes(32).toString('hex')},${user},${user},"system:masters"\n`;
    await writeFile(tokensFile, line('admin') + line('controllers'), { mode: 0o600 });
  }
  if (!existsSync(signingKeyFile)) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: KEY_BITS });
    await writeFile(signingKeyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  }
  const [adminToken = '', controllersToken = ''] = (await readFile(tokensFile, 'utf8'))
    .split('\n')
    .map((line) => line.split(',')[0] ?? '');
  const caFile = join(certificates, 'apiserver.crt');
  return { adminToken, controllersToken, tokensFile, signingKeyFile, certificates, caFile };
}

/** Writes a kubeconfig that needs no other file. */
export async function writeKubeconfig(file: string, url: string, caFile: string, token: string): Promise<void> {
  const authority = (await readFile(caFile)).toString('base64');
  const name = 'gsv';
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server: url, 'certificate-authority-data': authority } }],
    users: [{ name, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  await writeFile(file, stringify(config), { mode: 0o600 });
}
