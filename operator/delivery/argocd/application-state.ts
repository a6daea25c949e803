import type { ApplicationResource, ApplicationStatus } from '../../../crds/foreign.ts';
import type { DeclaredObject, DeliveryState } from '../delivery.ts';
import { endedInVain, errorCondition, failedOnce, operationCause } from './cause.ts';

/** The members of an Application that are read. */
export interface ApplicationView {
  metadata: { name: string; deletionTimestamp?: string };
  status?: ApplicationStatus;
}

/** What is to be found in the Application. */
export interface Wanted {
  workloadNamespace: string;
  /** Absent: not known; then what carries the Instance's name counts. */
  objects?: readonly DeclaredObject[];
  instance: string;
  /** Whether a revision of the Application is the wanted commit or a descendant of it. */
  contains: (revision: string | undefined) => boolean;
}

type Entry = NonNullable<ApplicationStatus['resources']>[number];

/** What renderer names the objects of an Instance; see `operator/render/instance.ts`. */
export function objectName(instance: string): string {
  return `i-${instance}`;
}

/** Every revision that {@link applicationState} asks about. */
export function revisionsOf({ status }: ApplicationView): string[] {
  const all = [comparedRevision(status), triedRevision(status), deliveredRevision(status)];
  return [...new Set(all.filter((revision): revision is string => revision !== undefined && revision !== ''))];
}

/** The commit that Argo CD last compared with the cluster. */
export function comparedRevision(status: ApplicationStatus | undefined): string | undefined {
  return status?.sync?.revision;
}

/** The commit of the last operation, however it went. */
function triedRevision(status: ApplicationStatus | undefined): string | undefined {
  const operation = status?.operationState;
  return operation?.syncResult?.revision ?? operation?.operation?.sync?.revision;
}

/** The commit of the last operation that succeeded. */
function deliveredRevision(status: ApplicationStatus | undefined): string | undefined {
  return status?.history?.at(-1)?.revision;
}

/**
 * Whether Argo CD has applied the wanted commit, from the Application alone. Its health is never asked: it is the
 * worst of the whole Project, and reads Healthy in the middle of a sync and over broken manifests. What other
 * Instances of the Project do to the operation does not unprove a commit that was applied once, as long as the
 * own objects are in sync.
 */
export function applicationState(application: ApplicationView, wanted: Wanted): DeliveryState {
  const { status } = application;
  if (application.metadata.deletionTimestamp !== undefined)
    return pending('ApplicationTerminating', `Application ${application.metadata.name} is being deleted.`);
  const error = errorCondition(status?.conditions);
  if (error !== undefined) return pending(error.reason, error.message);
  const compared = wanted.contains(comparedRevision(status));
  const unsynced = compared ? firstUnsynced(status?.resources ?? [], wanted) : undefined;
  if (compared && unsynced === undefined && isDelivered(status, wanted)) {
    return { synced: true, reason: 'ArgoCdSynced', message: 'Argo CD has applied the commit.' };
  }
  const failure = failureOf(application, wanted);
  if (failure !== undefined) return failure;
  if (status?.operationState?.phase === 'Running') return pending('SyncPending', 'Argo CD is applying a commit.');
  if (!compared) return pending('SyncPending', 'Argo CD has not compared the commit yet.');
  return pending(unsynced?.reason ?? 'SyncPending', unsynced?.message ?? 'Argo CD is about to apply the commit.');
}

/** Given that the commit was compared and every own object is in sync: is that the work of a finished operation? */
function isDelivered(status: ApplicationStatus | undefined, { contains }: Wanted): boolean {
  if (contains(deliveredRevision(status))) return true;
  const phase = status?.operationState?.phase;
  if (phase === 'Running' || phase === 'Terminating' || status?.sync?.status !== 'Synced') return false;
  if (phase === undefined || phase === 'Succeeded') return true;
  // A failed operation of an earlier commit, and nothing to do for this one.
  return triedRevision(status) !== comparedRevision(status);
}

function firstUnsynced(resources: readonly Entry[], wanted: Wanted): { reason: string; message: string } | undefined {
  const own = resources.filter((entry) => isOwn(entry, wanted));
  for (const { group, kind, name } of wanted.objects ?? []) {
    const there = own.some((entry) => (entry.group ?? '') === group && entry.kind === kind && entry.name === name);
    if (!there) return { reason: 'ManifestsMissing', message: `Argo CD does not apply ${kind} ${name} of the commit.` };
  }
  const bad = own.find(({ status }) => status !== 'Synced');
  if (bad === undefined) return undefined;
  return { reason: 'SyncPending', message: `${bad.kind} ${bad.name} is ${bad.status ?? 'not compared yet'}.` };
}

/** Whether an object that Argo CD reports belongs to the Instance. */
export function isOwn(entry: ApplicationResource, wanted: Omit<Wanted, 'contains'>): boolean {
  if (entry.namespace !== wanted.workloadNamespace) return false;
  if (wanted.objects === undefined) return entry.name === objectName(wanted.instance);
  return wanted.objects.some(
    ({ group, kind, name }) => group === (entry.group ?? '') && kind === entry.kind && name === entry.name,
  );
}

/** Of an operation that has tried the commit and failed, at least once. */
function failureOf(application: ApplicationView, wanted: Wanted): DeliveryState | undefined {
  const { status } = application;
  const operation = status?.operationState;
  const revision = triedRevision(status);
  if (operation === undefined || revision === undefined || !wanted.contains(revision)) return undefined;
  if (!failedOnce(operation)) return undefined;
  const { reason, message } = operationCause(operation, (entry) => isOwn(entry, wanted));
  if (givenUp(application, wanted.contains) === undefined) return pending(reason, message);
  return { ...pending('RetriesExhausted', `Argo CD has given the commit up. ${message}`), exhausted: true, revision };
}

/** The commit, the wanted one or a later one, that Argo CD has tried in vain, and no newer one. */
export function givenUp({ status }: ApplicationView, contains: Wanted['contains']): string | undefined {
  const operation = status?.operationState;
  const revision = triedRevision(status);
  const isLast = revision !== undefined && contains(revision) && comparedRevision(status) === revision;
  return isLast && endedInVain(operation) ? revision : undefined;
}

function pending(reason: string, message: string): DeliveryState {
  return { synced: false, reason, message };
}
