import { parseAllDocuments } from 'yaml';
import { tenantRoot } from '../render/paths.ts';
import { appProjectName } from '../render/project.ts';

/** What a set of manifests must keep to. `root` is the Git root that they lie in. */
export interface Scope {
  root: 'platform' | 'tenants';
  organization: string;
  project: string;
  workloadNamespace: string;
  /** Present for an Instance's own file: every object must carry this uid. */
  instanceUid?: string;
}

export interface Verdict {
  /** A sentence that names file and fault; absent when all is well. */
  problem?: string;
  /** `group/kind/namespace/name` of every object, for the search for doubles. */
  identities: string[];
}

/** No manifest of ours comes near; a guard of memory. Characters. */
const MAX_FILE = 1024 * 1024;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** What a tenant's part may hold: namespaced kinds under the versions that are served. */
const TENANT_KINDS = new Set([
  'v1 ConfigMap',
  'v1 LimitRange',
  'v1 ResourceQuota',
  'v1 Service',
  'v1 ServiceAccount',
  'apps/v1 Deployment',
  'external-secrets.io/v1 ExternalSecret',
  'external-secrets.io/v1 SecretStore',
  'networking.k8s.io/v1 NetworkPolicy',
  'policy/v1 PodDisruptionBudget',
]);
const PLATFORM_KINDS = new Set([
  'v1 Namespace',
  'argoproj.io/v1alpha1 Application',
  'argoproj.io/v1alpha1 AppProject',
  'rbac.authorization.k8s.io/v1 Role',
  'rbac.authorization.k8s.io/v1 RoleBinding',
]);

type Document = Record<string, unknown>;

class Fault extends Error {}

/** Checks what Argo CD and the API server would refuse, as far as the text alone tells. Pure. */
export function checkManifests(files: ReadonlyMap<string, string>, scope: Scope): Verdict {
  const identities: string[] = [];
  for (const [path, text] of files) {
    try {
      for (const document of documents(path, text)) identities.push(checkOne(document, scope));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return { problem: `${path}: ${error.message}`, identities };
    }
  }
  const double = firstDouble(identities);
  return double === undefined ? { identities } : { problem: `${double} is declared twice`, identities };
}

/** The first value that comes twice. */
export function firstDouble(values: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return values.find((value) => seen.size === seen.add(value).size);
}

function documents(path: string, text: string): Document[] {
  if (!path.endsWith('.yaml')) throw new Fault('not a .yaml file');
  if (text.length > MAX_FILE) throw new Fault(`larger than ${MAX_FILE} characters`);
  // Argo CD's parser reads YAML 1.1 scalars; strict also refuses repeated keys.
  const parsed = parseAllDocuments(text, { version: '1.1', merge: false, strict: true, uniqueKeys: true });
  if (!Array.isArray(parsed) || parsed.length === 0) throw new Fault('holds no manifest');
  return parsed.map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw new Fault(`not YAML: ${error.code}`);
    const value = plain(document);
    if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new Fault('not a YAML mapping');
    return value as Document;
  });
}

/** Aliases are refused: none of ours has one, and they are how small files become large. */
function plain(document: ReturnType<typeof parseAllDocuments>[number]): unknown {
  try {
    return document?.toJS({ maxAliasCount: 0 });
  } catch {
    throw new Fault('holds an alias');
  }
}

function checkOne(document: Document, scope: Scope): string {
  const kind = `${text(document, 'apiVersion')} ${text(document, 'kind')}`;
  const allowed = scope.root === 'tenants' ? TENANT_KINDS : PLATFORM_KINDS;
  if (!allowed.has(kind)) throw new Fault(`${kind} is not allowed in the ${scope.root} root`);
  const metadata = mapping(document, 'metadata');
  const name = text(metadata, 'name');
  if (name.length > 253 || !SUBDOMAIN.test(name)) throw new Fault('metadata.name is not a DNS name');
  checkNamespace(kind, name, metadata.namespace, scope);
  if (kind.endsWith(' Application')) checkApplication(document, scope);
  if (kind === 'apps/v1 Deployment') checkPods(mapping(mapping(mapping(document, 'spec'), 'template'), 'spec'));
  if (kind === 'v1 Service') checkService(mapping(document, 'spec'));
  checkStrings(metadata, 'labels');
  checkStrings(metadata, 'annotations');
  const uid = (metadata.labels as Document | undefined)?.['store.gsv.dev/instance-uid'];
  if (scope.instanceUid !== undefined && uid !== scope.instanceUid) {
    throw new Fault('the label store.gsv.dev/instance-uid is not that of the Instance');
  }
  const group = text(document, 'apiVersion').split('/').slice(0, -1).join('/');
  return [group, text(document, 'kind'), metadata.namespace ?? '', name].join('/');
}

