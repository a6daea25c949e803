import { CONDITION_TYPES, type ConditionTypeInfo, REASONS, type ReasonInfo } from '../../crds/conditions.ts';
import { code, GENERATED, table } from './markdown.ts';

/** `docs/conditions.md`: the vocabulary of `status.conditions`. */
export function conditionsFile(
  types: Record<string, ConditionTypeInfo> = CONDITION_TYPES,
  reasons: Record<string, ReasonInfo> = REASONS,
): string {
  const typeRows = Object.entries(types).map(([name, { kinds, polarity, meaning }]) => [
    code(name),
    where(kinds),
    polarity === 'Normal' ? 'True is good' : 'there only while True',
    meaning,
  ]);
  const reasonRows = Object.entries(reasons).map(([name, { kinds, treatment, meaning, next }]) => [
    code(name),
    where(kinds),
    treatment,
    meaning,
    next,
  ]);
  return `${GENERATED('crds/conditions.ts and crds/reasons.ts')}
# Conditions

Every object of ours carries conditions in \`status.conditions\`; \`kubectl get\` shows the status and reason of \`Ready\`, and with \`-o wide\` its message, which names what blocks.

${table(['condition', 'kinds', 'polarity', 'meaning'], typeRows)}

## Reasons

Info: nothing is held up. Waiting: visited again after a fixed delay. Transient: retried with backoff. Terminal: visited again when something it depends on changes.

${table(['reason', 'kinds', 'treatment', 'meaning', 'what to do'], reasonRows)}
`;
}

function where(kinds: readonly string[] | 'all'): string {
  return kinds === 'all' ? 'all' : kinds.join(', ');
}
