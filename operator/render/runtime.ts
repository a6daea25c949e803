import { createHash } from 'node:crypto';
import { RUNTIME_KEY, RUNTIME_PORT, runtimeServiceName } from '../../crds/runtime.ts';
import { externalSecretSpec } from './external-secret.ts';
import type { InstanceInput, RenderedContract } from './input.ts';
import type { InstanceObject } from './instance-object.ts';
import { metadata, peer, WAVE } from './labels.ts';
import { secretPath } from './paths.ts';
import type { RuntimePlatform } from './platform.ts';
import type { Manifest, Value } from './yaml.ts';

/** Between the removal from the Service's endpoints and every node knowing it. Seconds. */
const LEAVE_SECONDS = 5;
/** After its last run: the answer's way out, and lfx's own shutdown. Seconds. */
const DRAIN_SECONDS = 30;
/** lfx 1.13 is ready after 5 to 14 s on an idle machine; a node that pulls and starts many takes longer. Seconds. */
const START_SECONDS = 180;
/** Beyond it the Deployment says that it does not progress: start-up and some time to be scheduled. Seconds. */
const PROGRESS_SECONDS = 300;
/** lfx 1.13 takes 245 MB idle; a flow's libraries and data come on top. */
const DEFAULT_RESOURCES = {
  requests: { cpu: '100m', memory: '384Mi', 'ephemeral-storage': '64Mi' },
  limits: { cpu: '500m', memory: '1Gi', 'ephemeral-storage': '1Gi' },
};
/** Uploaded flows and temporary files; more than any artifact may be, less than a node minds. */
const SCRATCH = '256Mi';
/** Anyone but root, and no user of the image: what the image's own user is does not matter. */
const USER = 10_001;
/** Where a program may write in a container whose root is read-only. */
const SCRATCH_FOLDERS = { flows: '/flows', home: '/home/runtime', tmp: '/tmp' };

/** Labels by which Service, budget and policies find the pod. Immutable in a Deployment, so they hold no version. */
function selector(object: InstanceObject): Record<string, string> {
  return { 'app.kubernetes.io/component': 'runtime', 'store.gsv.dev/instance-uid': object.uid };
}

/** The runtime of one Instance under profile Namespace. */
export function runtimeManifests(input: InstanceInput, object: InstanceObject, runtime: RuntimePlatform): Manifest[] {
  return [
    deployment(input, object, runtime),
    keySecret(input, object),
    ingress(input, object),
    disruptionBudget(object),
    service(input, object),
  ];
}

function deployment(input: InstanceInput, object: InstanceObject, runtime: RuntimePlatform): Manifest {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata(object.name, object.namespace, labels(object), WAVE.rest),
    spec: {
      // One pod: the runner uploads the flow through the Service, and only one pod would have it.
      replicas: input.effective === 'Paused' ? 0 : 1,
      revisionHistoryLimit: 2,
      progressDeadlineSeconds: PROGRESS_SECONDS,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      selector: { matchLabels: selector(object) },
      template: {
        metadata: { labels: labels(object), annotations: { 'store.gsv.dev/secret-versions': versionsHash(input) } },
        spec: pod(input, object, runtime),
      },
    },
  };
}

function labels(object: InstanceObject): Record<string, string> {
  return { ...object.labels, ...selector(object) };
}

/**
 * Changes when any secret has a new version, so that a rotation restarts the pod; made of versions alone, never of
 * values, because Git keeps it.
 */
function versionsHash({ secretVersions = [] }: InstanceInput): string {
  const versions = secretVersions.map(({ name, version }) => `${name}=${version}`).sort();
  return createHash('sha256').update(versions.join(',')).digest('hex').slice(0, 16);
}

function pod(input: InstanceInput, object: InstanceObject, runtime: RuntimePlatform): { [key: string]: Value } {
  const { limits, plans } = input.contract;
  const { runSeconds } = plans.find(({ name }) => name === input.instance.spec.plan)?.limits ?? limits;
  return {
    serviceAccountName: object.name,
    // No token and no addresses of neighbours: the pod talks to nobody in the cluster by itself.
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    // A run that has just begun may end as the contract promises.
    terminationGracePeriodSeconds: LEAVE_SECONDS + runSeconds + DRAIN_SECONDS,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: USER,
      runAsGroup: USER,
      fsGroup: USER,
      seccompProfile: { type: 'RuntimeDefault' },
    },
    containers: [container(input, object, runtime)],
    volumes: Object.keys(SCRATCH_FOLDERS).map((name) => ({ name, emptyDir: { sizeLimit: SCRATCH } })),
  };
}

