import type { Dimension } from '../generated/kinds.ts';
import { RUNTIME_KEY } from '../runtime.ts';
import { checkConfigSchema, isObject } from './config-schema.ts';
import type { VersionTerms, Violation } from './document.ts';
import { checkLimits } from './limits.ts';
import type { NamedCapability } from './normalize.ts';
import { amountOf, MAX_AMOUNT, reserveMicrocredits } from './prices.ts';
import { orderSteps } from './steps.ts';

const isMoney = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

/** Rules of the version alone: plans, their money and limits, the exhaustion ladder. */
export function checkVersion(version: VersionTerms): Violation[] {
  const problems: Violation[] = [];
  const seen = new Set<string>();
  for (const [index, plan] of version.plans.entries()) {
    const pointer = `/plans/${index}`;
    if (seen.has(plan.name)) {
      problems.push({
        pointer: `${pointer}/name`,
        rule: 'duplicate_plan',
        message: `Plan "${plan.name}" is there twice.`,
      });
    }
    seen.add(plan.name);
    problems.push(...checkMoney(plan.includedMicrocredits, `${pointer}/includedMicrocredits`));
    if (plan.trial) problems.push(...checkMoney(plan.trial.microcredits, `${pointer}/trial/microcredits`));
    problems.push(...checkLimits(plan.limits, `${pointer}/limits`));
  }
  if (version.plans.length === 0) {
    problems.push({ pointer: '/plans', rule: 'plans_missing', message: 'A version needs at least one plan.' });
  }
  return [...problems, ...checkLadder(version.exhaustion ?? [])];
}

function checkMoney(value: number, pointer: string): Violation[] {
  if (isMoney(value)) return [];
  const message = `Money is a whole number of microcredits from 0 to ${MAX_AMOUNT}.`;
  return [{ pointer, rule: 'money_out_of_range', message }];
}

/** Each action once, and never a milder one after a harsher one. */
function checkLadder(rungs: NonNullable<VersionTerms['exhaustion']>): Violation[] {
  const order = ['Notify', 'Pause', 'Terminate'];
  const problems: Violation[] = [];
  for (const [index, rung] of rungs.entries()) {
    const pointer = `/exhaustion/${index}`;
    if (rungs.findIndex((each) => each.action === rung.action) < index) {
      const message = `"${rung.action}" is there twice.`;
      problems.push({ pointer: `${pointer}/action`, rule: 'duplicate_name', message });
    }
    const harsher = (each: typeof rung) => order.indexOf(each.action) > order.indexOf(rung.action);
    const late = rungs.find((each) => harsher(each) && each.afterSeconds < rung.afterSeconds);
    if (late) {
      const message = `"${rung.action}" would come after "${late.action}": give it a smaller afterSeconds.`;
      problems.push({ pointer: `${pointer}/afterSeconds`, rule: 'exhaustion_order', message });
    }
  }
  return problems;
}

/** Rules of one Capability by itself: its config schema, prices and limits. */
export function checkCapability({ pointer, spec }: NamedCapability): Violation[] {
  const at = `${pointer}/spec`;
  const problems = checkLimits(spec.limits, `${at}/limits`);
  if (spec.config?.schema) problems.push(...checkConfigSchema(spec.config.schema, `${at}/config/schema`));
  for (const [index, { name }] of (spec.secrets ?? []).entries()) {
    if (name !== RUNTIME_KEY) continue;
    const message = `"${RUNTIME_KEY}" is the key of an Instance’s own runtime; choose another name.`;
    problems.push({ pointer: `${at}/secrets/${index}/name`, rule: 'reserved_name', message });
  }
  for (const [index, dimension] of (spec.metering?.dimensions ?? []).entries()) {
    problems.push(...checkDimension(dimension, `${at}/metering/dimensions/${index}`));
  }
  for (const [index, connector] of (spec.connectors ?? []).entries()) {
    const kind = connector.auth?.kind ?? 'None';
    if (kind !== 'None' && connector.auth?.secret === undefined) {
      const message = `Connector "${connector.name}" authenticates by ${kind} but names no secret.`;
      problems.push({ pointer: `${at}/connectors/${index}/auth/secret`, rule: 'connector_secret_missing', message });
    }
  }
  return problems;
}

