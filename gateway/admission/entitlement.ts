import { type Organization, organizationNamespace, type Team } from '../../crds/kinds.ts';
import type { Key, ResourceCache, ResourceStore } from '../../crds/store.ts';
import { type EdgeCode, problem } from '../errors.ts';
import type { Caller } from '../identity/caller.ts';

type Role = Team['spec']['grants'][number]['role'];
type Member = Team['spec']['members'][number];

/** What a request wants to do. `spend` covers what only concerns money. */
export type Permission = 'read' | 'run' | 'operate' | 'write' | 'spend';

const PERMISSIONS: { readonly [R in Role]: readonly Permission[] } = {
  Viewer: ['read'],
  Operator: ['read', 'run', 'operate'],
  Admin: ['read', 'run', 'operate', 'write', 'spend'],
  Billing: ['spend'],
};

/** An API key acts for its owner, but only where a leaked one does bounded harm. */
const API_KEY_PERMISSIONS: readonly Permission[] = ['read', 'run'];

interface Grant {
  role: Role;
  /** Absent: every Project of the Organization. */
  project: string | undefined;
}

/** What one caller may do in one Organization. Holding one means being a member. */
export class Membership {
  readonly organization: Organization;
  readonly #caller: Caller;
  readonly #grants: readonly Grant[];

  constructor(organization: Organization, caller: Caller, grants: readonly Grant[]) {
    this.organization = organization;
    this.#caller = caller;
    this.#grants = grants;
  }

  /** Whether some role of the caller allows it; with `project` undefined: a role for the whole Organization. */
  may(permission: Permission, project: string | undefined): boolean {
    if (this.#caller.apiKey && !API_KEY_PERMISSIONS.includes(permission)) return false;
    return this.#grants.some(
      (grant) =>
        PERMISSIONS[grant.role].includes(permission) && (grant.project === undefined || grant.project === project),
    );
  }

  /** Whether some role allows it in some Project or in all. */
  mayAnywhere(permission: Permission): boolean {
    return this.#grants.some((grant) => this.may(permission, grant.project));
  }

  /** Whether the caller may know that this Instance exists. */
  sees(project: string, instance: string): boolean {
    const allowed = this.#caller.apiKey?.instances;
    if (allowed && !allowed.includes(instance)) return false;
    return this.#grants.some((grant) => grant.project === undefined || grant.project === project);
  }

  /** @throws Problem `forbidden`, `organization_suspended` (all but reading and accounts) */
  require(permission: Permission, project: string | undefined): void {
    if (!this.may(permission, project)) throw problem('forbidden');
    const reading = permission === 'read' || permission === 'spend';
    if (this.organization.spec.suspend === true && !reading) throw problem('organization_suspended');
  }
}

/** Team membership from the watch cache, by Organization. */
export class Entitlements {
  readonly #organizations: ResourceCache<'Organization'>;
  readonly #teams: ResourceCache<'Team'>;
  /** namespace -> Teams: a request must not walk the Teams of every Organization. */
  readonly #byNamespace = new Map<string, Map<string, Team>>();
  readonly #stop: () => void;

  constructor(store: ResourceStore) {
    this.#organizations = store.watch('Organization');
    this.#teams = store.watch('Team');
    this.#stop = this.#teams.onChange((key) => this.#index(key));
  }

  async synced(): Promise<void> {
    await Promise.all([this.#organizations.synced, this.#teams.synced]);
  }

  close(): void {
    this.#stop();
  }

  /**
   * The caller's membership; a foreign Organization answers exactly like an absent one.
   *
   * @param otherwise the code of that answer: what the request asked for does not exist
   * @throws Problem
   */
  member(caller: Caller, organization: string, otherwise: EdgeCode): Membership {
    const found = this.#organizations.get({ name: organization });
    const grants = this.#grants(caller, organization);
    if (!found || grants.length === 0) throw problem(otherwise);
    return new Membership(found, caller, grants);
  }

  #grants(caller: Caller, organization: string): Grant[] {
    if (caller.apiKey && caller.apiKey.organization !== organization) return [];
    const teams = this.#byNamespace.get(organizationNamespace(organization));
    return [...(teams?.values() ?? [])]
      .filter((team) => team.spec.members.some((member) => isMember(caller, member, team)))
      .flatMap((team) => team.spec.grants.map(({ role, projectRef }) => ({ role, project: projectRef?.name })));
  }

  #index(key: Key): void {
    const namespace = key.namespace ?? '';
    const teams = this.#byNamespace.get(namespace) ?? new Map<string, Team>();
    const team = this.#teams.get(key);
    if (team && team.metadata.deletionTimestamp === undefined) teams.set(key.name, team);
    else teams.delete(key.name);
    if (teams.size === 0) this.#byNamespace.delete(namespace);
    else this.#byNamespace.set(namespace, teams);
  }
}

function isMember(caller: Caller, member: Member, team: Team): boolean {
  if (member.subject !== undefined) return member.subject === caller.subject;
  const pinned = team.status?.members?.find((each) => each.name === member.name)?.subject;
  // An email that is pinned to a subject no longer admits another account that gets hold of it.
  if (pinned !== undefined) return pinned === caller.subject;
  if (member.email !== undefined) return hasEmail(caller, member.email);
  return member.group !== undefined && caller.groups.includes(member.group);
}

function hasEmail(caller: Caller, email: string): boolean {
  return caller.emailVerified && caller.email !== undefined && caller.email.toLowerCase() === email.toLowerCase();
}
