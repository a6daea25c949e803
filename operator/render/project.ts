import { egressRules } from './egress.ts';
import type { OrganizationInput, ProjectInput } from './input.ts';
import { metadata, organizationLabels, peer, projectLabels, WAVE } from './labels.ts';
import { organizationFolder, projectPlatformFolder, skeletonFolder, tenantRoot, workloadNamespace } from './paths.ts';
import { publicAddress } from './platform.ts';
import { offeredRuntime } from './profile.ts';
import { type Manifest, toYaml, type Value } from './yaml.ts';

/** What a Project's namespace may hold when its quota does not say. Milli-CPU, mebibytes and objects. */
const DEFAULT_QUOTA = { maxInstances: 50, cpuMillis: 4000, memoryMebibytes: 8192 };
/** An Instance has up to this many objects of each counted kind; the constant part is the skeleton's. */
const OBJECTS_PER_INSTANCE = 2;
const SKELETON_OBJECTS = 10;

/** Kinds that the tenants root may hold. The local delivery has its own list: a check that shares the list with what it checks is none. */
const TENANT_KINDS: readonly { group: string; kind: string }[] = [
  { group: '', kind: 'ConfigMap' },
  { group: '', kind: 'LimitRange' },
  { group: '', kind: 'ResourceQuota' },
  { group: '', kind: 'Service' },
  { group: '', kind: 'ServiceAccount' },
  { group: 'apps', kind: 'Deployment' },
  { group: 'external-secrets.io', kind: 'ExternalSecret' },
  { group: 'external-secrets.io', kind: 'SecretStore' },
  { group: 'networking.k8s.io', kind: 'NetworkPolicy' },
  { group: 'policy', kind: 'PodDisruptionBudget' },
];

/** The ServiceAccount with which External Secrets logs in to Vault, under the role of the namespace's name. */
export const PROJECT_ACCOUNT = 'project-secrets';

/** Name of the AppProject of an Organization. */
export function appProjectName(organization: string): string {
  return `gsv-org-${organization}`;
}

/** The Organization's AppProject: one repository, its own namespaces, no cluster-scoped kind. */
export function renderOrganization(input: OrganizationInput): Map<string, string> {
  const { organization, platform } = input;
  const name = organization.metadata.name;
  const file = `${organizationFolder(name)}/appproject.yaml`;
  const namespaces = input.projects
    .map((project) => workloadNamespace(name, project.metadata.name, project.metadata.uid))
    .sort();
  const labels = {
    'app.kubernetes.io/name': 'gsv-organization',
    'app.kubernetes.io/instance': name,
    ...organizationLabels(organization),
  };
  const manifest: Manifest = {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'AppProject',
    // One wave before the Applications, because Argo CD prunes in reverse and an Application without its
    // project hangs for ever. No resources finalizer, for the same reason.
    metadata: metadata(appProjectName(name), platform.argocdNamespace, labels, WAVE.access),
    spec: {
      description: 'Everything that Argo CD may do for one Organization.',
      sourceRepos: [publicAddress(platform.repoUrl)],
      destinations: [...new Set(namespaces)].map((namespace) => ({ server: platform.destinationServer, namespace })),
      clusterResourceWhitelist: [],
      namespaceResourceWhitelist: TENANT_KINDS.map(({ group, kind }) => ({ group, kind })),
    },
  };
  return new Map([[file, toYaml(manifest)]]);
}

/**
 * Everything of a Project but its Instances: the Organization's AppProject, the workload Namespace, the
 * Application, and the skeleton of the namespace.
 *
 * @throws RenderError `profile_not_offered`, `invalid_name`
 */
export function renderProject(input: ProjectInput): Map<string, string> {
  offeredRuntime(input);
  const { organization, project } = input;
  const org = organization.metadata.name;
  const { name, uid } = project.metadata;
  const projects = [...input.projects.filter((other) => other.metadata.uid !== uid), project];
  const platformFolder = projectPlatformFolder(org, name, uid);
  const skeleton = skeletonFolder(org, name);
  return new Map([
    ...renderOrganization({ organization, projects, platform: input.platform }),
    [`${platformFolder}/application.yaml`, toYaml(application(input))],
    [`${platformFolder}/namespace.yaml`, toYaml(namespaceManifest(input))],
    [`${skeleton}/limitrange.yaml`, toYaml(limitRange(input))],
    ...networkPolicies(input).map((policy): [string, string] => [
      `${skeleton}/${policy.file}.yaml`,
      toYaml(policy.manifest),
    ]),
    [`${skeleton}/resourcequota.yaml`, toYaml(resourceQuota(input))],
    [`${skeleton}/secretstore.yaml`, toYaml(secretStore(input))],
    [`${skeleton}/serviceaccount.yaml`, toYaml(serviceAccount(input))],
  ]);
}

function target(input: ProjectInput): string {
  const { organization, project } = input;
  return workloadNamespace(organization.metadata.name, project.metadata.name, project.metadata.uid);
}

function namespaceManifest(input: ProjectInput): Manifest {
  const podSecurity = ['enforce', 'audit', 'warn'].flatMap((mode) => [
    [`pod-security.kubernetes.io/${mode}`, 'restricted'],
    [`pod-security.kubernetes.io/${mode}-version`, 'latest'],
  ]);
  const labels = { ...projectLabels(input.organization, input.project), ...Object.fromEntries(podSecurity) };
  return { apiVersion: 'v1', kind: 'Namespace', metadata: metadata(target(input), undefined, labels, WAVE.foundation) };
}

