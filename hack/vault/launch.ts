import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster } from '../cluster/cluster.ts';
import { ProcessGroup, type Running, sweep } from '../cluster/processes.ts';
import { ServiceAccounts } from '../cluster/service-accounts.ts';
import { freePort, onFreePort, probe, untilReady } from '../cluster/starting.ts';
import type { Progress } from '../cluster/versions.ts';
import { asAdministrator, type VaultAdministrator } from './prepare.ts';
import { findVault } from './program.ts';

const TEMPORARY = 'gsv-vault-';
const MOUNT = 'secret';
/** Where the account that reviews tokens lives, with no other right. */
const REVIEWER = { namespace: 'vault', name: 'vault-reviewer' };
/** Longer than any suite runs: Vault does not renew the token it reviews with. Seconds. */
const REVIEWER_TOKEN_SECONDS = 24 * 60 * 60;
/** A node becomes active, a mount usable, within this time. Milliseconds. */
const SETTLED_TIMEOUT_MS = 60_000;
const POLL_MS = 50;
/** What `sys/health` answers with. */
const ACTIVE = 200;
const STANDBY = 429;

export interface VaultOptions {
  log: Progress;
  /** Whose service accounts may log in at `auth/kubernetes`. Absent: the method is mounted and refuses everybody. */
  cluster?: Pick<Cluster, 'kubeconfig' | 'url' | 'caFile'>;
  /** `file` outlives a restart; only `memory` can have a standby. Default: `memory`. */
  storage?: 'memory' | 'file';
  /** PEM files of a certificate for 127.0.0.1 with its authority, and of its key. Absent: no TLS. */
  tls?: { certFile: string; keyFile: string };
  /** Also start a second node, which waits. It redirects, as it cannot forward. */
  standby?: boolean;
}

/** A real Vault server on loopback. Its first members are those of the double. */
export interface RunningVault {
  url: string;
  rootToken: string;
  /** Of the Kubernetes auth mount, for policy templates. */
  accessor: string;
  /** KV v2 mount: `secret`, as the double has it. */
  mount: string;
  /** Only where one was asked for. */
  standbyUrl?: string;
  /** Closes the first node: every call is refused until `unseal`. A standby takes over meanwhile, and keeps it. */
  seal(): Promise<void>;
  unseal(): Promise<void>;
  /** Ends the program and starts it again at the same address, sealed. Needs storage `file`. */
  restart(): Promise<void>;
  /** Data and log; goes with the server. */
  folder: string;
  /** The last lines of its log. */
  logTail(): string;
  /** Resident bytes. */
  memory(): number;
  close(): Promise<void>;
}

/**
 * Starts a real Vault server for one suite: built where there is none yet (minutes, once), initialised,
 * unsealed, with KV v2 at `secret/` and Kubernetes auth, which asks the API server of `cluster` about
 * every token. Policies and roles of ours come from `prepareVault` and `prepareLogins`, as with the double.
 *
 * ```ts
 * const cluster = await testCluster();
 * const vault = await startVault({ cluster, log });
 * after(() => vault.close());
 * const administrator = { url: vault.url, token: vault.rootToken, mount: vault.mount };
 * await prepareVault(administrator);
 * await prepareLogins(administrator, vault.accessor);
 * ```
 *
 * @throws Error when no server can be had or it does not become ready, with its last words
 */
export async function startVault(options: VaultOptions): Promise<RunningVault> {
  const program = await findVault(options.log);
  const parent = await realpath(tmpdir());
  await sweep(parent, TEMPORARY);
  const folder = await mkdtemp(join(parent, TEMPORARY));
  const group = await ProcessGroup.claim(folder);
  const server = new VaultServer(program, folder, group, options);
  const close = async (): Promise<void> => {
    await server.stop();
    await group.release();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return await server.start(close);
  } catch (error) {
    await close();
    throw error;
  }
}

class VaultServer {
  readonly #program: string;
  readonly #folder: string;
  readonly #group: ProcessGroup;
  readonly #options: VaultOptions;
  #running: Running | undefined;
  #args: string[] = [];
  #url = '';
  #standbyUrl: string | undefined;
  #key = '';
  #root: VaultAdministrator = { url: '', token: '', mount: MOUNT };

  constructor(program: string, folder: string, group: ProcessGroup, options: VaultOptions) {
    this.#program = program;
    this.#folder = folder;
    this.#group = group;
    this.#options = options;
    if (options.tls !== undefined) this.#root = { ...this.#root, caFile: options.tls.certFile };
  }

