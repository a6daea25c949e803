import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { downloadModule, type Recipe } from '../cluster/build.ts';
import { cachedProgram } from '../cluster/cached-program.ts';
import type { Progress } from '../cluster/versions.ts';

const MODULE = 'github.com/argoproj/argo-cd/v3';
/**
 * The newest that its published modules build. From 3.3 on `gitops-engine` is a folder of Argo CD's own repository
 * that is in no archive; see docs/adr/0015-a-real-argo-cd-for-tests.md.
 */
export const ARGOCD_VERSION = 'v3.2.11';
/** Of the Kubernetes libraries that it replaces. */
const KUBERNETES_PARTS_VERSION = 'v0.34.0';
const KUBERNETES_PARTS = [
  ...['api', 'apiextensions-apiserver', 'apimachinery', 'apiserver', 'cli-runtime', 'client-go', 'cloud-provider'],
  ...['cluster-bootstrap', 'code-generator', 'component-base', 'component-helpers', 'controller-manager', 'cri-api'],
  ...['cri-client', 'csi-translation-lib', 'dynamic-resource-allocation', 'endpointslice', 'externaljwt', 'kms'],
  ...['kube-aggregator', 'kube-controller-manager', 'kube-proxy', 'kube-scheduler', 'kubectl', 'kubelet', 'metrics'],
  ...['mount-utils', 'pod-security-admission'],
];

const SOURCE = join(import.meta.dirname, 'server/main.go');

/** The `replace` lines of Argo CD's own `go.mod`, which a module that requires it must repeat. */
const REQUIREMENTS = [
  'go 1.25.5',
  `require ${MODULE} ${ARGOCD_VERSION}`,
  'replace github.com/golang/protobuf => github.com/golang/protobuf v1.5.4',
  'replace github.com/grpc-ecosystem/grpc-gateway => github.com/grpc-ecosystem/grpc-gateway v1.16.0',
  'replace golang.org/x/tools => golang.org/x/tools v0.35.0',
  'replace gopkg.in/yaml.v2 => gopkg.in/yaml.v2 v2.4.0',
  'replace gopkg.in/yaml.v3 => gopkg.in/yaml.v3 v3.0.1',
  ...KUBERNETES_PARTS.map((part) => `replace k8s.io/${part} => k8s.io/${part} ${KUBERNETES_PARTS_VERSION}`),
];

const RECIPE: Recipe = {
  module: MODULE,
  version: ARGOCD_VERSION,
  requirements: REQUIREMENTS,
  command: '.',
  sources: [SOURCE],
  usually: '6 minutes',
  stamps: [],
};

/**
 * Path of Argo CD's controller and repository server for tests: from `.cache/`, else built by Go, once.
 *
 * @throws Error that says why there is none
 */
export function findArgoCd(progress: Progress): Promise<string> {
  return cachedProgram('argocd', 'Argo CD', RECIPE, progress);
}

/** The CRDs of that version, from its module. @throws Error when the module cannot be had */
export async function argoCdDefinitions(): Promise<string[]> {
  const folder = join(await downloadModule(`${MODULE}@${ARGOCD_VERSION}`), 'manifests/crds');
  return ['application-crd.yaml', 'appproject-crd.yaml'].map((file) => readFileSync(join(folder, file), 'utf8'));
}
