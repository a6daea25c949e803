import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { ContractError, compileContract, type VersionTerms, type Violation } from '../contract.ts';
import type { CapabilitySpec, Dimension } from '../generated/kinds.ts';

const SHA = 'a'.repeat(64);
const run: Dimension = { name: 'run', unit: 'run', source: 'Run', priceMicrocredits: 5, perUnits: 1, reserveUnits: 1 };
const token: Dimension = { ...run, name: 'tokens', unit: 'token', source: 'OutputToken' };
const spec = (more: Partial<CapabilitySpec> = {}): CapabilitySpec => ({
  version: '1.0.0',
  display: { title: 'T' },
  ...more,
});

const terms = (more: Partial<VersionTerms> = {}): VersionTerms => ({
  offeringRef: { name: 'agent' },
  version: '1.0.0',
  artifact: { uri: `artifact://sha256/${SHA}`, sha256: SHA, sizeBytes: 10, format: 'LangflowJson' },
  capabilities: [
    { name: 'one', version: '1.0.0' },
    { name: 'two', version: '1.0.0' },
  ],
  plans: [{ name: 'basic', includedMicrocredits: 0 }],
  ...more,
});

function problems(version: VersionTerms, one: CapabilitySpec, two: CapabilitySpec = spec()): readonly Violation[] {
  try {
    compileContract(
      version,
      new Map([
        ['one', one],
        ['two', two],
      ]),
    );
    return [];
  } catch (error) {
    if (error instanceof ContractError) return error.problems;
    throw error;
  }
}

const schema = (value: Record<string, unknown>): CapabilitySpec => spec({ config: { schema: value } });
const dimensions = (...list: Dimension[]): CapabilitySpec => spec({ metering: { dimensions: list } });
const secret = { name: 'key', source: 'Buyer' as const };
const step = (name: string, ...dependsOn: string[]) => ({ name, uses: 'Probe' as const, dependsOn });
const connector = { name: 'crm', protocol: 'HTTP' as const, url: 'https://crm.example.com' };
const BEYOND = Number.MAX_SAFE_INTEGER + 1;

interface Case {
  reason: string;
  rule: string;
  pointer: string;
  version?: Partial<VersionTerms>;
  one?: CapabilitySpec;
  two?: CapabilitySpec;
}

