import type { Instance, Organization, Project } from '../../crds/kinds.ts';
import type { Named } from './input.ts';
import { checkedUid } from './paths.ts';
import type { Value } from './yaml.ts';

/** Sync waves: what others need comes first, and Argo CD prunes in reverse. */
export const WAVE = { foundation: '-2', access: '-1', rest: undefined } as const;
type Wave = (typeof WAVE)[keyof typeof WAVE];

type Labels = Record<string, string>;

export function organizationLabels(organization: Named<Organization>): Labels {
  return {
    'app.kubernetes.io/managed-by': 'gsv-operator',
    'app.kubernetes.io/part-of': 'gsv-agent-store',
    'store.gsv.dev/organization': organization.metadata.name,
    'store.gsv.dev/organization-uid': checkedUid('Organization', organization.metadata.uid),
  };
}

export function projectLabels(organization: Named<Organization>, project: Named<Project>): Labels {
  return {
    'app.kubernetes.io/name': 'gsv-project',
    'app.kubernetes.io/instance': project.metadata.name,
    ...organizationLabels(organization),
    'store.gsv.dev/project': project.metadata.name,
    'store.gsv.dev/project-uid': checkedUid('Project', project.metadata.uid),
  };
}

/** `instance-uid` is what the deletion waits for: no object that carries it may remain. */
export function instanceLabels(
  organization: Named<Organization>,
  project: Named<Project>,
  instance: Named<Instance>,
  offering: string,
): Labels {
  return {
    ...projectLabels(organization, project),
    'app.kubernetes.io/name': offering,
    'app.kubernetes.io/instance': instance.metadata.name,
    'store.gsv.dev/instance-uid': checkedUid('Instance', instance.metadata.uid),
  };
}

/** `metadata` of every rendered object. An absent wave is wave 0, Argo CD's default. */
export function metadata(
  name: string,
  namespace: string | undefined,
  labels: Labels,
  wave: Wave,
  annotations: Labels = {},
): { name: string; namespace: string | undefined; labels: Labels; annotations: Labels | undefined } {
  const all = wave === undefined ? annotations : { 'argocd.argoproj.io/sync-wave': wave, ...annotations };
  return { name, namespace, labels, annotations: Object.keys(all).length === 0 ? undefined : all };
}

/** Pods of one namespace with these labels: how network policies name each other's ends. */
export function peer(namespace: string, labels: Labels): Value {
  return {
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } },
    podSelector: { matchLabels: labels },
  };
}
