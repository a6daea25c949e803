/** Policies of Vault as text: pure, so that what a process may do is read and tested in one place. */
import { type PolicyRule, SecretsError, TENANT_ACCOUNT, TENANT_POLICY } from '../secrets.ts';

/** As the development adapter; and none ends in a dot, which OpenBao refuses at the end of a path. */
const SEGMENT = /^(?!\.)[\w.-]{0,252}[\w-]$/;
/** A mount may lie deeper: `kv/agents`. */
const MOUNT = /^[\w-]+(\/[\w-]+)*$/;
const ACCESSOR = /^[\w-]{1,128}$/;

/** The token role that the runner makes its sessions with; it admits policies `gsv-i-*` and nothing else. */
export const SESSION_TOKEN_ROLE = 'gsv-run';

/** What a login of a workload namespace lives for: External Secrets logs in anew for each reading. */
export const TENANT_TOKEN_TTL = '10m';
export const TENANT_TOKEN_MAX_TTL = '30m';

/** @throws SecretsError `permission_denied` unless every segment is a plain name: no `..`, `%`, `+`, `*`, `{{` */
export function checkVaultPath(path: string): void {
  if (!path.split('/').every((segment) => SEGMENT.test(segment)))
    throw new SecretsError(
      'permission_denied',
      'a secret path has segments of letters, digits, . _ - and none ends in .',
    );
}

/** @throws SecretsError `permission_denied` */
export function checkPolicyName(name: string): void {
  // Vault folds policy names to lower case: two names that differ in case would be one policy.
  if (!SEGMENT.test(name) || name !== name.toLowerCase())
    throw new SecretsError('permission_denied', 'a policy name has lower-case letters, digits, . _ -');
}

/** @throws SecretsError `permission_denied` */
export function checkMount(mount: string): void {
  if (!MOUNT.test(mount)) throw new SecretsError('permission_denied', 'a mount has segments of letters, digits, _ -');
}

/**
 * The port's rules for a KV v2 mount, where values lie below `data/` and whole secrets are removed
 * below `metadata/`.
 *
 * @throws SecretsError `permission_denied` when a path is no plain path or prefix
 */
export function policyText(mount: string, rules: readonly PolicyRule[]): string {
  checkMount(mount);
  const stanzas = rules.flatMap(({ path, capabilities }) => {
    checkVaultPath(path.replace(/\/?\*$/, ''));
    const onData = capabilities.filter((capability) => capability !== 'delete');
    return [
      ...(onData.length > 0 ? [stanza(`${mount}/data/${path}`, onData)] : []),
      ...(capabilities.includes('delete') ? [stanza(`${mount}/metadata/${path}`, ['delete'])] : []),
    ];
  });
  return stanzas.join('\n');
}

export interface LoginFacts {
  /** Mount of the Kubernetes auth method, below `auth/`. */
  authMount: string;
  /** Audience that a ServiceAccount's token must name. */
  audience: string;
}

/**
 * The body of a role of a workload namespace. Lists are written as text, which Vault splits at commas:
 * the parameters that a policy allows are compared as text.
 */
export function roleBody(
  namespace: string,
  account: string,
  policies: readonly string[],
  audience: string,
): Record<string, string> {
  return {
    bound_service_account_names: account,
    bound_service_account_namespaces: namespace,
    audience,
    token_policies: policies.join(','),
    token_ttl: TENANT_TOKEN_TTL,
    token_max_ttl: TENANT_TOKEN_MAX_TTL,
  };
}

/**
 * The operator: writes and removes secrets, reads none; keeps the policies `gsv-i-*`, and roles `gsv-w-*`.
 * A role says what its logins hold, so whoever writes roles could hold anything: Vault lets the operator
 * write no role but one that binds our account in a workload namespace to the templated policy.
 */
export function operatorPolicy(mount: string, { authMount, audience }: LoginFacts): string {
  checkMount(mount);
  checkMount(authMount);
  if (!/^[\w.:/-]{1,253}$/.test(audience)) throw new SecretsError('permission_denied', 'an audience is a plain word');
  const allowed = roleBody('gsv-w-*', TENANT_ACCOUNT, [TENANT_POLICY], audience);
  return [
    stanza(`${mount}/data/t/*`, ['create', 'update']),
    stanza(`${mount}/metadata/t/*`, ['read', 'list', 'delete']),
    // Versions that a rotation has replaced.
    stanza(`${mount}/destroy/t/*`, ['update']),
    stanza('sys/policies/acl', ['list']),
    stanza('sys/policies/acl/gsv-i-*', ['create', 'read', 'update', 'delete']),
    stanza(`auth/${authMount}/role`, ['list']),
    stanza(`auth/${authMount}/role/gsv-w-*`, ['create', 'read', 'update', 'delete'], allowed),
  ].join('\n');
}

/** The runner: sets buyer secrets without reading them, and makes sessions that hold one Instance's policy. */
export function runnerPolicy(mount: string): string {
  checkMount(mount);
  return [
    stanza(`${mount}/data/t/*`, ['create', 'update']),
    stanza(`auth/token/create/${SESSION_TOKEN_ROLE}`, ['create', 'update']),
  ].join('\n');
}

/**
 * One policy for every workload namespace: External Secrets, logged in with a service account of such a
 * namespace, reads what lies below `t/<that namespace>/` and nothing else.
 *
 * @param accessor of the Kubernetes auth mount (`sys/auth`, field `accessor`)
 */
export function tenantPolicy(mount: string, accessor: string): string {
  checkMount(mount);
  if (!ACCESSOR.test(accessor)) throw new SecretsError('permission_denied', 'an accessor has letters, digits, _ -');
  const namespace = `{{identity.entity.aliases.${accessor}.metadata.service_account_namespace}}`;
  return [
    stanza(`${mount}/data/t/${namespace}/*`, ['read']),
    // External Secrets compares versions there; it never lists, so neighbours stay unknown.
    stanza(`${mount}/metadata/t/${namespace}/*`, ['read']),
  ].join('\n');
}

function stanza(path: string, capabilities: readonly string[], parameters: Record<string, string> = {}): string {
  const only = Object.entries(parameters).map(([name, value]) => `    "${name}" = ["${value}"]\n`);
  const block = only.length === 0 ? '' : `  allowed_parameters = {\n${only.join('')}  }\n`;
  return `path "${path}" {\n  capabilities = [${capabilities.map((each) => `"${each}"`).join(', ')}]\n${block}}\n`;
}
