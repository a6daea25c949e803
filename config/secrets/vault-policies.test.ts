import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { SecretsError } from '../secrets.ts';
import { operatorPolicy, policyText, runnerPolicy, tenantPolicy } from './vault-policies.ts';

const LOGINS = { authMount: 'kubernetes', audience: 'vault' };

test('rules of the port name data, and removal names metadata', () => {
  assert.is(
    policyText('secret', [{ path: 't/ns/uid/*', capabilities: ['read', 'delete'] }]),
    `path "secret/data/t/ns/uid/*" {
  capabilities = ["read"]
}

path "secret/metadata/t/ns/uid/*" {
  capabilities = ["delete"]
}
`,
  );
});

test('no shipped policy reads a value but the tenant’s, of its own namespace', () => {
  for (const text of [operatorPolicy('secret', LOGINS), runnerPolicy('secret')])
    assert.not.match(text, /\/data\/[^"]*" \{\n {2}capabilities = \[[^\]]*"read"/);
  assert.match(
    tenantPolicy('kv/agents', 'auth_kubernetes_1'),
    'path "kv/agents/data/t/{{identity.entity.aliases.auth_kubernetes_1.metadata.service_account_namespace}}/*"',
  );
});

test('nothing that is no plain name enters a policy', () => {
  const rule = (path: string) => () => policyText('secret', [{ path, capabilities: ['read'] }]);
  const attempts = [
    rule('t/*/x'),
    rule('t/+/x'),
    rule('*'),
    rule('t/a"} path "*'),
    rule('t/{{identity.entity.id}}/*'),
    () => policyText('../sys', []),
    () => operatorPolicy('a"b', LOGINS),
    () => operatorPolicy('secret', { ...LOGINS, authMount: '../sys' }),
    () => operatorPolicy('secret', { ...LOGINS, audience: 'a"] "' }),
    () => tenantPolicy('secret', 'x}}/{{y'),
  ];
  for (const attempt of attempts) assert.throws(attempt, (error: unknown) => error instanceof SecretsError);
});
