/** A Git remote over SSH: the machine's own sshd, one for each connection, with what can go wrong on the way. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { childEnvironment } from '../../config/settings.ts';

const run = promisify(execFile);

const PACKAGE = 'openssh-server';
/** sshd insists on being named by its whole path, and is rarely on the PATH of a user. */
const PLACES = ['/usr/sbin/sshd', '/usr/local/sbin/sshd', '/usr/bin/sshd'];
const INSTALL_TIMEOUT_MS = 10 * 60_000;
/** sshd drops its rights in this empty folder of root's. */
const PRIVILEGE_SEPARATION = '/run/sshd';

/**
 * The path of sshd. As root on Debian a missing one is installed; it is not started as a service.
 *
 * @throws Error that names the package
 */
export async function findSshd(): Promise<string> {
  const found = (): string | undefined => PLACES.find((path) => existsSync(path));
  if (found() === undefined && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    // Debian's scripts start no service in runlevel 1.
    const env = { ...childEnvironment(), DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
    const options = { env, timeout: INSTALL_TIMEOUT_MS };
    const install = ['install', '--yes', '--no-install-recommends', PACKAGE];
    await run('apt-get', install, options).catch(async () => {
      await run('apt-get', ['update'], options);
      await run('apt-get', install, options);
    });
  }
  const sshd = found();
  if (sshd === undefined) throw new Error(`there is no sshd: install the package ${PACKAGE}`);
  return sshd;
}

/** Makes a key pair without a passphrase. @returns the public half as one line */
export async function makeKey(file: string): Promise<string> {
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', file]);
  const line = (await readFile(`${file}.pub`, 'utf8')).trim();
  await rm(`${file}.pub`); // A Secret that is mounted holds the private half alone.
  return line;
}

/** Where one connection breaks off, counted in bytes of one direction. */
export interface Cut {
  of: 'request' | 'reply';
  at: number;
}

export class Sshd {
  readonly #sshd: string;
  readonly #folder: string;
  readonly #server: Server;
  readonly #connections = new Map<Socket, ChildProcess>();
  #port = 0;
  #hostKey = '';
  /** Of the next connection only. */
  cut: Cut | undefined;
  /** How often a connection was cut: a test of a fault that did not fire has shown nothing. */
  fired = 0;
  /** Bytes of the last connection. */
  last = { request: 0, reply: 0 };

  private constructor(sshd: string, folder: string) {
    this.#sshd = sshd;
    this.#folder = folder;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  /** Serves `repository` and nothing else to the holders of `authorized`, whatever command they ask for. */
  static async start(folder: string, repository: string, authorized: string): Promise<Sshd> {
    const server = new Sshd(await findSshd(), folder);
    await mkdir(folder, { recursive: true });
    if (process.getuid?.() === 0) await mkdir(PRIVILEGE_SEPARATION, { recursive: true, mode: 0o755 });
    const forced = join(folder, 'forced');
    const cases = ['upload-pack', 'receive-pack'].map((it) => `git-${it}*) exec git ${it} '${repository}';;`);
    await writeFile(forced, `#!/bin/sh\ncase "$SSH_ORIGINAL_COMMAND" in ${cases.join(' ')} esac\nexit 1\n`, {
      mode: 0o755,
    });
    await writeFile(join(folder, 'authorized_keys'), `command="${forced}",restrict ${authorized}\n`);
    await server.renewHostKey();
    const settings = [
      `AuthorizedKeysFile ${join(folder, 'authorized_keys')}`,
      `HostKey ${join(folder, 'host_key')}`,
      'PermitRootLogin forced-commands-only',
      'AuthenticationMethods publickey',
      'PasswordAuthentication no',
      'UsePAM no',
      // The folder for temporary files may belong to everybody.
      'StrictModes no',
      'PidFile none',
    ];
    await writeFile(join(folder, 'sshd_config'), `${settings.join('\n')}\n`);
    await server.open();
    return server;
  }

  /** Another host answers from now on. */
  async renewHostKey(): Promise<void> {
    const file = join(this.#folder, 'host_key');
    await rm(file, { force: true });
    this.#hostKey = await makeKey(file);
  }

  /** Address of the repository. */
  get url(): string {
    return `ssh://${userInfo().username}@127.0.0.1:${this.#port}/repository.git`;
  }

  /** This host as a line of `known_hosts`. */
  get knownHost(): string {
    return `[127.0.0.1]:${this.#port} ${this.#hostKey}\n`;
  }

  /** Listens, at the same port as before. */
  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const [socket, child] of this.#connections) {
      socket.destroy();
      child.kill();
    }
    await closed;
  }

  #serve(socket: Socket): void {
    const child = spawn(this.#sshd, ['-i', '-e', '-f', join(this.#folder, 'sshd_config')], {
      env: childEnvironment(),
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const cut = this.cut;
    this.cut = undefined;
    const carried = { request: 0, reply: 0 };
    this.last = carried;
    this.#connections.set(socket, child);
    const carry = (of: Cut['of'], bytes: Buffer, to: NodeJS.WritableStream): void => {
      const left = cut?.of === of ? cut.at - carried[of] : Number.POSITIVE_INFINITY;
      carried[of] += bytes.length;
      to.write(bytes.subarray(0, Math.max(0, left)));
      if (bytes.length <= left || socket.destroyed) return;
      this.fired += 1;
      socket.resetAndDestroy();
    };
    socket.on('data', (bytes) => carry('request', bytes, child.stdin));
    child.stdout.on('data', (bytes: Buffer) => carry('reply', bytes, socket));
    for (const stream of [socket, child.stdin, child.stdout, child]) stream.on('error', () => undefined);
    socket.on('close', () => child.stdin.end());
    child.on('close', () => {
      this.#connections.delete(socket);
      socket.end();
    });
  }
}
