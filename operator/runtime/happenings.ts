import { type Condition, findCondition, REASONS } from '../../crds/conditions.ts';
import type { Resource } from '../../crds/kinds.ts';

/** Something that happened to an object, as an Event will tell it. */
export interface Happening {
  type: 'Normal' | 'Warning';
  /** CamelCase. */
  reason: string;
  /** A message of a condition, or a sentence made of fields of status: nothing else can get in, so no secret. */
  message: string;
}

/** What of a status can tell that something has happened. */
interface Observed {
  conditions?: readonly Condition[];
  lifecycle?: string;
  commit?: string;
}

/** A commit is known by so many digits. */
const COMMIT_DIGITS = 12;

/**
 * What happened between two states of one object. A condition that became True is told by its type, one
 * that became False, or False for another reason, by its reason. `Reconciling` and `Unknown` say that
 * something goes on, not that it happened. The same status again: nothing.
 */
export function happenings(before: Resource<unknown, unknown>, after: Resource<unknown, unknown>): Happening[] {
  const [old, now] = [observed(before), observed(after)];
  const found: Happening[] = [];
  if (now.commit !== undefined && now.commit !== old.commit) {
    const message = `Commit ${now.commit.slice(0, COMMIT_DIGITS)} holds the manifests.`;
    found.push({ type: 'Normal', reason: 'Committed', message });
  }
  for (const condition of now.conditions ?? []) {
    const told = turned(condition, findCondition(old.conditions, condition.type as 'Ready'));
    // The commit is told already; and Ready repeats what kept it from being so.
    if (told !== undefined && !found.some(({ reason }) => reason === told.reason)) found.push(told);
  }
  if (now.lifecycle !== undefined && now.lifecycle !== old.lifecycle) {
    const from = old.lifecycle === undefined ? '' : ` after ${old.lifecycle}`;
    found.push({ type: 'Normal', reason: now.lifecycle, message: `The lifecycle is ${now.lifecycle}${from}.` });
  }
  return found;
}

function turned(now: Condition, old: Condition | undefined): Happening | undefined {
  if (now.type === 'Reconciling' || now.status === 'Unknown') return undefined;
  if (old?.status === now.status && old.reason === now.reason) return undefined;
  // Stalled is True when it is bad; Ready says the same with the same reason.
  if (now.type === 'Stalled') return undefined;
  if (now.status === 'True') {
    // True for another reason than before is no news.
    return old?.status === 'True' ? undefined : { type: 'Normal', reason: now.type, message: now.message };
  }
  const waits = REASONS[now.reason as keyof typeof REASONS]?.treatment;
  const type = waits === 'Waiting' || waits === 'Info' ? 'Normal' : 'Warning';
  return { type, reason: now.reason, message: now.message };
}

function observed({ status }: Resource<unknown, unknown>): Observed {
  return (status ?? {}) as Observed;
}