const CASES: Case[] = [
  {
    reason: 'the name of the runtime’s own key',
    rule: 'reserved_name',
    pointer: '/capabilities/0/spec/secrets/0/name',
    one: spec({ secrets: [{ name: 'runtime-key', source: 'Buyer' }] }),
  },
  {
    reason: 'tokens without a run price',
    rule: 'run_dimension_required',
    pointer: '/capabilities/0/spec/metering/dimensions/0/source',
    one: dimensions(token),
  },
  {
    reason: 'a capability that is not there',
    rule: 'capability_missing',
    pointer: '/capabilities/0/name',
    version: { capabilities: [{ name: 'gone', version: '1.0.0' }] },
  },
  {
    reason: 'another version of it',
    rule: 'capability_version_mismatch',
    pointer: '/capabilities/0/version',
    version: { capabilities: [{ name: 'one', version: '2.0.0' }] },
  },
  {
    reason: 'a capability twice',
    rule: 'duplicate_name',
    pointer: '/capabilities/1/name',
    version: {
      capabilities: [
        { name: 'one', version: '1.0.0' },
        { name: 'one', version: '1.0.0' },
      ],
    },
  },
  {
    reason: 'a plan twice',
    rule: 'duplicate_plan',
    pointer: '/plans/1/name',
    version: {
      plans: [
        { name: 'p', includedMicrocredits: 0 },
        { name: 'p', includedMicrocredits: 1 },
      ],
    },
  },
  { reason: 'no plan', rule: 'plans_missing', pointer: '/plans', version: { plans: [] } },
  {
    reason: 'a secret in two capabilities',
    rule: 'duplicate_name',
    pointer: '/capabilities/1/spec/secrets/0/name',
    one: spec({ secrets: [secret] }),
    two: spec({ secrets: [secret] }),
  },
  {
    reason: 'a connector in two capabilities',
    rule: 'duplicate_name',
    pointer: '/capabilities/1/spec/connectors/0/name',
    one: spec({ connectors: [connector] }),
    two: spec({ connectors: [connector] }),
  },
  {
    reason: 'a dimension in two capabilities',
    rule: 'duplicate_name',
    pointer: '/capabilities/1/spec/metering/dimensions/0/name',
    one: dimensions(run),
    two: dimensions(run),
  },
  {
    reason: 'a global in two capabilities',
    rule: 'duplicate_name',
    pointer: '/capabilities/1/spec/runtime/globals/0/name',
    one: spec({ runtime: { globals: [{ name: 'G', fromInstance: 'Uid' }] } }),
    two: spec({ runtime: { globals: [{ name: 'G', fromInstance: 'Uid' }] } }),
  },
  {
    reason: 'a step in two capabilities',
    rule: 'duplicate_name',
    pointer: '/capabilities/1/spec/provisioningSteps/0/name',
    one: spec({ provisioningSteps: [step('s')] }),
    two: spec({ provisioningSteps: [step('s')] }),
  },
  {
    reason: 'steps that wait for each other',
    rule: 'steps_cyclic',
    pointer: '/capabilities/0/spec/provisioningSteps/0/dependsOn',
    one: spec({ provisioningSteps: [step('a', 'b'), step('b', 'a')] }),
  },
  {
    reason: 'a step that is not there',
    rule: 'unknown_step',
    pointer: '/capabilities/0/spec/provisioningSteps/0/dependsOn/0',
    one: spec({ provisioningSteps: [step('a', 'zz')] }),
  },
  {
    reason: 'a global from an undeclared secret',
    rule: 'unknown_secret',
    pointer: '/capabilities/0/spec/runtime/globals/0/fromSecret',
    one: spec({ runtime: { globals: [{ name: 'G', fromSecret: 'key' }] } }),
  },
  {
    reason: 'a global from an undeclared key',
    rule: 'unknown_config_key',
    pointer: '/capabilities/0/spec/runtime/globals/0/fromConfig',
    one: spec({ runtime: { globals: [{ name: 'G', fromConfig: 'tone' }] } }),
  },
  {
    reason: 'a global from nothing',
    rule: 'global_source',
    pointer: '/capabilities/0/spec/runtime/globals/0',
    one: spec({ runtime: { globals: [{ name: 'G' }] } }),
  },
  {
    reason: 'a connector with an undeclared secret',
    rule: 'unknown_secret',
    pointer: '/capabilities/0/spec/connectors/0/auth/secret',
    one: spec({ connectors: [{ ...connector, auth: { kind: 'Bearer', secret: 'key' } }] }),
  },
  {
    reason: 'a connector that authenticates by nothing',
    rule: 'connector_secret_missing',
    pointer: '/capabilities/0/spec/connectors/0/auth/secret',
    one: spec({ connectors: [{ ...connector, auth: { kind: 'Bearer' } }] }),
  },
  {
    reason: 'a tool with an undeclared price',
    rule: 'unknown_dimension',
    pointer: '/capabilities/0/spec/connectors/0/tools/0/dimension',
    one: spec({ connectors: [{ ...connector, tools: [{ name: 't', schemaSha256: SHA, dimension: 'call' }] }] }),
  },
  {
    reason: 'a tool priced by the run',
    rule: 'unknown_dimension',
    pointer: '/capabilities/0/spec/connectors/0/tools/0/dimension',
    one: spec({
      connectors: [{ ...connector, tools: [{ name: 't', schemaSha256: SHA, dimension: 'run' }] }],
      metering: { dimensions: [run] },
    }),
  },
  {
    reason: 'a secret that is a config key',
    rule: 'secret_is_config_key',
    pointer: '/capabilities/0/spec/secrets/0/name',
    one: spec({ secrets: [secret], config: { schema: { properties: { key: { type: 'string' } } } } }),
  },
  {
    reason: 'a hint for no key',
    rule: 'unknown_config_key',
    pointer: '/capabilities/0/spec/config/ui/0/key',
    one: spec({ config: { ui: [{ key: 'tone' }] } }),
  },
  {
    reason: 'a mutable key that is none',
    rule: 'unknown_config_key',
    pointer: '/capabilities/0/spec/config/mutableKeys/0',
    one: spec({ config: { mutableKeys: ['tone'] } }),
  },
  {
    reason: 'two knowledge bases',
    rule: 'duplicate_knowledge',
    pointer: '/capabilities/1/spec/knowledge',
    one: spec({ knowledge: { embeddingModel: 'm', limits: { maxDocuments: 1, maxBytes: 1 } } }),
    two: spec({ knowledge: { embeddingModel: 'm', limits: { maxDocuments: 1, maxBytes: 1 } } }),
  },
  {
    reason: 'a feature with two values',
    rule: 'entitlement_conflict',
    pointer: '/capabilities/1/spec/entitlements',
    one: spec({ entitlements: [{ feature: 'f', type: 'Static', value: '1' }] }),
    two: spec({ entitlements: [{ feature: 'f', type: 'Static', value: '2' }] }),
  },
  {
    reason: 'a schema that refers outside',
    rule: 'config_schema_remote_ref',
    pointer: '/capabilities/0/spec/config/schema/properties/a/items/$ref',
    one: schema({ properties: { a: { type: 'array', items: { $ref: 'https://example.com/x.json' } } } }),
  },
  {
    reason: 'a schema that refers nowhere',
    rule: 'config_schema_invalid',
    pointer: '/capabilities/0/spec/config/schema',
    one: schema({ properties: { a: { $ref: '#/$defs/none' } } }),
  },
  {
    reason: 'a schema of no known type',
    rule: 'config_schema_invalid',
    pointer: '/capabilities/0/spec/config/schema',
    one: schema({ properties: { a: { type: 'text' } } }),
  },
  {
    reason: 'a misspelt keyword',
    rule: 'config_schema_invalid',
    pointer: '/capabilities/0/spec/config/schema',
    one: schema({ properties: { a: { type: 'string', minLenght: 3 } } }),
  },
  {
    reason: 'a required key that is not declared',
    rule: 'config_schema_invalid',
    pointer: '/capabilities/0/spec/config/schema/required/0',
    one: schema({ required: ['a'] }),
  },
  {
    reason: 'an older dialect',
    rule: 'config_schema_invalid',
    pointer: '/capabilities/0/spec/config/schema/$schema',
    one: schema({ $schema: 'http://json-schema.org/draft-07/schema#' }),
  },
  {
    reason: 'a schema above 64 KiB',
    rule: 'config_schema_too_large',
    pointer: '/capabilities/0/spec/config/schema',
    one: schema({ description: 'x'.repeat(65_536) }),
  },
  {
    reason: 'an open schema',
    rule: 'config_schema_not_mergeable',
    pointer: '/capabilities/0/spec/config/schema/additionalProperties',
    one: schema({ additionalProperties: true }),
  },
  {
    reason: 'a list as config',
    rule: 'config_schema_not_mergeable',
    pointer: '/capabilities/0/spec/config/schema/type',
    one: schema({ type: 'array' }),
  },
  {
    reason: 'a property of two capabilities',
    rule: 'config_property_collision',
    pointer: '/capabilities/1/spec/config/schema/properties/a',
    one: schema({ properties: { a: { type: 'string' } } }),
    two: schema({ properties: { a: { type: 'string' } } }),
  },
  {
    reason: 'a definition with two meanings',
    rule: 'config_property_collision',
    pointer: '/capabilities/1/spec/config/schema/$defs/a',
    one: schema({ $defs: { a: { type: 'string' } } }),
    two: schema({ $defs: { a: { type: 'number' } } }),
  },
  {
    reason: 'a price beyond 2^53',
    rule: 'money_out_of_range',
    pointer: '/capabilities/0/spec/metering/dimensions/0/priceMicrocredits',
    one: dimensions({ ...run, priceMicrocredits: BEYOND }),
  },
  {
    reason: 'a fractional price',
    rule: 'money_out_of_range',
    pointer: '/capabilities/0/spec/metering/dimensions/0/priceMicrocredits',
    one: dimensions({ ...run, priceMicrocredits: 0.5 }),
  },
  {
    reason: 'a reserve beyond 2^53',
    rule: 'money_out_of_range',
    pointer: '/capabilities/0/spec/metering/dimensions/0/reserveUnits',
    one: dimensions({ ...run, priceMicrocredits: Number.MAX_SAFE_INTEGER, reserveUnits: 2 }),
  },
  {
    reason: 'reserves that are beyond 2^53 together',
    rule: 'money_out_of_range',
    pointer: '/capabilities',
    one: dimensions({ ...run, priceMicrocredits: Number.MAX_SAFE_INTEGER }),
    two: dimensions({ ...run, name: 'other' }),
  },
  {
    reason: 'included money beyond 2^53',
    rule: 'money_out_of_range',
    pointer: '/plans/0/includedMicrocredits',
    version: { plans: [{ name: 'p', includedMicrocredits: BEYOND }] },
  },
  {
    reason: 'a price per nothing',
    rule: 'units_out_of_range',
    pointer: '/capabilities/0/spec/metering/dimensions/0/perUnits',
    one: dimensions({ ...run, perUnits: 0 }),
  },
  {
    reason: 'a limit of nothing',
    rule: 'limit_out_of_bounds',
    pointer: '/capabilities/0/spec/limits/concurrentRuns',
    one: spec({ limits: { concurrentRuns: 0 } }),
  },
  {
    reason: 'a plan above the platform',
    rule: 'limit_out_of_bounds',
    pointer: '/plans/0/limits/runSeconds',
    version: { plans: [{ name: 'p', includedMicrocredits: 0, limits: { runSeconds: 3601 } }] },
  },
  {
    reason: 'a pause after the end',
    rule: 'exhaustion_order',
    pointer: '/exhaustion/0/afterSeconds',
    version: {
      exhaustion: [
        { action: 'Pause', afterSeconds: 9 },
        { action: 'Terminate', afterSeconds: 1 },
      ],
    },
  },
  {
    reason: 'an action twice',
    rule: 'duplicate_name',
    pointer: '/exhaustion/1/action',
    version: {
      exhaustion: [
        { action: 'Pause', afterSeconds: 0 },
        { action: 'Pause', afterSeconds: 1 },
      ],
    },
  },
];

test('the bare version compiles, so that each case below is refused for its own reason', () => {
  assert.equal(problems(terms(), spec()), []);
  assert.equal(problems(terms(), dimensions(run, token)), []);
});

for (const { reason, rule, pointer, version, one, two } of CASES) {
  test(`refused: ${reason}`, () => {
    const found = problems(terms(version), one ?? spec(), two ?? spec());
    assert.equal(
      found.map((each) => [each.rule, each.pointer]),
      [[rule, pointer]],
    );
    assert.ok((found[0]?.message.length ?? 0) > 10);
  });
}

test('every problem is named, not only the first', () => {
  const found = problems(terms({ plans: [] }), dimensions({ ...run, perUnits: 0 }), schema({ type: 'array' }));
  assert.equal(found.map((each) => each.rule).sort(), [
    'config_schema_not_mergeable',
    'plans_missing',
    'units_out_of_range',
  ]);
});

test('a property that is named like a keyword is no reference', () => {
  const named = schema({ properties: { $ref: { type: 'string' }, kind: { const: { $ref: 'https://example.com' } } } });
  assert.equal(problems(terms(), named), []);
});
