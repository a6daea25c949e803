import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { Request } from '../cluster/audit.ts';

const BASE = join(import.meta.dirname, '../../kustomize/base');

/** One verb on one resource, as a role of ours writes it. */
export interface Grant {
  /** Name of the service account. */
  account: string;
  role: string;
  verb: string;
  group: string;
  /** May be `*` or `*\/status`, as in RBAC. */
  resource: string;
}

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

interface Manifest {
  kind: string;
  metadata: { name: string };
  rules?: Rule[];
  roleRef?: { kind: string; name: string };
  subjects?: { kind: string; name: string }[];
}

/** What `kustomize/base` grants, verb by verb. */
export function shippedGrants(): Grant[] {
  const documents = globSync('*.yaml', { cwd: BASE }).flatMap((file) =>
    parseAllDocuments(readFileSync(join(BASE, file), 'utf8')).map((each) => each.toJS() as Manifest | null),
  );
  return grantsOf(documents.filter((each) => each !== null));
}

/** Grants of roles and the bindings to them. */
export function grantsOf(manifests: readonly Manifest[]): Grant[] {
  return manifests.flatMap(({ kind, roleRef, subjects = [] }) => {
    if (!kind.endsWith('RoleBinding')) return [];
    const role = manifests.find((each) => each.kind === roleRef?.kind && each.metadata.name === roleRef.name);
    if (role === undefined) throw new Error(`${kind} names the role ${roleRef?.name}, which is not shipped`);
    return subjects.flatMap(({ name }) => (role.rules ?? []).flatMap((rule) => expand(name, role.metadata.name, rule)));
  });
}

function expand(account: string, role: string, { apiGroups, resources, verbs }: Rule): Grant[] {
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) => verbs.map((verb) => ({ account, role, verb, group, resource }))),
  );
}

const ACCOUNT = 'system:serviceaccount:gsv-system:';

/** Grants that no request of their account has used. Of one role that several accounts share, one use is enough. */
export function unusedGrants(grants: readonly Grant[], requests: readonly Request[]): string[] {
  const used = new Set(
    grants.filter((grant) => requests.some((request) => covers(grant, request))).map((grant) => textOf(grant)),
  );
  return [...new Set(grants.map(textOf))].filter((text) => !used.has(text)).sort();
}

/** Requests of our accounts that were refused for want of a right. */
export function refused(requests: readonly Request[]): string[] {
  const forbidden = requests.filter(({ user, forbidden: no }) => no && user.startsWith(ACCOUNT));
  return [
    ...new Set(
      forbidden.map(({ user, verb, group, resource }) => `${user.slice(ACCOUNT.length)}: ${verb} ${resource}.${group}`),
    ),
  ];
}

function covers({ account, verb, group, resource }: Grant, request: Request): boolean {
  return (
    request.user === ACCOUNT + account &&
    request.verb === verb &&
    request.group === group &&
    (resource === request.resource ||
      resource === '*' ||
      (resource.startsWith('*/') && request.resource.endsWith(resource.slice(1))))
  );
}

function textOf({ role, verb, group, resource }: Grant): string {
  return `${role}: ${verb} ${resource}${group === '' ? '' : `.${group}`}`;
}
