import {
  type PolicyRule,
  ROLE_NAME,
  type RoleBinding,
  type SecretMetadata,
  type SecretNames,
  type SecretSession,
  type SecretsAdmin,
  type SecretsBroker,
  SecretsError,
  type SecretValue,
  type WriteOptions,
} from '../secrets.ts';
import { absent, listed, refusal, roleIs } from './vault-answers.ts';
import { type VaultAnswer, VaultHttp } from './vault-http.ts';
import { type VaultAuth, VaultLogin } from './vault-login.ts';
import {
  checkMount,
  checkPolicyName,
  checkVaultPath,
  type LoginFacts,
  policyText,
  roleBody,
  SESSION_TOKEN_ROLE,
} from './vault-policies.ts';

export interface VaultSecretsOptions {
  /** `https://vault.example:8200`, without `/v1`. */
  url: string;
  auth: VaultAuth;
  /** KV v2 mount. */
  mount: string;
  /** Of the roles of workload namespaces: where they are, and the audience that their tokens name. */
  logins?: LoginFacts;
  /** PEM file of the authorities to trust instead of the system's. */
  caFile?: string;
  /** Milliseconds for one call. */
  timeoutMs?: number;
  /** Milliseconds since the epoch; decides when our token is renewed. */
  now?: () => number;
}

/** Vault has no smaller limit by default; ours is that of the development adapter. Bytes of the data as JSON. */
const SECRET_MAX_BYTES = 64 * 1024;
const BUYER_SECRET = /^t\/[^/]+\/[^/]+\/[^/]+$/;
/** An Instance's secrets lie one level below its folder, a Project's two; more is somebody else's tree. */
const TREE_MAX_DEPTH = 6;
/** Secrets may be written while their tree is destroyed; a tree that keeps growing is tried again later. */
const DESTROY_PASSES = 5;

/** As the settings' own defaults. */
const DEFAULT_LOGINS: LoginFacts = { authMount: 'kubernetes', audience: 'vault' };

/** Makes a call with some token: ours, or a session's. */
type Caller = (call: Parameters<VaultLogin['call']>[0]) => Promise<VaultAnswer>;

/**
 * Secrets in Vault or OpenBao, KV v2. The operator's process holds `operatorPolicy`, the runner's
 * `runnerPolicy`; every Instance's secrets are read with a token of their own, made through the token
 * role `gsv-run`. Connections are kept; `close` ends them.
 */
export class VaultSecrets implements SecretsAdmin, SecretsBroker {
  readonly #http: VaultHttp;
  readonly #login: VaultLogin;
  readonly #mount: string;
  readonly #logins: LoginFacts;
  #readsPolicies = true;

