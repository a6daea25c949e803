import type { Condition } from './generated/kinds.ts';
import type { Kind } from './kinds.ts';
import type { Reason } from './reasons.ts';

export type { Condition } from './generated/kinds.ts';
export { REASONS, type Reason, type ReasonInfo } from './reasons.ts';

export interface ConditionTypeInfo {
  /** `Normal`: True is good. `Abnormal`: True needs attention or patience, and it is absent otherwise. */
  polarity: 'Normal' | 'Abnormal';
  kinds: readonly Kind[] | 'all';
  meaning: string;
}

/** Every condition type. The order is the order in `status.conditions`. */
export const CONDITION_TYPES = {
  Ready: { polarity: 'Normal', kinds: 'all', meaning: 'The object does what its spec says. Always present.' },
  Reconciling: { polarity: 'Abnormal', kinds: 'all', meaning: 'The operator is at work or will try again by itself.' },
  Stalled: { polarity: 'Abnormal', kinds: 'all', meaning: 'Nothing goes on until somebody changes something.' },
  RolledOut: {
    polarity: 'Normal',
    kinds: ['Offering'],
    meaning: 'The version of the channel has reached every Instance that upgrades by itself and can take it.',
  },
  Accepted: {
    polarity: 'Normal',
    kinds: ['Instance'],
    meaning: 'Offering, version, plan, config, project and wallet fit together.',
  },
  UpToDate: {
    polarity: 'Normal',
    kinds: ['Instance'],
    meaning: 'It runs the version that is asked for, and that answers.',
  },
  Funded: { polarity: 'Normal', kinds: ['Instance'], meaning: 'A paid unit, a trial or the wallet covers it.' },
  SecretsReady: { polarity: 'Normal', kinds: ['Instance'], meaning: 'Every secret of the contract has a value.' },
  KnowledgeReady: { polarity: 'Normal', kinds: ['Instance'], meaning: 'The dataset of the Instance is usable.' },
  Committed: {
    polarity: 'Normal',
    kinds: ['Organization', 'Project', 'Instance'],
    meaning: 'The manifests are in Git.',
  },
  Synced: { polarity: 'Normal', kinds: ['Instance'], meaning: 'The delivery has applied the commit.' },
  RemovalForced: {
    polarity: 'Abnormal',
    kinds: ['Organization', 'Project', 'Instance'],
    meaning: 'Somebody broke the glass: a step of the removal is not waited for.',
  },
  RuntimeReady: { polarity: 'Normal', kinds: ['Instance'], meaning: 'The runner can run the Instance.' },
} as const satisfies Record<string, ConditionTypeInfo>;

export type ConditionType = keyof typeof CONDITION_TYPES;
/** Condition types that follow from facts; the first three follow from the outcome. */
export type FactType = Exclude<ConditionType, 'Ready' | 'Reconciling' | 'Stalled'>;

/** How one visit of the controller loop ended. */
export type Outcome =
  | { kind: 'Progressing' }
  | { kind: 'Succeeded' }
  | { kind: 'Waiting'; reason: Reason; message: string; retryAfterMs: number }
  | { kind: 'Transient'; reason: Reason; message: string }
  | { kind: 'Terminal'; reason: Reason; message: string }
  /** `reached`: everything short of running was made so; whatever held it up before does no more. */
  | { kind: 'Suspended'; reached?: true };

/** What a step found out, to be shown as a condition of its own. */
export interface Fact {
  type: FactType;
  status: Condition['status'];
  reason: Reason;
  message: string;
}

export interface ConditionsInput {
  outcome: Outcome;
  /** Facts of this visit. Facts of earlier visits stay unless one of the same type is here. */
  facts: readonly Fact[];
  /** `metadata.generation` that the visit has read. */
  generation: number;
  previous: { observedGeneration?: number; conditions?: readonly Condition[] };
  /** RFC 3339 time of the visit. */
  now: string;
}

/** No generation has been observed yet: the CRD's default, by which kstatus sees "in progress". */
export const NOTHING_OBSERVED = -1;
/** Kubernetes' own bound for `message` of a condition. */
export const MESSAGE_LIMIT = 32_768;

type Draft = Pick<Condition, 'status' | 'reason' | 'message'>;

