/** Tokens and Kubernetes logins: lifetimes, parents, roles and what each may hold. */
import { randomUUID } from 'node:crypto';
import { type CryptoKey, jwtVerify } from 'jose';
import { type Aliases, fits } from './acl.ts';
import type { Reply } from './double.ts';

export interface Token {
  id: string;
  policies: string[];
  aliases: Aliases;
  parent?: string;
  /** Milliseconds since the epoch; infinity = never. */
  endsAt: number;
  maxEndsAt: number;
  ttlMs: number;
  renewable: boolean;
}

/** Vault's own default of 32 days. */
const MAX_TTL_SECONDS = 2_764_800;
const DENIED: Reply = { status: 403, body: { errors: ['permission denied'] } };
const WRONG_AUDIENCE = 'invalid audience (aud) claim: audience claim does not match any expected audience';

type Body = Record<string, unknown>;
type VerificationKey = CryptoKey | Uint8Array;

export class TokenDouble {
  renewals = 0;
  logins = 0;
  readonly roles = new Map<string, Body>();
  readonly kubernetesRoles = new Map<string, Body>();
  readonly accessor = 'auth_kubernetes_0a1b2c3d';
  readonly #now: () => number;
  readonly #key: VerificationKey | undefined;
  readonly #tokens = new Map<string, Token>();

  constructor(now: () => number, key?: VerificationKey) {
    this.#now = now;
    this.#key = key;
  }

  /** `kind` as it stands in the path. */
  rolesAt(kind: string): Map<string, Body> {
    return kind === 'token/roles' ? this.roles : this.kubernetesRoles;
  }

