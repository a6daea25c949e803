import {
  instancePolicy,
  type SecretSession,
  type SecretsBroker,
  SecretsError,
  secretPath,
} from '../../config/secrets.ts';
import type { ContractGlobal } from '../../crds/contract.ts';
import type { Binding } from './binding.ts';
import { runnerProblem } from './problems.ts';

/** Secrets are read at the start of a run or probe, at once; the session needs no more. */
const SESSION_SECONDS = 60;

export interface ResolvedGlobals {
  /** What the runtime gets as body globals. */
  globals: Record<string, string>;
  /** The secret values among them: what must not leave. */
  secrets: string[];
}

/**
 * Resolves the contract's runtime variables from config, Instance and secrets. Config that is absent
 * takes the schema's default, else the empty string, so that a flow that names the variable resolves.
 *
 * @throws Problem `secret_missing`, `instance_not_ready`, `secrets_unavailable`
 */
export async function resolveGlobals(
  binding: Binding,
  broker: SecretsBroker,
  namespace: () => Promise<string>,
): Promise<ResolvedGlobals> {
  const { contract } = binding;
  const wanted = contract.globals.flatMap((global) => global.fromSecret ?? []);
  const values = wanted.length === 0 ? new Map() : await readSecrets(binding, wanted, broker, await namespace());
  const globals: Record<string, string> = {};
  for (const global of contract.globals) {
    globals[global.name] =
      global.fromSecret === undefined ? plainValue(global, binding) : (values.get(global.fromSecret)?.value ?? '');
  }
  return { globals, secrets: [...values.values()].map((secret) => secret.value) };
}

export interface ReadSecret {
  value: string;
  version: number;
}

/** All of `names`, or a problem that names every missing one. */
export async function readSecrets(
  binding: Binding,
  names: readonly string[],
  broker: SecretsBroker,
  namespace: string,
): Promise<Map<string, ReadSecret>> {
  const { uid } = binding.instance.metadata;
  const unique = [...new Set(names)];
  const found = new Map<string, ReadSecret>();
  try {
    const session = await broker.session(instancePolicy(uid), SESSION_SECONDS);
    const read = unique.map((name) => readOne(session, secretPath(namespace, uid, name)));
    for (const [index, secret] of (await Promise.all(read)).entries()) {
      const name = unique[index];
      if (secret && name !== undefined) found.set(name, secret);
    }
  } catch (error) {
    throw secretsProblem(error);
  }
  const missing = unique.filter((name) => !found.has(name));
  if (missing.length > 0)
    throw runnerProblem('secret_missing', `set the secret ${missing.join(', ')} of the Instance`, {
      extra: { secrets: missing },
    });
  return found;
}

async function readOne(session: SecretSession, path: string): Promise<ReadSecret | undefined> {
  const secret = await session.read(path);
  const value = secret?.data.value;
  return secret && value !== undefined ? { value, version: secret.version } : undefined;
}

/** What a client may know about a failure of the secrets store. */
export function secretsProblem(error: unknown): unknown {
  if (!(error instanceof SecretsError)) return error;
  if (error.code === 'policy_missing')
    return runnerProblem('instance_not_ready', 'the secrets of the Instance are not provisioned yet', { cause: error });
  if (error.code === 'cas_mismatch')
    return runnerProblem(
      'version_conflict',
      'the secret has another version than the one named; read it and try again',
      {
        cause: error,
      },
    );
  return runnerProblem('secrets_unavailable', 'the secrets of the Instance cannot be read now', { cause: error });
}

function plainValue(global: ContractGlobal, { organization, instance, contract }: Binding): string {
  if (global.fromConfig !== undefined) {
    const value = instance.spec.config?.[global.fromConfig] ?? defaultOf(contract.config.schema, global.fromConfig);
    if (value === undefined) return '';
    return typeof value === 'string' ? value : JSON.stringify(value);
  }
  switch (global.fromInstance) {
    case 'Name':
      return instance.metadata.name;
    case 'Uid':
      return instance.metadata.uid;
    case 'Organization':
      return organization;
    case 'Project':
      return instance.spec.projectRef.name;
    case 'Plan':
      return instance.spec.plan;
    default:
      return '';
  }
}

function defaultOf(schema: Record<string, unknown>, key: string): unknown {
  const { properties } = schema as { properties?: Record<string, { default?: unknown } | undefined> };
  return properties?.[key]?.default;
}