function checkDimension(dimension: Dimension, pointer: string): Violation[] {
  const problems = checkMoney(dimension.priceMicrocredits, `${pointer}/priceMicrocredits`);
  const { perUnits, reserveUnits } = dimension;
  if (!Number.isSafeInteger(perUnits) || perUnits < 1) {
    const message = 'perUnits must be a whole number from 1.';
    problems.push({ pointer: `${pointer}/perUnits`, rule: 'units_out_of_range', message });
  }
  if (!Number.isSafeInteger(reserveUnits) || reserveUnits < 0) {
    const message = 'reserveUnits must be a whole number from 0.';
    problems.push({ pointer: `${pointer}/reserveUnits`, rule: 'units_out_of_range', message });
  }
  if (problems.length > 0) return problems;
  try {
    amountOf(dimension, reserveUnits);
  } catch {
    const message = `Reserving ${reserveUnits} units costs more than ${MAX_AMOUNT} microcredits.`;
    problems.push({ pointer: `${pointer}/reserveUnits`, rule: 'money_out_of_range', message });
  }
  return problems;
}

interface Named {
  name: string;
  pointer: string;
}

/** Rules of the Capabilities together: unique names, references that lead somewhere, steps without a cycle, prices. */
export function checkComposition(named: readonly NamedCapability[], schema: Record<string, unknown>): Violation[] {
  const list = <T extends { name: string }>(path: string, items: (each: NamedCapability) => readonly T[] | undefined) =>
    named.flatMap((each) =>
      (items(each) ?? []).map((item, index) => ({ ...item, pointer: `${each.pointer}/spec/${path}/${index}` })),
    );
  const secrets = list('secrets', (each) => each.spec.secrets);
  const connectors = list('connectors', (each) => each.spec.connectors);
  const dimensions = list('metering/dimensions', (each) => each.spec.metering?.dimensions);
  const globals = list('runtime/globals', (each) => each.spec.runtime?.globals);
  const steps = list('provisioningSteps', (each) => each.spec.provisioningSteps);
  const knowledge = named.filter((each) => each.spec.knowledge !== undefined);
  const keys = new Set(Object.keys(isObject(schema.properties) ? schema.properties : {}));
  return [
    ...[secrets, connectors, dimensions, globals, steps].flatMap(duplicates),
    ...knowledge.slice(1).map((each) => ({
      pointer: `${each.pointer}/spec/knowledge`,
      rule: 'duplicate_knowledge',
      message: `Capability "${knowledge[0]?.name}" declares knowledge already; an Instance has one dataset.`,
    })),
    ...checkGlobals(globals, keys, new Set(secrets.map((each) => each.name))),
    ...checkConnectors(
      connectors,
      new Set(secrets.map((each) => each.name)),
      new Map(dimensions.map((d) => [d.name, d])),
    ),
    ...checkKeys(named, keys, secrets),
    ...checkSteps(steps),
    ...checkEntitlements(named),
    ...checkPrices(dimensions),
  ];
}

function duplicates(items: readonly Named[]): Violation[] {
  const seen = new Set<string>();
  return items.flatMap(({ name, pointer }) => {
    const known = seen.has(name);
    seen.add(name);
    const message = `"${name}" is declared twice in this version: names are unique across its Capabilities.`;
    return known ? [{ pointer: `${pointer}/name`, rule: 'duplicate_name', message }] : [];
  });
}

type Globals = readonly (Named & { fromConfig?: string; fromSecret?: string; fromInstance?: string })[];

function checkGlobals(globals: Globals, keys: ReadonlySet<string>, secrets: ReadonlySet<string>): Violation[] {
  const problems: Violation[] = [];
  for (const { name, pointer, fromConfig, fromSecret, fromInstance } of globals) {
    if ([fromConfig, fromSecret, fromInstance].filter((from) => from !== undefined).length !== 1) {
      const message = `Global "${name}" needs exactly one of fromConfig, fromSecret and fromInstance.`;
      problems.push({ pointer, rule: 'global_source', message });
    }
    if (fromConfig !== undefined && !keys.has(fromConfig)) {
      const message = `Global "${name}" takes config key "${fromConfig}", which the config schema does not declare.`;
      problems.push({ pointer: `${pointer}/fromConfig`, rule: 'unknown_config_key', message });
    }
    if (fromSecret !== undefined && !secrets.has(fromSecret)) {
      const message = `Global "${name}" takes secret "${fromSecret}", which no Capability declares.`;
      problems.push({ pointer: `${pointer}/fromSecret`, rule: 'unknown_secret', message });
    }
  }
  return problems;
}

type Connectors = readonly (Named & {
  auth?: { secret?: string };
  tools?: readonly { name: string; dimension?: string }[];
})[];

