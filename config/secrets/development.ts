import { randomUUID } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  type PolicyRule,
  ROLE_NAME,
  type RoleBinding,
  type SecretCapability,
  type SecretMetadata,
  type SecretNames,
  type SecretSession,
  type SecretsAdmin,
  type SecretsBroker,
  SecretsError,
  type SecretValue,
  type WriteOptions,
} from '../secrets.ts';

export interface DevelopmentSecretsOptions {
  /** The file is `secrets.json` in it, mode 0600; the folder is made with mode 0700. */
  dataDir: string;
  /** Only the quickstart says so: values lie unencrypted on disk. */
  quickstart: true;
  /** Milliseconds since the epoch; ends sessions and stamps versions. */
  now?: () => number;
}

interface StoredSecret extends SecretMetadata {
  data: Record<string, string>;
}

interface Contents {
  schema: 'gsv.development-secrets/v1';
  policies: Record<string, PolicyRule[]>;
  /** Absent in files written before there were roles. Nothing logs in here: they are kept to be seen. */
  roles?: Record<string, RoleBinding>;
  secrets: Record<string, StoredSecret>;
}

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** KV v2 has no smaller limit; ours bounds the file. Bytes of one secret's data as JSON. */
const SECRET_MAX_BYTES = 64 * 1024;
const SEGMENT = /^(?!\.{1,2}$)[\w.-]{1,253}$/;
const BUYER_SECRET = /^t\/[^/]+\/[^/]+\/[^/]+$/;

/**
 * Secrets in one file of the quickstart's data folder: versions, check-and-set and policies behave as
 * in Vault, but values lie there in plain text. One process may use it; calls of that process are
 * serialised, and every change replaces the file atomically.
 */
export class DevelopmentSecrets implements SecretsAdmin, SecretsBroker {
  readonly #file: string;
  readonly #now: () => number;
  #contents: Contents;
  #tail: Promise<unknown> = Promise.resolve();

  /** @throws SecretsError `permission_denied` outside the quickstart, `unavailable` when the file is damaged */
  constructor(options: DevelopmentSecretsOptions) {
    if (options.quickstart !== true)
      throw new SecretsError('permission_denied', 'the development secrets adapter serves only the quickstart');
    this.#file = join(options.dataDir, 'secrets.json');
    this.#now = options.now ?? Date.now;
    mkdirSync(dirname(this.#file), { recursive: true, mode: FOLDER_MODE });
    this.#contents = load(this.#file);
  }

  async putPolicy(name: string, rules: PolicyRule[]): Promise<void> {
    if (!SEGMENT.test(name)) throw new SecretsError('permission_denied', 'a policy name has letters, digits, . _ -');
    for (const rule of rules) checkPath(rule.path.replace(/\/?\*$/, ''));
    await this.#change((contents) => {
      contents.policies[name] = structuredClone(rules);
    });
  }

