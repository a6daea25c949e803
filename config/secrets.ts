/**
 * The port to the secrets store (Vault or OpenBao; `secrets/development.ts` in the quickstart).
 *
 * Three callers, three amounts of trust: the operator administers ({@link SecretsAdmin}), the runner
 * reads one Instance's secrets for one run ({@link SecretsBroker.session}), and the runner sets one
 * buyer secret without being able to read it ({@link SecretsBroker.writeBuyerSecret}).
 */

/** What a policy may allow on a path. As in Vault, `create` is the first version, `update` every later one. */
export type SecretCapability = 'create' | 'update' | 'read' | 'delete';

/** `path` is exact, or a prefix when it ends with `*`. */
export interface PolicyRule {
  path: string;
  capabilities: SecretCapability[];
}

export interface SecretValue {
  /** Counts writes from 1. */
  version: number;
  data: Record<string, string>;
}

export interface SecretMetadata {
  version: number;
  /** RFC 3339 time of that version. */
  updatedTime: string;
}

/** `cas`: the version that must be the present one; 0 = the secret must not exist. Absent = whatever is there. */
export interface WriteOptions {
  cas?: number;
}

/** Who may log in through a role: one ServiceAccount of one namespace, and what the login then holds. */
export interface RoleBinding {
  serviceAccount: string;
  namespace: string;
  /** {@link TENANT_POLICY} alone: the operator's own policy admits no other. */
  policies: string[];
}

/** The names of what we keep in the secrets store, for the auditor. Never a value. */
export interface SecretNames {
  /** Policies `gsv-i-<instance uid>`. */
  policies: string[];
  /** Roles `gsv-w-…`: one per workload namespace. */
  roles: string[];
  /** `t/<workload namespace>/<instance uid>` of every Instance that has secrets. */
  trees: string[];
}

/** The operator's side: policies, roles, generated secrets, removal. Every method throws {@link SecretsError}. */
export interface SecretsAdmin {
  /** Creates or replaces. */
  putPolicy(name: string, rules: PolicyRule[]): Promise<void>;
  /** An absent policy is no error. Sessions that hold it lose their rights at once. */
  deletePolicy(name: string): Promise<void>;
  /** Creates or replaces the role of a workload namespace, whose name it bears; one that is right already is not written. */
  putRole(name: string, binding: RoleBinding): Promise<void>;
  /** An absent role is no error. Nobody logs in with it from then on; tokens made before live out their short lives. */
  deleteRole(name: string): Promise<void>;
  write(path: string, data: Record<string, string>, options?: WriteOptions): Promise<SecretMetadata>;
  /** Undefined when there is no such secret. Never the value. */
  metadata(path: string): Promise<SecretMetadata | undefined>;
  /**
   * Destroys the values of these versions for good; the secret and its other versions stay. Older versions
   * than the present one only. Versions that are not there, or not any more, are no error.
   */
  destroyVersions(path: string, versions: readonly number[]): Promise<void>;
  /** Destroys every secret, with all its versions, at or below `prefix` (whole path segments). */
  destroyTree(prefix: string): Promise<void>;
  /** What there is of ours: sorted names. */
  names(): Promise<SecretNames>;
}

/** The runner's side. */
export interface SecretsBroker {
  /**
   * A short-lived credential that holds this one policy and nothing else.
   *
   * @throws SecretsError `policy_missing`, `unavailable`
   */
  session(policy: string, ttlSeconds: number): Promise<SecretSession>;
  /**
   * Sets one secret `t/<workload namespace>/<instance uid>/<name>` with the runner's own account, which
   * may create and update below `t/` but read nothing there: a run's session stays read-only, and the
   * write path cannot be turned into a read.
   *
   * @throws SecretsError `permission_denied` (any other path), `cas_mismatch`, `unavailable`
   */
  writeBuyerSecret(path: string, data: Record<string, string>, options?: WriteOptions): Promise<SecretMetadata>;
}

/** Rights end with the ttl; then every call is `permission_denied`. */
export interface SecretSession {
  /** Undefined when there is no such secret. @throws SecretsError */
  read(path: string): Promise<SecretValue | undefined>;
  /** @throws SecretsError */
  write(path: string, data: Record<string, string>, options?: WriteOptions): Promise<SecretMetadata>;
}

export type SecretsErrorCode = 'permission_denied' | 'cas_mismatch' | 'unavailable' | 'policy_missing';

export interface SecretsErrorOptions extends ErrorOptions {
  /** What the server said, of a fixed list of sentences that carry nothing of ours: it may stand in a condition. */
  words?: string;
}

/** Raised by every adapter. The message names paths and policies, never a value. */
export class SecretsError extends Error {
  readonly code: SecretsErrorCode;
  readonly words: string;
  constructor(code: SecretsErrorCode, message: string, { words = '', ...options }: SecretsErrorOptions = {}) {
    super(message, options);
    this.name = 'SecretsError';
    this.code = code;
    this.words = words;
  }
}

/** Where an Instance's secrets lie; bound to the uid because names can be reused. Each one's data is `{ value }`. */
export function secretPath(workloadNamespace: string, instanceUid: string, name: string): string {
  return `t/${workloadNamespace}/${instanceUid}/${name}`;
}

/** The policy of every workload namespace: templated, it reaches what lies below `t/<the namespace of the login>/` only. */
export const TENANT_POLICY = 'gsv-tenant';

/** The ServiceAccount that External Secrets logs in with, in each workload namespace. */
export const TENANT_ACCOUNT = 'project-secrets';

/** Names that workload namespaces have, and so their roles; the operator's policy admits no others. */
export const ROLE_NAME = /^gsv-w-[a-z0-9]([-a-z0-9]{0,55}[a-z0-9])?$/;

/** The policy that may read one Instance's secrets. */
export function instancePolicy(instanceUid: string): string {
  return `gsv-i-${instanceUid}`;
}
