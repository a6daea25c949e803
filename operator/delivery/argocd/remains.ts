import type { Application, Deployment, ExternalSecret, Namespace } from '../../../crds/kinds.ts';
import { appProjectName } from '../../render/project.ts';
import type { DeliveryScope, Remains } from '../delivery.ts';
import { comparedRevision, isOwn } from './application-state.ts';
import { errorCondition, failedOnce, operationCause } from './cause.ts';
import { steadyWords } from './words.ts';

/** An Application, and which of the revisions that it names contain the removal. */
export interface ApplicationOfCommit {
  application: Application;
  contains: (revision: string | undefined) => boolean;
}

/** What Argo CD writes while objects disappear under its hands; it goes by itself. */
const TRANSIENT_DELETION = /not found/i;

/** What is left of an Instance: live objects with its uid, or objects that Argo CD still reports. */
export function workloadRemains(input: {
  instance: string;
  workloadNamespace: string;
  live: readonly (Deployment | ExternalSecret)[];
  /** Absent: there is no Application, so nobody applies anything. */
  view: ApplicationOfCommit | undefined;
}): Remains | undefined {
  const { view, live } = input;
  const [object] = live;
  const unpruned = view && unprunedOf(view, (entry) => isOwn(entry, input));
  if (object !== undefined && (unpruned === undefined || unpruned.reason === 'WorkloadRemains'))
    return {
      reason: 'WorkloadRemains',
      message: `${object.kind} ${object.metadata.name} is still there${held(object)}.`,
    };
  return unpruned;
}

/** What is left of a Project or an Organization: what the root Application was to remove. */
export function platformRemains(input: {
  scope: DeliveryScope;
  root: ApplicationOfCommit | undefined;
  application: Application | undefined;
  namespace: Namespace | undefined;
}): Remains | undefined {
  const { scope, root, application, namespace } = input;
  if (application !== undefined) return applicationRemains(application, root);
  if (namespace !== undefined)
    return {
      reason: 'NamespaceRemains',
      message: `Namespace ${namespace.metadata.name} is still there${contentOf(namespace)}.`,
    };
  if (root === undefined) return undefined;
  const names = [scope.project === undefined ? appProjectName(scope.organization) : scope.workloadNamespace];
  const unpruned = unprunedOf(root, ({ name }) => names.includes(name));
  return unpruned && { ...unpruned, message: `Application ${root.application.metadata.name}: ${unpruned.message}` };
}

function applicationRemains(application: Application, root: ApplicationOfCommit | undefined): Remains {
  const { name } = application.metadata;
  if (application.metadata.deletionTimestamp === undefined) {
    const unpruned = root && unprunedOf(root, (entry) => entry.name === name);
    const why = unpruned === undefined || unpruned.reason === 'WorkloadRemains' ? '' : ` (${unpruned.message})`;
    return { reason: 'ApplicationRemains', message: `Application ${name} is not removed yet${why}.` };
  }
  const error = errorCondition(application.status?.conditions);
  if (error !== undefined && !TRANSIENT_DELETION.test(error.message)) return error;
  return { reason: 'ApplicationRemains', message: `Application ${name} is being deleted${held(application)}.` };
}

/**
 * Whether the Application has pruned what the commit removes. An earlier commit must not be in the making
 * either: its operation could still create what is being removed.
 */
function unprunedOf(
  { application, contains }: ApplicationOfCommit,
  own: (entry: { group?: string; kind: string; namespace?: string; name: string }) => boolean,
): Remains | undefined {
  const { status } = application;
  const error = errorCondition(status?.conditions);
  if (!contains(comparedRevision(status)))
    return error ?? { reason: 'WorkloadRemains', message: 'Argo CD has not compared the removal yet.' };
  const entry = status?.resources?.find(own);
  const operation = status?.operationState;
  if (entry === undefined) {
    const revision = operation?.syncResult?.revision ?? operation?.operation?.sync?.revision;
    if (operation?.phase === 'Running' && !contains(revision))
      return { reason: 'WorkloadRemains', message: 'Argo CD is still applying an earlier commit.' };
    return undefined;
  }
  const cause = error ?? (operation && failedOnce(operation) ? operationCause(operation, own) : undefined);
  return cause ?? { reason: 'WorkloadRemains', message: `${entry.kind} ${entry.name} is still there.` };
}

function held({ metadata: { deletionTimestamp, finalizers } }: Application | Deployment | ExternalSecret): string {
  if (deletionTimestamp === undefined || finalizers === undefined || finalizers.length === 0) return '';
  return `; it is held by ${finalizers.join(', ')}`;
}

/** What Kubernetes says that a namespace waits for. */
function contentOf({ status }: Namespace): string {
  const conditions = (status?.conditions ?? []) as { type: string; status: string; message?: string }[];
  const words = conditions
    .filter((condition) => condition.status === 'True')
    .map(({ message }) => steadyWords(message ?? ''))
    .filter((message) => message !== '')
    .sort();
  return words.length === 0 ? '' : `: ${words.join('; ').replace(/\.$/, '')}`;
}
