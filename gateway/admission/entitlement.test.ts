import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { Problem } from '../../config/problem.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import type { Caller } from '../identity/caller.ts';
import { Entitlements, type Permission } from './entitlement.ts';

const ISSUER = 'https://issuer.example';
const WRITER = { fieldManager: 'test' };
const NAMESPACE = 'gsv-org-acme';

let store: EmbeddedStore;
let entitlements: Entitlements;

before(async () => {
  store = await EmbeddedStore.open();
  await store.create('Organization', { metadata: { name: 'acme' }, spec: { display: { title: 'Acme' } } });
  await store.create('Namespace', { metadata: { name: NAMESPACE }, spec: {} });
  await store.create('Team', {
    metadata: { name: 'team', namespace: NAMESPACE },
    spec: {
      members: [
        { name: 'by-subject', subject: `${ISSUER}|s1` },
        { name: 'by-email', email: 'Mail@Example.com' },
        { name: 'pinned', email: 'pinned@example.com' },
        { name: 'by-group', group: 'acme-people' },
      ],
      grants: [
        { name: 'view', role: 'Viewer' },
        { name: 'operate', role: 'Operator', projectRef: { name: 'sales' } },
      ],
    },
  });
  await store.applyStatus(
    'Team',
    { name: 'team', namespace: NAMESPACE },
    { observedGeneration: 1, members: [{ name: 'pinned', subject: `${ISSUER}|s9` }] },
    WRITER,
  );
  entitlements = new Entitlements(store);
  await entitlements.synced();
});
after(async () => {
  entitlements.close();
  await store.close();
});

const person = (change: Partial<Caller>): Caller => ({
  subject: `${ISSUER}|unknown`,
  emailVerified: false,
  groups: [],
  ...change,
});

function outcome(caller: Caller): string {
  try {
    entitlements.member(caller, 'acme', 'instance_not_found');
    return 'member';
  } catch (error) {
    return error instanceof Problem ? error.code : String(error);
  }
}

for (const [reason, caller, expected] of [
  ['the subject', { subject: `${ISSUER}|s1` }, 'member'],
  ['the subject at another issuer', { subject: 'https://evil.example|s1' }, 'instance_not_found'],
  ['a verified email in another case', { email: 'mail@EXAMPLE.com', emailVerified: true }, 'member'],
  ['an unverified email', { email: 'mail@example.com', emailVerified: false }, 'instance_not_found'],
  ['a group', { groups: ['x', 'acme-people'] }, 'member'],
  ['a group that begins alike', { groups: ['acme-people-2'] }, 'instance_not_found'],
  ['the subject that an email is pinned to', { subject: `${ISSUER}|s9` }, 'member'],
  ['a pinned email from another account', { email: 'pinned@example.com', emailVerified: true }, 'instance_not_found'],
  ['nothing', {}, 'instance_not_found'],
] as const)
  test(`membership by ${reason}: ${expected}`, () => {
    assert.is(outcome(person(caller as Partial<Caller>)), expected);
  });

test('roles hold in their Project; a role without one holds in all', () => {
  const membership = entitlements.member(person({ subject: `${ISSUER}|s1` }), 'acme', 'instance_not_found');
  const may = (permission: Permission, project: string | undefined) => membership.may(permission, project);
  assert.is(may('read', 'legal'), true);
  assert.is(may('run', 'sales'), true);
  assert.is(may('run', 'legal'), false);
  assert.is(may('run', undefined), false);
  assert.is(may('write', 'sales'), false);
  assert.is(may('spend', undefined), false);
  assert.is(membership.mayAnywhere('run'), true);
});

test('an API key narrows its owner to reading and running, to its Organization and its Instances', () => {
  const key = { organization: 'acme', name: 'k', instances: ['one'] };
  const membership = entitlements.member(
    person({ subject: `${ISSUER}|s1`, apiKey: key }),
    'acme',
    'instance_not_found',
  );
  assert.is(membership.may('run', 'sales'), true);
  assert.is(membership.may('operate', 'sales'), false);
  assert.is(membership.sees('sales', 'one'), true);
  assert.is(membership.sees('sales', 'two'), false);
  const foreign = person({ subject: `${ISSUER}|s1`, apiKey: { organization: 'globex', name: 'k' } });
  assert.is(outcome(foreign), 'instance_not_found');
});

test('who is taken out of the Team is out', async () => {
  const present = await store.get('Team', { name: 'team', namespace: NAMESPACE });
  const members = (present?.spec.members ?? []).filter((member) => member.name !== 'by-group');
  const spec = { members, grants: present?.spec.grants ?? [] };
  assert.is(outcome(person({ groups: ['acme-people'] })), 'member');
  await store.apply('Team', { metadata: { name: 'team', namespace: NAMESPACE }, spec }, WRITER);
  while (store.watch('Team').get({ name: 'team', namespace: NAMESPACE })?.spec.members.length !== members.length)
    await new Promise((resolve) => setImmediate(resolve));
  await new Promise((resolve) => setImmediate(resolve));
  assert.is(outcome(person({ groups: ['acme-people'] })), 'instance_not_found');
});
