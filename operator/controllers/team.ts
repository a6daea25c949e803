import type { TeamStatus } from '../../crds/generated/kinds.ts';
import { organizationNamespace, type Team } from '../../crds/kinds.ts';
import type { Ports } from '../ports.ts';
import { Waiting } from '../runtime/errors.ts';
import { onDesiredChange } from '../runtime/source.ts';
import { reconciler } from '../runtime/visit.ts';
import { byNamespace, CONCURRENCY, type ControllerContext, type Definition, dependency, own } from './definition.ts';
import { owningOrganization } from './owner.ts';

/** A watch wakes the Team when the Project appears; this is the safety net. */
const DEPENDENCY_RETRY_MS = 60_000;

/** Team: its members resolved as far as known, and the Projects of its grants exist. */
export function teamController({ ports, metrics }: ControllerContext): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'Team',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'Team',
      clock,
      log,
      metrics,
      up: async (visit) => {
        owningOrganization(visit.key, ports);
        visit.status.members = resolveMembers(visit.object);
        requireProjects(visit.object, visit.key.namespace, ports);
        return undefined;
      },
    }),
    watch: (add) => {
      const index = byNamespace(store, 'Team');
      return [
        index.close,
        own(store, 'Team', add),
        dependency(store, 'Organization', add, ({ name }) => index.referring(organizationNamespace(name))),
        onDesiredChange(store.watch('Project'), (key) => {
          for (const team of index.referring(key.split('/')[0] ?? '')) add(team);
        }),
      ];
    },
  };
}

/** A subject in the spec is final; a pin from an earlier login stays while the member does. */
function resolveMembers({ spec, status }: Team): NonNullable<TeamStatus['members']> {
  const pinned = new Map(status?.members?.map((member) => [member.name, member.subject]));
  return spec.members.map(({ name, subject, email }) => {
    const known = subject ?? (email === undefined ? undefined : pinned.get(name));
    return known === undefined ? { name } : { name, subject: known };
  });
}

function requireProjects({ spec }: Team, namespace: string | undefined, { store }: Ports): void {
  for (const { projectRef } of spec.grants) {
    if (projectRef === undefined) continue;
    const key = { ...(namespace === undefined ? {} : { namespace }), name: projectRef.name };
    if (store.watch('Project').get(key) === undefined)
      throw new Waiting(DEPENDENCY_RETRY_MS, 'ProjectNotFound', `There is no Project "${projectRef.name}".`);
  }
}
