/**
 * The renderer: resources in, `Map<path, YAML>` out. No clock, no random, no network, no files. The
 * `…Owns` functions name the paths that each result owns completely, for the Git writer to prune.
 */
import type { InstanceInput, OrganizationInput, ProjectInput } from './input.ts';
import {
  accessFolder,
  instanceFile,
  instanceStem,
  organizationFolder,
  projectPlatformFolder,
  skeletonFolder,
  tenantRoot,
} from './paths.ts';

export { renderAccess } from './access.ts';
export { RenderError, type RenderErrorCode } from './errors.ts';
export type { InstanceInput, OrganizationInput, ProjectInput } from './input.ts';
export { instanceManifests, renderInstance } from './instance.ts';
export { rootApplicationName } from './paths.ts';
export { defaultPlatform } from './platform.ts';
export { renderOrganization, renderProject } from './project.ts';
export { platformRootChange } from './roots.ts';
export type { Manifest } from './yaml.ts';

export function organizationOwns({ organization }: Pick<OrganizationInput, 'organization'>): string[] {
  return [organizationFolder(organization.metadata.name), accessFolder(organization.metadata.name)];
}

/** What `renderProject` writes. The Instances of the Project are not in it. */
export function projectOwns({ organization, project }: Pick<ProjectInput, 'organization' | 'project'>): string[] {
  const org = organization.metadata.name;
  const { name, uid } = project.metadata;
  return [organizationFolder(org), projectPlatformFolder(org, name, uid), skeletonFolder(org, name)];
}

/**
 * What goes when a Project does, in two commits: first `platform` (the Application's finalizer then empties
 * the namespace), and once that is gone `tenants`. The AppProject is rendered anew by the Organization.
 */
export function projectRemoval(input: Pick<ProjectInput, 'organization' | 'project'>): {
  platform: string[];
  tenants: string[];
} {
  const org = input.organization.metadata.name;
  const { name, uid } = input.project.metadata;
  return { platform: [projectPlatformFolder(org, name, uid)], tenants: [tenantRoot(org, name)] };
}

/** Its file, and the folder that stood in its place before: the commit that writes the one removes the other. */
export function instanceOwns(input: Pick<InstanceInput, 'organization' | 'project' | 'instance'>): string[] {
  const { name, uid } = input.instance.metadata;
  const place = [input.organization.metadata.name, input.project.metadata.name, name, uid] as const;
  return [instanceFile(...place), instanceStem(...place)];
}
