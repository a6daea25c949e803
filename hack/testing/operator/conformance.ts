import { isDeepStrictEqual } from 'node:util';
import {
  CONDITION_TYPES,
  type Condition,
  type ConditionType,
  findCondition,
  isReady,
  MESSAGE_LIMIT,
  NOTHING_OBSERVED,
  REASONS,
  type ReasonInfo,
} from '../../../crds/conditions.ts';
import type { Kind, ObjectMeta } from '../../../crds/kinds.ts';
import { kstatus } from './kstatus.ts';

/** One version of an object of ours. */
export interface Version {
  metadata: Pick<ObjectMeta, 'name' | 'uid' | 'generation' | 'deletionTimestamp'>;
  spec?: unknown;
  status?: unknown;
}

interface Observed {
  observedGeneration?: number;
  conditions?: readonly Condition[];
  lifecycle?: string;
}

const CAMEL_CASE = /^[A-Z][A-Za-z0-9]*$/;
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/;
const TIMESTAMP = /\d{4}-\d\d-\d\dT\d\d:\d\d/;
/** A commit: another one at every attempt. */
const OBJECT_ID = /\b[0-9a-f]{40}\b/;
/** Shorter values stand in texts by chance. */
const MIN_CANARY = 6;

/**
 * What one step of an object breaks of rules 9 to 11 of the custom resources and of kstatus: one sentence
 * per broken rule, none when it conforms. `before` is the version that the writer of `after` replaced;
 * `canaries` are values of secrets.
 */
export function violations(
  kind: Kind,
  after: Version,
  before: Version | undefined,
  canaries: Iterable<string> = [],
): string[] {
  const found: string[] = [];
  const status = (after.status ?? {}) as Observed;
  const old = (before?.metadata.uid === after.metadata.uid ? before?.status : undefined) as Observed | undefined;
  const conditions = status.conditions ?? [];
  const text = JSON.stringify(after.status ?? {});
  for (const canary of canaries)
    if (canary.length >= MIN_CANARY && text.includes(canary)) found.push('status holds the value of a secret');
  found.push(...generations(after, status, old));
  if (conditions.length === 0 && (status.observedGeneration ?? NOTHING_OBSERVED) === NOTHING_OBSERVED) return found;
  found.push(...shape(conditions));
  for (const condition of conditions) found.push(...single(kind, after, condition));
  found.push(...together(conditions, isPaused(after, status)));
  found.push(...transitions(conditions, old?.conditions ?? []));
  if (found.length === 0) found.push(...consistent(after, status));
  return found;
}

/** For a write of status: what {@link violations} finds, and that something was there to write (rule 12). */
export function writeViolations(
  kind: Kind,
  after: Version,
  before: Version | undefined,
  canaries: Iterable<string> = [],
): string[] {
  const idle = before !== undefined && isDeepStrictEqual(before.status, after.status);
  return [...violations(kind, after, before, canaries), ...(idle ? ['status was written and did not differ'] : [])];
}

function generations({ metadata }: Version, status: Observed, old: Observed | undefined): string[] {
  const observed = status.observedGeneration ?? NOTHING_OBSERVED;
  const found: string[] = [];
  if (observed > metadata.generation)
    found.push(`observedGeneration ${observed} is above generation ${metadata.generation}`);
  if (observed < (old?.observedGeneration ?? NOTHING_OBSERVED)) found.push('observedGeneration went back');
  return found;
}

function shape(conditions: readonly Condition[]): string[] {
  const types = conditions.map(({ type }) => type);
  const order = Object.keys(CONDITION_TYPES);
  const unknown = types.filter((type) => !order.includes(type));
  const sorted = [...types].sort((a, b) => order.indexOf(a) - order.indexOf(b));
  return [
    ...(types.includes('Ready') ? [] : ['Ready is absent']),
    ...unknown.map((type) => `condition ${type} is not in the vocabulary`),
    ...(isDeepStrictEqual(types, sorted) ? [] : ['conditions are not in the order of the vocabulary']),
    ...(new Set(types).size === types.length ? [] : ['a condition stands twice']),
  ];
}

