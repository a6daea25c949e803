import type { Organization, Team } from '../../crds/kinds.ts';
import type { Named, OrganizationInput } from './input.ts';
import { metadata, organizationLabels, WAVE } from './labels.ts';
import { accessFolder, workloadNamespace } from './paths.ts';
import type { AccessPlatform } from './platform.ts';
import { type Manifest, toYaml, type Value } from './yaml.ts';

/** What is read of a Team. `status.members` holds the logins that e-mail addresses were pinned to. */
export interface AccessTeam {
  spec: Team['spec'];
  status?: Pick<NonNullable<Team['status']>, 'members'>;
}

export interface AccessInput extends Pick<OrganizationInput, 'organization' | 'projects' | 'platform'> {
  teams: readonly AccessTeam[];
}

type TeamRole = Team['spec']['grants'][number]['role'];
type Rule = { apiGroups: string[]; resources: string[]; verbs: string[] };

const READ = ['get', 'list', 'watch'];
const own = (resources: string[], verbs: string[]): Rule => ({ apiGroups: ['store.gsv.dev'], resources, verbs });

/** Keys are for Admins alone: their hashes are nobody else's business. */
const SEEN = own(['instances', 'projects', 'teams', 'wallets'], READ);
const EVENTS: Rule = { apiGroups: [''], resources: ['events'], verbs: READ };

/**
 * What each role may do in the Organization's namespace. Nobody writes Projects, Wallets or any status: quotas,
 * runtime profiles and debt are the platform's to give. There are no `*`, no Secrets, no roles.
 */
const ORGANIZATION_RULES: Readonly<Record<TeamRole, Rule[]>> = {
  Viewer: [SEEN, EVENTS],
  Operator: [SEEN, EVENTS, own(['instances'], ['patch', 'update'])],
  Admin: [
    SEEN,
    EVENTS,
    own(['apikeys'], READ),
    own(['apikeys', 'instances', 'teams'], ['create', 'delete', 'patch', 'update']),
  ],
  Billing: [own(['wallets'], READ)],
};

/** In a workload namespace: what runs and why it does not. No logs, which may echo what a flow was given. */
const WORKLOAD_RULES: Rule[] = [
  { apiGroups: [''], resources: ['events', 'limitranges', 'pods', 'resourcequotas'], verbs: READ },
  { apiGroups: ['apps'], resources: ['deployments', 'replicasets'], verbs: READ },
  { apiGroups: ['external-secrets.io'], resources: ['externalsecrets'], verbs: READ },
];
const WORKLOAD_ROLES: readonly TeamRole[] = ['Viewer', 'Operator', 'Admin'];
const ROLES: readonly TeamRole[] = ['Admin', 'Billing', 'Operator', 'Viewer'];

/** Where the API server or Argo CD gives a name a meaning of its own; a tenant's text never becomes one. */
const RESERVED = /^system:/;

/**
 * Roles and RoleBindings from an Organization's Teams, for its own namespace and its workload namespaces. A role
 * that nobody holds is not rendered. A grant for one Project gives nothing here: RBAC knows namespaces, and all
 * Projects of an Organization share one; such a member uses the edge, which knows Projects.
 */
export function renderAccess(input: AccessInput): Map<string, string> {
  const { organization, projects } = input;
  const { name } = organization.metadata;
  const folder = accessFolder(name);
  const holders = new Map(ROLES.map((role) => [role, subjects(input, [role])]));
  const files = new Map<string, string>();
  const put = (file: string, manifests: readonly [Manifest, Manifest]): void => {
    files.set(`${folder}/${file}-role.yaml`, toYaml(manifests[0]));
    files.set(`${folder}/${file}-rolebinding.yaml`, toYaml(manifests[1]));
  };
  for (const [role, held] of holders)
    if (held.length > 0)
      put(
        role.toLowerCase(),
        pair(organization, `gsv-${role.toLowerCase()}`, `gsv-org-${name}`, ORGANIZATION_RULES[role], held),
      );
  const readers = subjects(input, WORKLOAD_ROLES);
  if (readers.length === 0) return files;
  const namespaces = projects.map(({ metadata: { name: project, uid } }) => workloadNamespace(name, project, uid));
  for (const namespace of namespaces.sort())
    put(namespace, pair(organization, 'gsv-workload-reader', namespace, WORKLOAD_RULES, readers));
  return files;
}

function pair(
  organization: Named<Organization>,
  name: string,
  namespace: string,
  rules: readonly Rule[],
  held: Value[],
): readonly [Manifest, Manifest] {
  const labels = organizationLabels(organization);
  const api = 'rbac.authorization.k8s.io';
  const head = (kind: string) => ({
    apiVersion: `${api}/v1`,
    kind,
    metadata: metadata(name, namespace, labels, WAVE.access),
  });
  return [
    { ...head('Role'), rules: rules.map((rule) => ({ ...rule })) },
    { ...head('RoleBinding'), roleRef: { apiGroup: api, kind: 'Role', name }, subjects: held },
  ];
}

/** Sorted, each once: the order of Teams and members changes nothing. */
function subjects({ teams, platform }: AccessInput, roles: readonly TeamRole[]): Value[] {
  const names = new Set<string>();
  for (const { spec, status } of teams) {
    const holds = spec.grants.some(({ role, projectRef }) => projectRef === undefined && roles.includes(role));
    if (!holds) continue;
    const pinned = new Map(status?.members?.map((member) => [member.name, member.subject]));
    for (const member of spec.members) {
      const name = nameOf({ ...member, subject: member.subject ?? pinned.get(member.name) }, platform.access);
      if (name !== undefined) names.add(name);
    }
  }
  return [...names].sort().map((text): Value => {
    const [kind = '', name = ''] = text.split('\n');
    return { apiGroup: 'rbac.authorization.k8s.io', kind, name };
  });
}

interface Person {
  subject?: string | undefined;
  email?: string | undefined;
  group?: string | undefined;
}

/** `kind\nname` as the API server's authenticator names this member; undefined when it would name nobody for sure. */
function nameOf({ subject, email, group }: Person, { users, groups, issuer }: AccessPlatform): string | undefined {
  if (group !== undefined)
    return safe(
      'Group',
      groups.replace('{group}', () => group),
    );
  if (users.includes('{email}'))
    return email === undefined
      ? undefined
      : safe(
          'User',
          users.replace('{email}', () => email),
        );
  const [iss, sub] = subject?.split('|') ?? [];
  if (iss === undefined || sub === undefined) return undefined;
  // A name without the issuer means the one issuer that the API server trusts; another's people are not its.
  if (!users.includes('{issuer}') && iss !== issuer) return undefined;
  return safe(
    'User',
    users.replace('{issuer}', () => iss).replace('{sub}', () => sub),
  );
}

function safe(kind: string, name: string): string | undefined {
  return RESERVED.test(name) ? undefined : `${kind}\n${name}`;
}
