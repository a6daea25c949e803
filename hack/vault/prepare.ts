/** What an administrator sets up once on a Vault or OpenBao, done with a root token: the roles and policies of this product. */
import { request } from 'undici';
import { operatorPolicy, runnerPolicy, SESSION_TOKEN_ROLE, tenantPolicy } from '../../config/secrets/vault-policies.ts';

export interface VaultAdministrator {
  url: string;
  token: string;
  mount: string;
}

/** @throws Error with status and path when the server refuses */
export async function asAdministrator(
  { url, token }: VaultAdministrator,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  const response = await request(`${url}/v1/${path}`, {
    method,
    headers: { 'x-vault-token': token, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.body.text();
  if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode}`);
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

/** Policies `gsv-operator` and `gsv-runner`, and the token role of sessions. */
export async function prepareVault(vault: VaultAdministrator): Promise<void> {
  await asAdministrator(vault, 'POST', 'sys/policies/acl/gsv-operator', { policy: operatorPolicy(vault.mount) });
  await asAdministrator(vault, 'POST', 'sys/policies/acl/gsv-runner', { policy: runnerPolicy(vault.mount) });
  await asAdministrator(vault, 'POST', `auth/token/roles/${SESSION_TOKEN_ROLE}`, {
    allowed_policies_glob: ['gsv-i-*'],
    orphan: true,
    renewable: false,
    token_no_default_policy: true,
    // A session outlives no run: the longest a contract may ask for is below this.
    token_explicit_max_ttl: '15m',
  });
}

/** Kubernetes logins of operator, runner and the workload namespaces; the auth method is already mounted. */
export async function prepareLogins(vault: VaultAdministrator, accessor: string): Promise<void> {
  await asAdministrator(vault, 'POST', 'sys/policies/acl/gsv-tenant', { policy: tenantPolicy(vault.mount, accessor) });
  const bind = (role: string, namespace: string, policy: string): Promise<unknown> =>
    asAdministrator(vault, 'POST', `auth/kubernetes/role/${role}`, {
      bound_service_account_names: [role],
      bound_service_account_namespaces: [namespace],
      audience: 'vault',
      token_policies: [policy],
      token_ttl: '10m',
      token_max_ttl: '1h',
    });
  await bind('gsv-operator', 'gsv-system', 'gsv-operator');
  await bind('gsv-runner', 'gsv-system', 'gsv-runner');
  await bind('gsv-tenant', '*', 'gsv-tenant');
}

/** A token with these policies and no others: what a login of that process would hold. */
export async function issueToken(vault: VaultAdministrator, policies: string[], ttl: string): Promise<string> {
  const { auth } = await asAdministrator(vault, 'POST', 'auth/token/create', { policies, ttl });
  return (auth as { client_token: string }).client_token;
}
