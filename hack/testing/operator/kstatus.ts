import type { Condition } from '../../../crds/conditions.ts';
import { NOTHING_OBSERVED } from '../../../crds/conditions.ts';
import type { ObjectMeta } from '../../../crds/kinds.ts';

/** What `kubectl`, Argo CD, Flux and kpt make of an object. */
export type KStatus = 'InProgress' | 'Current' | 'Failed' | 'Terminating';

/** As much of an object as kstatus looks at. */
export interface Observable {
  metadata: Pick<ObjectMeta, 'generation' | 'deletionTimestamp'>;
  status?: { observedGeneration?: number; conditions?: readonly Condition[] };
}

/**
 * The state of a custom resource by the rules of sigs.k8s.io/cli-utils `pkg/kstatus/status`, in their order:
 * deletion, observed generation, `Reconciling` and `Stalled` in the order in which they stand, then `Ready`.
 * One difference: kstatus calls an object without any condition Current; our CRDs give every object
 * `observedGeneration: -1`, so that this never happens to one of ours, and it is an error here.
 */
export function kstatus({ metadata, status }: Observable): KStatus {
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if ((status?.observedGeneration ?? NOTHING_OBSERVED) !== metadata.generation) return 'InProgress';
  const conditions = status?.conditions ?? [];
  for (const { type, status: value } of conditions) {
    if (type === 'Reconciling' && value === 'True') return 'InProgress';
    if (type === 'Stalled' && value === 'True') return 'Failed';
  }
  const ready = conditions.find(({ type }) => type === 'Ready');
  if (ready === undefined) throw new Error('the object is observed and has no condition Ready');
  return ready.status === 'True' ? 'Current' : 'InProgress';
}
