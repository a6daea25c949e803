import { TENANT_POLICY } from '../../config/secrets.ts';
import { type Organization, organizationNamespace, organizationOf, type Project } from '../../crds/kinds.ts';
import { keyText } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import { workloadNamespace } from '../render/paths.ts';
import { offeredRuntime } from '../render/profile.ts';
import { PROJECT_ACCOUNT } from '../render/project.ts';
import { projectOwns, projectRemoval, renderProject } from '../render/render.ts';
import { Waiting } from '../runtime/errors.ts';
import type { Turns } from '../runtime/turns.ts';
import { reconciler, type Visit } from '../runtime/visit.ts';
import { trailersOf } from '../steps/commit.ts';
import { throughGit, throughRender, throughSecrets } from '../steps/doors.ts';
import { removed } from '../steps/removed.ts';
import {
  byNamespace,
  CONCURRENCY,
  type ControllerContext,
  type Definition,
  dependency,
  finalizerOf,
  onGone,
  own,
} from './definition.ts';
import { owningOrganization } from './owner.ts';

type ProjectVisit = Visit<'Project'>;

const CHILDREN_RETRY_MS = 5_000;

/** Project: its workload namespace, Application and skeleton, in Git. */
export function projectController({ ports, metrics }: ControllerContext, turns: Turns): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'Project',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'Project',
      finalizer: finalizerOf('Project'),
      clock,
      log,
      metrics,
      up: async (visit) => {
        const organization = owningOrganization(visit.key, ports);
        throughRender(() => offeredRuntime({ project: visit.object, platform: ports.platform }));
        await visit.persistFinalizer();
        await putRole(visit.object, organization, ports);
        visit.status.commit = await visit.check('Committed', 'The Project’s manifests are in Git.', () =>
          commitProject(visit, organization, ports, turns),
        );
        const { name, uid } = visit.object.metadata;
        visit.status.workloadNamespace = workloadNamespace(organization.metadata.name, name, uid);
        return undefined;
      },
      down: (visit) => removeProject(visit, ports, turns),
    }),
    watch: (add) => {
      const index = byNamespace(store, 'Project');
      const wake = (namespace: string) => {
        for (const key of index.referring(namespace)) add(key);
      };
      return [
        index.close,
        own(store, 'Project', add),
        ports.delivery.onChange((event) => {
          if ('project' in event)
            add(keyText({ namespace: organizationNamespace(event.organization), name: event.project }));
        }),
        dependency(store, 'Organization', add, ({ name }) => index.referring(organizationNamespace(name))),
        // A Project that is going waits for its Instances to have gone.
        onGone(store, 'Instance', wake),
      ];
    },
  };
}

/** Before the SecretStore that names it is committed: External Secrets reports a store whose login is refused. */
async function putRole(project: Project, organization: Organization, { secrets }: Ports): Promise<void> {
  const { name, uid } = project.metadata;
  const namespace = throughRender(() => workloadNamespace(organization.metadata.name, name, uid));
  await throughSecrets(() =>
    secrets.putRole(namespace, { serviceAccount: PROJECT_ACCOUNT, namespace, policies: [TENANT_POLICY] }),
  );
}

/** One turn per Organization: its Projects share the AppProject, and a list read earlier must not be written later. */
async function commitProject(
  visit: ProjectVisit,
  organization: Organization,
  { store, git, delivery, platform }: Ports,
  turns: Turns,
): Promise<string> {
  const project = visit.object;
  const org = organization.metadata.name;
  return turns.run(org, async () => {
    const projects = await store.list('Project', { namespace: organizationNamespace(org) });
    const files = throughRender(() => renderProject({ organization, project, projects, platform }));
    const { commit } = await throughGit(() =>
      git.commit({
        owns: projectOwns({ organization, project }),
        files,
        subject: `Project ${org}/${project.metadata.name}`,
        trailers: trailersOf('Project', project.metadata, files),
      }),
    );
    const { name, uid } = project.metadata;
    // Not only after a change: the process may have died between the commit and the hint.
    const workload = workloadNamespace(org, name, uid);
    await delivery.refresh({ organization: org, project: name, workloadNamespace: workload, commit });
    return commit;
  });
}

/**
 * What the platform owns goes first, so that nothing is applied to a namespace that is going: the Application
 * empties it by its finalizer, reading what it has applied from the cluster, and only when it is gone its path may be.
 */
async function removeProject(visit: ProjectVisit, ports: Ports, turns: Turns): Promise<void> {
  const project = visit.object;
  const { name } = project.metadata;
  const org = organizationOf(visit.key.namespace) ?? '';
  const instances = await ports.store.list('Instance', { namespace: organizationNamespace(org) });
  const left = instances.filter(({ spec }) => spec.projectRef.name === name).length;
  if (left > 0) throw new Waiting(CHILDREN_RETRY_MS, 'ChildrenRemain', `${left} Instances of it still exist.`);
  const organization = { metadata: { name: org, uid: '' } };
  const { platform, tenants } = throughRender(() => projectRemoval({ organization, project }));
  const commit = await removePaths(platform, visit, org, ports, turns);
  const namespace = throughRender(() => workloadNamespace(org, name, project.metadata.uid));
  const scope = { organization: org, project: name, workloadNamespace: namespace, commit };
  const recommit = (force: string): Promise<string> => removePaths(platform, visit, org, ports, turns, force);
  await removed('application', visit, scope, recommit, ports);
  await removePaths(tenants, visit, org, ports, turns);
  // Last: as long as the SecretStore is there, its login works and nothing reports an error.
  await throughSecrets(() => ports.secrets.deleteRole(namespace));
}

async function removePaths(
  owns: string[],
  visit: ProjectVisit,
  organization: string,
  { git }: Ports,
  turns: Turns,
  force?: string,
): Promise<string> {
  const { name, uid } = visit.object.metadata;
  const { commit } = await turns.run(organization, () =>
    throughGit(() =>
      git.remove({
        owns,
        subject: `Project ${organization}/${name}: removed`,
        trailers: { 'Gsv-Project-Uid': uid, 'Gsv-Effect': `remove-${uid}` },
        ...(force === undefined ? {} : { force }),
      }),
    ),
  );
  return commit;
}
