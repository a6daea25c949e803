import { createHash } from 'node:crypto';
import { RenderError } from './errors.ts';

/** RFC 1123 label: what every name of ours is. Anything else never reaches a path. */
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** Kubernetes' own limit for labels and namespaces, in characters. */
const MAX_LABEL = 63;
/** `gsv-org-` + name is a namespace, so an Organization's name is shorter. */
const MAX_ORGANIZATION = MAX_LABEL - 'gsv-org-'.length;
/** A secret's name: a key of a Kubernetes Secret that is also one plain path segment. */
const SECRET = /^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$/;
/** Uids are opaque; Kubernetes' are UUIDs. Whatever they are, they never hold a path separator or a space. */
const UID = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;

function label(what: string, value: string, max = MAX_LABEL): string {
  if (typeof value !== 'string' || value.length > max || !LABEL.test(value)) {
    throw new RenderError('invalid_name', `the ${what} name is not a DNS label of at most ${max} characters`);
  }
  return value;
}

/** Checks a uid before it enters a path or a label. @throws RenderError `invalid_name` */
export function checkedUid(what: string, uid: string): string {
  if (typeof uid !== 'string' || !UID.test(uid)) throw new RenderError('invalid_name', `the ${what} uid is malformed`);
  return uid;
}

/** First 8 hex digits of sha256: names can be reused, uids cannot. */
export function shortHash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

/** `<hh>`: the first two hex digits of sha256(Organization name); keeps root directories small. */
export function shard(organization: string): string {
  return shortHash(label('Organization', organization, MAX_ORGANIZATION)).slice(0, 2);
}

/**
 * The root Application that applies an Organization's part of `platform/`: one of sixteen, by the first digit
 * of `<hh>`. kustomize/components/argocd ships them (docs/adr/0012-sharded-root-applications.md).
 */
export function rootApplicationName(organization: string): string {
  return `gsv-platform-${shard(organization).charAt(0)}`;
}

/** What only the platform may create for an Organization. No trailing slash, like all paths here. */
export function platformRoot(organization: string): string {
  return `platform/${shard(organization)}/${organization}`;
}

/** Namespaced objects of one Project: the path of its Argo CD Application. */
export function tenantRoot(organization: string, project: string): string {
  return `tenants/${shard(organization)}/${organization}/${label('Project', project)}`;
}

/** Folder of the Organization's AppProject. */
export function organizationFolder(organization: string): string {
  return `${platformRoot(organization)}/organization`;
}

/** Folder of the roles of an Organization's people. */
export function accessFolder(organization: string): string {
  return `${platformRoot(organization)}/access`;
}

/** Folder of a Project's Namespace and Application. */
export function projectPlatformFolder(organization: string, project: string, projectUid: string): string {
  const hash = shortHash(checkedUid('Project', projectUid));
  return `${platformRoot(organization)}/projects/${label('Project', project)}-${hash}`;
}

/** The same folder, from the workload namespace, whose end is the hash of the Project's uid. */
export function platformFolderOf(organization: string, project: string, namespace: string): string {
  const hash = label('workload namespace', namespace).slice(-8);
  return `${platformRoot(organization)}/projects/${label('Project', project)}-${hash}`;
}

/** Folder of a Project's skeleton; it keeps the Application's path non-empty after the last Instance. */
export function skeletonFolder(organization: string, project: string): string {
  return `${tenantRoot(organization, project)}/project`;
}

/**
 * Where one Instance lies, without the file's ending; the uid is in it so that a successor of the same name never
 * inherits it. Earlier releases had a folder there, with a file for each object.
 */
export function instanceStem(organization: string, project: string, instance: string, instanceUid: string): string {
  const hash = shortHash(checkedUid('Instance', instanceUid));
  return `${tenantRoot(organization, project)}/instances/${label('Instance', instance)}-${hash}`;
}

/**
 * The one file of an Instance. Not a folder: before the remote takes a push it reads every tree of the branch, so
 * a tree for each Instance would make each change dearer (docs/adr/0026-one-file-for-each-instance.md).
 */
export function instanceFile(organization: string, project: string, instance: string, instanceUid: string): string {
  return `${instanceStem(organization, project, instance, instanceUid)}.yaml`;
}

/**
 * `gsv-w-<org>-<project>-<8 hex of sha256(project uid)>`, at most 63 characters: long names lose
 * their end, never the hash.
 */
export function workloadNamespace(organization: string, project: string, projectUid: string): string {
  label('Organization', organization, MAX_ORGANIZATION);
  label('Project', project);
  const suffix = `-${shortHash(checkedUid('Project', projectUid))}`;
  const stem = `gsv-w-${organization}-${project}`.slice(0, MAX_LABEL - suffix.length).replace(/-+$/, '');
  return stem + suffix;
}

/** Vault path (below the KV mount) of one secret of an Instance. @throws RenderError `invalid_name` */
export function secretPath(namespace: string, instanceUid: string, secret: string): string {
  if (secret.length > MAX_LABEL || !SECRET.test(secret) || secret.includes('..')) {
    throw new RenderError('invalid_name', 'a secret name is not a plain path segment');
  }
  return `t/${label('workload namespace', namespace)}/${checkedUid('Instance', instanceUid)}/${secret}`;
}
