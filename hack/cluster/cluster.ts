import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { findBinaries } from './binaries.ts';
import { type Credentials, credentialsIn, writeKubeconfig } from './credentials.ts';
import { ProcessGroup, type Running, sweep } from './processes.ts';
import { freePort, onFreePort, probe, untilReady } from './starting.ts';
import type { Binaries, Progress } from './versions.ts';

const TEMPORARY = 'gsv-cluster-';

/** Without nodes there is nothing to schedule: these make Namespaces, owners and accounts behave. */
const CONTROLLERS = [
  'namespace-controller',
  'garbage-collector-controller',
  'serviceaccount-controller',
  'clusterrole-aggregation-controller',
  'resourcequota-controller',
];

/** What makes pods of Deployments. Without nodes they stay where they are, until a test plays the kubelet. */
const WORKLOAD_CONTROLLERS = ['deployment-controller', 'replicaset-controller'];

export interface ClusterOptions {
  /** Where data, keys and logs lie; absent: a temporary folder that goes with the cluster. */
  dataDir?: string;
  log: Progress;
  /** Also run the controller manager, where there is one. Default: true. */
  controllers?: boolean;
  /** Also those of Deployments and ReplicaSets. Default: false. */
  workloads?: boolean;
  /** More flags for the API server. */
  apiServerArgs?: readonly string[];
}

/** A real API server with etcd on loopback. */
export interface Cluster {
  /** Path of an administrator's kubeconfig that needs no other file. */
  kubeconfig: string;
  url: string;
  caFile: string;
  adminToken: string;
  /** Data, keys and logs. */
  folder: string;
  /** Whether deleted Namespaces are emptied and owners' children collected. */
  controllers: boolean;
  /** Ends the API server and starts it again at the same address: its watch history is gone. */
  restartApiServer(): Promise<void>;
  /** Names of programs that have ended by themselves: none, if all is well. */
  ended(): string[];
  /** Resident bytes of each program. */
  memory(): Record<string, number>;
  close(): Promise<void>;
}

/**
 * Starts a cluster; the programs are found, downloaded or built. RBAC is on, as in production.
 * @throws Error when no API server can be had or it does not become ready, with its last words
 */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { log } = options;
  const binaries = await findBinaries(log);
  const temporary = options.dataDir === undefined;
  if (temporary) await sweep(await realpath(tmpdir()), TEMPORARY);
  const folder = await (options.dataDir === undefined
    ? mkdtemp(join(await realpath(tmpdir()), TEMPORARY))
    : resolve(options.dataDir));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const group = await ProcessGroup.claim(folder);
  const started = new ControlPlane(folder, group, binaries, temporary);
  const close = async (): Promise<void> => {
    await started.stop();
    await group.release();
    if (temporary) await rm(folder, { recursive: true, force: true });
  };
  try {
    await started.start(options);
  } catch (error) {
    await close();
    throw error;
  }
  return started.cluster(close);
}

class ControlPlane {
  readonly #folder: string;
  readonly #group: ProcessGroup;
  readonly #binaries: Binaries;
  readonly #temporary: boolean;
  readonly #kubeconfig: string;
  #credentials: Credentials | undefined;
  #extra: readonly string[] = [];
  #etcd: Running | undefined;
  #etcdUrl = '';
  #apiServer: Running | undefined;
  #port = 0;
  #controllers: Running | undefined;

  constructor(folder: string, group: ProcessGroup, binaries: Binaries, temporary: boolean) {
    this.#folder = folder;
    this.#group = group;
    this.#binaries = binaries;
    this.#temporary = temporary;
    this.#kubeconfig = join(folder, 'kubeconfig');
  }

