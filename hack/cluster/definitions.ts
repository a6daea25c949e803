import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import type { Definition, Schema } from '../../crds/definitions.ts';
import { type ForeignKind, KINDS } from '../../crds/kinds.ts';
import { KubernetesApi } from '../../crds/store/kubernetes-api.ts';
import { KubernetesConnection } from '../../crds/store/kubernetes-connection.ts';
import { ApiError } from '../../crds/store/kubernetes-errors.ts';

const FOLDER = join(import.meta.dirname, '../../crds');
const COLLECTION = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
/** A kind is served a second or two after it is accepted. Milliseconds. */
const SERVED_TIMEOUT_MS = 60_000;
const POLL_MS = 100;

/** A CustomResourceDefinition as the API server reports on it. */
export interface Installed extends Definition {
  status?: { conditions?: { type: string; status: string; message?: string }[] };
}

/**
 * Installs every CRD of `crds/` and waits until each kind is served.
 * @throws Error that names the CRD that was not accepted
 */
export async function installDefinitions(kubeconfig: string): Promise<Installed[]> {
  const api = new KubernetesApi(new KubernetesConnection(kubeconfig));
  try {
    const files = globSync('*.yaml', { cwd: FOLDER }).filter((file) => file !== 'kustomization.yaml');
    const read = async (file: string) => parse(await readFile(join(FOLDER, file), 'utf8')) as Definition;
    return await Promise.all(files.sort().map(async (file) => install(api, await read(file))));
  } finally {
    await api.close();
  }
}

/**
 * Installs a CRD for kinds of others that has their name and none of their schema, for tests of what
 * we do with such objects.
 */
export async function installForeign(kubeconfig: string, ...kinds: ForeignKind[]): Promise<void> {
  const api = new KubernetesApi(new KubernetesConnection(kubeconfig));
  try {
    await Promise.all(kinds.map((kind) => install(api, foreignDefinition(kind))));
  } finally {
    await api.close();
  }
}

function foreignDefinition(kind: ForeignKind): Definition {
  const { apiVersion, plural, shortName } = KINDS[kind];
  const [group = '', versionName = ''] = apiVersion.split('/');
  const singular = kind.toLowerCase();
  const names = { kind, plural, singular, shortNames: [shortName], categories: [] };
  const anything: Schema = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const version = { name: versionName, served: true, storage: true, schema: { openAPIV3Schema: anything } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names,
      versions: [version],
    },
  } as unknown as Definition;
}

async function install(api: KubernetesApi, definition: Definition): Promise<Installed> {
  const { name } = definition.metadata;
  await api.call('PATCH', `${COLLECTION}/${name}`, {
    query: { fieldManager: 'gsv-cluster', force: true, fieldValidation: 'Strict' },
    contentType: 'application/apply-patch+yaml',
    body: definition,
    repeat: 'always',
  });
  const end = Date.now() + SERVED_TIMEOUT_MS;
  for (;;) {
    const installed = (await api.call('GET', `${COLLECTION}/${name}`, { repeat: 'always' })) as Installed;
    if (holds(installed, 'Established') && (await isServed(api, definition))) return installed;
    if (Date.now() > end) throw new Error(`${name} is not served: ${JSON.stringify(installed.status?.conditions)}`);
    await delay(POLL_MS);
  }
}

/** Whether the condition is True. */
export function holds({ status }: Installed, type: string): boolean {
  return status?.conditions?.some((each) => each.type === type && each.status === 'True') ?? false;
}

async function isServed(api: KubernetesApi, { spec }: Definition): Promise<boolean> {
  const version = spec.versions[0]?.name;
  try {
    await api.call('GET', `/apis/${spec.group}/${version}/${spec.names.plural}?limit=1`, { repeat: 'always' });
    return true;
  } catch (error) {
    if (ApiError.of(error).status === 404) return false;
    throw error;
  }
}
