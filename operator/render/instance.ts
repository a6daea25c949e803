import { egressRules } from './egress.ts';
import { RenderError } from './errors.ts';
import { externalSecretSpec } from './external-secret.ts';
import type { InstanceInput } from './input.ts';
import { InstanceObject } from './instance-object.ts';
import { metadata, WAVE } from './labels.ts';
import { instanceFile, secretPath } from './paths.ts';
import { offeredRuntime } from './profile.ts';
import { runtimeManifests, takesRuntimeKey } from './runtime.ts';
import { documents, type Manifest } from './yaml.ts';

/**
 * Everything of one Instance: identity, settings, secrets and network, and under profile Namespace its runtime.
 *
 * @throws RenderError `profile_not_offered`, `invalid_name`, `secret_in_config`
 */
export function instanceManifests(input: InstanceInput): Manifest[] {
  const runtime = offeredRuntime(input);
  if (takesRuntimeKey(input.contract)) {
    throw new RenderError(
      'invalid_name',
      'the secret name runtime-key belongs to the runtime; rename it in the contract',
    );
  }
  const object = new InstanceObject(input);
  return [
    configMap(input, object),
    input.contract.secrets.length > 0 ? externalSecret(input, object) : undefined,
    networkPolicy(input, object),
    serviceAccount(object),
    ...(runtime === undefined ? [] : runtimeManifests(input, object, runtime)),
  ].filter((manifest) => manifest !== undefined);
}

/** The manifests of an Instance as its one file. @throws RenderError as {@link instanceManifests} */
export function renderInstance(input: InstanceInput, manifests = instanceManifests(input)): Map<string, string> {
  const { organization, project, instance } = input;
  const { name, uid } = instance.metadata;
  const path = instanceFile(organization.metadata.name, project.metadata.name, name, uid);
  return new Map([[path, documents(manifests)]]);
}

function serviceAccount(object: InstanceObject): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: metadata(object.name, object.namespace, object.labels, WAVE.rest),
    automountServiceAccountToken: false,
  };
}

function configMap(input: InstanceInput, object: InstanceObject): Manifest {
  const config = input.instance.spec.config ?? {};
  const secret = input.contract.secrets.find(({ name }) => Object.hasOwn(config, name));
  if (secret !== undefined) {
    throw new RenderError('secret_in_config', `config.${secret.name} is a secret of the contract; set it as a secret`);
  }
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: metadata(object.name, object.namespace, object.labels, WAVE.rest),
    data: {
      'config.json': sortedJson(config),
      contractDigest: input.contractDigest,
      offering: input.contract.offering,
      plan: input.instance.spec.plan,
      version: input.contract.version,
    },
  };
}

/** JSON with sorted members: one config, one text, whatever order the buyer wrote it in. */
function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member !== null && typeof member === 'object' && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

function externalSecret(input: InstanceInput, object: InstanceObject): Manifest {
  const names = input.contract.secrets.map(({ name }) => name).sort();
  const versions = (input.secretVersions ?? [])
    .filter(({ name }) => names.includes(name))
    .map(({ name, version }) => `${name}=${version}`)
    .sort();
  const annotations: Record<string, string> = versions.length === 0 ? {} : { 'force-sync': versions.join(',') };
  const data = names.map((name) => ({
    secretKey: name,
    remoteRef: { key: secretPath(object.namespace, input.instance.metadata.uid, name), property: 'value' },
  }));
  return {
    apiVersion: 'external-secrets.io/v1',
    kind: 'ExternalSecret',
    metadata: metadata(object.name, object.namespace, object.labels, WAVE.access, annotations),
    spec: externalSecretSpec(object.name, object.labels, data),
  };
}

/**
 * Egress to the connectors of the contract. Host names are beyond a core NetworkPolicy: they stand in an
 * annotation, and the runner, which makes those calls under profile Shared, enforces them itself.
 */
function networkPolicy(input: InstanceInput, object: InstanceObject): Manifest | undefined {
  const targets = input.contract.connectors.flatMap(({ url, egressHosts }) => [url, ...(egressHosts ?? [])]);
  const egress = egressRules(targets, 'platform', input.platform);
  if (egress.rules.length === 0 && egress.hosts.length === 0) return undefined;
  const annotations: Record<string, string> =
    egress.hosts.length === 0 ? {} : { 'store.gsv.dev/egress-hosts': egress.hosts.join(',') };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: metadata(object.name, object.namespace, object.labels, WAVE.foundation, annotations),
    spec: {
      podSelector: { matchLabels: { 'store.gsv.dev/instance-uid': input.instance.metadata.uid } },
      policyTypes: ['Egress'],
      egress: egress.rules,
    },
  };
}