  /** Undefined when unknown, revoked or at its end, or when its parent is. */
  find(id: string | undefined): Token | undefined {
    const token = this.#tokens.get(id ?? '');
    if (!token || this.#now() >= token.endsAt) return undefined;
    return token.parent !== undefined && !this.find(token.parent) ? undefined : token;
  }

  issue(policies: string[], body: Body, aliases: Aliases = {}, parent?: string): Token {
    const limits = [body.explicit_max_ttl, body.token_explicit_max_ttl, body.token_max_ttl];
    const maxMs = Math.min(...limits.map((limit) => seconds(limit, MAX_TTL_SECONDS))) * 1000;
    const ttlMs = Math.min(seconds(body.ttl ?? body.token_ttl, MAX_TTL_SECONDS) * 1000, maxMs);
    const now = this.#now();
    const token: Token = {
      id: `hvs.${randomUUID()}`,
      policies,
      aliases,
      ...(parent === undefined ? {} : { parent }),
      endsAt: now + ttlMs,
      maxEndsAt: now + maxMs,
      ttlMs,
      renewable: body.renewable !== false,
    };
    this.#tokens.set(token.id, token);
    return token;
  }

  issueRoot(): Token {
    const root = this.issue(['root'], { renewable: false });
    root.endsAt = Number.POSITIVE_INFINITY;
    return root;
  }

  revokeAll(except: string): void {
    for (const id of this.#tokens.keys()) if (id !== except) this.#tokens.delete(id);
  }

  revoke(id: string): Reply {
    this.#tokens.delete(id);
    return { status: 204 };
  }

  renew(token: Token): Reply {
    if (token.endsAt === Number.POSITIVE_INFINITY) return { status: 400, body: { errors: ['invalid lease ID'] } };
    if (!token.renewable) return { status: 400, body: { errors: ['lease is not renewable'] } };
    this.renewals += 1;
    token.endsAt = Math.min(this.#now() + token.ttlMs, token.maxEndsAt);
    const [metadata = null] = Object.values(token.aliases);
    return this.#auth(token, metadata, []);
  }

  lookup({ id, policies, endsAt, renewable }: Token): Reply {
    if (endsAt === Number.POSITIVE_INFINITY) return { status: 200, body: { data: { id, policies, ttl: 0 } } };
    const ttl = Math.floor((endsAt - this.#now()) / 1000);
    return { status: 200, body: { data: { id, policies, ttl, renewable } } };
  }

  create(parent: Token, roleName: string | undefined, body: Body, known: (policy: string) => boolean): Reply {
    const role = roleName === undefined ? undefined : this.roles.get(roleName.toLowerCase());
    if (roleName !== undefined && !role) return { status: 400, body: { errors: [`unknown role ${roleName}`] } };
    const wanted = (body.policies ?? parent.policies) as string[];
    const globs = [...list(role?.allowed_policies), ...list(role?.allowed_policies_glob)];
    const admitted = (policy: string): boolean =>
      role
        ? globs.some((glob) => fits(glob, policy))
        : parent.policies.includes('root') || parent.policies.includes(policy);
    if (!wanted.every(admitted)) {
      const message = role
        ? `token policies (${JSON.stringify(wanted)}) must be subset of the role's allowed policies ([]) or glob policies (${JSON.stringify(globs)})`
        : 'child policies must be subset of parent';
      return { status: 400, body: { errors: [message] } };
    }
    const plain = body.no_default_policy === true || role?.token_no_default_policy === true;
    const policies = [...new Set([...wanted, ...(plain ? [] : ['default'])])].sort();
    const bounded = { ...role, ...body };
    const token = this.issue(policies, bounded, {}, role?.orphan === true ? undefined : parent.id);
    const missing = policies.filter((policy) => policy !== 'default' && policy !== 'root' && !known(policy));
    const most = seconds(role?.token_explicit_max_ttl, MAX_TTL_SECONDS);
    const capped = seconds(body.ttl, 0) > most;
    return this.#auth(token, null, [
      ...(capped
        ? [
            `TTL of "${String(body.ttl)}" exceeded the effective max_ttl of "${short(most)}"; TTL value is capped accordingly`,
          ]
        : []),
      ...missing.map((policy) => `Policy "${policy}" does not exist`),
    ]);
  }

  /** What Vault asks of the API server by TokenReview is decided here by the signature. */
  async login({ role: name, jwt }: Body): Promise<Reply> {
    if (name === undefined) return { status: 400, body: { errors: ['missing role'] } };
    if (jwt === undefined) return { status: 400, body: { errors: ['missing jwt'] } };
    const role = this.kubernetesRoles.get(String(name).toLowerCase());
    if (!role) return { status: 400, body: { errors: [`invalid role name "${String(name)}"`] } };
    if (!this.#key) return DENIED;
    let claims: { namespace?: string; serviceaccount?: { name?: string; uid?: string } };
    try {
      const audience = role.audience === undefined ? {} : { audience: String(role.audience) };
      const { payload } = await jwtVerify(String(jwt), this.#key, { ...audience, currentDate: new Date(this.#now()) });
      claims = (payload['kubernetes.io'] ?? {}) as typeof claims;
    } catch (error) {
      return (error as { claim?: string }).claim === 'aud'
        ? { status: 403, body: { errors: [WRONG_AUDIENCE] } }
        : DENIED;
    }
    const { namespace = '', serviceaccount = {} } = claims;
    const bound = (field: string, value: string): boolean => list(role[field]).some((each) => fits(each, value));
    if (!bound('bound_service_account_names', serviceaccount.name ?? ''))
      return { status: 403, body: { errors: ['service account name not authorized'] } };
    if (!bound('bound_service_account_namespaces', namespace))
      return { status: 403, body: { errors: ['namespace not authorized'] } };
    this.logins += 1;
    const metadata = {
      role: String(name),
      service_account_name: serviceaccount.name ?? '',
      service_account_namespace: namespace,
      service_account_uid: serviceaccount.uid ?? '',
    };
    const token = this.issue(['default', ...list(role.token_policies)], role, { [this.accessor]: metadata });
    return this.#auth(token, metadata, []);
  }

  #auth({ id, policies, endsAt, renewable }: Token, metadata: Body | null, warnings: string[]): Reply {
    const lease_duration = Math.max(0, Math.floor((endsAt - this.#now()) / 1000));
    const auth = {
      client_token: id,
      metadata,
      policies,
      token_policies: policies,
      lease_duration,
      renewable,
      token_type: 'service',
    };
    return { status: 200, body: { auth, warnings: warnings.length === 0 ? null : warnings } };
  }
}

export function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : typeof value === 'string' && value !== '' ? value.split(',') : [];
}

/** `60`, `"60"`, `"60s"`, `"5m"`, `"1h"`. */
export function seconds(value: unknown, fallback: number): number {
  const [, amount, unit = 's'] = /^(\d+)([smh]?)$/.exec(String(value ?? '')) ?? [];
  if (amount === undefined || Number(amount) === 0) return fallback;
  return Number(amount) * ({ s: 1, m: 60, h: 3600 }[unit] ?? 1);
}

/** `15m`, as Vault writes a duration of whole minutes in a warning. */
function short(amount: number): string {
  return amount % 60 === 0 ? `${amount / 60}m` : `${amount}s`;
}
