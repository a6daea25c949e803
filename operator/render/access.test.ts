import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { type AccessTeam, renderAccess } from './access.ts';
import type { AccessPlatform } from './platform.ts';
import { defaultPlatform } from './render.ts';

const ISSUER = 'https://id.example.com';
const organization = { metadata: { name: 'acme', uid: 'o-1' } };
const projects = [{ metadata: { name: 'default', uid: 'p-1' } }];

interface Manifest {
  kind: string;
  metadata: { name: string; namespace: string };
  rules?: { apiGroups: string[]; resources: string[]; verbs: string[] }[];
  subjects?: { kind: string; name: string }[];
}

type Member = AccessTeam['spec']['members'][number];
type Grant = Partial<AccessTeam['spec']['grants'][number]>;

function team(member: Partial<Member>, grant: Grant = {}, pinned?: string): AccessTeam {
  return {
    spec: { members: [{ name: 'm', ...member }], grants: [{ name: 'g', role: 'Viewer', ...grant }] },
    ...(pinned === undefined ? {} : { status: { members: [{ name: 'm', subject: pinned }] } }),
  };
}

function render(teams: AccessTeam[], access: Partial<AccessPlatform> = {}): Manifest[] {
  const base = defaultPlatform('https://git.example.com/r.git', 'main');
  const platform = { ...base, access: { ...base.access, ...access } };
  return [...renderAccess({ organization, projects, teams, platform }).values()].map((text) => parse(text) as Manifest);
}

function people(teams: AccessTeam[], access: Partial<AccessPlatform> = {}): string[] {
  const binding = render(teams, access).find(
    ({ kind, metadata }) => kind === 'RoleBinding' && metadata.name === 'gsv-viewer',
  );
  return (binding?.subjects ?? []).map(({ kind, name }) => `${kind} ${name}`);
}

test('members become the names that the API server gives them', () => {
  const subject = `${ISSUER}|4d6e`;
  const table: [AccessTeam, Partial<AccessPlatform>, string[], reason: string][] = [
    [team({ subject }), {}, [`User ${ISSUER}#4d6e`], 'Kubernetes’ own default'],
    [team({ subject }), { users: 'oidc:{sub}', issuer: ISSUER }, ['User oidc:4d6e'], 'a prefix, for the one issuer'],
    [team({ subject }), { users: 'oidc:{sub}', issuer: 'https://other.example.com' }, [], 'somebody else’s 4d6e'],
    [team({ subject }), { users: 'oidc:{sub}' }, [], 'a prefix without a known issuer'],
    [team({ subject }), { users: '{email}' }, [], 'a subject where addresses are names'],
    [team({ email: 'b@example.com' }), {}, [], 'an address that nobody has logged in with'],
    [team({ email: 'b@example.com' }, {}, subject), {}, [`User ${ISSUER}#4d6e`], 'its login, once known'],
    [team({ email: 'b@example.com' }), { users: '{email}' }, ['User b@example.com'], 'addresses are names'],
    [team({ group: 'sales' }), {}, ['Group sales'], 'a group'],
    [team({ group: 'sales' }), { groups: 'oidc:{group}' }, ['Group oidc:sales'], 'a group with a prefix'],
    [team({ group: 'system:masters' }), {}, [], 'a name that Kubernetes keeps for itself'],
    [team({ group: '$&{group}' }), { groups: 'x:{group}' }, ['Group x:$&{group}'], 'text is text'],
    [team({ group: 'sales' }, { projectRef: { name: 'default' } }), {}, [], 'a grant for one Project'],
  ];
  for (const [each, access, expected, reason] of table) assert.equal(people([each], access), expected, reason);
});

test('order and repetition of Teams change nothing', () => {
  const teams = ['b', 'a', 'b'].map((group) => team({ group }));
  assert.equal(people(teams), ['Group a', 'Group b']);
  assert.equal(render(teams), render(teams.toReversed()));
});

test('a role that nobody holds is not there', () => {
  assert.equal(render([]), []);
  assert.equal(
    render([team({ group: 'x' }, { role: 'Billing' })]).map(({ metadata }) => `${metadata.namespace} ${metadata.name}`),
    ['gsv-org-acme gsv-billing', 'gsv-org-acme gsv-billing'],
  );
});

test('no role writes what is the platform’s, reads Secrets, or can raise itself', () => {
  const roles = (['Viewer', 'Operator', 'Admin', 'Billing'] as const).map((role) => team({ group: role }, { role }));
  const rules = render(roles).flatMap((each) => each.rules ?? []);
  assert.ok(rules.length > 8);
  for (const { apiGroups, resources, verbs } of rules) {
    const text = JSON.stringify([apiGroups, resources, verbs]);
    assert.not.match(text, /\*|"secrets?"|status|finalizers|rbac|impersonate|escalate|bind|deletecollection/, text);
    if (verbs.every((verb) => ['get', 'list', 'watch'].includes(verb))) continue;
    assert.equal(apiGroups, ['store.gsv.dev']);
    for (const resource of resources) assert.ok(['apikeys', 'instances', 'teams'].includes(resource), resource);
  }
});
