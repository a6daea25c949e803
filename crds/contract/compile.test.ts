import { test } from 'node:test';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import {
  ContractError,
  canonicalDigest,
  capabilityDigest,
  compileContract,
  contractDigest,
  parseContract,
  type VersionTerms,
} from '../contract.ts';
import type { CapabilitySpec } from '../generated/kinds.ts';

const SHA = 'a'.repeat(64);

const triage = (): CapabilitySpec => ({
  version: '1.2.0',
  display: { title: 'Claims triage', summary: 'Sorts claims.' },
  config: {
    schema: {
      type: 'object',
      properties: {
        tone: { type: 'string', enum: ['formal', 'friendly'] },
        region: { $ref: '#/$defs/region' },
      },
      required: ['tone', 'region'],
      $defs: { region: { type: 'string', minLength: 2 } },
    },
    ui: [{ key: 'tone', widget: 'Select' }, { key: 'region' }],
    mutableKeys: ['tone', 'region'],
  },
  secrets: [
    { name: 'crm-token', source: 'Buyer' },
    { name: 'signing-key', source: 'Generated' },
  ],
  connectors: [
    {
      name: 'crm',
      protocol: 'MCP',
      url: 'https://crm.example.com/mcp',
      auth: { kind: 'Bearer', secret: 'crm-token' },
      tools: [
        { name: 'lookup', schemaSha256: SHA, dimension: 'crm-call' },
        { name: 'ping', schemaSha256: SHA },
      ],
      egressHosts: ['b.example.com', 'a.example.com'],
    },
  ],
  provisioningSteps: [
    { name: 'secrets', uses: 'Secrets' },
    { name: 'probe', uses: 'Probe', dependsOn: ['manifests', 'secrets'] },
    {
      name: 'manifests',
      uses: 'Manifests',
      dependsOn: ['secrets'],
      with: [
        { name: 'b', value: '2' },
        { name: 'a', value: '1' },
      ],
    },
  ],
  runtime: {
    globals: [
      { name: 'TONE', fromConfig: 'tone' },
      { name: 'CRM_TOKEN', fromSecret: 'crm-token' },
      { name: 'ORG', fromInstance: 'Organization' },
    ],
  },
  entitlements: [
    { feature: 'triage', type: 'Boolean' },
    { feature: 'seats', type: 'Static', value: '5' },
  ],
  limits: { requestsPerMinute: 90, runSeconds: 300 },
  metering: {
    dimensions: [
      { name: 'run', unit: 'run', source: 'Run', priceMicrocredits: 12_000, perUnits: 1, reserveUnits: 1 },
      {
        name: 'tokens-in',
        unit: 'token',
        source: 'InputToken',
        priceMicrocredits: 3,
        perUnits: 10,
        reserveUnits: 1000,
      },
      { name: 'crm-call', unit: 'call', source: 'ToolCall', priceMicrocredits: 500, perUnits: 1, reserveUnits: 2 },
    ],
  },
});

const knowledge = (): CapabilitySpec => ({
  version: '0.1.0',
  display: { title: 'Knowledge' },
  config: { schema: { type: 'object', properties: { language: { type: 'string' } } } },
  knowledge: { embeddingModel: 'bge-m3', limits: { maxDocuments: 10, maxBytes: 1_000_000 } },
  entitlements: [{ feature: 'triage', type: 'Boolean' }],
  limits: { runSeconds: 200 },
});

const terms = (): VersionTerms => ({
  offeringRef: { name: 'claims-agent' },
  version: '1.0.0',
  artifact: { uri: `artifact://sha256/${SHA}`, sha256: SHA, sizeBytes: 10, format: 'LangflowJson' },
  capabilities: [
    { name: 'triage', version: '1.2.0' },
    { name: 'knowledge', version: '0.1.0' },
  ],
  plans: [
    { name: 'starter', includedMicrocredits: 1_000_000, trial: { microcredits: 50_000, days: 14 } },
    { name: 'pro', includedMicrocredits: 9_000_000, period: 'Month', limits: { requestsPerMinute: 600 } },
  ],
  exhaustion: [
    { action: 'Pause', afterSeconds: 60 },
    { action: 'Notify', afterSeconds: 0 },
  ],
});

const both = (change: (spec: CapabilitySpec) => void = () => {}) => {
  const first = triage();
  change(first);
  return new Map([
    ['triage', first],
    ['knowledge', knowledge()],
  ]);
};

