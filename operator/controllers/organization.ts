import { type Namespace, organizationNamespace, organizationOf, type Team } from '../../crds/kinds.ts';
import { StoreError } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import { organizationOwns, renderAccess, renderOrganization } from '../render/render.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import { onDesiredChange, onDigestChange } from '../runtime/source.ts';
import type { Turns } from '../runtime/turns.ts';
import { reconciler, type Visit } from '../runtime/visit.ts';
import { trailersOf } from '../steps/commit.ts';
import { throughGit, throughRender } from '../steps/doors.ts';
import { removed } from '../steps/removed.ts';
import { CONCURRENCY, type ControllerContext, type Definition, finalizerOf, onGone, own } from './definition.ts';

type OrganizationVisit = Visit<'Organization'>;

/** The label that says whose namespace it is; a namespace without it is never touched. */
export const ORGANIZATION_UID_LABEL = 'store.gsv.dev/organization-uid';

const NAMESPACE_RETRY_MS = 2_000;
const CHILDREN_RETRY_MS = 5_000;
/** What has effects outside and therefore goes first; Teams and ApiKeys go with the namespace. */
const CHILDREN = ['Instance', 'Project', 'Wallet'] as const;
/** A message names at most this many objects. */
const SHOWN_CHILDREN = 5;

/** Organization: its namespace, and the AppProject that bounds what Argo CD may do for it. */
export function organizationController({ ports, metrics }: ControllerContext, turns: Turns): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'Organization',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'Organization',
      finalizer: finalizerOf('Organization'),
      clock,
      log,
      metrics,
      up: async (visit) => {
        await visit.persistFinalizer();
        visit.status.namespace = await namespaceOf(visit, ports);
        await visit.check('Committed', 'The AppProject is in Git.', () => commitOrganization(visit, ports, turns));
        return visit.object.spec.suspend ? { kind: 'Suspended' } : undefined;
      },
      down: (visit) => removeOrganization(visit, ports, turns),
    }),
    watch: (add) => {
      const wake = (namespace: string | undefined) => {
        const name = organizationOf(namespace);
        if (name !== undefined) add(name);
      };
      return [
        own(store, 'Organization', add),
        onDesiredChange(store.watch('Namespace'), wake),
        // Each Project is a destination of the AppProject; the other children matter when they go.
        onDesiredChange(store.watch('Project'), (key) => wake(key.split('/')[0])),
        // Roles follow the members and the logins that they were found to be.
        onDigestChange(store.watch('Team'), membersDigest, (key) => wake(key.namespace)),
        onGone(store, 'Instance', wake),
        onGone(store, 'Wallet', wake),
      ];
    },
  };
}

/** What the roles depend on of a Team; its conditions are none of it. */
function membersDigest({ metadata, status }: Team): string {
  const pinned = status?.members?.map(({ name, subject }) => `${name} ${subject ?? ''}`) ?? [];
  return JSON.stringify([metadata.uid, metadata.generation, pinned]);
}

async function namespaceOf(visit: OrganizationVisit, { store }: Ports): Promise<string> {
  const { name, uid } = visit.object.metadata;
  const namespace = organizationNamespace(name);
  const present = (await store.get('Namespace', { name: namespace })) ?? (await createNamespace(namespace, uid, store));
  if (present.metadata.labels?.[ORGANIZATION_UID_LABEL] !== uid)
    throw new Terminal('NamespaceConflict', `Namespace ${namespace} exists and is not this Organization’s.`);
  if (present.metadata.deletionTimestamp !== undefined)
    throw new Waiting(NAMESPACE_RETRY_MS, 'NamespaceTerminating', `Namespace ${namespace} is being removed.`);
  return namespace;
}

async function createNamespace(name: string, uid: string, store: Ports['store']): Promise<Namespace> {
  const labels = {
    [ORGANIZATION_UID_LABEL]: uid,
    'app.kubernetes.io/managed-by': 'gsv-operator',
    'app.kubernetes.io/part-of': 'gsv-agent-store',
  };
  try {
    return await store.create('Namespace', { metadata: { name, labels }, spec: {} });
  } catch (error) {
    const present = await store.get('Namespace', { name });
    if (error instanceof StoreError && error.code === 'AlreadyExists' && present) return present;
    throw error;
  }
}

/**
 * The AppProject, and the roles of the Organization's people. Destinations of the AppProject are the
 * Organization's Projects; the list is read live, in the Organization's turn.
 */
async function commitOrganization(
  visit: OrganizationVisit,
  { store, git, delivery, platform }: Ports,
  turns: Turns,
): Promise<void> {
  const organization = visit.object;
  await turns.run(organization.metadata.name, async () => {
    const namespace = organizationNamespace(organization.metadata.name);
    const projects = await store.list('Project', { namespace });
    const teams = store.watch('Team').list({ namespace });
    const files = throughRender(
      () =>
        new Map([
          ...renderOrganization({ organization, projects, platform }),
          ...renderAccess({ organization, projects, teams, platform }),
        ]),
    );
    const { commit } = await throughGit(() =>
      git.commit({
        owns: organizationOwns({ organization }),
        files,
        subject: `Organization ${organization.metadata.name}`,
        trailers: trailersOf('Organization', organization.metadata, files),
      }),
    );
    await delivery.refresh({ organization: organization.metadata.name, commit });
  });
}

async function removeOrganization(visit: OrganizationVisit, ports: Ports, turns: Turns): Promise<void> {
  const { store, git } = ports;
  const organization = visit.object;
  const { name, uid } = organization.metadata;
  const namespace = organizationNamespace(name);
  await refuseWithChildren(namespace, store);
  const removeFromGit = async (force?: string): Promise<string> => {
    const { commit } = await turns.run(name, () =>
      throughGit(() =>
        git.remove({
          owns: throughRender(() => organizationOwns({ organization })),
          subject: `Organization ${name}: removed`,
          trailers: { 'Gsv-Organization-Uid': uid, 'Gsv-Effect': `remove-${uid}` },
          ...(force === undefined ? {} : { force }),
        }),
      ),
    );
    return commit;
  };
  await removed('appproject', visit, { organization: name, commit: await removeFromGit() }, removeFromGit, ports);
  const present = await store.get('Namespace', { name: namespace });
  if (present?.metadata.labels?.[ORGANIZATION_UID_LABEL] !== uid) return;
  await store.delete('Namespace', { name: namespace }, { uid: present.metadata.uid });
  if (await store.get('Namespace', { name: namespace }))
    throw new Waiting(NAMESPACE_RETRY_MS, 'NamespaceTerminating', `Namespace ${namespace} is being removed.`);
}

async function refuseWithChildren(namespace: string, store: Ports['store']): Promise<void> {
  const children: string[] = [];
  for (const kind of CHILDREN)
    for (const child of await store.list(kind, { namespace })) children.push(`${kind} ${child.metadata.name}`);
  if (children.length === 0) return;
  const more = children.length > SHOWN_CHILDREN ? ` and ${children.length - SHOWN_CHILDREN} more` : '';
  const names = children.slice(0, SHOWN_CHILDREN).join(', ');
  throw new Waiting(CHILDREN_RETRY_MS, 'ChildrenRemain', `Delete first: ${names}${more}.`);
}
