import { Secret } from './secret-setting.ts';
import { isSecret } from './setting-parsers.ts';
import { CATALOGUE, type Definition, type ProcessName } from './settings-catalogue.ts';
import { SettingsError } from './settings-error.ts';

export { Secret } from './secret-setting.ts';
export { isSecret } from './setting-parsers.ts';
export { CATALOGUE, type ProcessName } from './settings-catalogue.ts';
export { SettingsError } from './settings-error.ts';

type Catalogue = typeof CATALOGUE;
type Value<K extends keyof Catalogue> = Catalogue[K] extends { fallback: unknown }
  ? ReturnType<Catalogue[K]['parse']>
  : ReturnType<Catalogue[K]['parse']> | undefined;
export type Settings<K extends keyof Catalogue> = { [P in K]: Value<P> };
/** A setting that must be there: `required` below names them. */
export type WithRequired<T, K extends keyof T> = Omit<T, K> & { [P in K]-?: NonNullable<T[P]> };

/** The settings that a process reads: naming them all is how one start shows every problem. */
export function settingsOf(process: ProcessName): (keyof Catalogue)[] {
  const keys = Object.keys(CATALOGUE) as (keyof Catalogue)[];
  return keys.filter((key) => (CATALOGUE[key].used as readonly ProcessName[]).includes(process));
}

/**
 * Reads and validates settings; the only place that touches the environment.
 *
 * @throws SettingsError with all problems at once
 */
export function loadSettings<K extends keyof Catalogue, R extends K = never>(
  keys: readonly K[],
  required: readonly R[] = [],
  env: NodeJS.ProcessEnv = process.env,
): WithRequired<Settings<K>, R> {
  const problems: string[] = [];
  const out: Record<string, unknown> = {};
  for (const key of keys) {
    const definition = CATALOGUE[key] as Definition<unknown>;
    try {
      out[key] = readOne(definition, env);
    } catch (error) {
      problems.push(`${definition.env} ${(error as Error).message}`);
      continue;
    }
    if (out[key] === undefined && (required as readonly string[]).includes(key)) {
      problems.push(`${definition.env} is required: ${definition.doc}`);
    }
  }
  if (problems.length > 0) throw new SettingsError(problems);
  return out as WithRequired<Settings<K>, R>;
}

function readOne(definition: Definition<unknown>, env: NodeJS.ProcessEnv): unknown {
  const direct = env[definition.env];
  if (direct !== undefined && direct !== '') return definition.parse(direct);
  const file = env[`${definition.env}_FILE`];
  if (isSecret(definition) && file) {
    const fromFile = Secret.fromFile(file);
    let present: string;
    try {
      present = fromFile.reveal();
    } catch {
      throw new TypeError(`cannot be read from the file that ${definition.env}_FILE names`);
    }
    definition.parse(present);
    return fromFile;
  }
  return definition.fallback;
}

/** Variables that outside programs need to be found, to reach a network through a proxy and to trust it. */
const INHERITED = [
  'PATH',
  'TMPDIR',
  'SSH_AUTH_SOCK',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
];

/** What a child process gets of our environment: enough to run, none of our settings and secrets. */
export function childEnvironment(env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  return Object.fromEntries(
    INHERITED.flatMap((name) => {
      const value = env[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
