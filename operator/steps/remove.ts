import { instancePolicy } from '../../config/secrets.ts';
import type { Instance } from '../../crds/kinds.ts';
import { organizationOf } from '../../crds/kinds.ts';
import type { DeliveryScope, DeliveryTarget } from '../delivery/delivery.ts';
import type { Ports } from '../ports.ts';
import { workloadNamespace } from '../render/paths.ts';
import { instanceOwns } from '../render/render.ts';
import { Waiting } from '../runtime/errors.ts';
import type { InstanceVisit } from './accept.ts';
import { isLedgerRefusal, throughGit, throughLedger, throughRender, throughSecrets } from './doors.ts';
import { removed } from './removed.ts';

/** A run holds its credits while it goes on; asking is one query of an index. */
const DRAIN_RETRY_MS = 2_000;
/** A run that takes longer loses its workload: an owner who removes an Instance must not wait for ever. 10 min. */
const DRAIN_LIMIT_MS = 600_000;
/** Holds of one page; an Instance has as many open ones as it has runs. */
const HOLDS_PAGE = 100;

/**
 * The way down, in order: the edge refuses (lifecycle Terminating is written first), runs that are going
 * may end, the removal is committed, nothing of the workload is left, the secrets go, what is still held
 * is voided, and with the return the finalizer goes. It only updates and deletes: in a namespace that
 * is being removed nothing can be created.
 */
export async function remove(visit: InstanceVisit, ports: Ports): Promise<void> {
  if (visit.status.lifecycle !== 'Terminating') {
    visit.status.lifecycle = 'Terminating';
    throw new Waiting(0, 'Terminating', 'The removal begins.');
  }
  await takeDown(visit, Date.parse(visit.object.metadata.deletionTimestamp ?? visit.now), ports);
}

/**
 * Undoes everything outside the cluster API, each step verified; repeated, it finds nothing to do.
 *
 * @param sinceMs when the edge began to refuse, in milliseconds since the epoch
 */
export async function takeDown(visit: InstanceVisit, sinceMs: number, ports: Ports): Promise<void> {
  const instance = visit.object;
  await drain(visit, sinceMs, ports);
  const place = placeOf(visit, ports);
  const commit = await removeFromGit(visit, place, ports);
  const recommit = (force: string): Promise<string> => removeFromGit(visit, place, ports, force);
  const target: DeliveryScope = {
    ...place.target,
    instance: instance.metadata.name,
    instanceUid: instance.metadata.uid,
    commit,
  };
  await removed('workload', visit, target, recommit, ports);
  await removeSecrets(instance, place.target.workloadNamespace, ports);
  await voidHolds(instance.metadata.uid, ports);
}

/** Waits for runs that are going, as long as is fair. */
async function drain(visit: InstanceVisit, sinceMs: number, { ledger }: Ports): Promise<void> {
  if (visit.nowMs - sinceMs >= DRAIN_LIMIT_MS) return;
  const { uid } = visit.object.metadata;
  const { items } = await throughLedger(() => ledger.listHolds({ instanceUid: uid, limit: 1 }));
  if (items.length > 0) throw new Waiting(DRAIN_RETRY_MS, 'RunsDraining', 'Runs that have begun are still going.');
}

/** Nobody will capture these any more: their runs have lost the workload, or died before. */
async function voidHolds(uid: string, { ledger }: Ports): Promise<void> {
  for (;;) {
    const { items } = await throughLedger(() => ledger.listHolds({ instanceUid: uid, limit: HOLDS_PAGE }));
    if (items.length === 0) return;
    for (const { hold } of items) await voidHold(uid, hold, ledger);
  }
}

/** A hold that ended in another way meanwhile is as good as voided. */
async function voidHold(uid: string, hold: string, ledger: Ports['ledger']): Promise<void> {
  try {
    await throughLedger(() => ledger.voidHold(hold, { reason: 'instance_removed' }, `remove:${uid}:${hold}`));
  } catch (error) {
    if (!isLedgerRefusal(error, 'already_captured', 'already_voided', 'already_expired')) throw error;
  }
}

interface Place {
  projectUid: string;
  target: Pick<DeliveryTarget, 'organization' | 'project' | 'workloadNamespace'>;
}

/** Where it lived: as status says, or, when the operator died before its first status, as it would have been. */
function placeOf(visit: InstanceVisit, { store }: Ports): Place {
  const organization = organizationOf(visit.key.namespace) ?? '';
  const project = visit.object.spec.projectRef.name;
  const projectUid = store.watch('Project').get({ ...visit.key, name: project })?.metadata.uid ?? '';
  const known = visit.object.status?.workloadNamespace;
  const namespace = known ?? (projectUid === '' ? '' : workloadNamespace(organization, project, projectUid));
  return { projectUid, target: { organization, project, workloadNamespace: namespace } };
}

async function removeFromGit(
  visit: InstanceVisit,
  { projectUid, target }: Place,
  { git }: Ports,
  force?: string,
): Promise<string> {
  const { metadata } = visit.object;
  const owns = throughRender(() =>
    instanceOwns({
      organization: { metadata: { name: target.organization, uid: '' } },
      project: { metadata: { name: target.project, uid: projectUid }, spec: {} },
      instance: visit.object,
    }),
  );
  const { commit } = await throughGit(() =>
    git.remove({
      owns,
      subject: `Instance ${target.organization}/${metadata.name}: removed`,
      trailers: {
        'Gsv-Instance-Uid': metadata.uid,
        'Gsv-Generation': String(metadata.generation),
        'Gsv-Effect': `remove-${metadata.uid}`,
      },
      ...(force === undefined ? {} : { force }),
    }),
  );
  return commit;
}

/** `deletionPolicy: Retain` keeps what the tenant put in; the right to read it ends in either case. */
async function removeSecrets(instance: Instance, namespace: string, { secrets, log }: Ports): Promise<void> {
  const { uid, name } = instance.metadata;
  const tree = `t/${namespace}/${uid}`;
  if (instance.spec.deletionPolicy === 'Retain') log.info({ instance: name, uid, kept: tree }, 'its secrets are kept');
  else if (namespace !== '') await throughSecrets(() => secrets.destroyTree(tree));
  await throughSecrets(() => secrets.deletePolicy(instancePolicy(uid)));
}
