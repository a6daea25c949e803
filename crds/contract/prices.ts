import type { Dimension } from '../generated/kinds.ts';
import type { Contract, PricedLine, Usage } from './document.ts';

/** Largest amount that a JSON integer carries exactly, and therefore the largest amount of money. */
export const MAX_AMOUNT = Number.MAX_SAFE_INTEGER;

/**
 * Units x price / perUnits in microcredits, rounded up. Computed with big integers: the product of
 * two safe integers is not one. @throws RangeError when the amount is beyond 2^53 - 1
 */
export function amountOf(dimension: Pick<Dimension, 'priceMicrocredits' | 'perUnits'>, units: number): number {
  assertUnits(units);
  const per = BigInt(dimension.perUnits);
  const amount = (BigInt(units) * BigInt(dimension.priceMicrocredits) + per - 1n) / per;
  if (amount > BigInt(MAX_AMOUNT)) throw new RangeError('the amount is beyond 2^53 - 1 microcredits');
  return Number(amount);
}

function assertUnits(units: number): void {
  if (!Number.isSafeInteger(units) || units < 0) throw new RangeError('units must be a whole number >= 0');
}

/** What a run reserves before it starts: each dimension's `reserveUnits`, priced and rounded up by itself. Microcredits. */
export function reserveMicrocredits(contract: Pick<Contract, 'dimensions'>): number {
  const total = contract.dimensions.reduce((sum, each) => sum + BigInt(amountOf(each, each.reserveUnits)), 0n);
  if (total > BigInt(MAX_AMOUNT)) throw new RangeError('the reserve is beyond 2^53 - 1 microcredits');
  return Number(total);
}

/**
 * The receipt's lines for what one run used, in the contract's order of dimensions. Usage of the same
 * source is summed first and each line is rounded up once. One run is implied unless `usage` has a
 * Run item, so a runtime that reports no tokens still pays for the run (architecture.md section 7);
 * every other dimension without units is left out.
 *
 * Usage that names a `dimension` counts for that one alone. Usage that names none counts for every
 * dimension of its source except those that a connector's tool names: they have their own price.
 * @throws RangeError when units are no whole number >= 0 or money is beyond 2^53 - 1
 */
export function priceLines(
  contract: Pick<Contract, 'dimensions' | 'connectors'>,
  usage: readonly Usage[],
): PricedLine[] {
  const owned = new Set(contract.connectors.flatMap((each) => each.tools.map((tool) => tool.dimension)));
  const implied: Usage[] = usage.some((each) => each.source === 'Run') ? [] : [{ source: 'Run', units: 1 }];
  const all = [...usage, ...implied];
  // One by one, before they are summed: a negative item must not lower another one's price.
  for (const each of all) assertUnits(each.units);
  const lines: PricedLine[] = [];
  for (const dimension of contract.dimensions) {
    const counts = (each: Usage): boolean =>
      each.source === dimension.source &&
      (each.dimension === undefined ? !owned.has(dimension.name) : each.dimension === dimension.name);
    const units = all.filter(counts).reduce((sum, each) => sum + each.units, 0);
    if (units === 0 && dimension.source !== 'Run') continue;
    lines.push({ dimension: dimension.name, units, amount: amountOf(dimension, units) });
  }
  return lines;
}
