import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { kubectlApply, kubectlEstablished } from '../argocd/kubectl.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { writeKubeconfig } from '../cluster/credentials.ts';
import { ProcessGroup, sweep } from '../cluster/processes.ts';
import { ServiceAccounts } from '../cluster/service-accounts.ts';
import { freePort, probe, untilReady } from '../cluster/starting.ts';
import type { Progress } from '../cluster/versions.ts';
import { externalSecretsManifests, findExternalSecrets } from './program.ts';
import { EXTERNAL_SECRETS } from './roles.ts';

const TEMPORARY = 'gsv-external-secrets-';
/** Longer than any suite runs: it does not read its token again. Seconds. */
const TOKEN_SECONDS = 24 * 60 * 60;

export interface ExternalSecretsOptions {
  cluster: Pick<Cluster, 'kubeconfig' | 'url' | 'caFile'>;
  log: Progress;
}

/** A real External Secrets beside a cluster of ours. */
export interface RunningExternalSecrets {
  /** Whether it has ended by itself. */
  ended(): boolean;
  /** Its whole log, as it writes it. */
  logTail(): string;
  /** Resident bytes. */
  memory(): number;
  close(): Promise<void>;
}

/**
 * Starts External Secrets with the account, the rights and the flags that its Helm chart gives it. Absent are its
 * admission webhooks, and every provider but Vault.
 *
 * @throws Error when it cannot be had or does not become ready, with its last words
 */
export async function startExternalSecrets({ cluster, log }: ExternalSecretsOptions): Promise<RunningExternalSecrets> {
  const program = await findExternalSecrets(log);
  await install(cluster.kubeconfig);
  const parent = await realpath(tmpdir());
  await sweep(parent, TEMPORARY);
  const folder = await mkdtemp(join(parent, TEMPORARY));
  const group = await ProcessGroup.claim(folder);
  const release = async (): Promise<void> => {
    await group.release();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const started = Date.now();
    const kubeconfig = join(folder, 'kubeconfig');
    await writeKubeconfig(kubeconfig, cluster.url, cluster.caFile, await tokenOf(cluster));
    const [metrics, health] = [await freePort(), await freePort()];
    const environment = ['HOME=/nonexistent', `KUBECONFIG=${kubeconfig}`];
    const running = await group.start('external-secrets', '/usr/bin/env', [
      ...['-i', ...environment, program, '--concurrent=1', '--loglevel=info', '--zap-time-encoding=iso8601'],
      ...[`--metrics-addr=127.0.0.1:${metrics}`, `--live-addr=127.0.0.1:${health}`],
    ]);
    await untilReady(running, async () => (await probe(`http://127.0.0.1:${health}/healthz`)) === 200);
    log(`External Secrets is ready (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    return {
      ended: () => running.ended(),
      logTail: () => running.logTail(),
      memory: () => running.memory(),
      close: async () => {
        await running.stop('kill');
        await release();
      },
    };
  } catch (error) {
    await release();
    throw error;
  }
}

async function install(kubeconfig: string): Promise<void> {
  const { definitions, roles } = await externalSecretsManifests();
  await kubectlApply(kubeconfig, definitions);
  const names = definitions.map((text) => (parse(text) as { metadata: { name: string } }).metadata.name);
  await kubectlEstablished(kubeconfig, names);
  await kubectlApply(kubeconfig, roles);
}

async function tokenOf(cluster: Pick<Cluster, 'kubeconfig'>): Promise<string> {
  const accounts = new ServiceAccounts(cluster);
  try {
    const { namespace, account: name } = EXTERNAL_SECRETS;
    return await accounts.token({ namespace, name, seconds: TOKEN_SECONDS });
  } finally {
    await accounts.close();
  }
}
