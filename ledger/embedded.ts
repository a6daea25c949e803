import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, readlink, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Logger } from '../config/log.ts';
import { type EmbeddedHome, EmbeddedPostgresError, exists, giveTo, openHome } from './embedded-home.ts';

export { EmbeddedPostgresError } from './embedded-home.ts';

export interface EmbeddedPostgres {
  /** Connection URL of the superuser, with its password: never log it. */
  url: string;
  /** Fast shutdown: sessions are ended, everything committed is on disk. Safe to call twice. */
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** `GSV_DATA_DIR`; PostgreSQL's part is its subfolder `postgres` (or a substitute that is logged). */
  dataDir: string;
  log: Logger;
  /** Server settings on top of ours; for tests, which need no durability. */
  settings?: Record<string, string>;
}

/**
 * Small, because it shares a machine with everything else: the quickstart stays under 600 MB. Durability is not
 * traded: fsync, full page writes and synchronous commit stay as they are.
 */
const SETTINGS: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '40',
  shared_buffers: '48MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '256MB',
  jit: 'off',
  // No worker processes: every one costs memory and this server has few cores.
  io_method: 'sync',
  max_worker_processes: '1',
  max_parallel_workers: '0',
  max_logical_replication_workers: '0',
  autovacuum_max_workers: '1',
  // Statements may carry a buyer's context; they never reach a log.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_checkpoints: 'off',
  lc_messages: 'C',
};

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 15_000;
/** Another program may take the free port between our look and PostgreSQL's bind. */
const PORT_ATTEMPTS = 5;
const POLL_MS = 20;

/**
 * Runs PostgreSQL as a child process of ours on the loopback interface. `server` is killed (fast shutdown) when
 * our end of its standard input closes, and the kernel closes that however we die, SIGKILL included. It gets
 * its own session, so that a Ctrl-C at the terminal reaches only us and we stop it in our order.
 */
export const SUPERVISE =
  'exec 3<&0; "$@" </dev/null 3<&- & server=$!; { read -r _ <&3; kill -INT $server; } & wait $server';

/**
 * Starts the PostgreSQL of the platform package on a data folder, which it makes at the first start.
 *
 * @throws EmbeddedPostgresError whose message is one sentence that says what to do
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const home = await openHome(options.dataDir);
  const log = options.log.child({ postgres: home.data });
  await endPrevious(home, log);
  await claim(home);
  try {
    return await startOn(home, options.settings ?? {}, log);
  } catch (error) {
    await rm(ownerFile(home), { force: true });
    throw error;
  }
}

async function startOn(home: EmbeddedHome, settings: Record<string, string>, log: Logger): Promise<EmbeddedPostgres> {
  const fresh = !(await exists(home.data));
  if (fresh) await initialise(home);
  else await checkVersion(home);
  const password = (await readFile(passwordFile(home), 'utf8').catch(() => '')).trim();
  if (!password) {
    throw new EmbeddedPostgresError(
      `the file ${passwordFile(home)} is missing; restore it, or move ${home.root} away to start empty`,
    );
  }
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      const server = await launch(home, { ...SETTINGS, ...settings, port: String(port) }, log);
      if (fresh) void syncInBackground(home, log);
      log.info({ port }, 'embedded PostgreSQL is ready');
      return { url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`, stop: () => stop(server, home) };
    } catch (error) {
      const taken = /could not (bind|create any TCP\/IP sockets)/.test((error as Error).message);
      if (!taken || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}

const passwordFile = (home: EmbeddedHome): string => join(home.root, 'password');
const ownerFile = (home: EmbeddedHome): string => join(home.root, 'owner.json');

/**
 * What a killed predecessor left: usually nothing but files, as its server ended with it. A server that is still
 * there and whose owner lives is somebody else's; one without an owner is stopped.
 */
