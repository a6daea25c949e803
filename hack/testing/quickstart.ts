import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const ROOT = join(import.meta.dirname, '../..');
const MAIN = join(ROOT, 'hack/quickstart/main.ts');
/** Recorded orders must not end with the calendar. */
const RECORDED_TIME = pathToFileURL(join(import.meta.dirname, 'recorded-time.ts')).href;

/** The recorded delivery of that name, as `--order` takes it. */
export function recordedOrder(base: string): string[] {
  const folder = join(ROOT, 'gateway/commerce/testdata');
  return ['--order', join(folder, base), '--jwks', join(folder, 'jwks.json')];
}

/** The last line of `--once`, as the issue promises it; the fields of success or those of failure are there. */
export interface LastLine {
  ok: boolean;
  phases: { name: string; ms: number }[];
  totalMs: number;
  instance: string | null;
  commit: string | null;
  contractDigest: string | null;
  receipt: {
    id: string;
    amountMicrocredits: number;
    lines: { dimension: string; units: number; amountMicrocredits: number }[];
  } | null;
  balanceMicrocredits: number;
  failedPhase: string;
  error: { code: string; message: string };
}

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
  last: LastLine;
}

/** Folders of this test file, removed by {@link removeFolders}. */
const folders: string[] = [];

/** A folder that PostgreSQL's user can enter when the tests run as root. */
export function dataFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gsv-quickstart-'));
  chmodSync(folder, 0o755);
  folders.push(folder);
  return folder;
}

export function removeFolders(): void {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** A quickstart that a test has started and must end. */
export interface Running {
  process: ChildProcess;
  /** What it has said on standard output so far. */
  stdout(): string;
  /** Resolves when it has said so; rejects when it ended before. */
  says(text: string): Promise<void>;
  finished: Promise<Omit<Finished, 'last'>>;
}

export function startQuickstart(args: readonly string[], dataDir: string, env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, ['--import', RECORDED_TIME, MAIN, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH ?? '',
      GSV_DATA_DIR: dataDir,
      GSV_GATEWAY_PORT: '0',
      GSV_LEDGER_PORT: '0',
      GSV_RUNNER_PORT: '0',
      ...env,
    },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const finished = once(child, 'close').then(([code]) => ({ code: code as number | null, stdout, stderr }));
  return {
    process: child,
    stdout: () => stdout,
    finished,
    says: async (text) => {
      while (!stdout.includes(text)) {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended: ${stdout}${stderr}`);
        await delay(20);
      }
    },
  };
}

/** `npm run quickstart -- --once …`, to its end. */
export async function onceQuickstart(
  args: readonly string[],
  dataDir: string,
  env?: Record<string, string>,
): Promise<Finished> {
  const { code, stdout, stderr } = await startQuickstart(['--once', ...args], dataDir, env).finished;
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  try {
    return { code, stdout, stderr, last: JSON.parse(line) as LastLine };
  } catch {
    throw new Error(`the last line is no JSON: ${line}\n${stderr}`);
  }
}

/** Process id of the PostgreSQL of a data folder; undefined when it runs none. */
export function postgresOf(dataDir: string): number | undefined {
  const file = join(dataDir, 'postgres/data/postmaster.pid');
  const pid = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : Number.NaN;
  if (!(pid > 1)) return undefined;
  try {
    process.kill(pid, 0);
    return pid;
  } catch {
    return undefined;
  }
}