test('a contract carries every default resolved and every list in its order', () => {
  const { contract, canonical, digest } = compileContract(terms(), both());
  assert.is(contract.schema, 'gsv.contract/v1');
  assert.is(contract.offering, 'claims-agent');
  assert.equal(contract.artifact, { sha256: SHA, sizeBytes: 10, format: 'LangflowJson' });
  assert.equal(
    contract.capabilities.map((each) => each.name),
    ['knowledge', 'triage'],
  );
  assert.equal(
    contract.steps.map((each) => each.name),
    ['secrets', 'manifests', 'probe'],
  );
  assert.equal(
    contract.globals.map((each) => each.name),
    ['CRM_TOKEN', 'ORG', 'TONE'],
  );
  assert.equal(contract.limits, { requestsPerMinute: 90, concurrentRuns: 4, runSeconds: 200, inputBytes: 65_536 });
  assert.equal(
    contract.plans.map((each) => [each.name, each.period, each.limits.requestsPerMinute]),
    [
      ['pro', 'Month', 600],
      ['starter', 'None', 90],
    ],
  );
  assert.equal(
    contract.exhaustion.map((each) => each.action),
    ['Notify', 'Pause'],
  );
  assert.is(contract.onDisconnect, 'Drain');
  assert.is(contract.minimumRuntimeProfile, 'Shared');
  assert.equal(contract.entitlements, [
    { feature: 'seats', type: 'Static', value: '5' },
    { feature: 'triage', type: 'Boolean', value: 'true' },
  ]);
  assert.equal(contract.knowledge?.limits, { maxDocuments: 10, maxBytes: 1_000_000, maxDocumentBytes: 1_000_000 });
  assert.equal(contract.config.schema, {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: {
      language: { type: 'string' },
      tone: { type: 'string', enum: ['formal', 'friendly'] },
      region: { $ref: '#/$defs/region' },
    },
    required: ['region', 'tone'],
    $defs: { region: { type: 'string', minLength: 2 } },
    additionalProperties: false,
  });
  assert.is(digest, contractDigest(JSON.parse(canonical)));
  assert.match(digest, /^sha256:[0-9a-f]{64}$/);
});

test('a compiled contract is a readable one, and its Capabilities carry the digest of what is inlined', () => {
  const { contract } = compileContract(terms(), both());
  assert.equal(parseContract(JSON.parse(JSON.stringify(contract))), contract);
  for (const each of contract.capabilities) assert.is(each.digest, canonicalDigest(each.spec));
  assert.is(contract.capabilities[1]?.digest, capabilityDigest(triage()));
});

test('what is no contract is not read', () => {
  const { contract } = compileContract(terms(), both());
  const wrong: unknown[] = [
    null,
    {},
    { ...contract, schema: 'gsv.contract/v2' },
    { ...contract, surprise: true },
    { ...contract, limits: { ...contract.limits, runSeconds: 0 } },
    { ...contract, dimensions: contract.dimensions.map((each) => ({ ...each, priceMicrocredits: 0.5 })) },
  ];
  for (const each of wrong)
    assert.throws(
      () => parseContract(each),
      (error: unknown) => error instanceof ContractError,
    );
});

/** Keys of objects in another order, recursively; lists stay. */
function shuffleKeys(value: unknown, pick: (n: number) => number): unknown {
  if (Array.isArray(value)) return value.map((each) => shuffleKeys(each, pick));
  if (typeof value !== 'object' || value === null) return value;
  const entries = shuffle(Object.entries(value), pick);
  return Object.fromEntries(entries.map(([key, child]) => [key, shuffleKeys(child, pick)]));
}

function shuffle<T>(items: readonly T[], pick: (n: number) => number): T[] {
  const rest = [...items];
  return items.map(() => rest.splice(pick(rest.length), 1)[0] as T);
}

/** Lists of named things and sets in another order: everywhere but inside a config schema. */
function shuffleLists(value: unknown, pick: (n: number) => number): unknown {
  if (Array.isArray(value)) return shuffle(value, pick).map((each) => shuffleLists(each, pick));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, child]) => [key, key === 'schema' ? child : shuffleLists(child, pick)]),
  );
}