  async start(close: () => Promise<void>): Promise<RunningVault> {
    const started = Date.now();
    await onFreePort(async (port) => {
      this.#url = `${this.#scheme}://127.0.0.1:${port}`;
      this.#args = [`-listen=127.0.0.1:${port}`, ...(await this.#more())];
      await this.#launch();
    });
    await this.#initialise();
    const accessor = await this.#mount();
    this.#options.log(`Vault is ready at ${this.#url} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    const standby = this.#standbyUrl;
    return {
      url: this.#url,
      rootToken: this.#root.token,
      accessor,
      mount: MOUNT,
      folder: this.#folder,
      ...(standby === undefined ? {} : { standbyUrl: standby }),
      seal: async () => {
        await asAdministrator(this.#root, 'POST', 'sys/seal');
      },
      unseal: () => this.#unseal(),
      restart: async () => {
        if (this.#options.storage !== 'file') throw new Error('what is in memory does not outlive a restart');
        await this.stop();
        await this.#launch();
      },
      logTail: () => this.#running?.logTail() ?? '',
      memory: () => this.#running?.memory() ?? 0,
      close,
    };
  }

  async stop(): Promise<void> {
    await this.#running?.stop('kill');
  }

  async #more(): Promise<string[]> {
    const { storage = 'memory', standby = false, tls } = this.#options;
    const args: string[] = [];
    if (storage === 'file') {
      const data = join(this.#folder, 'data');
      await mkdir(data, { recursive: true, mode: 0o700 });
      args.push(`-storage=${data}`);
    }
    if (tls !== undefined) args.push(`-tls-cert=${tls.certFile}`, `-tls-key=${tls.keyFile}`);
    if (standby) {
      const address = `127.0.0.1:${await freePort()}`;
      this.#standbyUrl = `${this.#scheme}://${address}`;
      args.push(`-standby=${address}`);
    }
    return args;
  }

  /** Sealed or uninitialised, it answers. */
  async #launch(): Promise<void> {
    const running = await this.#group.start('vault', this.#program, this.#args);
    this.#running = running;
    await untilReady(running, async () => !(await this.#health()).includes(0));
  }

  /** One key, because nobody else is to hold another part of it. */
  async #initialise(): Promise<void> {
    const body = { secret_shares: 1, secret_threshold: 1 };
    const answer = await asAdministrator({ ...this.#root, url: this.#url }, 'POST', 'sys/init', body);
    const { keys_base64, root_token } = answer as { keys_base64: string[]; root_token: string };
    this.#key = keys_base64[0] ?? '';
    this.#root = { ...this.#root, url: this.#url, token: root_token };
    await this.#unseal();
  }

  /** One after the other: the first to be open is the active one, unless another is already. */
  async #unseal(): Promise<void> {
    for (const url of this.#nodes) {
      await asAdministrator({ ...this.#root, url }, 'POST', 'sys/unseal', { key: this.#key });
      const open = async (): Promise<boolean> => [ACTIVE, STANDBY].includes(await this.#probe(url));
      await settled(`${url} is neither active nor standby`, open);
      const active = async (): Promise<boolean> => (await this.#health()).includes(ACTIVE);
      await settled('no node is active', active);
    }
  }

  get #scheme(): string {
    return this.#options.tls === undefined ? 'http' : 'https';
  }

  get #nodes(): string[] {
    return [this.#url, ...(this.#standbyUrl === undefined ? [] : [this.#standbyUrl])];
  }

  #probe(node: string): Promise<number> {
    const { tls } = this.#options;
    return probe(`${node}/v1/sys/health`, tls === undefined ? undefined : readFileSync(tls.certFile));
  }

  #health(): Promise<number[]> {
    return Promise.all(this.#nodes.map((node) => this.#probe(node)));
  }

  /** @returns the accessor of the Kubernetes auth mount */
  async #mount(): Promise<string> {
    const { cluster } = this.#options;
    await asAdministrator(this.#root, 'POST', `sys/mounts/${MOUNT}`, { type: 'kv', options: { version: '2' } });
    // A new KV v2 mount upgrades itself for a moment, and refuses until then.
    await settled(`${MOUNT}/ is not usable`, async () => {
      const config = asAdministrator(this.#root, 'GET', `${MOUNT}/config`);
      return config.then(
        () => true,
        () => false,
      );
    });
    await asAdministrator(this.#root, 'POST', 'sys/auth/kubernetes', { type: 'kubernetes' });
    if (cluster !== undefined) await this.#trust(cluster);
    const { data } = await asAdministrator(this.#root, 'GET', 'sys/auth');
    return (data as Record<string, { accessor: string }>)['kubernetes/']?.accessor ?? '';
  }

  /** Vault asks this API server about every token, with an account that may do nothing else. */
  async #trust(cluster: Pick<Cluster, 'kubeconfig' | 'url' | 'caFile'>): Promise<void> {
    const accounts = new ServiceAccounts(cluster);
    try {
      await accounts.create(REVIEWER.namespace, REVIEWER.name);
      await accounts.bind(REVIEWER.namespace, REVIEWER.name, 'system:auth-delegator');
      const reviewer = await accounts.token({ ...REVIEWER, seconds: REVIEWER_TOKEN_SECONDS });
      await asAdministrator(this.#root, 'POST', 'auth/kubernetes/config', {
        kubernetes_host: cluster.url,
        kubernetes_ca_cert: await readFile(cluster.caFile, 'utf8'),
        token_reviewer_jwt: reviewer,
        // It runs outside of the cluster.
        disable_local_ca_jwt: true,
      });
    } finally {
      await accounts.close();
    }
  }
}

async function settled(otherwise: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + SETTLED_TIMEOUT_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`Vault: ${otherwise} after ${SETTLED_TIMEOUT_MS / 1000} s`);
    await delay(POLL_MS);
  }
}