async function endPrevious(home: EmbeddedHome, log: Logger): Promise<void> {
  const pid = await runningServer(home);
  const owner = await livingOwner(home);
  if (owner !== undefined) {
    throw new EmbeddedPostgresError(
      `process ${owner} is using the database in ${home.data}; stop it, or set GSV_DATA_DIR to another folder`,
    );
  }
  const pidFile = join(home.data, 'postmaster.pid');
  if (pid === undefined) {
    // The number may belong to another program by now, and PostgreSQL would refuse to start because of it.
    await rm(pidFile, { force: true });
    return;
  }
  log.warn({ pid }, 'a PostgreSQL without its owner is still running; stopping it');
  process.kill(pid, 'SIGINT');
  const deadline = Date.now() + STOP_TIMEOUT_MS;
  while (isAlive(pid)) {
    if (Date.now() > deadline) {
      throw new EmbeddedPostgresError(
        `an earlier PostgreSQL (process ${pid}) on ${home.data} does not stop; stop it by hand and start again`,
      );
    }
    await delay(POLL_MS);
  }
}

/** Process id of a server that really runs on this data folder. */
async function runningServer(home: EmbeddedHome): Promise<number | undefined> {
  const text = await readFile(join(home.data, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number(text.split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 1 || !isAlive(pid)) return undefined;
  // A server works inside its data folder; where the system does not tell, the pid alone must do.
  const folder = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
  return folder === undefined || folder === home.data ? pid : undefined;
}

interface Owner {
  pid: number;
  started: string | null;
}

async function livingOwner(home: EmbeddedHome): Promise<number | undefined> {
  const text = await readFile(ownerFile(home), 'utf8').catch(() => '');
  if (text === '') return undefined;
  try {
    const owner = JSON.parse(text) as Owner;
    const same = isAlive(owner.pid) && startOf(owner.pid) === owner.started;
    return same ? owner.pid : undefined;
  } catch {
    return undefined;
  }
}

/** Takes the place of an owner that was found dead. Of two processes that start at once, one gets it. */
async function claim(home: EmbeddedHome): Promise<void> {
  const owner: Owner = { pid: process.pid, started: startOf(process.pid) };
  await rm(ownerFile(home), { force: true });
  await writeFile(ownerFile(home), JSON.stringify(owner), { mode: 0o600, flag: 'wx' }).catch((error: unknown) => {
    throw new EmbeddedPostgresError(
      `another process is starting on ${home.data}; stop it, or set GSV_DATA_DIR to another folder`,
      { cause: error },
    );
  });
}

/** When a process started, in the kernel's ticks, so that a re-used pid is not mistaken; null where unknown. */
function startOf(pid: number): string | null {
  return statOf(pid)[19] ?? null;
}

/** What Linux knows of a process, from its state on; empty where the system does not tell. */
function statOf(pid: number): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A killed process answers signals until its parent has asked for its exit code, which some never do.
    return !['Z', 'X'].includes(statOf(pid)[0] ?? '');
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Makes the data folder beside its place and renames it, so that a start that is killed leaves nothing half-made. */
async function initialise(home: EmbeddedHome): Promise<void> {
  const partial = `${home.data}.new`;
  const password = randomBytes(24).toString('base64url');
  const handover = `${home.data}.password`;
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { mode: 0o700 });
  await giveTo(partial, home.runAs);
  await rm(handover, { force: true });
  await writeFile(handover, password, { mode: 0o600, flag: 'wx' });
  await giveTo(handover, home.runAs);
  const flags = ['-D', partial, '-U', 'postgres', '-A', 'scram-sha-256', '--locale=C', '-E', 'UTF8', '--no-sync'];
  try {
    await promisify(execFile)(home.initdb, [...flags, `--pwfile=${handover}`], { ...home.runAs, cwd: '/', env: {} });
  } catch (error) {
    const reason = lastLine((error as { stderr?: string }).stderr ?? '') || (error as Error).message;
    throw new EmbeddedPostgresError(
      `PostgreSQL could not make its data folder ${home.data} (${reason}); check free space and rights there`,
      { cause: error },
    );
  } finally {
    await rm(handover, { force: true });
  }
  await writeFile(passwordFile(home), password, { mode: 0o600 });
  await rename(partial, home.data);
}

/** initdb ran without waiting for the disk; nobody's money is in there yet, so this may happen beside the first work. */
async function syncInBackground(home: EmbeddedHome, log: Logger): Promise<void> {
  try {
    await promisify(execFile)(home.initdb, ['-D', home.data, '--sync-only'], { ...home.runAs, cwd: '/', env: {} });
  } catch (error) {
    log.warn({ err: error }, 'the new data folder could not be synced to disk');
  }
}

async function checkVersion(home: EmbeddedHome): Promise<void> {
  const found = (await readFile(join(home.data, 'PG_VERSION'), 'utf8').catch(() => '')).trim();
  if (found === home.majorVersion) return;
  const files = found === '' ? await readdir(home.data).catch(() => ['?']) : [];
  if (found === '') {
    const what = files.length === 0 ? 'is empty' : 'is not a PostgreSQL data folder or is damaged';
    throw new EmbeddedPostgresError(`${home.data} ${what}; restore it from a backup, or move it away to start empty`);
  }
  throw new EmbeddedPostgresError(
    `${home.data} was made by PostgreSQL ${found} and this release brings ${home.majorVersion}; dump it with the release that made it, or move it away to start empty`,
  );
}

async function launch(home: EmbeddedHome, settings: Record<string, string>, log: Logger): Promise<ChildProcess> {
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const command = [home.postgres, '-D', home.data, ...flags];
  const [file, args] =
    process.platform === 'win32'
      ? [home.postgres, command.slice(1)]
      : ['/bin/sh', ['-c', SUPERVISE, 'postgres', ...command]];
  const child = spawn(file as string, args as string[], {
    ...home.runAs,
    cwd: '/',
    env: {},
    detached: process.platform !== 'win32',
    stdio: ['pipe', 'ignore', 'pipe'],
  });
  // The pipe breaks when the server ends by itself; its exit says so better.
  child.stdin?.on('error', () => undefined);
  const said: string[] = [];
  const ready = Promise.withResolvers<void>();
  const timer = setTimeout(() => ready.reject(new Error('it did not become ready in time')), START_TIMEOUT_MS);
  child.once('error', (error) => ready.reject(error));
  child.once('close', () => {
    child.stdin?.destroy();
    ready.reject(
      new Error(said.find((line) => /FATAL|PANIC|could not/.test(line)) ?? said.at(-1) ?? 'it ended at once'),
    );
  });
  if (child.stderr) {
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (/ready to accept (read-only )?connections/.test(line)) ready.resolve();
      said.push(line);
      if (said.length > 50) said.shift();
      if (/FATAL|PANIC/.test(line)) log.warn({ line }, 'PostgreSQL says');
    });
  }
  try {
    await ready.promise;
    // It ends with us anyway; a process that has nothing else to do may end too.
    for (const handle of [child, child.stdin, child.stderr]) (handle as { unref?: () => void } | null)?.unref?.();
    return child;
  } catch (error) {
    child.stdin?.end();
    const reason = (error as Error).message;
    throw new EmbeddedPostgresError(
      `PostgreSQL could not start on ${home.data} (${reason}); if the folder is damaged, restore it from a backup or move it away to start empty`,
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
  }
}

async function stop(child: ChildProcess, home: EmbeddedHome): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    const exit = once(child, 'exit');
    child.ref();
    if (process.platform === 'win32') child.kill('SIGINT');
    else child.stdin?.end();
    const timer = setTimeout(() => void quit(home), STOP_TIMEOUT_MS);
    await exit;
    clearTimeout(timer);
  }
  if ((await livingOwner(home)) === process.pid) await rm(ownerFile(home), { force: true });
}

/** Immediate shutdown, when a fast one takes too long; the next start recovers from the log. */
async function quit(home: EmbeddedHome): Promise<void> {
  const pid = await runningServer(home);
  if (pid !== undefined) process.kill(pid, 'SIGQUIT');
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