  async start({ log, controllers = true, workloads = false, apiServerArgs = [] }: ClusterOptions): Promise<void> {
    const started = Date.now();
    this.#extra = apiServerArgs;
    this.#credentials = await credentialsIn(this.#folder);
    await onFreePort(async (port) => {
      this.#etcd = await this.#startEtcd(port, await freePort());
    });
    await onFreePort(async (port) => {
      this.#port = port;
      this.#apiServer = await this.#startApiServer();
    });
    const { caFile, adminToken } = this.#credentials;
    await writeKubeconfig(this.#kubeconfig, this.#url, caFile, adminToken);
    if (controllers && this.#binaries['kube-controller-manager'] !== undefined) {
      this.#controllers = await this.#startControllers(this.#binaries['kube-controller-manager'], workloads);
    }
    log(`the API server is ready at ${this.#url} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  }

  cluster(close: () => Promise<void>): Cluster {
    const { caFile, adminToken } = this.#ready;
    return {
      kubeconfig: this.#kubeconfig,
      url: this.#url,
      caFile,
      adminToken,
      folder: this.#folder,
      controllers: this.#controllers !== undefined,
      restartApiServer: async () => {
        await this.#apiServer?.stop('ask');
        this.#apiServer = await this.#startApiServer();
      },
      ended: () => this.#running.filter((each) => each.ended()).map((each) => each.name),
      memory: () => Object.fromEntries(this.#running.map((each) => [each.name, each.memory()])),
      close,
    };
  }

  /** Readers before what they read. What is thrown away anyway need not end in order. */
  async stop(): Promise<void> {
    for (const each of this.#running) await each.stop(this.#temporary ? 'kill' : 'ask');
  }

  get #running(): Running[] {
    return [this.#controllers, this.#apiServer, this.#etcd].filter((each) => each !== undefined);
  }

  get #url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get #ready(): Credentials {
    if (this.#credentials === undefined) throw new Error('the cluster has not been started');
    return this.#credentials;
  }

  async #startEtcd(port: number, peerPort: number): Promise<Running> {
    this.#etcdUrl = `http://127.0.0.1:${port}`;
    const peers = `http://127.0.0.1:${peerPort}`;
    const etcd = await this.#group.start('etcd', this.#binaries.etcd, [
      '--name=gsv',
      `--data-dir=${join(this.#folder, 'etcd')}`,
      `--listen-client-urls=${this.#etcdUrl}`,
      `--advertise-client-urls=${this.#etcdUrl}`,
      `--listen-peer-urls=${peers}`,
      `--initial-advertise-peer-urls=${peers}`,
      `--initial-cluster=gsv=${peers}`,
      '--log-level=warn',
      ...(this.#temporary ? ['--unsafe-no-fsync'] : []),
    ]);
    await untilReady(etcd, async () => (await probe(`${this.#etcdUrl}/health`)) === 200);
    return etcd;
  }

  async #startApiServer(): Promise<Running> {
    const { certificates, caFile, tokensFile, signingKeyFile, adminToken } = this.#ready;
    const server = await this.#group.start('kube-apiserver', this.#binaries['kube-apiserver'], [
      `--etcd-servers=${this.#etcdUrl}`,
      '--bind-address=127.0.0.1',
      '--advertise-address=127.0.0.1',
      `--secure-port=${this.#port}`,
      `--cert-dir=${certificates}`,
      `--token-auth-file=${tokensFile}`,
      '--authorization-mode=RBAC',
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-signing-key-file=${signingKeyFile}`,
      `--service-account-key-file=${signingKeyFile}`,
      '--service-cluster-ip-range=10.0.0.0/24',
      // There is no kubelet and no Service to answer for: the endpoint of `kubernetes` is not kept.
      '--endpoint-reconciler-type=none',
      '--profiling=false',
      ...this.#extra,
    ]);
    const ready = async (): Promise<boolean> => {
      if (!existsSync(caFile)) return false;
      return (await probe(`${this.#url}/readyz`, await readFile(caFile), adminToken)) === 200;
    };
    await untilReady(server, ready);
    return server;
  }

  async #startControllers(program: string, workloads: boolean): Promise<Running> {
    const { caFile, controllersToken, signingKeyFile, adminToken } = this.#ready;
    const kubeconfig = join(this.#folder, 'controllers.kubeconfig');
    await writeKubeconfig(kubeconfig, this.#url, caFile, controllersToken);
    const controllers = await this.#group.start('kube-controller-manager', program, [
      `--kubeconfig=${kubeconfig}`,
      `--controllers=${[...CONTROLLERS, ...(workloads ? WORKLOAD_CONTROLLERS : [])].join(',')}`,
      `--service-account-private-key-file=${signingKeyFile}`,
      '--leader-elect=false',
      '--secure-port=0',
    ]);
    const account = `${this.#url}/api/v1/namespaces/default/serviceaccounts/default`;
    await untilReady(controllers, async () => (await probe(account, await readFile(caFile), adminToken)) === 200);
    return controllers;
  }
}
