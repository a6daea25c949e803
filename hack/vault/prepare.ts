/** Prepares a Vault or OpenBao for the tests as an administrator would: with the shipped steps and a root token. */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';
import {
  prepareLogins as loginSteps,
  type Preparation,
  type PreparationStep,
  prepareTokens as tokenSteps,
} from '../../config/secrets/vault-prepare.ts';

export interface VaultAdministrator {
  url: string;
  token: string;
  mount: string;
  /** PEM file of the authorities to trust, where the server has TLS. */
  caFile?: string;
}

const FACTS = { authMount: 'kubernetes', audience: 'vault', systemNamespace: 'gsv-system' };

/** @throws Error with status and path when the server refuses */
export async function asAdministrator(
  { url, token, caFile }: Pick<VaultAdministrator, 'url' | 'token' | 'caFile'>,
  method: 'GET' | 'POST' | 'DELETE',
  path: string,
  body?: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  const dispatcher = caFile === undefined ? undefined : new Agent({ connect: { ca: readFileSync(caFile) } });
  const response = await request(`${url}/v1/${path}`, {
    method,
    ...(dispatcher === undefined ? {} : { dispatcher }),
    headers: { 'x-vault-token': token, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.body.text();
  await dispatcher?.close();
  if (response.statusCode >= 300) throw new Error(`${method} ${path}: ${response.statusCode}`);
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
}

/** Policies `gsv-operator` and `gsv-runner`, and the token role of sessions. */
export async function prepareVault(vault: VaultAdministrator): Promise<void> {
  await write(vault, tokenSteps({ ...FACTS, mount: vault.mount }));
}

/** Where Kubernetes logins are served, roles can be written: mounts the method on a server that lacks it. */
export async function mountKubernetes(vault: VaultAdministrator): Promise<void> {
  const mounted = await asAdministrator(vault, 'GET', 'sys/auth');
  const mounts = (mounted.data ?? mounted) as Record<string, unknown>;
  if (mounts['kubernetes/'] === undefined)
    await asAdministrator(vault, 'POST', 'sys/auth/kubernetes', { type: 'kubernetes' });
}

/** Kubernetes logins of operator, runner and the policy of workload namespaces; the method is mounted. */
export async function prepareLogins(vault: VaultAdministrator, accessor: string): Promise<void> {
  const facts: Preparation = { ...FACTS, mount: vault.mount, accessor };
  await write(vault, loginSteps(facts));
}

async function write(vault: VaultAdministrator, steps: readonly PreparationStep[]): Promise<void> {
  for (const { path, body } of steps) await asAdministrator(vault, 'POST', path, body);
}

/** A token with these policies and no others: what a login of that process would hold. */
export async function issueToken(vault: VaultAdministrator, policies: string[], ttl: string): Promise<string> {
  const { auth } = await asAdministrator(vault, 'POST', 'auth/token/create', { policies, ttl });
  return (auth as { client_token: string }).client_token;
}
