import type { Limits, Plan } from '../generated/kinds.ts';
import { type Contract, ContractError, type ResolvedLimits, type Violation } from './document.ts';

/** What holds when nobody says anything: resources.md, Capability `limits`. */
export const DEFAULT_LIMITS: Readonly<ResolvedLimits> = {
  requestsPerMinute: 60,
  concurrentRuns: 4,
  runSeconds: 120,
  inputBytes: 65_536,
};

/**
 * What no contract may exceed. Run time: a hold lives at most a day and covers run time plus drain.
 * Input: the edge's body limit. The rest bounds what one Instance can ask of shared processes.
 */
export const PLATFORM_MAXIMA: Readonly<ResolvedLimits> = {
  requestsPerMinute: 100_000,
  concurrentRuns: 1_000,
  runSeconds: 3_600,
  inputBytes: 1_048_576,
};

const NAMES = Object.keys(DEFAULT_LIMITS) as (keyof ResolvedLimits)[];

/** Each limit given is a whole number from 1 to the platform's maximum. */
export function checkLimits(limits: Limits | undefined, pointer: string): Violation[] {
  const problems: Violation[] = [];
  for (const name of NAMES) {
    const value = limits?.[name];
    if (value === undefined) continue;
    if (Number.isSafeInteger(value) && value >= 1 && value <= PLATFORM_MAXIMA[name]) continue;
    problems.push({
      pointer: `${pointer}/${name}`,
      rule: 'limit_out_of_bounds',
      message: `${name} must be a whole number from 1 to ${PLATFORM_MAXIMA[name]}.`,
    });
  }
  return problems;
}

/**
 * The strictest value that any Capability asks for. A Capability that says nothing has no opinion;
 * the default holds only where none has one, so that adding a silent Capability tightens nothing.
 */
export function strictestLimits(limits: readonly (Limits | undefined)[]): ResolvedLimits {
  const resolved = { ...DEFAULT_LIMITS };
  for (const name of NAMES) {
    const stated = limits.flatMap((each) => (each?.[name] === undefined ? [] : [each[name]]));
    if (stated.length > 0) resolved[name] = Math.min(...stated);
  }
  return resolved;
}

/**
 * A plan's value wins, up or down, inside the platform's maxima: a plan is what the buyer pays for,
 * so the larger plan must be able to give more than the Capabilities' own limits.
 */
export function planLimits(base: ResolvedLimits, plan: Plan): ResolvedLimits {
  const resolved = { ...base };
  for (const name of NAMES) resolved[name] = plan.limits?.[name] ?? base[name];
  return resolved;
}

/** The limits that hold for an Instance under this plan. @throws ContractError rule `unknown_plan` */
export function effectiveLimits(contract: Contract, planName: string): ResolvedLimits {
  const plan = contract.plans.find((each) => each.name === planName);
  if (plan) return { ...plan.limits };
  throw new ContractError([
    { pointer: '/plans', rule: 'unknown_plan', message: `The contract has no plan "${planName}".` },
  ]);
}
