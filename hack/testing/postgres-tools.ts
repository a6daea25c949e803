/** PostgreSQL's own tools, and a server that belongs to them: `pg_dump` refuses a server that is newer than itself. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { childEnvironment } from '../../config/settings.ts';
import { SUPERVISE } from '../../ledger/embedded.ts';
import { freePort } from '../cluster/starting.ts';

const run = promisify(execFile);

const PACKAGE = 'postgresql-15';
/** Debian keeps servers off the PATH, so that several can be installed. */
const DEBIAN_FOLDER = '/usr/lib/postgresql/15/bin';
const TOOLS = ['postgres', 'initdb', 'pg_dump', 'pg_restore'] as const;
const INSTALL_TIMEOUT_MS = 10 * 60_000;
/** A dump of a test's book is small; what a tool says about it is smaller. */
const MAX_OUTPUT_BYTES = 16_777_216;

/**
 * The folder that holds server and tools of one version: `GSV_TEST_PG_BIN`, else one on PATH, else Debian's. As root
 * on Debian a missing one is installed.
 *
 * @throws Error that names what is missing and its package
 */
export async function findPostgresTools(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const named = env.GSV_TEST_PG_BIN;
  const folders = named ? [named] : [...(env.PATH ?? '').split(delimiter).filter(Boolean), DEBIAN_FOLDER];
  const missingIn = (folder: string): string[] => TOOLS.filter((tool) => !existsSync(join(folder, tool)));
  const found = (): string | undefined => folders.find((folder) => missingIn(folder).length === 0);
  const mayInstall = named === undefined && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
  if (found() === undefined && mayInstall) {
    // Debian's scripts start no service in runlevel 1.
    const options = {
      env: { ...childEnvironment(), DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' },
      timeout: INSTALL_TIMEOUT_MS,
      maxBuffer: MAX_OUTPUT_BYTES,
    };
    const install = ['install', '--yes', '--no-install-recommends', PACKAGE];
    await run('apt-get', install, options).catch(async () => {
      await run('apt-get', ['update'], options);
      await run('apt-get', install, options);
    });
  }
  const folder = found();
  if (folder !== undefined) return folder;
  const where = named ?? DEBIAN_FOLDER;
  throw new Error(
    `${missingIn(where).join(', ')} missing in ${where}: install the Debian package ${PACKAGE}, or name the folder of another PostgreSQL from 15 on in GSV_TEST_PG_BIN`,
  );
}

/** An empty server of its own, which ends with this process. */
export interface PostgresServer {
  url: string;
  /** Runs a tool of the same version against it. */
  tool(name: 'pg_dump' | 'pg_restore', args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

export async function startPostgresServer(bin: string): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-postgres-tools-'));
  const user = await ordinaryUser();
  await chmod(folder, 0o700);
  if (user) await chown(folder, user.uid, user.gid);
  const data = join(folder, 'data');
  const as = { ...user, cwd: '/', env: childEnvironment() };
  const flags = ['-U', 'postgres', '--auth=trust', '--locale=C', '-E', 'UTF8', '--no-sync'];
  await run(join(bin, 'initdb'), ['-D', data, ...flags], as);
  const port = await freePort();
  const settings = { port, listen_addresses: '127.0.0.1', unix_socket_directories: '', fsync: 'off' };
  const command = [
    join(bin, 'postgres'),
    ...['-D', data],
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ];
  const child = spawn('/bin/sh', ['-c', SUPERVISE, 'postgres', ...command], {
    ...as,
    detached: true,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  child.stdin.on('error', () => undefined);
  let said = '';
  const ready = Promise.withResolvers<void>();
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
    if (said.includes('ready to accept connections')) ready.resolve();
  });
  child.once('close', () => ready.reject(new Error(`PostgreSQL ended: ${said.slice(-2000)}`)));
  await ready.promise;
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`;
  return {
    url,
    tool: async (name, args) => {
      const { stdout } = await run(join(bin, name), [`--dbname=${url}`, ...args], { maxBuffer: MAX_OUTPUT_BYTES });
      return stdout;
    },
    stop: async () => {
      const closed = once(child, 'close');
      child.stdin.end();
      await closed;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Whom PostgreSQL runs as, which refuses root; undefined = ourselves. */
async function ordinaryUser(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((entry) => entry.split(':'));
  const [, , uid, gid] = lines.find(([name]) => name === 'postgres') ?? lines.find(([name]) => name === 'nobody') ?? [];
  if (uid === undefined) throw new Error('there is no user "postgres" or "nobody" to run PostgreSQL as');
  return { uid: Number(uid), gid: Number(gid) };
}