function checkConnectors(
  connectors: Connectors,
  secrets: ReadonlySet<string>,
  dimensions: ReadonlyMap<string, Dimension>,
): Violation[] {
  const problems: Violation[] = [];
  for (const { name, pointer, auth, tools } of connectors) {
    if (auth?.secret !== undefined && !secrets.has(auth.secret)) {
      const message = `Connector "${name}" takes secret "${auth.secret}", which no Capability declares.`;
      problems.push({ pointer: `${pointer}/auth/secret`, rule: 'unknown_secret', message });
    }
    problems.push(
      ...duplicates((tools ?? []).map((tool, i) => ({ name: tool.name, pointer: `${pointer}/tools/${i}` }))),
    );
    for (const [index, tool] of (tools ?? []).entries()) {
      if (tool.dimension === undefined || dimensions.get(tool.dimension)?.source === 'ToolCall') continue;
      const message = `Tool "${tool.name}" is priced by "${tool.dimension}", which is no declared ToolCall dimension.`;
      problems.push({ pointer: `${pointer}/tools/${index}/dimension`, rule: 'unknown_dimension', message });
    }
  }
  return problems;
}

/** Hints and mutable keys name config keys; no config key is named like a secret, or a value would land in config. */
function checkKeys(
  named: readonly NamedCapability[],
  keys: ReadonlySet<string>,
  secrets: readonly Named[],
): Violation[] {
  const problems: Violation[] = [];
  for (const { pointer, spec } of named) {
    const at = `${pointer}/spec/config`;
    const used = [
      ...(spec.config?.ui ?? []).map((hint, index) => [hint.key, `${at}/ui/${index}/key`] as const),
      ...(spec.config?.mutableKeys ?? []).map((key, index) => [key, `${at}/mutableKeys/${index}`] as const),
    ];
    for (const [key, where] of used) {
      if (keys.has(key)) continue;
      const message = `"${key}" is no key of the config schema.`;
      problems.push({ pointer: where, rule: 'unknown_config_key', message });
    }
  }
  for (const { name, pointer } of secrets) {
    if (!keys.has(name)) continue;
    const message = `"${name}" is a secret and a config key: secret values never stand in config; rename one.`;
    problems.push({ pointer: `${pointer}/name`, rule: 'secret_is_config_key', message });
  }
  return problems;
}

type Steps = readonly (Named & { dependsOn?: readonly string[] })[];

function checkSteps(steps: Steps): Violation[] {
  const problems: Violation[] = [];
  const names = new Set(steps.map((step) => step.name));
  for (const { name, pointer, dependsOn } of steps) {
    for (const [index, other] of (dependsOn ?? []).entries()) {
      if (names.has(other)) continue;
      const message = `Step "${name}" depends on "${other}", which is no step of this version.`;
      problems.push({ pointer: `${pointer}/dependsOn/${index}`, rule: 'unknown_step', message });
    }
  }
  if (problems.length > 0) return problems;
  const bare = steps.map((step) => ({
    name: step.name,
    dependsOn: [...(step.dependsOn ?? [])],
    capability: '',
    uses: 'Secrets' as const,
    with: [],
  }));
  const { stuck } = orderSteps(bare);
  const first = steps.find((step) => stuck.includes(step.name));
  if (!first) return [];
  const message = `These steps wait for each other: ${stuck.join(', ')}.`;
  return [{ pointer: `${first.pointer}/dependsOn`, rule: 'steps_cyclic', message }];
}

function checkEntitlements(named: readonly NamedCapability[]): Violation[] {
  const seen = new Map<string, { text: string; capability: string }>();
  return named.flatMap((each) =>
    each.normal.entitlements.flatMap((entitlement) => {
      const text = `${entitlement.type} ${entitlement.value ?? ''}`;
      const before = seen.get(entitlement.feature);
      seen.set(entitlement.feature, before ?? { text, capability: each.name });
      if (before === undefined || (before.text === text && before.capability !== each.name)) return [];
      const pointer = `${each.pointer}/spec/entitlements`;
      const message = `Feature "${entitlement.feature}" is declared differently by Capability "${before.capability}".`;
      return [{ pointer, rule: 'entitlement_conflict', message }];
    }),
  );
}

/** architecture.md section 7: without usage from the runtime a token-priced run would be free. */
function checkPrices(dimensions: readonly (Named & Dimension)[]): Violation[] {
  const token = dimensions.find((each) => each.source === 'InputToken' || each.source === 'OutputToken');
  if (token && !dimensions.some((each) => each.source === 'Run')) {
    const message = `"${token.name}" is priced by tokens: declare a Run dimension too, which applies when a runtime reports no usage.`;
    return [{ pointer: `${token.pointer}/source`, rule: 'run_dimension_required', message }];
  }
  try {
    reserveMicrocredits({ dimensions: [...dimensions] });
    return [];
  } catch {
    const message = `The reserve of all dimensions together is beyond ${MAX_AMOUNT} microcredits.`;
    return [{ pointer: '/capabilities', rule: 'money_out_of_range', message }];
  }
}
