import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ObjectMeta } from '../../crds/kinds.ts';

/** One request as the API server itself has noted it. */
export interface Request {
  /** e.g. `system:serviceaccount:gsv-system:gsv-operator`. */
  user: string;
  verb: string;
  /** `''` for the core group. */
  group: string;
  /** With its subresource: `instances/status`. */
  resource: string;
  name: string;
  namespace: string;
  /** HTTP status. 403 alone may also be an admission that refuses, as in a namespace that is going. */
  code: number;
  /** The account lacks the right. @see https://kubernetes.io/docs/reference/labels-annotations-taints/audit-annotations/ */
  forbidden: boolean;
  /** The object after a write of ours; absent for reads and for kinds of others. */
  object?: { kind: string; metadata: ObjectMeta; spec?: unknown; status?: unknown };
}

interface AuditEvent {
  verb: string;
  user: { username: string };
  objectRef?: { resource?: string; subresource?: string; apiGroup?: string; namespace?: string; name?: string };
  responseStatus?: { code?: number };
  responseObject?: Request['object'];
  annotations?: Record<string, string>;
}

/**
 * Of our own kinds every write with the object that came of it, of all else that it happened. JSON is YAML, and
 * the API server takes either. @see https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
 */
const POLICY = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived', 'ResponseStarted'],
  omitManagedFields: true,
  rules: [
    {
      level: 'RequestResponse',
      verbs: ['create', 'update', 'patch', 'delete'],
      resources: [{ group: 'store.gsv.dev' }],
    },
    { level: 'Metadata' },
  ],
};

/** What a real API server has been asked for, by whom. */
export class AuditLog {
  readonly #folder = mkdtempSync(join(tmpdir(), 'gsv-audit-'));
  #from = 0;

  /** For `ClusterOptions.apiServerArgs`. Blocking: what was answered is in the log. */
  get apiServerArgs(): string[] {
    const policy = join(this.#folder, 'policy.json');
    writeFileSync(policy, JSON.stringify(POLICY));
    return [`--audit-policy-file=${policy}`, `--audit-log-path=${this.#file}`, '--audit-log-mode=blocking'];
  }

  /** Requests that have ended, oldest first, since the last {@link mark}. A watch shows once it has ended. */
  requests(): Request[] {
    return this.#lines()
      .slice(this.#from)
      .map(requestOf)
      .filter((each) => each !== undefined);
  }

  /** Later answers of {@link requests} begin here. */
  mark(): void {
    this.#from = this.#lines().length;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #file(): string {
    return join(this.#folder, 'audit.log');
  }

  /** The last line may still be under way. */
  #lines(): string[] {
    return readFileSync(this.#file, 'utf8').split('\n').slice(0, -1);
  }
}

function requestOf(line: string): Request | undefined {
  const { verb, user, objectRef, responseStatus, responseObject, annotations } = JSON.parse(line) as AuditEvent;
  if (objectRef?.resource === undefined) return undefined;
  const { resource, subresource, apiGroup = '', namespace = '', name = '' } = objectRef;
  return {
    user: user.username,
    verb,
    group: apiGroup,
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    name,
    namespace,
    code: responseStatus?.code ?? 0,
    forbidden: annotations?.['authorization.k8s.io/decision'] === 'forbid',
    ...(responseObject?.metadata === undefined ? {} : { object: responseObject }),
  };
}
