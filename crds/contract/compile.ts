import type { CapabilitySpec, Plan } from '../generated/kinds.ts';
import { byText, canonicalJson, digestText, sortedBy } from './canonical.ts';
import { checkCapability, checkComposition, checkVersion } from './check.ts';
import { checkConfigSchema, mergeConfigSchemas } from './config-schema.ts';
import {
  type Contract,
  ContractError,
  type ContractPlan,
  type ResolvedLimits,
  type VersionTerms,
  type Violation,
} from './document.ts';
import { planLimits, strictestLimits } from './limits.ts';
import { inlineCapability, type NamedCapability } from './normalize.ts';
import { orderSteps } from './steps.ts';

export interface CompiledContract {
  contract: Contract;
  /** RFC 8785 text of `contract`. */
  canonical: string;
  /** `sha256:<hex>` of `canonical`. */
  digest: string;
}

/** `sha256:<hex>` of a Capability's normal form: what contracts carry and `Capability.status.digest` shows. */
export function capabilityDigest(spec: CapabilitySpec): string {
  return inlineCapability(spec).digest;
}

/**
 * Compiles a version's terms with every Capability inlined. Pointers of problems lead into the
 * version's spec, as if each Capability's spec stood beside its reference:
 * `/capabilities/0/spec/secrets/1/name`.
 * @throws ContractError naming every broken rule
 */
export function compileContract(
  version: VersionTerms,
  capabilities: ReadonlyMap<string, CapabilitySpec>,
): CompiledContract {
  const { named, problems } = resolve(version, capabilities);
  problems.push(...checkVersion(version));
  for (const each of named) problems.push(...checkCapability(each));
  refuse(problems);
  const schema = mergedSchema(named);
  refuse(checkComposition(named, schema));
  const document = build(version, named, schema);
  const canonical = canonicalJson(document);
  return { contract: JSON.parse(canonical) as Contract, canonical, digest: digestText(canonical) };
}

function refuse(problems: readonly Violation[]): void {
  if (problems.length > 0) throw new ContractError(problems);
}

function resolve(version: VersionTerms, capabilities: ReadonlyMap<string, CapabilitySpec>) {
  const problems: Violation[] = [];
  const named: NamedCapability[] = [];
  for (const [index, reference] of version.capabilities.entries()) {
    const pointer = `/capabilities/${index}`;
    const spec = capabilities.get(reference.name);
    if (named.some((each) => each.name === reference.name)) {
      const message = `Capability "${reference.name}" is named twice.`;
      problems.push({ pointer: `${pointer}/name`, rule: 'duplicate_name', message });
    } else if (spec === undefined) {
      const message = `There is no Capability "${reference.name}".`;
      problems.push({ pointer: `${pointer}/name`, rule: 'capability_missing', message });
    } else if (spec.version !== reference.version) {
      const message = `Capability "${reference.name}" has version ${spec.version}, not ${reference.version}.`;
      problems.push({ pointer: `${pointer}/version`, rule: 'capability_version_mismatch', message });
    } else {
      const inlined = inlineCapability(spec);
      named.push({ name: reference.name, pointer, spec, normal: inlined.spec, digest: inlined.digest });
    }
  }
  return { named, problems };
}

function mergedSchema(named: readonly NamedCapability[]): Record<string, unknown> {
  const parts = named.map((each) => ({
    capability: each.name,
    pointer: `${each.pointer}/spec/config/schema`,
    schema: each.normal.config.schema,
  }));
  const { schema, problems } = mergeConfigSchemas(parts);
  refuse(problems);
  refuse(checkConfigSchema({ ...schema, allOf: schema.allOf ?? [{}] }, '/capabilities'));
  return schema;
}

function build(version: VersionTerms, named: readonly NamedCapability[], schema: Record<string, unknown>): Contract {
  const ordered = sortedBy(named, (each) => each.name);
  const owned = <T>(list: (each: NamedCapability) => readonly T[]) =>
    ordered.flatMap((each) => list(each).map((item) => ({ ...item, capability: each.name })));
  const limits = strictestLimits(named.map((each) => each.spec.limits));
  const knowledge = owned((each) => (each.normal.knowledge ? [each.normal.knowledge] : []))[0];
  const { sha256, sizeBytes, format } = version.artifact;
  return {
    schema: 'gsv.contract/v1',
    offering: version.offeringRef.name,
    version: version.version,
    artifact: { sha256, sizeBytes, format },
    capabilities: ordered.map((each) => ({
      name: each.name,
      version: each.spec.version,
      digest: each.digest,
      spec: each.normal,
    })),
    config: {
      schema,
      mutableKeys: [...new Set(ordered.flatMap((each) => each.normal.config.mutableKeys))].sort(byText),
    },
    secrets: sortedBy(
      owned((each) => each.normal.secrets),
      (secret) => secret.name,
    ),
    connectors: sortedBy(
      owned((each) => each.normal.connectors),
      (connector) => connector.name,
    ),
    ...(knowledge ? { knowledge } : {}),
    steps: orderSteps(owned((each) => each.normal.provisioningSteps)).ordered,
    globals: sortedBy(
      owned((each) => each.normal.runtime.globals),
      (global) => global.name,
    ),
    entitlements: entitlements(ordered),
    limits,
    dimensions: sortedBy(
      ordered.flatMap((each) => each.normal.metering.dimensions),
      (dimension) => dimension.name,
    ),
    plans: sortedBy(version.plans, (plan) => plan.name).map((plan) => resolvePlan(plan, limits)),
    exhaustion: ladder(version.exhaustion),
    onDisconnect: version.onDisconnect ?? 'Drain',
    minimumRuntimeProfile: version.minimumRuntimeProfile ?? 'Shared',
    ...(version.upgradesFrom === undefined ? {} : { upgradesFrom: version.upgradesFrom }),
  };
}

/** The same feature may come from several Capabilities; the check has seen that they say the same. */
function entitlements(named: readonly NamedCapability[]): Contract['entitlements'] {
  const features = new Map(named.flatMap((each) => each.normal.entitlements).map((each) => [each.feature, each]));
  return sortedBy([...features.values()], (each) => each.feature);
}

function resolvePlan(plan: Plan, limits: ResolvedLimits): ContractPlan {
  return {
    name: plan.name,
    includedMicrocredits: plan.includedMicrocredits,
    period: plan.period ?? 'None',
    ...(plan.trial ? { trial: { microcredits: plan.trial.microcredits, days: plan.trial.days } } : {}),
    limits: planLimits(limits, plan),
  };
}

/** Absent: the Instance pauses at once; nothing is terminated unless a version says so. */
const DEFAULT_EXHAUSTION: Contract['exhaustion'] = [{ action: 'Pause', afterSeconds: 0 }];

const SEVERITY = { Notify: 0, Pause: 1, Terminate: 2 } as const;

function ladder(exhaustion: VersionTerms['exhaustion']): Contract['exhaustion'] {
  const rungs = (exhaustion ?? DEFAULT_EXHAUSTION).map(({ action, afterSeconds }) => ({ action, afterSeconds }));
  return rungs.sort((a, b) => a.afterSeconds - b.afterSeconds || SEVERITY[a.action] - SEVERITY[b.action]);
}
