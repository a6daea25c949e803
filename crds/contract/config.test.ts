import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { ContractError, compileContract, effectiveLimits, validateConfig } from '../contract.ts';
import type { CapabilitySpec } from '../generated/kinds.ts';

const SHA = 'a'.repeat(64);
const one: CapabilitySpec = {
  version: '1.0.0',
  display: { title: 'One' },
  config: {
    schema: {
      type: 'object',
      properties: {
        tone: { type: 'string', enum: ['formal', 'friendly'] },
        notes: { type: 'string' },
        'a/b': { type: 'object', properties: { list: { type: 'array', items: { type: 'integer', maximum: 9 } } } },
      },
      required: ['tone'],
      if: { properties: { tone: { const: 'friendly' } }, required: ['tone'] },
      // biome-ignore lint/suspicious/noThenProperty: the JSON Schema keyword
      then: { required: ['notes'] },
    },
  },
  secrets: [{ name: 'api-key', source: 'Buyer' }],
  limits: { runSeconds: 300 },
};
const two: CapabilitySpec = {
  version: '1.0.0',
  display: { title: 'Two' },
  config: { schema: { properties: { site: { type: 'string', format: 'uri' } } } },
};

const { contract } = compileContract(
  {
    offeringRef: { name: 'agent' },
    version: '1.0.0',
    artifact: { uri: `artifact://sha256/${SHA}`, sha256: SHA, sizeBytes: 10, format: 'LangflowJson' },
    capabilities: [
      { name: 'one', version: '1.0.0' },
      { name: 'two', version: '1.0.0' },
    ],
    plans: [
      { name: 'basic', includedMicrocredits: 0, limits: { requestsPerMinute: 10, runSeconds: 900 } },
      { name: 'plain', includedMicrocredits: 0 },
    ],
  },
  new Map([
    ['one', one],
    ['two', two],
  ]),
);

test('a config that keeps all schemas is accepted', () => {
  assert.equal(validateConfig(contract, { tone: 'formal', site: 'https://example.com', 'a/b': { list: [1, 9] } }), []);
  assert.equal(validateConfig(contract, { tone: 'friendly', notes: 'Be kind.' }), []);
});

const CASES: { reason: string; config: unknown; found: [pointer: string, rule: string][] }[] = [
  { reason: 'a missing key', config: {}, found: [['/tone', 'required']] },
  { reason: 'an unknown key', config: { tone: 'formal', colour: 'red' }, found: [['/colour', 'additionalProperties']] },
  { reason: 'a value outside its choice', config: { tone: 'rude' }, found: [['/tone', 'enum']] },
  {
    reason: 'a deep value, its pointer escaped',
    config: { tone: 'formal', 'a/b': { list: [1, 12] } },
    found: [['/a~1b/list/1', 'maximum']],
  },
  { reason: 'a format', config: { tone: 'formal', site: 'no uri' }, found: [['/site', 'format']] },
  {
    reason: 'a value under the name of a secret',
    config: { tone: 'formal', 'api-key': 'x' },
    found: [['/api-key', 'secret_in_config']],
  },
  {
    reason: 'the same name written otherwise',
    config: { tone: 'formal', API_KEY: 'x' },
    found: [['/API_KEY', 'secret_in_config']],
  },
  { reason: 'a list', config: [], found: [['', 'type']] },
  { reason: 'nothing', config: undefined, found: [['', 'type']] },
  { reason: 'null', config: null, found: [['', 'type']] },
];

for (const { reason, config, found } of CASES) {
  test(`refused with pointer and rule: ${reason}`, () => {
    assert.equal(
      validateConfig(contract, config).map((each) => [each.pointer, each.rule]),
      found,
    );
  });
}

test('a condition of one Capability holds in the merged schema', () => {
  const found = validateConfig(contract, { tone: 'friendly' });
  assert.equal(
    found.map((each) => [each.pointer, each.rule]),
    [['/notes', 'required']],
  );
});

const TOKENS = [
  `sk-proj-${'A1b2'.repeat(8)}`,
  `ghp_${'a1B2'.repeat(9)}`,
  `xoxb-${'1234567890-abc'}`,
  `AKIA${'ABCD'.repeat(4)}`,
  `hvs.${'abcd1234'.repeat(4)}`,
  `eyJ${'hbGciOiJI'}.eyJ${'zdWIiOiIx'}.c2ln`,
  'postgres://user:hunter2@db.example.com/x',
  `-----BEGIN ${'RSA PRIVATE'} KEY-----\nabc`,
];

for (const [index, token] of TOKENS.entries()) {
  test(`a credential in a value is refused and never repeated: shape ${index + 1}`, () => {
    const asValue = validateConfig(contract, { tone: 'formal', notes: `use ${token}` });
    assert.equal(
      asValue.map((each) => [each.pointer, each.rule]),
      [['/notes', 'secret_in_config']],
    );
    const asEnum = validateConfig(contract, { tone: token });
    assert.is(asEnum[0]?.rule, 'secret_in_config');
    const asKey = validateConfig(contract, { tone: 'formal', [token]: 'x' });
    assert.ok(asKey.some((each) => each.rule === 'secret_in_config'));
    assert.not(JSON.stringify([asValue, asEnum, asKey]).includes(JSON.stringify(token).slice(1, -1)));
  });
}

test('ordinary words and addresses are no credentials', () => {
  for (const notes of [
    'ask-the-customer-for-details',
    'https://example.com:8080/a@b',
    'mail bob@example.com',
    'sk-1',
  ]) {
    assert.equal(validateConfig(contract, { tone: 'formal', notes }), [], notes);
  }
});

test('a config that is too deep or too large is refused before it is searched', () => {
  let deep: unknown = 1;
  for (let level = 0; level < 100_000; level += 1) deep = [deep];
  assert.is(validateConfig(contract, { tone: deep })[0]?.rule, 'config_too_deep');
  assert.is(validateConfig(contract, { tone: 'formal', notes: 'x'.repeat(70_000) })[0]?.rule, 'config_too_large');
});

test('the limits of a plan win over those of the Capabilities', () => {
  const base = { requestsPerMinute: 60, concurrentRuns: 4, runSeconds: 300, inputBytes: 65_536 };
  assert.equal(effectiveLimits(contract, 'plain'), base);
  assert.equal(effectiveLimits(contract, 'basic'), { ...base, requestsPerMinute: 10, runSeconds: 900 });
  assert.throws(
    () => effectiveLimits(contract, 'none'),
    (error: unknown) => error instanceof ContractError,
  );
});
