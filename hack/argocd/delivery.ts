import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after } from 'node:test';
import { parse } from 'yaml';
import { createLogger } from '../../config/log.ts';
import { Secret } from '../../config/secret-setting.ts';
import { VaultSecrets } from '../../config/secrets/vault.ts';
import { TENANT_ACCOUNT, TENANT_POLICY } from '../../config/secrets.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { ArgoDelivery } from '../../operator/delivery/argocd/delivery.ts';
import { defaultPlatform } from '../../operator/render/render.ts';
import type { ClusterOptions } from '../cluster/cluster.ts';
import { testCluster } from '../cluster/testing.ts';
import { testExternalSecrets } from '../eso/testing.ts';
import { GitRemote } from '../testing/git-remote.ts';
import { prepareLogins } from '../vault/prepare.ts';
import { testVault } from '../vault/testing.ts';
import { startArgoCd } from './argocd.ts';

const HEALTH = join(import.meta.dirname, '../../kustomize/components/argocd-health/argocd-cm.yaml');

/** ArgoDelivery over a real Argo CD, with a real External Secrets and Vault, and a Git remote. Ends with the suite. */
export async function startDelivery({
  now = () => Date.now(),
  ...options
}: Pick<ClusterOptions, 'workloads'> & { now?: () => number } = {}) {
  const log = (line: string): void => void process.stderr.write(`# ${line}\n`);
  const cluster = await testCluster(options);
  const vault = await testVault({ cluster });
  after(() => vault.close());
  const administrator = { url: vault.url, token: vault.rootToken, mount: vault.mount };
  await prepareLogins(administrator, vault.accessor);
  const externalSecrets = await testExternalSecrets(cluster);
  after(() => externalSecrets.close());
  const health = parse(await readFile(HEALTH, 'utf8')) as { data: Record<string, string> };
  const argo = await startArgoCd({ cluster, log, settings: health.data });
  after(() => argo.close());
  const remote = await GitRemote.create();
  after(() => remote[Symbol.asyncDispose]());
  const writer = await remote.writer('operator');
  const store = await KubernetesStore.open({
    kubeConfig: cluster.kubeconfig,
    log: createLogger({ part: 'test', level: 'silent' }),
  });
  after(() => store.close());
  const delivery = new ArgoDelivery({ store, history: writer, namespace: argo.namespace, now });
  const secrets = new VaultSecrets({ ...administrator, auth: { kind: 'token', token: Secret.of(vault.rootToken) } });
  after(() => secrets.close());
  const defaults = defaultPlatform(`file://${remote.path}`, 'main');
  const platform = { ...defaults, vault: { ...defaults.vault, server: vault.url } };
  /** As a visit of the Project writes it, before it commits the SecretStore. */
  const putRole = (workload: string): Promise<void> =>
    secrets.putRole(workload, { serviceAccount: TENANT_ACCOUNT, namespace: workload, policies: [TENANT_POLICY] });
  return { cluster, argo, externalSecrets, remote, writer, store, delivery, secrets, platform, putRole };
}
