import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { allowed, type Capability, fillTemplates, parsePolicy } from './acl.ts';

const POLICY = `# a comment
path "kv/data/t/*" { capabilities = ["create", "read"] }
path "kv/data/t/a/*" { capabilities = ["update"] }
path "kv/data/t/a/exact" { capabilities = ["delete"] }
path "kv/data/+/one/x" { capabilities = ["list"] }
path "kv/data/t/closed/*" { capabilities = ["read", "deny"] }
`;

test('the most specific pattern alone decides, and nothing is allowed by default', () => {
  const table: [path: string, capability: Capability, verdict: boolean, reason: string][] = [
    ['kv/data/t/b', 'read', true, 'the prefix'],
    ['kv/data/t/b', 'update', false, 'a capability it lacks'],
    ['kv/data/t/a/x', 'update', true, 'the longer prefix'],
    ['kv/data/t/a/x', 'read', false, 'the shorter prefix does not add to it'],
    ['kv/data/t/a/exact', 'delete', true, 'exact'],
    ['kv/data/t/a/exact', 'update', false, 'a prefix does not add to an exact path'],
    ['kv/data/u/one/x', 'list', true, 'one segment'],
    ['kv/data/u/v/one/x', 'list', false, 'not two segments'],
    ['kv/data/t/closed/x', 'read', false, 'deny beats all'],
    ['kv/data/u', 'read', false, 'no pattern'],
    ['kv/metadata/t/b', 'read', false, 'data is not metadata'],
  ];
  const rules = parsePolicy(POLICY);
  for (const [path, capability, verdict, reason] of table) assert.is(allowed(rules, path, capability), verdict, reason);
});

test('policies that name the same pattern add up', () => {
  const rules = ['read', 'update'].flatMap((each) => parsePolicy(`path "a/*" { capabilities = ["${each}"] }`));
  assert.ok(allowed(rules, 'a/b', 'read') && allowed(rules, 'a/b', 'update'));
});

test('a bounded parameter takes each member of a list, and what fits as a whole', () => {
  const rules = parsePolicy(
    'path "a" {\n  capabilities = ["update"]\n  allowed_parameters = {\n    "p" = ["x", "n-*"]\n  }\n}',
  );
  const table: [value: unknown, verdict: boolean, reason: string][] = [
    ['x', true, 'a value'],
    ['y', false, 'another'],
    ['x,n-1', true, 'text is split'],
    ['x,y', false, 'each member counts'],
    ['n-1,y', true, 'a pattern fits the whole text first'],
    [['x', 'n-1'], true, 'a list'],
    [['x', 'y'], false, 'each member of it'],
    [1, false, 'a number is no text'],
  ];
  for (const [value, verdict, reason] of table) assert.is(allowed(rules, 'a', 'update', { p: value }), verdict, reason);
  assert.is(allowed(rules, 'a', 'update', { q: 'x' }), false, 'a parameter that is not named');
});

test('a template is filled from the login, and drops its rule when that has no such value', () => {
  const rules = parsePolicy(
    'path "s/{{identity.entity.aliases.acc_1.metadata.service_account_namespace}}/*" { capabilities = ["read"] }',
  );
  const filled = fillTemplates(rules, { acc_1: { service_account_namespace: 'ns' } });
  assert.is(allowed(filled, 's/ns/x', 'read'), true);
  assert.is(allowed(filled, 's/ns2/x', 'read'), false);
  assert.equal(fillTemplates(rules, { acc_2: { service_account_namespace: 'ns' } }), []);
});

test('JSON is read as well, and what cannot be parsed is refused', () => {
  assert.equal(parsePolicy('{"path":{"a":{"capabilities":["read"]}}}'), [{ path: 'a', capabilities: ['read'] }]);
  for (const text of ['path "a" {', 'path "a" { capabilities = ["fly"] }', 'nonsense', '{"path":'])
    assert.throws(() => parsePolicy(text));
});
