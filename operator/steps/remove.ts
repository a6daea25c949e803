import { instancePolicy } from '../../config/secrets.ts';
import type { Instance } from '../../crds/kinds.ts';
import { organizationOf } from '../../crds/kinds.ts';
import type { DeliveryScope, DeliveryTarget } from '../delivery/delivery.ts';
import type { Ports } from '../ports.ts';
import { workloadNamespace } from '../render/paths.ts';
import { instanceOwns } from '../render/render.ts';
import { Waiting } from '../runtime/errors.ts';
import type { InstanceVisit } from './accept.ts';
import { throughGit, throughRender, throughSecrets } from './doors.ts';
import { removed } from './removed.ts';

/**
 * The way down, in order: the edge refuses (lifecycle Terminating is written first), the removal is
 * committed, nothing of the workload is left, then the secrets go, and with the return the finalizer.
 * Open holds are left to their TTL: the ledger has no list of holds by Instance, and a run that is
 * still going must be able to capture.
 */
export async function remove(visit: InstanceVisit, ports: Ports): Promise<void> {
  const instance = visit.object;
  if (visit.status.lifecycle !== 'Terminating') {
    visit.status.lifecycle = 'Terminating';
    throw new Waiting(0, 'Terminating', 'The removal begins.');
  }
  const place = placeOf(visit, ports);
  const commit = await removeFromGit(visit, place, ports);
  const target: DeliveryScope = {
    ...place.target,
    instance: instance.metadata.name,
    instanceUid: instance.metadata.uid,
    commit,
  };
  await removed(target, ports.delivery);
  await removeSecrets(instance, place.target.workloadNamespace, ports);
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

async function removeFromGit(visit: InstanceVisit, { projectUid, target }: Place, { git }: Ports): Promise<string> {
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
    }),
  );
  return commit;
}

/** `deletionPolicy: Retain` keeps what the tenant put in; the right to read it ends in either case. */
async function removeSecrets(instance: Instance, namespace: string, { secrets }: Ports): Promise<void> {
  const { uid } = instance.metadata;
  if (namespace !== '' && instance.spec.deletionPolicy !== 'Retain')
    await throughSecrets(() => secrets.destroyTree(`t/${namespace}/${uid}`));
  await throughSecrets(() => secrets.deletePolicy(instancePolicy(uid)));
}