function checkNamespace(kind: string, name: string, namespace: unknown, scope: Scope): void {
  if (kind === 'v1 Namespace') {
    if (namespace !== undefined) throw new Fault('a Namespace has no metadata.namespace');
    if (name !== scope.workloadNamespace) throw new Fault(`the Namespace is not ${scope.workloadNamespace}`);
    return;
  }
  const argo = kind.startsWith('argoproj.io/');
  if (typeof namespace !== 'string' || namespace === '') throw new Fault('metadata.namespace is missing');
  if (!argo && namespace !== scope.workloadNamespace) {
    throw new Fault(`metadata.namespace is not ${scope.workloadNamespace}`);
  }
}

function checkApplication(document: Document, scope: Scope): void {
  const spec = mapping(document, 'spec');
  const path = tenantRoot(scope.organization, scope.project);
  if (spec.project !== appProjectName(scope.organization)) throw new Fault('spec.project is not the Organization’s');
  if (mapping(spec, 'destination').namespace !== scope.workloadNamespace) {
    throw new Fault(`spec.destination.namespace is not ${scope.workloadNamespace}`);
  }
  if (mapping(spec, 'source').path !== path) throw new Fault(`spec.source.path is not ${path}`);
}

/** What Pod Security `restricted` and the rules of the house ask of pods, as far as ours use it. */
function checkPods(pod: Document): void {
  const { runAsNonRoot, seccompProfile } = mapping(pod, 'securityContext');
  if (runAsNonRoot !== true) throw new Fault('the pod may run as root');
  if ((seccompProfile as Document | undefined)?.type !== 'RuntimeDefault')
    throw new Fault('the pod has no seccomp profile');
  if (pod.automountServiceAccountToken !== false) throw new Fault('the pod gets a ServiceAccount token');
  for (const member of ['hostNetwork', 'hostPID', 'hostIPC', 'initContainers', 'ephemeralContainers']) {
    if (pod[member] !== undefined) throw new Fault(`the pod has ${member}`);
  }
  const { containers, volumes } = pod;
  if (!Array.isArray(containers) || containers.length === 0) throw new Fault('the pod has no containers');
  for (const container of containers as Document[]) checkContainer(container);
  for (const volume of Array.isArray(volumes) ? (volumes as Document[]) : []) {
    if (Object.keys(volume).some((member) => member !== 'name' && member !== 'emptyDir'))
      throw new Fault('the pod has a volume that is no emptyDir');
  }
}

function checkContainer(container: Document): void {
  if (!/@sha256:[0-9a-f]{64}$/.test(text(container, 'image'))) throw new Fault('an image is not named by digest');
  const { allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities, privileged } = mapping(
    container,
    'securityContext',
  );
  const { drop, add } = (capabilities ?? {}) as { drop?: unknown; add?: unknown };
  const dropsAll = Array.isArray(drop) && drop.includes('ALL') && add === undefined;
  if (allowPrivilegeEscalation !== false || privileged !== undefined || !dropsAll || readOnlyRootFilesystem !== true)
    throw new Fault('a container is not restricted');
  const resources = mapping(container, 'resources');
  for (const side of ['requests', 'limits']) {
    const { cpu, memory } = mapping(resources, side);
    if (cpu === undefined || memory === undefined) throw new Fault(`a container has no ${side} of cpu and memory`);
  }
}

function checkService({ type, externalIPs }: Document): void {
  if (type !== 'ClusterIP' || externalIPs !== undefined) throw new Fault('the Service is reachable from outside');
}

/** Labels and annotations are strings; YAML makes something else of an unquoted `on` or `1`. */
function checkStrings(metadata: Document, member: 'labels' | 'annotations'): void {
  if (metadata[member] === undefined) return;
  for (const [key, value] of Object.entries(mapping(metadata, member))) {
    if (typeof value !== 'string') throw new Fault(`metadata.${member}[${key}] is not a string`);
  }
}

function text(document: Document, member: string): string {
  const value = document[member];
  if (typeof value !== 'string' || value === '') throw new Fault(`${member} is missing or not a string`);
  return value;
}

function mapping(document: Document, member: string): Document {
  const value = document[member];
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new Fault(`${member} is not a mapping`);
  return value as Document;
}
