import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import { writeKubeconfig } from '../cluster/credentials.ts';
import { kubectl } from './kubectl.ts';

const ROOT = join(import.meta.dirname, '../..');
const NAMESPACE = 'gsv-system';

/** Rights and tokens of one process of ours: those that `kustomize/base` ships, and no others. */
export interface Account {
  kubeconfig: string;
  /** File with a service account token for Vault's audience. */
  vaultToken: string;
}

/** Applies `kustomize/base` as an administrator does; nothing runs its Deployments here. */
export async function applyBase({ kubeconfig }: Cluster): Promise<void> {
  // The namespace must be there before what lies in it; kubectl orders them, the API server caches.
  await kubectl(kubeconfig, 'apply', '--server-side', '-k', join(ROOT, 'kustomize/base'));
}

/** Tokens of the API server itself, as a kubelet would mount them. */
export async function accountOf(cluster: Cluster, name: string, folder: string): Promise<Account> {
  const token = (...more: string[]): Promise<string> =>
    kubectl(cluster.kubeconfig, 'create', 'token', name, '-n', NAMESPACE, '--duration=2h', ...more);
  const kubeconfig = join(folder, `${name}.kubeconfig`);
  await writeKubeconfig(kubeconfig, cluster.url, cluster.caFile, (await token()).trim());
  const vaultToken = join(folder, `${name}.vault-token`);
  await writeFile(vaultToken, (await token('--audience=vault')).trim(), { mode: 0o600 });
  return { kubeconfig, vaultToken };
}