  /** Opens nothing yet. @throws SecretsError when the mount or the authorities are unusable */
  constructor({ url, auth, mount, logins = DEFAULT_LOGINS, caFile, timeoutMs, now }: VaultSecretsOptions) {
    checkMount(mount);
    checkMount(logins.authMount);
    if (auth.kind === 'kubernetes') checkMount(auth.mount);
    this.#mount = mount;
    this.#logins = logins;
    this.#http = new VaultHttp({
      url,
      ...(caFile === undefined ? {} : { caFile }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    this.#login = new VaultLogin(this.#http, auth, now);
  }

  async close(): Promise<void> {
    this.#login.close();
    await this.#http.close();
  }

  /** Read before it is written, like roles: a visit looks at the policy and changes it only when somebody else did. */
  async putPolicy(name: string, rules: PolicyRule[]): Promise<void> {
    checkPolicyName(name);
    const path = `sys/policies/acl/${name}`;
    const policy = policyText(this.#mount, rules);
    if (await this.#policyIs(path, policy)) return;
    const answer = await this.#call({ method: 'POST', path, body: { policy } });
    if (answer.status >= 300) throw refusal(answer, `policy ${name} was not written`);
  }

  /** What cannot be read is written: our own policy is of an earlier release then, which had no right to look. */
  async #policyIs(path: string, policy: string): Promise<boolean> {
    if (!this.#readsPolicies) return false;
    const present = await this.#call({ method: 'GET', path });
    if (present.status === 403) this.#readsPolicies = false;
    return present.status === 200 && (present.body.data as { policy?: unknown } | undefined)?.policy === policy;
  }

  async deletePolicy(name: string): Promise<void> {
    checkPolicyName(name);
    const answer = await this.#call({ method: 'DELETE', path: `sys/policies/acl/${name}` });
    if (answer.status >= 300 && !absent(answer)) throw refusal(answer, `policy ${name} was not deleted`);
  }

  /** Read before it is written: a restart of the operator looks at every role and changes none. */
  async putRole(name: string, { namespace, serviceAccount, policies }: RoleBinding): Promise<void> {
    const path = this.#rolePath(name);
    const body = roleBody(namespace, serviceAccount, policies, this.#logins.audience);
    const present = await this.#call({ method: 'GET', path });
    if (!absent(present) && present.status !== 200) throw refusal(present, `role ${name} was not read`);
    if (present.status === 200 && roleIs(present.body.data, body)) return;
    const answer = await this.#call({ method: 'POST', path, body });
    if (answer.status >= 300) throw refusal(answer, `role ${name} was not written`);
  }

  async deleteRole(name: string): Promise<void> {
    const answer = await this.#call({ method: 'DELETE', path: this.#rolePath(name) });
    if (answer.status >= 300 && !absent(answer)) throw refusal(answer, `role ${name} was not deleted`);
  }

  async names(): Promise<SecretNames> {
    const policies = await this.#list('sys/policies/acl');
    const roles = await this.#list(`auth/${this.#logins.authMount}/role`);
    const trees: string[] = [];
    for (const namespace of await this.#list(`${this.#mount}/metadata/t`)) {
      if (!namespace.endsWith('/')) continue;
      checkVaultPath(namespace.slice(0, -1));
      const inside = await this.#list(`${this.#mount}/metadata/t/${namespace.slice(0, -1)}`);
      trees.push(...inside.filter((each) => each.endsWith('/')).map((each) => `t/${namespace}${each.slice(0, -1)}`));
    }
    return {
      policies: policies.filter((each) => each.startsWith('gsv-i-')).sort(),
      roles: roles.filter((each) => ROLE_NAME.test(each)).sort(),
      trees: trees.sort(),
    };
  }

  async write(path: string, data: Record<string, string>, options: WriteOptions = {}): Promise<SecretMetadata> {
    try {
      return await writeSecret(this.#call, this.#mount, path, data, options);
    } catch (error) {
      if (!(error instanceof SecretsError) || error.code !== 'cas_mismatch') throw error;
      const version = await this.#versionInstead(path, options);
      if (version === undefined) throw error;
      return writeSecret(this.#call, this.#mount, path, data, { cas: version });
    }
  }

  async metadata(path: string): Promise<SecretMetadata | undefined> {
    const found = await this.#found(path);
    return found?.readable ? { version: found.version, updatedTime: found.updatedTime } : undefined;
  }

  async destroyVersions(path: string, versions: readonly number[]): Promise<void> {
    checkVaultPath(path);
    const body = { versions: [...versions] };
    const answer = await this.#call({ method: 'POST', path: `${this.#mount}/destroy/${path}`, body });
    if (answer.status >= 300 && !absent(answer)) throw refusal(answer, `versions of ${path} were not destroyed`);
  }

  async destroyTree(prefix: string): Promise<void> {
    const root = prefix.replace(/\/$/, '');
    checkVaultPath(root);
    await this.#destroy(root);
    for (let pass = 0; pass < DESTROY_PASSES; pass += 1) {
      const below = await this.#below(root, TREE_MAX_DEPTH);
      if (below.length === 0) return;
      for (const path of below) await this.#destroy(path);
    }
    throw new SecretsError('unavailable', `secrets are still being written below ${root}`);
  }

  async session(policy: string, ttlSeconds: number): Promise<SecretSession> {
    checkPolicyName(policy);
    const answer = await this.#call({
      method: 'POST',
      path: `auth/token/create/${SESSION_TOKEN_ROLE}`,
      body: { policies: [policy], ttl: `${ttlSeconds}s`, renewable: false, no_default_policy: true },
    });
    const { client_token: token, policies } = (answer.body.auth ?? {}) as {
      client_token?: unknown;
      policies?: unknown;
    };
    if (answer.status !== 200 || typeof token !== 'string')
      throw refusal(answer, `no session with policy ${policy} through token role ${SESSION_TOKEN_ROLE}`);
    // Vault makes a token of a policy that does not exist, and says so in a warning only.
    const warnings = Array.isArray(answer.body.warnings) ? answer.body.warnings : [];
    if (warnings.includes(`Policy "${policy}" does not exist`))
      throw new SecretsError('policy_missing', `there is no policy ${policy}`);
    // A role with policies of its own would widen every run: refuse it rather than use it.
    if (!Array.isArray(policies) || policies.length !== 1 || policies[0] !== policy)
      throw new SecretsError('permission_denied', `token role ${SESSION_TOKEN_ROLE} adds policies to a session`);
    const call: Caller = (each) => this.#http.call({ ...each, token });
    return {
      read: (path) => readSecret(call, this.#mount, path),
      write: (path, data, options = {}) => writeSecret(call, this.#mount, path, data, options),
    };
  }

  async writeBuyerSecret(
    path: string,
    data: Record<string, string>,
    options: WriteOptions = {},
  ): Promise<SecretMetadata> {
    checkVaultPath(path);
    if (!BUYER_SECRET.test(path))
      throw new SecretsError('permission_denied', 'a buyer secret lies at t/<namespace>/<instance uid>/<name>');
    return writeSecret(this.#call, this.#mount, path, data, options);
  }

  readonly #call: Caller = (call) => this.#login.call(call);

  #rolePath(name: string): string {
    if (!ROLE_NAME.test(name))
      throw new SecretsError('permission_denied', 'a role bears the name of a workload namespace');
    return `auth/${this.#logins.authMount}/role/${name}`;
  }

  /** Names directly below; folders end with `/`. */
  async #list(path: string): Promise<string[]> {
    return listed(await this.#call({ method: 'GET', path, list: true }), path);
  }

  /**
   * The version to name when one that suits the port was refused: a secret whose latest version was
   * deleted in Vault still counts its versions, and a mount with `cas_required` wants one always.
   */
  async #versionInstead(path: string, { cas }: WriteOptions): Promise<number | undefined> {
    if (cas !== undefined && cas !== 0) return undefined;
    const found = await this.#found(path);
    if (cas === undefined) return found?.version ?? 0;
    return found?.readable === false ? found.version : undefined;
  }

  async #found(path: string): Promise<(SecretMetadata & { readable: boolean }) | undefined> {
    checkVaultPath(path);
    const answer = await this.#call({ method: 'GET', path: `${this.#mount}/metadata/${path}` });
    if (absent(answer)) return undefined;
    const data = answer.body.data as
      | { current_version?: unknown; updated_time?: unknown; versions?: unknown }
      | undefined;
    if (answer.status !== 200 || typeof data?.current_version !== 'number' || typeof data.updated_time !== 'string')
      throw refusal(answer, `the metadata of ${path} was not read`);
    const version = data.current_version;
    const latest = (data.versions as Record<string, { deletion_time?: string; destroyed?: boolean }> | undefined)?.[
      version
    ];
    // A deletion time may lie ahead: then the version can still be read.
    const deleted = Boolean(latest?.deletion_time) && Date.parse(latest?.deletion_time ?? '') <= Date.now();
    const readable = latest !== undefined && latest.destroyed !== true && !deleted;
    return { version, updatedTime: data.updated_time, readable };
  }

  async #destroy(path: string): Promise<void> {
    const answer = await this.#call({ method: 'DELETE', path: `${this.#mount}/metadata/${path}` });
    if (answer.status >= 300 && !absent(answer)) throw refusal(answer, `${path} was not destroyed`);
  }

  /** Every secret below a folder. */
  async #below(folder: string, depth: number): Promise<string[]> {
    if (depth === 0) throw new SecretsError('unavailable', `the tree at ${folder} is deeper than any of ours`);
    const found: string[] = [];
    for (const key of await this.#list(`${this.#mount}/metadata/${folder}`)) {
      const path = `${folder}/${key.replace(/\/$/, '')}`;
      checkVaultPath(path);
      if (key.endsWith('/')) found.push(...(await this.#below(path, depth - 1)));
      else found.push(path);
    }
    return found;
  }
}

async function readSecret(call: Caller, mount: string, path: string): Promise<SecretValue | undefined> {
  checkVaultPath(path);
  const answer = await call({ method: 'GET', path: `${mount}/data/${path}` });
  if (absent(answer)) return undefined;
  const { data, metadata } = (answer.body.data ?? {}) as { data?: unknown; metadata?: { version?: unknown } };
  if (answer.status !== 200 || typeof metadata?.version !== 'number' || !isText(data))
    throw refusal(answer, `${path} was not read`);
  return { version: metadata.version, data };
}

async function writeSecret(
  call: Caller,
  mount: string,
  path: string,
  data: Record<string, string>,
  { cas }: WriteOptions,
): Promise<SecretMetadata> {
  checkVaultPath(path);
  if (Buffer.byteLength(JSON.stringify(data)) > SECRET_MAX_BYTES)
    throw new SecretsError('permission_denied', `the data of ${path} exceeds ${SECRET_MAX_BYTES} bytes`);
  const body = { data, options: cas === undefined ? {} : { cas } };
  const answer = await call({ method: 'POST', path: `${mount}/data/${path}`, body });
  const { version, created_time: updatedTime } = (answer.body.data ?? {}) as Record<string, unknown>;
  if (answer.status === 200 && typeof version === 'number' && typeof updatedTime === 'string')
    return { version, updatedTime };
  if (answer.words.includes('check-and-set parameter did not match the current version'))
    throw new SecretsError('cas_mismatch', `${path} is not at version ${cas}`);
  if (answer.words.includes('check-and-set parameter required for this call'))
    throw new SecretsError('cas_mismatch', `Vault wants the present version named to write ${path}`);
  throw refusal(answer, `${path} was not written`);
}

function isText(data: unknown): data is Record<string, string> {
  return typeof data === 'object' && data !== null && Object.values(data).every((value) => typeof value === 'string');
}
