import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { arch, platform } from 'node:os';
import { join } from 'node:path';
import { buildFromModules, type Recipe } from '../cluster/build.ts';
import type { Progress } from '../cluster/versions.ts';

export const VAULT_VERSION = 'v1.21.4';

const SOURCE = join(import.meta.dirname, 'server/main.go');
const CACHE = join(import.meta.dirname, '../../.cache/vault');

/**
 * Vault requires its SDK as v0.21.0 and replaces it by a folder that is not in the archive. The one it
 * really compiles with is v0.20.0: v0.21.0 belongs to the next minor version.
 */
const REQUIREMENTS = [
  'go 1.25.3',
  `require github.com/hashicorp/vault ${VAULT_VERSION}`,
  'require github.com/hashicorp/vault-plugin-auth-kubernetes v0.23.1',
  'require github.com/hashicorp/vault-plugin-secrets-kv v0.25.0',
  'replace github.com/hashicorp/vault/sdk => github.com/hashicorp/vault/sdk v0.20.0',
];

const RECIPE: Recipe = {
  module: 'github.com/hashicorp/vault',
  version: VAULT_VERSION,
  requirements: REQUIREMENTS,
  command: '.',
  sources: [SOURCE],
  usually: '4 minutes',
  stamps: [],
};

/**
 * Path of the Vault server for tests: from `.cache/`, else built by Go from the published modules, once.
 * Vault is under the Business Source License: it is built and run here for tests only, and nothing of it
 * is committed or shipped.
 *
 * @throws Error that says why there is none
 */
export async function findVault(progress: Progress): Promise<string> {
  const folder = join(CACHE, `${VAULT_VERSION}-${fingerprint()}-${platform()}-${arch()}`);
  const program = join(folder, 'vault');
  if (existsSync(program)) return program;
  try {
    return await buildFromModules('vault', RECIPE, folder, progress);
  } catch (cause) {
    const why = (cause as Error).message;
    throw new Error(`There is no Vault server: the cache has none, and it cannot be built. ${why}`, { cause });
  }
}

/** What is built changes with our source and the versions, not with Vault's alone. */
function fingerprint(): string {
  const hash = createHash('sha256').update(readFileSync(SOURCE)).update(REQUIREMENTS.join('\n'));
  return hash.digest('hex').slice(0, 8);
}