function container(input: InstanceInput, object: InstanceObject, runtime: RuntimePlatform): { [key: string]: Value } {
  const check = (periodSeconds: number, failureThreshold: number): { [key: string]: Value } => ({
    httpGet: { path: '/health', port: 'http' },
    periodSeconds,
    timeoutSeconds: 5,
    failureThreshold,
  });
  return {
    name: 'runtime',
    image: runtime.image,
    imagePullPolicy: 'IfNotPresent',
    command: ['lfx'],
    args: [
      ...['serve', '--flow-dir', SCRATCH_FOLDERS.flows, '--host', '0.0.0.0', '--port', String(RUNTIME_PORT)],
      // A flow that names a variable gets it from its run or not at all, never from this pod's environment.
      ...['--log-level', 'warning', '--no-env-fallback'],
    ],
    env: [
      { name: 'DO_NOT_TRACK', value: 'true' },
      { name: 'HOME', value: SCRATCH_FOLDERS.home },
      // Custom components are code execution for whoever holds the key.
      { name: 'LANGFLOW_ALLOW_CUSTOM_COMPONENTS', value: 'false' },
      { name: 'LANGFLOW_API_KEY', valueFrom: { secretKeyRef: { name: keySecretName(input, object), key: 'key' } } },
      { name: 'PYTHONDONTWRITEBYTECODE', value: '1' },
      { name: 'PYTHONUNBUFFERED', value: '1' },
    ],
    ports: [{ name: 'http', containerPort: RUNTIME_PORT, protocol: 'TCP' }],
    startupProbe: check(2, START_SECONDS / 2),
    readinessProbe: check(5, 2),
    // Slower than readiness: a busy runtime leaves the Service before it is shot.
    livenessProbe: check(20, 3),
    lifecycle: { preStop: { sleep: { seconds: LEAVE_SECONDS } } },
    resources: runtime.resources ?? DEFAULT_RESOURCES,
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: Object.entries(SCRATCH_FOLDERS).map(([name, mountPath]) => ({ name, mountPath })),
  };
}

function service(input: InstanceInput, object: InstanceObject): Manifest {
  const name = runtimeServiceName(input.instance.metadata.name);
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata(name, object.namespace, labels(object), WAVE.rest),
    spec: {
      type: 'ClusterIP',
      selector: selector(object),
      ports: [{ name: 'http', port: RUNTIME_PORT, protocol: 'TCP', targetPort: 'http' }],
    },
  };
}

/**
 * One pod that nobody may evict would block every drain of its node; what protects runs is the grace period. The
 * budget says so, and lets a pod go that is broken anyway.
 */
function disruptionBudget(object: InstanceObject): Manifest {
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: metadata(object.name, object.namespace, labels(object), WAVE.rest),
    spec: {
      maxUnavailable: 1,
      selector: { matchLabels: selector(object) },
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
    },
  };
}

/** Only the runner's pods may speak to the runtime, on its one port. Egress is the contract's, beside it. */
function ingress(input: InstanceInput, object: InstanceObject): Manifest {
  const runner = peer(input.platform.systemNamespace, { 'app.kubernetes.io/name': 'gsv-runner' });
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: metadata(`${object.name}-runtime`, object.namespace, labels(object), WAVE.foundation),
    spec: {
      podSelector: { matchLabels: selector(object) },
      policyTypes: ['Ingress'],
      ingress: [{ from: [runner], ports: [{ protocol: 'TCP', port: RUNTIME_PORT }] }],
    },
  };
}

/** Before the first look into Vault there is none; the first version is 1. */
function keyVersion({ secretVersions = [] }: InstanceInput): string {
  return String(secretVersions.find(({ name }) => name === RUNTIME_KEY)?.version ?? 1);
}

/**
 * The version is part of the name: a pod that needs a new key waits for the Secret that has it, instead of starting
 * with the old one because External Secrets was slower than the Deployment.
 */
function keySecretName(input: InstanceInput, object: InstanceObject): string {
  return `${object.name}-runtime-${keyVersion(input)}`;
}

/** The runtime's own API key, alone in its Secret: the tenant's secrets never come near this pod. */
function keySecret(input: InstanceInput, object: InstanceObject): Manifest {
  const name = keySecretName(input, object);
  const key = secretPath(object.namespace, object.uid, RUNTIME_KEY);
  return {
    apiVersion: 'external-secrets.io/v1',
    kind: 'ExternalSecret',
    metadata: metadata(name, object.namespace, labels(object), WAVE.access),
    spec: externalSecretSpec(name, labels(object), [
      { secretKey: 'key', remoteRef: { key, property: 'value', version: keyVersion(input) } },
    ]),
  };
}

/** A contract must not name the runtime's key as a secret of its own: a buyer could set it, and a flow could read it. */
export function takesRuntimeKey({ secrets }: Pick<RenderedContract, 'secrets'>): boolean {
  return secrets.some(({ name }) => name === RUNTIME_KEY);
}
