import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { downloadModule, type Recipe } from '../cluster/build.ts';
import { cachedProgram } from '../cluster/cached-program.ts';
import type { Progress } from '../cluster/versions.ts';
import { externalSecretsRoles } from './roles.ts';

const MODULE = 'github.com/external-secrets/external-secrets';
/**
 * The newest that is one module. From 1.0 on its parts are modules of their own, by folders that no archive has;
 * see docs/adr/0030-a-real-external-secrets-for-tests.md.
 */
export const EXTERNAL_SECRETS_VERSION = 'v0.20.4';

const SERVER = join(import.meta.dirname, 'server');

/** The `replace` line is that of its own `go.mod`, which a module that requires it must repeat. */
const REQUIREMENTS = [
  'go 1.25.1',
  `require ${MODULE} ${EXTERNAL_SECRETS_VERSION}`,
  'replace github.com/Masterminds/sprig/v3 => github.com/external-secrets/sprig/v3 v3.3.0',
];

const RECIPE: Recipe = {
  module: MODULE,
  version: EXTERNAL_SECRETS_VERSION,
  requirements: REQUIREMENTS,
  command: '.',
  sources: [join(SERVER, 'main.go')],
  replaced: {
    'pkg/provider/register/register.go': join(SERVER, 'providers/register.go'),
    'pkg/generator/register/register.go': join(SERVER, 'generators/register.go'),
  },
  usually: '2 minutes',
  stamps: [],
};

/**
 * Path of External Secrets for tests: from `.cache/`, else built by Go from the published module, once.
 *
 * @throws Error that says why there is none
 */
export function findExternalSecrets(progress: Progress): Promise<string> {
  return cachedProgram('external-secrets', 'External Secrets', RECIPE, progress);
}

/** What an administrator applies before the program starts; one document each. */
export interface ExternalSecretsManifests {
  /** All its CRDs. */
  definitions: string[];
  /** Its account, and the rights that its Helm chart gives it. */
  roles: string[];
}

/** From the module of that version. @throws Error when it cannot be had */
export async function externalSecretsManifests(): Promise<ExternalSecretsManifests> {
  const folder = join(await downloadModule(`${MODULE}@${EXTERNAL_SECRETS_VERSION}`), 'deploy');
  const read = (path: string): string => readFileSync(join(folder, path), 'utf8');
  return {
    definitions: read('crds/bundle.yaml')
      .split(/^---$/m)
      .filter((text) => text.trim() !== ''),
    roles: externalSecretsRoles(
      read('charts/external-secrets/templates/rbac.yaml'),
      read('charts/external-secrets/values.yaml'),
    ),
  };
}
