import { byText } from './canonical.ts';
import type { ContractStep } from './document.ts';

/**
 * Steps in an order that respects `dependsOn`; of those that could come next, the first by name, so
 * that the order depends on nothing else. Steps on or behind a cycle come back in `stuck`. Every
 * dependency must exist.
 */
export function orderSteps(steps: readonly ContractStep[]): { ordered: ContractStep[]; stuck: string[] } {
  const waiting = new Map(steps.map((step) => [step.name, step]));
  const ordered: ContractStep[] = [];
  const next = (): ContractStep | undefined =>
    [...waiting.values()]
      .filter((step) => step.dependsOn.every((name) => !waiting.has(name)))
      .sort((a, b) => byText(a.name, b.name))[0];
  for (let step = next(); step !== undefined; step = next()) {
    waiting.delete(step.name);
    ordered.push(step);
  }
  return { ordered, stuck: [...waiting.keys()].sort(byText) };
}
