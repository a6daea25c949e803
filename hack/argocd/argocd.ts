import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import { ProcessGroup, type Running, sweep } from '../cluster/processes.ts';
import { freePort, probe, untilReady } from '../cluster/starting.ts';
import type { Progress } from '../cluster/versions.ts';
import { kubectlApply, kubectlEstablished } from './kubectl.ts';
import { argoCdDefinitions, findArgoCd } from './program.ts';

const TEMPORARY = 'gsv-argocd-';
const NAMESPACE = 'argocd';
/** `sync` failed: the next attempt is ours to cause, and no test waits for the poll. */
const POLL_SECONDS = '3600';

export interface ArgoCdOptions {
  cluster: Cluster;
  log: Progress;
  /** Entries of `argocd-cm`, e.g. health checks. */
  settings?: Readonly<Record<string, string>>;
}

/** A real Argo CD without its API server, beside a cluster of ours. */
export interface RunningArgoCd {
  namespace: string;
  /** Names of programs that have ended by themselves: none, if all is well. */
  ended(): string[];
  logTail(): string;
  close(): Promise<void>;
}

/**
 * Starts Argo CD's controller and repository server against the cluster, as an administrator. The pause between
 * waves is 0, as `kustomize/components/wave-delay` sets it.
 *
 * @throws Error when it cannot be had or does not become ready, with its last words
 */
export async function startArgoCd(options: ArgoCdOptions): Promise<RunningArgoCd> {
  const program = await findArgoCd(options.log);
  await prepare(options);
  const parent = await realpath(tmpdir());
  await sweep(parent, TEMPORARY);
  const folder = await mkdtemp(join(parent, TEMPORARY));
  const group = await ProcessGroup.claim(folder);
  const programs: Running[] = [];
  const close = async (): Promise<void> => {
    for (const each of programs.reverse()) await each.stop('kill');
    await group.release();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await launch(options, program, folder, group, programs);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    namespace: NAMESPACE,
    ended: () => programs.filter((each) => each.ended()).map(({ name }) => name),
    logTail: () => programs.map((each) => each.logTail()).join('\n'),
    close,
  };
}

/** What an installation has before its first process: kinds, settings, and the project that it brings itself. */
async function prepare({ cluster, settings = {} }: ArgoCdOptions): Promise<void> {
  const labels = { 'app.kubernetes.io/part-of': 'argocd' };
  const object = (kind: string, name: string, more: object) => ({
    apiVersion: 'v1',
    kind,
    metadata: { name, namespace: NAMESPACE, labels },
    ...more,
  });
  await kubectlApply(cluster.kubeconfig, await argoCdDefinitions());
  await kubectlEstablished(cluster.kubeconfig, ['applications.argoproj.io', 'appprojects.argoproj.io']);
  await kubectlApply(cluster.kubeconfig, [
    JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } }),
    JSON.stringify(object('ConfigMap', 'argocd-cm', { data: settings })),
    JSON.stringify(object('Secret', 'argocd-secret', { stringData: { 'server.secretkey': 'test' } })),
  ]);
}

async function launch(
  { cluster, log }: ArgoCdOptions,
  program: string,
  folder: string,
  group: ProcessGroup,
  programs: Running[],
): Promise<void> {
  const started = Date.now();
  const [redis, repository, repositoryMetrics, metrics] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  for (const each of ['tmp', 'home']) await mkdir(join(folder, each));
  const environment = [
    `HOME=${join(folder, 'home')}`,
    `TMPDIR=${join(folder, 'tmp')}`,
    `PATH=${process.env.PATH ?? ''}`,
    `KUBECONFIG=${cluster.kubeconfig}`,
    'ARGOCD_FAKE_IN_CLUSTER=true',
    'ARGOCD_GPG_ENABLED=false',
    'ARGOCD_SYNC_WAVE_DELAY=0',
    'ARGOCD_APPLICATION_CONTROLLER_NAME=argocd-application-controller',
    // Hermetic: neither settings nor hooks of this machine; a test's repository belongs to somebody else.
    'GIT_CONFIG_COUNT=1',
    'GIT_CONFIG_KEY_0=safe.directory',
    'GIT_CONFIG_VALUE_0=*',
  ];
  const start = async (name: string, args: string[], health: string): Promise<void> => {
    const running = await group.start(name, '/usr/bin/env', ['-i', ...environment, program, ...args]);
    programs.push(running);
    await untilReady(running, async () => (await probe(health)) === 200);
  };
  programs.push(await group.start('redis', program, ['redis', `127.0.0.1:${redis}`]));
  await start(
    'repo-server',
    [
      ...['argocd-repo-server', '--address=127.0.0.1', `--port=${repository}`, '--disable-tls'],
      ...[`--metrics-port=${repositoryMetrics}`, `--redis=127.0.0.1:${redis}`, '--logformat=json'],
    ],
    `http://127.0.0.1:${repositoryMetrics}/healthz`,
  );
  await start(
    'controller',
    [
      ...['argocd-application-controller', `--namespace=${NAMESPACE}`, `--repo-server=127.0.0.1:${repository}`],
      ...['--repo-server-plaintext', `--redis=127.0.0.1:${redis}`, `--metrics-port=${metrics}`],
      ...[`--app-resync=${POLL_SECONDS}`, '--logformat=json'],
    ],
    `http://127.0.0.1:${metrics}/healthz`,
  );
  log(`Argo CD is ready (${((Date.now() - started) / 1000).toFixed(1)} s)`);
}
