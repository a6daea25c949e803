import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

/** What a program may take to end after it was asked, before it is ended. Milliseconds. */
const GRACE_MS = 5_000;
/** How often we look whether a killed program is gone. Milliseconds. */
const POLL_MS = 20;
/** Last bytes of a log that an error carries. */
const LOG_TAIL_BYTES = 4_000;

/** Ends a program when the pipe to its parent closes, which the system does however the parent died. */
const GUARD = 'read -r _; kill -KILL "$1" 2>/dev/null';

interface Claim {
  owner: Identity;
  programs: Identity[];
}
/** A process by number and words: the number alone may be used again by another. */
interface Identity {
  pid: number;
  command: string;
}

/** One program of ours that runs, with its log in a file. */
export interface Running {
  readonly name: string;
  /** True once it has ended, by itself or by us. */
  ended(): boolean;
  logTail(): string;
  /** Resident memory in bytes; 0 where the system does not tell. */
  memory(): number;
  /** Asks it to end, or ends it at once; resolves when it is gone. */
  stop(how: 'ask' | 'kill'): Promise<void>;
}

/** Thrown when another living process uses the folder. */
export class FolderTaken extends Error {
  readonly pid: number;
  constructor(folder: string, pid: number) {
    super(`${folder} belongs to a cluster that runs (process ${pid})`);
    this.pid = pid;
  }
}

/**
 * The programs of one data folder. None outlives this process: a guard ends each when our pipe
 * closes. A record in the folder names them, so that the next start ends what was left all the same.
 */
export class ProcessGroup {
  readonly #folder: string;
  readonly #programs: Identity[] = [];

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Takes the folder and ends what a dead owner left in it. @throws FolderTaken */
  static async claim(folder: string): Promise<ProcessGroup> {
    await mkdir(join(folder, 'logs'), { recursive: true });
    const record = await readRecord(folder);
    if (record !== undefined) {
      if (await alive(record.owner)) throw new FolderTaken(folder, record.owner.pid);
      await endLeftovers(record);
    }
    const group = new ProcessGroup(folder);
    await group.#write();
    return group;
  }

  async start(name: string, program: string, args: readonly string[]): Promise<Running> {
    const log = join(this.#folder, 'logs', `${name}.log`);
    const output = openSync(log, 'w');
    // Its own process group: Ctrl-C in a terminal must reach us alone, and we stop it in order.
    const child = spawn(program, args, { stdio: ['ignore', output, output], detached: true, cwd: this.#folder });
    closeSync(output);
    const { pid } = child;
    if (pid === undefined) {
      const error = await new Promise<Error>((resolve) => child.once('error', resolve));
      throw new Error(`${name} cannot be started: ${error.message}`, { cause: error });
    }
    const guard = startGuard(pid);
    child.unref();
    child.once('exit', () => guard.kill('SIGKILL'));
    this.#programs.push({ pid, command: (await commandOf(pid)) ?? program });
    await this.#write();
    return running(name, child, pid, log);
  }

  /** Gives the folder back; all programs must have been stopped. */
  async release(): Promise<void> {
    await rm(recordFile(this.#folder), { force: true });
  }

  async #write(): Promise<void> {
    const owner = { pid: process.pid, command: (await commandOf(process.pid)) ?? '' };
    const record: Claim = { owner, programs: this.#programs };
    writeFileSync(recordFile(this.#folder), JSON.stringify(record), { mode: 0o600 });
  }
}

/** Removes folders of ours in `parent` whose owner is dead, after ending what still runs in them. */
export async function sweep(parent: string, prefix: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix)) continue;
    const folder = join(parent, name);
    const record = await readRecord(folder);
    if (record === undefined || (await alive(record.owner))) continue;
    await endLeftovers(record);
    await rm(folder, { recursive: true, force: true });
  }
}

function running(name: string, child: ChildProcess, pid: number, log: string): Running {
  const ended = (): boolean => child.exitCode !== null || child.signalCode !== null;
  return {
    name,
    ended,
    logTail: () => readFileSync(log).subarray(-LOG_TAIL_BYTES).toString(),
    memory: () => residentBytes(pid),
    async stop(how) {
      const end = Date.now() + (how === 'ask' ? GRACE_MS : 0);
      if (!ended()) child.kill(how === 'ask' ? 'SIGTERM' : 'SIGKILL');
      while (!ended()) {
        if (Date.now() > end) child.kill('SIGKILL');
        await delay(POLL_MS);
      }
    },
  };
}

function startGuard(pid: number): ChildProcess {
  const guard = spawn('/bin/sh', ['-c', GUARD, 'guard', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  // Neither may hold up the end of this process: that end is what the guard waits for.
  guard.unref();
  (guard.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  guard.on('error', () => undefined);
  return guard;
}

function recordFile(folder: string): string {
  return join(folder, 'processes.json');
}

async function readRecord(folder: string): Promise<Claim | undefined> {
  try {
    return JSON.parse(await readFile(recordFile(folder), 'utf8')) as Claim;
  } catch {
    return undefined;
  }
}

async function alive({ pid, command }: Identity): Promise<boolean> {
  return (await commandOf(pid)) === command;
}

async function endLeftovers({ programs }: Claim): Promise<void> {
  for (const program of programs) {
    if (!(await alive(program))) continue;
    process.kill(program.pid, 'SIGKILL');
    while (await alive(program)) await delay(POLL_MS);
  }
}

/** The words a process was started with; undefined when there is none (or it is a corpse). */
async function commandOf(pid: number): Promise<string | undefined> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ').trim() || undefined;
  } catch {
    // Not Linux, or gone.
  }
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'args=', '-p', String(pid)]);
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

function residentBytes(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}