/**
 * The one function from an outcome to conditions: the table of `resources.md`, rule 10. Pure.
 * `lastTransitionTime` moves only when `status` of that condition does, so an unchanged outcome
 * yields an unchanged document and the status writer has nothing to write.
 */
export function nextConditions(input: ConditionsInput): { observedGeneration: number; conditions: Condition[] } {
  const { outcome, generation, previous } = input;
  const before = new Map((previous.conditions ?? []).map((condition) => [condition.type, condition]));
  const drafts = new Map<string, Draft | 'keep'>();
  for (const type of before.keys()) drafts.set(type, 'keep');
  for (const fact of input.facts) drafts.set(fact.type, fact);
  drafts.delete('Reconciling');
  if (outcome.kind !== 'Suspended' || outcome.reached) drafts.delete('Stalled');
  for (const [type, draft] of Object.entries(outcomeDrafts(outcome, before.get('Ready'), before.has('Stalled'))))
    drafts.set(type, draft);

  const conditions: Condition[] = [];
  for (const type of Object.keys(CONDITION_TYPES)) {
    const draft = drafts.get(type);
    const old = before.get(type);
    if (draft === 'keep' && old) conditions.push(old);
    else if (draft && draft !== 'keep') conditions.push(settle(type, draft, old, generation, input.now));
  }
  const final = outcome.kind === 'Succeeded' || outcome.kind === 'Terminal' || outcome.kind === 'Suspended';
  return { observedGeneration: final ? generation : (previous.observedGeneration ?? NOTHING_OBSERVED), conditions };
}

function outcomeDrafts(outcome: Outcome, ready: Condition | undefined, stalled: boolean): Record<string, Draft> {
  switch (outcome.kind) {
    case 'Progressing': {
      const message = 'The operator is working on the present generation.';
      return {
        Ready: { status: 'Unknown', reason: 'Progressing', message },
        Reconciling: { status: 'True', reason: 'Progressing', message },
      };
    }
    case 'Succeeded':
      return { Ready: { status: 'True', reason: 'Succeeded', message: 'The present generation is in effect.' } };
    case 'Waiting':
    case 'Transient':
      return {
        Ready: { status: 'False', reason: outcome.reason, message: outcome.message },
        Reconciling: {
          status: 'True',
          reason: outcome.kind === 'Waiting' ? 'Progressing' : 'ProgressingWithRetry',
          message: outcome.message,
        },
      };
    case 'Terminal':
      return {
        Ready: { status: 'False', reason: outcome.reason, message: outcome.message },
        Stalled: { status: 'True', reason: outcome.reason, message: outcome.message },
      };
    case 'Suspended':
      // Ready stays as it is. But it is always present, so a suspended newcomer gets one; and a False that
      // spoke of a wait, or of a pause of somebody else, does not outlive it.
      return ready && (ready.status === 'True' || (stalled && !outcome.reached))
        ? {}
        : { Ready: { status: 'Unknown', reason: 'Suspended', message: 'Suspended while it was not ready.' } };
  }
}

function settle(type: string, draft: Draft, old: Condition | undefined, generation: number, now: string): Condition {
  return {
    type,
    status: draft.status,
    reason: draft.reason,
    message: sentence(draft.message),
    observedGeneration: generation,
    lastTransitionTime: old?.status === draft.status ? old.lastTransitionTime : now,
  };
}

/** One line that ends as a sentence does: the words of other systems (Git, Argo CD, a parser) come in any shape. */
function sentence(text: string): string {
  const line = text
    .slice(0, MESSAGE_LIMIT - 1)
    .replace(/\s+/g, ' ')
    .trim();
  return /[.!?]["”)]?$/.test(line) ? line : `${line}.`;
}

/** The condition of a type, if it is there. */
export function findCondition(
  conditions: readonly Condition[] | undefined,
  type: ConditionType,
): Condition | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** True when Ready is True for the present generation; a stale True does not count. */
export function isReady(object: {
  metadata: { generation: number; deletionTimestamp?: string };
  status?: { observedGeneration?: number; conditions?: Condition[] };
}): boolean {
  return (
    object.metadata.deletionTimestamp === undefined &&
    object.status?.observedGeneration === object.metadata.generation &&
    findCondition(object.status.conditions, 'Ready')?.status === 'True'
  );
}
