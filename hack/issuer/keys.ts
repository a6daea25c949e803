import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { exportJWK, generateKeyPair, type JWK } from 'jose';

/** What must outlive a restart so that tokens and cookies stay valid. */
export interface IssuerKeys {
  jwks: { keys: JWK[] };
  cookieKeys: string[];
}

/** Reads the keys of the issuer, or makes and stores them. Without a folder they end with the process. */
export async function loadIssuerKeys(dataDir: string | undefined): Promise<IssuerKeys> {
  if (dataDir === undefined) return newKeys();
  const file = join(dataDir, 'issuer-keys.json');
  const stored = await readStored(file);
  if (stored) return stored;
  const keys = await newKeys();
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  // Written beside and renamed, so that a crash leaves either nothing or the whole file.
  await writeFile(`${file}.new`, JSON.stringify(keys), { mode: 0o600 });
  await rename(`${file}.new`, file);
  return keys;
}

async function readStored(file: string): Promise<IssuerKeys | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const keys = JSON.parse(text) as IssuerKeys;
    if (keys.jwks.keys.length > 0 && keys.cookieKeys.length > 0) return keys;
  } catch {
    // Falls through to the sentence below: what is wrong with the file does not matter to the reader.
  }
  throw new Error(`the issuer's keys in ${file} are damaged; remove that file to make new ones`);
}

async function newKeys(): Promise<IssuerKeys> {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true, modulusLength: 2048 });
  const kid = randomBytes(8).toString('hex');
  const jwk: JWK = { ...(await exportJWK(privateKey)), kid, alg: 'RS256', use: 'sig' };
  return { jwks: { keys: [jwk] }, cookieKeys: [randomBytes(24).toString('base64url')] };
}
