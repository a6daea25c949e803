import { join } from 'node:path';
import { test } from 'node:test';
import { applyPatch } from 'diff';
import * as assert from 'uvu/assert';
import { compileContract, type VersionTerms } from '../../crds/contract.ts';
import type { CapabilitySpec } from '../../crds/generated/kinds.ts';
import { assertGoldenTree } from '../../hack/testing/golden.ts';
import { PLATFORM } from '../../hack/testing/rendered.ts';
import { RenderError, renderInstance, renderProject } from '../render/render.ts';
import { type Preview, type PreviewState, preview } from './preview.ts';
import { previewText } from './text.ts';

const SHA = 'a'.repeat(64);
const organization = { metadata: { name: 'acme', uid: 'org-uid' } };
const shared = { metadata: { name: 'default', uid: 'project-uid' }, spec: {} };
const own = { ...shared, spec: { runtimeProfile: 'Namespace' as const, egressAllowList: ['api.example.com'] } };

const run = {
  name: 'run',
  unit: 'run',
  source: 'Run' as const,
  priceMicrocredits: 12_000,
  perUnits: 1,
  reserveUnits: 1,
};
const tokens = {
  name: 'tokens',
  unit: 'token',
  source: 'OutputToken' as const,
  priceMicrocredits: 30,
  perUnits: 1000,
  reserveUnits: 4000,
};

const capability: CapabilitySpec = {
  version: '1.0.0',
  display: { title: 'Triage' },
  config: {
    schema: {
      type: 'object',
      properties: { tone: { type: 'string', enum: ['calm', 'brisk'] } },
      additionalProperties: false,
    },
  },
  entitlements: [{ feature: 'support', type: 'Static', value: 'mail' }],
  metering: { dimensions: [run] },
};

const richer: CapabilitySpec = {
  ...capability,
  version: '2.0.0',
  secrets: [{ name: 'crm-token', source: 'Buyer' }],
  connectors: [
    {
      name: 'crm',
      protocol: 'MCP',
      url: 'https://mcp.crm.example/mcp',
      auth: { kind: 'Bearer', secret: 'crm-token' },
      tools: [{ name: 'lookup', schemaSha256: SHA }],
      egressHosts: ['192.0.2.10'],
    },
  ],
  entitlements: [
    { feature: 'support', type: 'Static', value: 'phone' },
    { feature: 'crm', type: 'Boolean' },
  ],
  limits: { runSeconds: 600 },
  metering: { dimensions: [{ ...run, priceMicrocredits: 9_000 }, tokens] },
};

function instance(
  spec: CapabilitySpec,
  plan = 'starter',
  config: Record<string, unknown> = { tone: 'calm' },
  terms: Partial<VersionTerms> = {},
): NonNullable<PreviewState['instance']> {
  const { contract, digest } = compileContract(
    {
      offeringRef: { name: 'claims-agent' },
      version: spec.version,
      artifact: { uri: `artifact://sha256/${SHA}`, sha256: SHA, sizeBytes: 10, format: 'LangflowJson' },
      capabilities: [{ name: 'triage', version: spec.version }],
      plans: [
        { name: 'starter', includedMicrocredits: 1_000_000, period: 'Year', limits: { concurrentRuns: 2 } },
        { name: 'pro', includedMicrocredits: 9_000_000, period: 'Year' },
      ],
      ...terms,
    },
    new Map([['triage', spec]]),
  );
  const object = { metadata: { name: 'claims', uid: 'instance-uid' }, spec: { plan, config } };
  return { instance: object, contract, contractDigest: digest };
}

function of(before: PreviewState | undefined, after: PreviewState | undefined): Preview {
  const sides = { ...(before ? { before } : {}), ...(after ? { after } : {}) };
  return preview({ organization, platform: PLATFORM, projects: [shared], ...sides });
}

const plain = instance(capability);
const CASES: Record<string, [before: PreviewState | undefined, after: PreviewState | undefined]> = {
  'new-instance': [{ project: shared }, { project: shared, instance: instance(richer, 'pro') }],
  'new-project': [undefined, { project: own, instance: plain }],
  upgrade: [
    { project: shared, instance: plain },
    { project: shared, instance: instance(richer) },
  ],
  'plan-change': [
    { project: shared, instance: plain },
    { project: shared, instance: instance(capability, 'pro') },
  ],
  'config-change': [
    { project: shared, instance: plain },
    { project: shared, instance: instance(capability, 'starter', { tone: 'brisk' }) },
  ],
  'profile-change': [
    { project: shared, instance: plain },
    { project: own, instance: plain },
  ],
  pause: [
    { project: own, instance: plain },
    { project: own, instance: { ...plain, effective: 'Paused' } },
  ],
  removal: [{ project: shared, instance: plain }, { project: shared }],
  refused: [
    { project: shared, instance: plain },
    {
      project: shared,
      instance: instance(capability, 'gold', { tone: 'loud', volume: 11 }, { minimumRuntimeProfile: 'Namespace' }),
    },
  ],
};