function application(input: ProjectInput): Manifest {
  const { organization, project, platform } = input;
  const org = organization.metadata.name;
  const namespace = target(input);
  return {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'Application',
    metadata: {
      ...metadata(namespace, platform.argocdNamespace, projectLabels(organization, project), WAVE.rest),
      finalizers: ['resources-finalizer.argocd.argoproj.io'],
    },
    spec: {
      project: appProjectName(org),
      source: {
        repoURL: publicAddress(platform.repoUrl),
        targetRevision: platform.branch,
        path: tenantRoot(org, project.metadata.name),
        directory: { recurse: true },
      },
      destination: { server: platform.destinationServer, namespace },
      syncPolicy: {
        automated: { prune: true, selfHeal: true },
        // Server-side apply makes an unknown field an error instead of a drift that never ends. Applying only
        // what differs keeps one change at 0.4 s however many Instances the Project has.
        syncOptions: ['ServerSideApply=true', 'ApplyOutOfSyncOnly=true'],
        // `refresh`: between attempts a newer commit is taken, or a correction would wait for the retries of what it corrects.
        retry: { limit: 5, refresh: true, backoff: { duration: '5s', factor: 2, maxDuration: '3m' } },
      },
    },
  };
}

function serviceAccount(input: ProjectInput): Manifest {
  const labels = projectLabels(input.organization, input.project);
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: metadata(PROJECT_ACCOUNT, target(input), labels, WAVE.foundation),
    automountServiceAccountToken: false,
  };
}

function secretStore(input: ProjectInput): Manifest {
  const { vault } = input.platform;
  const serviceAccountRef = { name: PROJECT_ACCOUNT, audiences: [vault.audience] };
  return {
    apiVersion: 'external-secrets.io/v1',
    kind: 'SecretStore',
    // A wave before the ExternalSecrets: one that finds no store, or none that works yet, has failed, and its sync with it.
    metadata: metadata('project', target(input), projectLabels(input.organization, input.project), WAVE.foundation),
    spec: {
      provider: {
        vault: {
          server: vault.server,
          path: vault.mount,
          version: 'v2',
          caBundle: vault.caBundle,
          auth: { kubernetes: { mountPath: vault.authMount, role: target(input), serviceAccountRef } },
        },
      },
    },
  };
}

function resourceQuota(input: ProjectInput): Manifest {
  const quota = { ...DEFAULT_QUOTA, ...input.project.spec.quota };
  const objects = String(quota.maxInstances * OBJECTS_PER_INSTANCE + SKELETON_OBJECTS);
  return {
    apiVersion: 'v1',
    kind: 'ResourceQuota',
    metadata: metadata('project', target(input), projectLabels(input.organization, input.project), WAVE.foundation),
    spec: {
      hard: {
        'requests.cpu': `${quota.cpuMillis}m`,
        'limits.cpu': `${quota.cpuMillis}m`,
        'requests.memory': `${quota.memoryMebibytes}Mi`,
        'limits.memory': `${quota.memoryMebibytes}Mi`,
        'count/configmaps': objects,
        'count/deployments.apps': objects,
        'count/secrets': objects,
        'count/serviceaccounts': objects,
        'count/services': objects,
        persistentvolumeclaims: '0',
        'services.loadbalancers': '0',
        'services.nodeports': '0',
      },
    },
  };
}

function limitRange(input: ProjectInput): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'LimitRange',
    metadata: metadata('project', target(input), projectLabels(input.organization, input.project), WAVE.foundation),
    spec: {
      limits: [
        {
          type: 'Container',
          default: { cpu: '500m', memory: '512Mi' },
          defaultRequest: { cpu: '50m', memory: '128Mi' },
        },
      ],
    },
  };
}

function networkPolicies(input: ProjectInput): { file: string; manifest: Manifest }[] {
  const egress = egressRules(input.project.spec.egressAllowList ?? [], 'tenant', input.platform);
  const policy = (
    name: string,
    spec: { [key: string]: Value },
    annotations = {},
  ): { file: string; manifest: Manifest } => ({
    file: `networkpolicy-${name}`,
    manifest: {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: metadata(
        `project-${name}`,
        target(input),
        projectLabels(input.organization, input.project),
        WAVE.foundation,
        annotations,
      ),
      spec,
    },
  });
  const policies = [
    policy('default-deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }),
    policy('allow-dns', {
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [
        {
          to: [peer('kube-system', { 'k8s-app': 'kube-dns' })],
          ports: [
            { protocol: 'UDP', port: 53 },
            { protocol: 'TCP', port: 53 },
          ],
        },
      ],
    }),
  ];
  if (egress.rules.length === 0 && egress.hosts.length === 0) return policies;
  const annotations = egress.hosts.length === 0 ? {} : { 'store.gsv.dev/egress-hosts': egress.hosts.join(',') };
  policies.push(
    policy('allow-egress', { podSelector: {}, policyTypes: ['Egress'], egress: egress.rules }, annotations),
  );
  return policies;
}
