import { test } from 'node:test';
import * as assert from 'uvu/assert';
import type { Request } from '../cluster/audit.ts';
import { grantsOf, refused, shippedGrants, unusedGrants } from './grants.ts';

const ROLE = {
  kind: 'ClusterRole',
  metadata: { name: 'r' },
  rules: [
    { apiGroups: ['store.gsv.dev'], resources: ['*'], verbs: ['list'] },
    { apiGroups: ['store.gsv.dev'], resources: ['*/status'], verbs: ['patch'] },
    { apiGroups: [''], resources: ['namespaces'], verbs: ['create', 'delete'] },
  ],
};
const BINDING = {
  kind: 'ClusterRoleBinding',
  metadata: { name: 'b' },
  roleRef: { kind: 'ClusterRole', name: 'r' },
  subjects: [
    { kind: 'ServiceAccount', name: 'one' },
    { kind: 'ServiceAccount', name: 'two' },
  ],
};

function request(account: string, verb: string, group: string, resource: string, code = 200): Request {
  const user = `system:serviceaccount:gsv-system:${account}`;
  return { user, verb, group, resource, name: '', namespace: '', code, forbidden: code === 403 };
}

test('a verb that nobody has used is named; a wildcard is used by any kind, a shared role by any account', () => {
  const grants = grantsOf([ROLE, BINDING]);
  const requests = [
    request('one', 'list', 'store.gsv.dev', 'teams'),
    request('two', 'patch', 'store.gsv.dev', 'teams/status'),
    request('one', 'create', '', 'namespaces'),
    request('stranger', 'delete', '', 'namespaces'),
  ];
  assert.equal(unusedGrants(grants, requests), ['r: delete namespaces']);
  assert.is(unusedGrants(grants, []).length, 4);
});

test('a write of an object is no write of its status', () => {
  const grants = grantsOf([ROLE, BINDING]).filter(({ resource }) => resource === '*/status');
  assert.is(unusedGrants(grants, [request('one', 'patch', 'store.gsv.dev', 'teams')]).length, 1);
});

test('a refusal names account, verb and resource once; those of others are theirs', () => {
  const forbidden = request('one', 'get', '', 'secrets', 403);
  const foreign = { ...forbidden, user: 'kubernetes-admin' };
  assert.equal(refused([forbidden, forbidden, foreign]), ['one: get secrets.']);
});

test('every process that talks to the API server has grants', () => {
  const accounts = new Set(shippedGrants().map(({ account }) => account));
  assert.equal([...accounts].sort(), ['gsv-edge-api', 'gsv-edge-run', 'gsv-operator', 'gsv-runner']);
});

test('a binding to a role that is not shipped is an error', () => {
  assert.throws(() => grantsOf([BINDING]), /not shipped/);
});