test('golden: what a person reads before the change', () => {
  const texts = Object.entries(CASES).map(
    ([name, [before, after]]) => [`${name}.txt`, previewText(of(before, after))] as const,
  );
  assertGoldenTree(join(import.meta.dirname, 'testdata'), new Map(texts));
});

function files(state: PreviewState | undefined): Map<string, string> {
  if (state === undefined) return new Map();
  const projects = [shared];
  return new Map([
    ...renderProject({ organization, project: state.project, projects, platform: PLATFORM }),
    ...(state.instance
      ? renderInstance({ organization, project: state.project, platform: PLATFORM, ...state.instance })
      : []),
  ]);
}

test('the diffs of the present files give exactly the files of the operator', () => {
  for (const [name, [before, after]] of Object.entries(CASES)) {
    const tree = files(before);
    for (const { path, action, diff } of of(before, after).files) {
      const patched = applyPatch(tree.get(path) ?? '', diff);
      assert.is.not(patched, false, `${name}: ${path} applies`);
      if (action === 'Removed') tree.delete(path);
      else tree.set(path, String(patched));
    }
    assert.equal([...tree].sort(), [...files(after)].sort(), name);
  }
});

test('no change is no difference, anywhere', () => {
  for (const [before, after] of Object.values(CASES)) {
    for (const state of [before, after]) {
      const same = of(state, structuredClone(state));
      assert.equal(same.files, []);
      for (const { added, removed } of Object.values(same.access)) assert.equal([added, removed], [[], []]);
      assert.equal([same.entitlements.features, same.entitlements.limits, same.credits.dimensions], [[], [], []]);
    }
  }
});

test('an upgrade shows what it costs and what it reaches', () => {
  const { access, credits, entitlements, obstacles } = of(...(CASES.upgrade ?? [undefined, undefined]));
  assert.equal(obstacles, []);
  // 9 000 for the run, and 4 000 tokens at 30 per 1 000.
  assert.equal(credits.reservePerRunMicrocredits, { before: 12_000, after: 9_120 });
  assert.equal(credits.minimumBalanceMicrocredits, { before: 12_000, after: 9_120 });
  assert.equal(access.tools.added, [`crm/lookup sha256:${SHA}`]);
  assert.equal(access.secrets.added, ['crm-token (Buyer)']);
  assert.equal(access.hosts.added, ['mcp.crm.example']);
  assert.equal(access.network.added, ['i-claims: to 192.0.2.10/32 TCP 443']);
  assert.equal(entitlements.features, [
    { name: 'crm', after: 'true' },
    { name: 'support', before: 'mail', after: 'phone' },
  ]);
  assert.equal(entitlements.limits, [{ name: 'runSeconds', before: 120, after: 600 }]);
});

test('what the operator would refuse is named with pointer and rule, and shows no terms of a plan that is none', () => {
  const { obstacles, entitlements } = of(...(CASES.refused ?? [undefined, undefined]));
  assert.equal(obstacles.map(({ pointer, rule }) => [pointer, rule]).sort(), [
    ['/spec/config/tone', 'enum'],
    ['/spec/config/volume', 'additionalProperties'],
    ['/spec/plan', 'unknown_plan'],
    ['/spec/projectRef', 'runtime_profile_too_low'],
  ]);
  assert.equal(entitlements.plan, { before: 'starter' });
});

test('credentials in an address are not shown, and config in place of a secret is refused without its value', () => {
  const leaky = structuredClone(instance(richer));
  for (const connector of leaky.contract.connectors) connector.url = 'https://bot:hunter2@crm.example/mcp?key=hunter2';
  const result = of({ project: shared }, { project: shared, instance: leaky });
  assert.not.match(JSON.stringify(result) + previewText(result), /hunter2/);
  assert.equal(result.access.connectors.added, ['crm MCP https://crm.example/mcp']);
  const misplaced = instance(richer, 'starter', { 'crm-token': 'hunter2' });
  assert.throws(
    () => of({ project: shared }, { project: shared, instance: misplaced }),
    (error: unknown) => error instanceof RenderError && !error.message.includes('hunter2'),
  );
});
