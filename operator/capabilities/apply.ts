import type { ResourceStore } from '../../crds/store.ts';
import type { Plan } from './plan.ts';

/** Owns what it wrote: who edits the same field by other means sees a conflict. */
export const FIELD_MANAGER = 'gsv-capabilities';

/**
 * Writes what the plan says, one Capability after the other, and tells each. A plan with problems is not
 * written at all; what the API server refuses half-way can be repeated, as all writes are.
 *
 * @throws StoreError, TypeError for a plan with problems
 */
export async function applyPlan(
  plan: Plan,
  store: Pick<ResourceStore, 'apply'>,
  tell: (line: string) => void,
): Promise<void> {
  if (plan.problems.length > 0) throw new TypeError('a plan with problems is not applied');
  for (const { metadata, spec, action, from, digest } of plan.capabilities) {
    if (action !== 'unchanged') await store.apply('Capability', { metadata, spec }, { fieldManager: FIELD_MANAGER });
    const version = from === undefined || from === spec.version ? spec.version : `${from} -> ${spec.version}`;
    tell(`${action.padEnd(9)} ${metadata.name} ${version} ${digest}`);
  }
}

/** Each problem with file, field and rule; longer text is indented below. */
export function problemText(plan: Plan): string {
  return plan.problems
    .map(({ file, field, rule, message }) => {
      const [first = '', ...rest] = message.split('\n');
      const where = field === '' ? file : `${file}: ${field}`;
      return [`${where} (${rule}): ${first}`, ...rest.map((line) => `    ${line}`)].join('\n');
    })
    .join('\n');
}