/** What absence means, written out. */
function withDefaults(version: VersionTerms, capabilities: Map<string, CapabilitySpec>): void {
  version.onDisconnect = 'Drain';
  version.minimumRuntimeProfile = 'Shared';
  const [starter] = version.plans;
  if (starter) Object.assign(starter, { period: 'None', limits: { concurrentRuns: 4, runSeconds: 200 } });
  const spec = capabilities.get('triage');
  const other = capabilities.get('knowledge');
  for (const secret of spec?.secrets ?? []) {
    secret.rotation = { overlapSeconds: 0 };
    if (secret.source === 'Generated') secret.generator = { length: 32, alphabet: 'Alphanumeric' };
  }
  for (const step of spec?.provisioningSteps ?? []) {
    step.with ??= [];
    step.dependsOn ??= [];
  }
  for (const each of spec?.entitlements ?? []) if (each.type === 'Boolean') each.value = 'true';
  if (spec) Object.assign(spec.limits ?? {}, { concurrentRuns: 4, inputBytes: 65_536 });
  if (!other) return;
  Object.assign(other, { secrets: [], connectors: [], provisioningSteps: [], runtime: { globals: [] } });
  other.metering = { dimensions: [] };
  if (other.knowledge) other.knowledge.limits.maxDocumentBytes = 1_000_000;
  if (other.config?.schema) Object.assign(other.config.schema, { additionalProperties: false, required: [] });
  if (other.config) Object.assign(other.config, { ui: [], mutableKeys: [] });
}

test('same meaning, same digest: order of keys and named lists, and written-out defaults, change nothing', () => {
  const expected = compileContract(terms(), both()).digest;
  fc.assert(
    fc.property(
      fc.infiniteStream(fc.nat()),
      fc.boolean(),
      fc.boolean(),
      fc.boolean(),
      (stream, keys, lists, defaults) => {
        const pick = (n: number): number => (stream.next().value ?? 0) % n;
        let version = terms();
        let capabilities = both();
        if (defaults) withDefaults(version, capabilities);
        const change = (value: unknown): unknown => {
          const shuffled = lists ? shuffleLists(value, pick) : value;
          return keys ? shuffleKeys(shuffled, pick) : shuffled;
        };
        version = change(version) as VersionTerms;
        capabilities = new Map([...capabilities].map(([name, spec]) => [name, change(spec) as CapabilitySpec]));
        if (lists) capabilities = new Map(shuffle([...capabilities], pick));
        assert.is(compileContract(version, capabilities).digest, expected);
      },
    ),
    { numRuns: 200 },
  );
});

test('another meaning has another digest', () => {
  const digest = (version: VersionTerms, capabilities = both()) => compileContract(version, capabilities).digest;
  const plan = { name: 'team', includedMicrocredits: 1 };
  const digests = [
    digest(terms()),
    digest({ ...terms(), version: '1.0.1' }),
    digest({ ...terms(), onDisconnect: 'Abort' }),
    digest({ ...terms(), upgradesFrom: '>=0.9.0' }),
    digest({ ...terms(), plans: [...terms().plans, plan] }),
    digest({ ...terms(), artifact: { ...terms().artifact, sha256: 'b'.repeat(64) } }),
    digest(
      terms(),
      both((spec) => Object.assign(spec.metering?.dimensions[0] ?? {}, { priceMicrocredits: 12_001 })),
    ),
    digest(
      terms(),
      both((spec) => Object.assign(spec.limits ?? {}, { concurrentRuns: 5 })),
    ),
    digest(
      terms(),
      both((spec) => Object.assign(spec.connectors?.[0] ?? {}, { url: 'https://other.example.com/' })),
    ),
    digest(
      terms(),
      both((spec) => Object.assign(spec.display, { title: 'Other' })),
    ),
  ];
  assert.is(new Set(digests).size, digests.length);
});

test('the order of steps depends on nothing but names and dependencies', () => {
  const step = (name: string, ...dependsOn: string[]) => ({ name, uses: 'Manifests' as const, dependsOn });
  const capability = (steps: ReturnType<typeof step>[]) =>
    new Map([['one', { version: '1.0.0', display: { title: 'T' }, provisioningSteps: steps }]]);
  const version = { ...terms(), capabilities: [{ name: 'one', version: '1.0.0' }] };
  const steps = [step('d', 'b', 'c'), step('c', 'a'), step('b', 'a'), step('a'), step('e')];
  for (const each of [steps, [...steps].reverse()]) {
    const { contract } = compileContract(version, capability(each));
    assert.is(contract.steps.map(({ name }) => name).join(''), 'abcde');
  }
});
