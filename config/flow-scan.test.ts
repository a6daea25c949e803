import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { describeFindings, scanFlow } from './flow-scan.ts';

const SECRET = 'hunter2-hunter2-hunter2';

function flowWith(field: Record<string, unknown>, name = 'api_key'): unknown {
  return {
    name: 'flow',
    data: { nodes: [{ id: 'Model-1', data: { node: { template: { [name]: field } } } }], edges: [] },
  };
}

interface Case {
  flow: unknown;
  rule: string | undefined;
  reason: string;
}

const CASES: Case[] = [
  { flow: flowWith({ value: SECRET, password: true }), rule: 'secret-field', reason: 'a password field holds a value' },
  {
    flow: flowWith({ value: SECRET, _input_type: 'SecretStrInput' }),
    rule: 'secret-field',
    reason: 'a secret input holds a value',
  },
  {
    flow: flowWith({ value: 'OPENAI_API_KEY', password: true, load_from_db: true }),
    rule: undefined,
    reason: 'a secret field names a global',
  },
  {
    flow: flowWith({ value: `${SECRET}/+=`, password: true, load_from_db: true }),
    rule: 'secret-reference',
    reason: 'the named global is no name',
  },
  { flow: flowWith({ value: '', password: true }), rule: undefined, reason: 'a secret field is empty' },
  { flow: flowWith({ value: null, password: true }), rule: undefined, reason: 'a secret field is null' },
  {
    flow: flowWith({ value: SECRET }, 'client_secret'),
    rule: 'secret-name',
    reason: 'a plain field is named like a secret',
  },
  { flow: flowWith({ value: 4096 }, 'max_tokens'), rule: undefined, reason: 'max_tokens is a number' },
  { flow: flowWith({ value: 'hello there' }, 'input_value'), rule: undefined, reason: 'a prompt is prose' },
  {
    flow: flowWith({ value: `use sk-ant-${'a'.repeat(30)} please` }, 'prompt'),
    rule: 'token-shape',
    reason: 'a key stands in a prompt',
  },
  {
    flow: flowWith({ value: [{ key: 'Authorization', value: `Bearer ${'x'.repeat(32)}` }] }, 'headers'),
    rule: 'token-shape',
    reason: 'a header table holds a bearer token',
  },
  {
    flow: flowWith({ value: 'postgres://app:s3cr3t@db.internal/app' }, 'dsn'),
    rule: 'url-credentials',
    reason: 'a URL holds a password',
  },
  {
    flow: flowWith({ value: 'postgres://app:{password}@db.internal/app' }, 'dsn'),
    rule: undefined,
    reason: 'the password is a placeholder',
  },
  {
    flow: flowWith({ value: 'https://example.com/a:b@c' }, 'url'),
    rule: undefined,
    reason: 'an @ in a path is no credential',
  },
  {
    flow: { name: `ghp_${'a'.repeat(36)}`, data: { nodes: [] } },
    rule: 'token-shape',
    reason: 'the name of the flow is a token',
  },
  {
    flow: { data: { nodes: [] }, [`AKIA${'A'.repeat(16)}`]: 1 },
    rule: 'token-shape',
    reason: 'a key of the document is a token',
  },
  { flow: nested(100), rule: 'too-deep', reason: 'it nests too deep to be checked' },
  { flow: {}, rule: undefined, reason: 'it is empty' },
];

function nested(depth: number): unknown {
  return depth === 0 ? 'x' : { a: nested(depth - 1) };
}

for (const { flow, rule, reason } of CASES) {
  test(`${rule === undefined ? 'a flow passes' : `${rule} is found`} when ${reason}`, () => {
    assert.equal(
      scanFlow(flow).map((finding) => finding.rule),
      rule === undefined ? [] : [rule],
    );
  });
}

test('a finding names node and field and never the value', () => {
  const findings = scanFlow(flowWith({ value: SECRET, password: true }));
  const text = JSON.stringify(findings) + describeFindings(findings);
  assert.match(text, 'Model-1');
  assert.match(text, 'api_key');
  assert.not.match(text, SECRET);
});
