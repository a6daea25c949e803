import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CryptoKey } from 'jose';
import { type AclRule, allowed, type Capability, fillTemplates, parsePolicy } from './acl.ts';
import { KvDouble } from './kv.ts';
import { handleRole, ROLE_PATH } from './roles.ts';
import { type Token, TokenDouble } from './tokens.ts';

export interface Reply {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface VaultDoubleOptions {
  /** Verifies the service account tokens (a public key, or a shared secret). Absent = no such login. */
  serviceAccounts?: CryptoKey | Uint8Array;
  /** Milliseconds since the epoch; ends tokens and stamps versions. */
  now?: () => number;
}

export interface VaultDouble {
  url: string;
  rootToken: string;
  /** Of the Kubernetes auth mount, for policy templates. */
  accessor: string;
  seal(): void;
  unseal(): void;
  /** This node is no longer the active one; `leader` is where a redirect points, absent = none is known. */
  standby(leader?: string): void;
  /** Every token but the root one. */
  revokeTokens(): void;
  counts(): { logins: number; renewals: number; requests: number };
  close(): Promise<void>;
}

const DENIED: Reply = { status: 403, body: { errors: ['1 error occurred:\n\t* permission denied\n\n'] } };
const NOTHING: Reply = { status: 404, body: { errors: [] } };
/** As Vault's `default`, as far as this double serves it. */
const DEFAULT_POLICY = `path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
path "auth/token/revoke-self" {
  capabilities = ["update"]
}`;

/**
 * The HTTP API of Vault and OpenBao, as far as this product uses it: KV v2 at `secret/`, policies,
 * tokens and their roles, Kubernetes login, sealed and standby nodes. Access is denied by default and
 * every answer has the body of the real server.
 */
export async function startVaultDouble({
  serviceAccounts,
  now = Date.now,
}: VaultDoubleOptions = {}): Promise<VaultDouble> {
  const node = new Node(now, serviceAccounts);
  const root = node.tokens.issueRoot();
  const server = createServer((incoming, outgoing) => {
    void node.answer(incoming).then(({ status, body, headers }) => {
      outgoing.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers });
      outgoing.end(body === undefined ? '' : JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    rootToken: root.id,
    accessor: node.tokens.accessor,
    seal: () => {
      node.state = 'sealed';
    },
    unseal: () => {
      node.state = 'active';
    },
    standby: (leader) => {
      node.state = 'standby';
      node.leader = leader;
    },
    revokeTokens: () => node.tokens.revokeAll(root.id),
    counts: () => ({ logins: node.tokens.logins, renewals: node.tokens.renewals, requests: node.requests }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

class Node {
  state: 'active' | 'sealed' | 'standby' = 'active';
  leader: string | undefined;
  requests = 0;
  readonly tokens: TokenDouble;
  readonly #kv: KvDouble;
  readonly #policies = new Map<string, { text: string; rules: AclRule[] }>();

  constructor(now: () => number, serviceAccounts: CryptoKey | Uint8Array | undefined) {
    this.tokens = new TokenDouble(now, serviceAccounts);
    this.#kv = new KvDouble(now);
    this.#policies.set('default', { text: DEFAULT_POLICY, rules: parsePolicy(DEFAULT_POLICY) });
  }

  async answer(incoming: IncomingMessage): Promise<Reply> {
    this.requests += 1;
    const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://vault');
    const path = pathname.replace(/^\/v1\//, '');
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    if (path === 'sys/health') return this.#health();
    const away = this.#away(path);
    if (away) return away;
    let body: Record<string, unknown>;
    try {
      body = JSON.parse(Buffer.concat(chunks).toString() || '{}') as Record<string, unknown>;
    } catch {
      return { status: 400, body: { errors: ['failed to parse JSON input: invalid character'] } };
    }
    // Node's parser knows no method LIST; the server takes `?list=true` for the same.
    const asked = searchParams.get('list') === 'true' ? 'LIST' : incoming.method;
    const method = asked === 'PUT' ? 'POST' : (asked ?? 'GET');
    if (method === 'POST' && path === 'auth/kubernetes/login') return this.tokens.login(body);
    const id = incoming.headers['x-vault-token'];
    if (typeof id !== 'string') return { status: 403, body: { errors: ['permission denied'] } };
    const token = this.tokens.find(id);
    if (!token)
      return { status: 403, body: { errors: ['2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'] } };
    if (!this.#permits(token, path, this.#capability(method, path), body)) return DENIED;
    return this.#route(method, path, body, token);
  }

  #health(): Reply {
    const status = { active: 200, standby: 429, sealed: 503 }[this.state];
    const body = { initialized: true, sealed: this.state === 'sealed', standby: this.state !== 'active' };
    return { status, body };
  }

  #away(path: string): Reply | undefined {
    if (this.state === 'sealed') return { status: 503, body: { errors: ['Vault is sealed'] } };
    if (this.state !== 'standby') return undefined;
    if (this.leader !== undefined) return { status: 307, headers: { location: `${this.leader}/v1/${path}` } };
    return { status: 500, body: { errors: ['local node not active but active cluster node not found'] } };
  }

  /** KV data and roles tell a first write from a later one; every other POST is an update. */
  #capability(method: string, path: string): Capability {
    if (method === 'GET') return 'read';
    if (method === 'LIST') return 'list';
    if (method === 'DELETE') return 'delete';
    const secret = /^secret\/(?:data|metadata)\/(.+)$/.exec(path)?.[1];
    if (secret !== undefined) return this.#kv.exists(secret) ? 'update' : 'create';
    const [, kind, name = ''] = ROLE_PATH.exec(path) ?? [];
    if (kind === undefined) return 'update';
    return this.tokens.rolesAt(kind).has(name.toLowerCase()) ? 'update' : 'create';
  }

  #permits({ policies, aliases }: Token, path: string, capability: Capability, body: Record<string, unknown>): boolean {
    if (policies.includes('root')) return true;
    const rules = policies.flatMap((name) => this.#policies.get(name)?.rules ?? []);
    const filled = fillTemplates(rules, aliases);
    // A listing is of a folder: Vault adds the slash, and takes an exact rule without it as well.
    if (capability === 'list')
      return allowed(filled, `${path.replace(/\/$/, '')}/`, 'list') || exactly(filled, path.replace(/\/$/, ''));
    return allowed(filled, path, capability, body);
  }

  #route(method: string, path: string, body: Record<string, unknown>, token: Token): Reply {
    const kv = /^secret\/(.+)$/.exec(path)?.[1];
    if (kv !== undefined) return this.#kv.handle(method, kv, body);
    const policy = /^sys\/policies\/acl\/([^/]+)$/.exec(path)?.[1];
    if (policy !== undefined) return this.#policy(method, policy.toLowerCase(), body);
    const [, kind = '', name = ''] = ROLE_PATH.exec(path) ?? [];
    if (kind !== '') return handleRole(this.tokens.rolesAt(kind), kind, method, name, body);
    if (method === 'LIST') return this.#names(path);
    const created = /^auth\/token\/create(?:\/([^/]+))?$/.exec(path);
    if (method === 'POST' && created)
      return this.tokens.create(token, created[1], body, (each) => this.#policies.has(each));
    switch (`${method} ${path}`) {
      case 'GET auth/token/lookup-self':
        return this.tokens.lookup(token);
      case 'POST auth/token/renew-self':
        return this.tokens.renew(token);
      case 'POST auth/token/revoke-self':
        return this.tokens.revoke(token.id);
      case 'GET sys/auth':
        return {
          status: 200,
          body: { data: { 'kubernetes/': { type: 'kubernetes', accessor: this.tokens.accessor } } },
        };
      default:
        return unrouted(path);
    }
  }

  #names(path: string): Reply {
    const lists: Record<string, Iterable<string>> = {
      'sys/policies/acl': [...this.#policies.keys(), 'root'],
      'auth/kubernetes/role': this.tokens.kubernetesRoles.keys(),
    };
    const folder = path.replace(/\/$/, '');
    const names = lists[folder];
    if (names === undefined) return unrouted(`${folder}/`);
    const keys = [...names].sort();
    return keys.length === 0 ? NOTHING : { status: 200, body: { data: { keys } } };
  }

  #policy(method: string, name: string, { policy }: Record<string, unknown>): Reply {
    const present = this.#policies.get(name);
    if (method === 'GET') return present ? { status: 200, body: { data: { name, policy: present.text } } } : NOTHING;
    if (method === 'DELETE') this.#policies.delete(name);
    else {
      try {
        this.#policies.set(name, { text: String(policy), rules: parsePolicy(String(policy)) });
      } catch (error) {
        return { status: 400, body: { errors: [`failed to parse policy: ${(error as Error).message}`] } };
      }
    }
    return { status: 204 };
  }
}

function unrouted(path: string): Reply {
  return { status: 404, body: { errors: [`no handler for route "${path}". route entry not found.`] } };
}

function exactly(rules: readonly AclRule[], path: string): boolean {
  return allowed(
    rules.filter((rule) => !/[+*]/.test(rule.path)),
    path,
    'list',
  );
}