function single(kind: Kind, { metadata }: Version, condition: Condition): string[] {
  const { type, reason, message, observedGeneration = 0 } = condition;
  const info: { kinds: readonly Kind[] | 'all' } | undefined = CONDITION_TYPES[type as ConditionType];
  const known: ReasonInfo | undefined = Object.hasOwn(REASONS, reason) ? REASONS[reason as 'Succeeded'] : undefined;
  const rules: [broken: boolean, text: string][] = [
    [info !== undefined && info.kinds !== 'all' && !info.kinds.includes(kind), `is not one of a ${kind}`],
    [!CAMEL_CASE.test(reason), `has the reason "${reason}", which is not CamelCase`],
    [known === undefined, `has the reason ${reason}, which is not declared`],
    [known !== undefined && known.kinds !== 'all' && !known.kinds.includes(kind), `has ${reason}, not for ${kind}`],
    [observedGeneration > metadata.generation, 'speaks of a generation that is not there yet'],
    [message.trim() === '' || message.length > MESSAGE_LIMIT, 'has no message, or too long a one'],
    [/[\n\r]/.test(message), 'has a message of several lines'],
    [UUID.test(message) || message.includes(metadata.uid), 'has a uid in its message'],
    [TIMESTAMP.test(message), 'has a time in its message'],
    [OBJECT_ID.test(message), 'has a commit in its message'],
    [!/[.!?]["”)]?$/.test(message), 'has no sentence for a message'],
  ];
  return rules.flatMap(([broken, text]) => (broken ? [`${type} ${text}: ${message}`] : []));
}

/** How Ready, Reconciling and Stalled go together: the table of rule 10. */
function together(conditions: readonly Condition[], paused: boolean): string[] {
  const [ready, reconciling, stalled] = (['Ready', 'Reconciling', 'Stalled'] as const).map((type) =>
    findCondition(conditions, type),
  );
  const treatment = (condition: Condition | undefined) =>
    REASONS[condition?.reason as 'Succeeded']?.treatment as string;
  const rules: [broken: boolean, text: string][] = [
    [reconciling !== undefined && reconciling.status !== 'True', 'Reconciling stands there and is not True'],
    [stalled !== undefined && stalled.status !== 'True', 'Stalled stands there and is not True'],
    [reconciling !== undefined && stalled !== undefined, 'Reconciling and Stalled stand there together'],
    [ready?.status === 'True' && (reconciling ?? stalled) !== undefined, 'Ready is True beside Reconciling or Stalled'],
    [ready?.status === 'True' && treatment(ready) !== 'Info', 'Ready is True for a reason that holds up'],
    [ready?.status === 'False' && (reconciling ?? stalled) === undefined && !paused, 'Ready is False and nobody acts'],
    [ready?.status === 'False' && treatment(ready) === 'Info', 'Ready is False for a reason that holds nothing up'],
    [stalled !== undefined && stalled.reason !== ready?.reason, 'Stalled names another reason than Ready'],
    [stalled !== undefined && treatment(stalled) !== 'Terminal', `Stalled for ${stalled?.reason}, which passes`],
    [
      ready?.status === 'False' && reconciling?.reason === 'Progressing' && treatment(ready) !== 'Waiting',
      `Waiting for ${ready?.reason}, which is not declared so`,
    ],
    [
      reconciling?.reason === 'ProgressingWithRetry' && treatment(ready) !== 'Transient',
      `Retrying ${ready?.reason}, which is not declared so`,
    ],
  ];
  return rules.flatMap(([broken, text]) => (broken ? [text] : []));
}

function transitions(conditions: readonly Condition[], old: readonly Condition[]): string[] {
  return conditions.flatMap((condition) => {
    const before = old.find(({ type }) => type === condition.type);
    if (before === undefined) return [];
    const moved = condition.lastTransitionTime !== before.lastTransitionTime;
    if (condition.status === before.status && moved)
      return [`${condition.type} kept its status and moved lastTransitionTime`];
    const back = condition.lastTransitionTime < before.lastTransitionTime;
    return back ? [`lastTransitionTime of ${condition.type} went back`] : [];
  });
}

/** A paused one keeps what it was (rule 10): Ready speaks of the last spec that ran, and nobody is at work. */
function isPaused({ spec }: Version, { lifecycle }: Observed): boolean {
  return (spec as { suspend?: boolean } | undefined)?.suspend === true || lifecycle === 'Paused';
}

/** What others read from it is what we mean by it. */
function consistent(version: Version, status: Observed): string[] {
  const seen = kstatus({ metadata: version.metadata, status });
  const ready = findCondition(status.conditions, 'Ready');
  const found: string[] = [];
  if (seen === 'Current' && ready?.observedGeneration !== version.metadata.generation && !isPaused(version, status))
    found.push('Ready is True by an old generation and counts as current');
  if (
    isReady({ metadata: version.metadata, status: { ...status, conditions: [...(status.conditions ?? [])] } }) !==
    (seen === 'Current')
  )
    found.push(`kstatus reads ${seen}, we mean otherwise`);
  return found;
}
