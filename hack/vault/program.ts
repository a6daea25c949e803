import { join } from 'node:path';
import type { Recipe } from '../cluster/build.ts';
import { cachedProgram } from '../cluster/cached-program.ts';
import type { Progress } from '../cluster/versions.ts';

export const VAULT_VERSION = 'v1.21.4';

const SOURCE = join(import.meta.dirname, 'server/main.go');

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
export function findVault(progress: Progress): Promise<string> {
  return cachedProgram('vault', 'Vault server', RECIPE, progress);
}