  async deletePolicy(name: string): Promise<void> {
    await this.#change((contents) => {
      delete contents.policies[name];
    });
  }

  async putRole(name: string, binding: RoleBinding): Promise<void> {
    if (!ROLE_NAME.test(name))
      throw new SecretsError('permission_denied', 'a role bears the name of a workload namespace');
    await this.#change((contents) => {
      contents.roles = { ...contents.roles, [name]: { ...binding } };
    });
  }

  async deleteRole(name: string): Promise<void> {
    await this.#change((contents) => {
      delete contents.roles?.[name];
    });
  }

  async names(): Promise<SecretNames> {
    await this.#tail;
    const { policies, roles = {}, secrets } = this.#contents;
    const trees = Object.keys(secrets).flatMap((path) => /^t\/[^/]+\/[^/]+(?=\/)/.exec(path) ?? []);
    return {
      policies: Object.keys(policies)
        .filter((name) => name.startsWith('gsv-i-'))
        .sort(),
      roles: Object.keys(roles).sort(),
      trees: [...new Set(trees)].sort(),
    };
  }

  async write(path: string, data: Record<string, string>, options: WriteOptions = {}): Promise<SecretMetadata> {
    checkPath(path);
    checkData(path, data);
    return this.#change((contents) => this.#put(contents, path, data, options));
  }

  async metadata(path: string): Promise<SecretMetadata | undefined> {
    checkPath(path);
    await this.#tail;
    const secret = this.#contents.secrets[path];
    return secret && { version: secret.version, updatedTime: secret.updatedTime };
  }

  /** Old versions are never kept here. */
  async destroyVersions(path: string): Promise<void> {
    checkPath(path);
  }

  async destroyTree(prefix: string): Promise<void> {
    const root = prefix.replace(/\/$/, '');
    checkPath(root);
    await this.#change((contents) => {
      for (const path of Object.keys(contents.secrets))
        if (path === root || path.startsWith(`${root}/`)) delete contents.secrets[path];
    });
  }

  async session(policy: string, ttlSeconds: number): Promise<SecretSession> {
    await this.#tail;
    if (!Object.hasOwn(this.#contents.policies, policy))
      throw new SecretsError('policy_missing', `there is no policy ${policy}`);
    const endsAt = this.#now() + ttlSeconds * 1000;
    const demand = (path: string, capability: SecretCapability): void => {
      checkPath(path);
      const rules = this.#now() < endsAt ? (this.#contents.policies[policy] ?? []) : [];
      if (!allows(rules, path, capability))
        throw new SecretsError('permission_denied', `policy ${policy} does not allow ${capability} on ${path}`);
    };
    return {
      read: async (path) => {
        await this.#tail;
        demand(path, 'read');
        const secret = this.#contents.secrets[path];
        return secret && ({ version: secret.version, data: { ...secret.data } } satisfies SecretValue);
      },
      write: async (path, data, options = {}) => {
        checkData(path, data);
        return this.#change((contents) => {
          demand(path, Object.hasOwn(contents.secrets, path) ? 'update' : 'create');
          return this.#put(contents, path, data, options);
        });
      },
    };
  }

  async writeBuyerSecret(
    path: string,
    data: Record<string, string>,
    options: WriteOptions = {},
  ): Promise<SecretMetadata> {
    checkPath(path);
    if (!BUYER_SECRET.test(path))
      throw new SecretsError('permission_denied', 'a buyer secret lies at t/<namespace>/<instance uid>/<name>');
    return this.write(path, data, options);
  }

  #put(contents: Contents, path: string, data: Record<string, string>, options: WriteOptions): SecretMetadata {
    const present = contents.secrets[path]?.version ?? 0;
    if (options.cas !== undefined && options.cas !== present)
      throw new SecretsError('cas_mismatch', `${path} is at version ${present}, not ${options.cas}`);
    const metadata = { version: present + 1, updatedTime: new Date(this.#now()).toISOString() };
    contents.secrets[path] = { ...metadata, data: { ...data } };
    return metadata;
  }

  /** Applies `edit` to a copy and keeps it only once it is on disk: a failed write changes nothing. */
  #change<T>(edit: (contents: Contents) => T): Promise<T> {
    const next = this.#tail.then(async () => {
      const copy = structuredClone(this.#contents);
      const result = edit(copy);
      await save(this.#file, copy);
      this.#contents = copy;
      return result;
    });
    this.#tail = next.catch(() => undefined);
    return next;
  }
}

function allows(rules: readonly PolicyRule[], path: string, capability: SecretCapability): boolean {
  return rules.some(
    (rule) =>
      rule.capabilities.includes(capability) &&
      (rule.path.endsWith('*') ? path.startsWith(rule.path.slice(0, -1)) : rule.path === path),
  );
}

function checkPath(path: string): void {
  if (!path.split('/').every((segment) => SEGMENT.test(segment)))
    throw new SecretsError('permission_denied', 'a secret path has segments of letters, digits, . _ -');
}

function checkData(path: string, data: Record<string, string>): void {
  if (Buffer.byteLength(JSON.stringify(data)) > SECRET_MAX_BYTES)
    throw new SecretsError('permission_denied', `the data of ${path} exceeds ${SECRET_MAX_BYTES} bytes`);
}

function load(file: string): Contents {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
    // A restored backup may have opened it to others.
    chmodSync(file, FILE_MODE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      return { schema: 'gsv.development-secrets/v1', policies: {}, secrets: {} };
    throw new SecretsError('unavailable', `${file} cannot be read`, { cause: error });
  }
  try {
    const contents = JSON.parse(text) as Contents;
    if (contents.schema === 'gsv.development-secrets/v1' && contents.policies && contents.secrets) return contents;
  } catch {
    // The parser's message quotes the text, which holds secrets: it is not passed on.
  }
  throw new SecretsError('unavailable', `${file} is damaged; restore it, or delete it and set the secrets again`);
}

async function save(file: string, contents: Contents): Promise<void> {
  const draft = `${file}.${randomUUID()}.tmp`;
  try {
    const handle = await open(draft, 'wx', FILE_MODE);
    try {
      await handle.writeFile(`${JSON.stringify(contents)}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw new SecretsError('unavailable', `${file} cannot be written`, { cause: error });
  }
}
