import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import type { Definition } from '../../crds/definitions.ts';
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
    return await Promise.all(files.sort().map((file) => install(api, join(FOLDER, file))));
  } finally {
    await api.close();
  }
}

async function install(api: KubernetesApi, file: string): Promise<Installed> {
  const definition = parse(await readFile(file, 'utf8')) as Definition;
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
