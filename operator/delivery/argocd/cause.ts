import type { ApplicationStatus } from '../../../crds/foreign.ts';
import { sentence, steadyWords } from './words.ts';

/** What keeps Argo CD from having applied a commit. */
export interface Cause {
  reason: string;
  message: string;
}

type Condition = NonNullable<ApplicationStatus['conditions']>[number];
type OperationState = NonNullable<ApplicationStatus['operationState']>;
type ResourceResult = NonNullable<NonNullable<OperationState['syncResult']>['resources']>[number];

/** What Argo CD says of a condition that only means: the last operation failed. The operation tells more. */
export const SYNC_ERROR = 'SyncError';

/** Conditions that keep their name as a reason of ours. */
const NAMED = new Set(['ComparisonError', 'InvalidSpecError', 'DeletionError']);
/**
 * The API server does not know the kind: in the words of Argo CD, of client-go and of the API server; the last when
 * the CRD has gone and Argo CD does not know yet.
 */
const NO_SUCH_KIND =
  /"" not found|could not find .{0,300}requested resource|no matches for kind|make sure the ".{0,300}" CRD is installed/i;
const NO_SUCH_PROJECT = /referencing project \S+ which does not exist/;
const STORES = new Set(['SecretStore', 'ClusterSecretStore']);

/**
 * The condition of an Application that makes everything else that it says worthless, if it has one. Several are
 * taken in the order of their names, so that the answer is steady.
 */
export function errorCondition(conditions: readonly Condition[] = []): Cause | undefined {
  const errors = conditions
    .filter(({ type }) => type.endsWith('Error') && type !== SYNC_ERROR)
    .sort((one, other) => (one.type < other.type ? -1 : 1));
  const [first] = errors;
  if (first === undefined) return undefined;
  const words = sentence(steadyWords(first.message ?? ''));
  if (NO_SUCH_PROJECT.test(words)) return { reason: 'AppProjectMissing', message: words };
  return NAMED.has(first.type)
    ? { reason: first.type, message: words }
    : { reason: 'ApplicationError', message: `${first.type}: ${words}` };
}

/**
 * Why an operation failed, or fails between two attempts. The operation's own message is often generic ("one or
 * more synchronization tasks completed unsuccessfully"): the words are in the results of single objects. Objects
 * for which `own` holds come first.
 */
export function operationCause(operation: OperationState, own: (resource: ResourceResult) => boolean): Cause {
  const failed = (operation.syncResult?.resources ?? []).filter(hasFailed);
  const [first] = failed.sort((one, other) => Number(own(other)) - Number(own(one)) || compare(one, other));
  if (first === undefined) {
    const words = sentence(steadyWords(operation.message ?? 'the operation failed'));
    return { reason: NO_SUCH_KIND.test(words) ? 'KindMissing' : SYNC_ERROR, message: words };
  }
  const words = steadyWords(first.message ?? '') || 'it failed without a word';
  const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : '';
  return { reason: reasonOf(first, words), message: sentence(`${first.kind} ${first.name}: ${words}${more}`) };
}

/** Over, and in vain. It is Failed only when no retry is left, or when somebody has ended it. */
export function endedInVain(operation: OperationState | undefined): boolean {
  return operation?.phase === 'Failed' || operation?.phase === 'Error';
}

/** Over and in vain, or between two attempts: it is Running then, and has an end. */
export function failedOnce(operation: OperationState | undefined): boolean {
  return endedInVain(operation) || (operation?.phase === 'Running' && operation.finishedAt !== undefined);
}

/** Refused by the API server, or applied and then unhealthy: `hookPhase` tells the latter of plain objects, too. */
function hasFailed({ status, hookPhase }: ResourceResult): boolean {
  return status === 'SyncFailed' || hookPhase === 'Failed' || hookPhase === 'Error';
}

function reasonOf({ kind }: ResourceResult, words: string): string {
  if (NO_SUCH_KIND.test(words)) return 'KindMissing';
  if (STORES.has(kind)) return 'SecretStoreNotReady';
  return kind === 'ExternalSecret' ? 'SecretSyncedError' : SYNC_ERROR;
}

function compare(one: ResourceResult, other: ResourceResult): number {
  return `${one.kind}/${one.name}` < `${other.kind}/${other.name}` ? -1 : 1;
}
