import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from '../cluster/starting.ts';

/** The release whose behaviour `contract.suite.ts` was written against. `lfx-openai` would upgrade it. */
export const LFX_VERSION = '1.13.0';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
/** Installing takes about 100 s and 600 MB. */
const INSTALL_TIMEOUT_MS = 15 * 60_000;
/** An export imports the library once: about 10 s on a cold disk. */
const EXPORT_TIMEOUT_MS = 120_000;
const READY_TIMEOUT_MS = 120_000;
const POLL_MS = 200;
/** Output that the pip and lfx processes may produce. */
const OUTPUT_MAX_BYTES = 64 * 1024 * 1024;
/** Least Python that lfx 1.13.0 runs on. */
const PYTHON_MIN = [3, 10] as const;

/** Where an installed lfx lies; `bin` holds `python` and `lfx`. */
export interface LfxInstallation {
  bin: string;
}

export interface LfxRuntime {
  url: string;
  key: string;
  /** What it has printed so far. */
  output(): string;
  close(): Promise<void>;
}

/**
 * Installs lfx into a virtual environment in `.cache/`, once: a marker file says that it is complete.
 * `progress` gets one sentence for each step that takes long.
 */
export async function installLfx(progress: (line: string) => void = () => undefined): Promise<LfxInstallation> {
  const folder = join(ROOT, '.cache', `lfx-${LFX_VERSION}`);
  const marker = join(folder, 'installed');
  const bin = join(folder, 'bin');
  if (existsSync(marker)) return { bin };
  const python = await findPython();
  progress(`installing lfx ${LFX_VERSION} into .cache (about 100 s and 600 MB, once)`);
  // What an interrupted installation left is not worth repairing.
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(ROOT, '.cache'), { recursive: true });
  await run(python, ['-m', 'venv', folder], { timeout: INSTALL_TIMEOUT_MS });
  const pip = ['install', '--disable-pip-version-check', '--quiet', `lfx==${LFX_VERSION}`];
  await run(join(bin, 'pip'), pip, { timeout: INSTALL_TIMEOUT_MS, maxBuffer: OUTPUT_MAX_BYTES });
  await writeFile(marker, `lfx ${LFX_VERSION}\n`);
  progress(`lfx ${LFX_VERSION} is installed`);
  return { bin };
}

async function findPython(): Promise<string> {
  for (const name of ['python3', 'python3.13', 'python3.12', 'python3.11', 'python3.10']) {
    const version = await run(name, ['-c', 'import sys; print(*sys.version_info[:2])']).catch(() => undefined);
    const [major = 0, minor = 0] = version?.stdout.trim().split(' ').map(Number) ?? [];
    if (major > PYTHON_MIN[0] || (major === PYTHON_MIN[0] && minor >= PYTHON_MIN[1])) return name;
  }
  throw new Error(`lfx ${LFX_VERSION} needs Python ${PYTHON_MIN.join('.')} or newer; none is on the PATH`);
}

/** Builds the artifact of a flow script of `config/flows/`. */
export async function exportFlow(lfx: LfxInstallation, script: string): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-export-'));
  try {
    const target = join(folder, 'flow.json');
    const exporter = join(import.meta.dirname, 'export-flow.py');
    await run(join(lfx.bin, 'python'), [exporter, script, basename(script, '.py'), target], {
      env: environment(folder),
      timeout: EXPORT_TIMEOUT_MS,
      maxBuffer: OUTPUT_MAX_BYTES,
    });
    return await readFile(target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Starts `lfx serve` as production would: no custom components, no fallback to the environment, a key
 * of its own. When its port is taken lfx silently takes another, so the one asked for must answer to
 * this key, with no flows.
 */
export async function startLfx(lfx: LfxInstallation): Promise<LfxRuntime> {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-lfx-'));
  const flows = join(folder, 'flows');
  await mkdir(flows);
  const key = randomBytes(24).toString('hex');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(
    join(lfx.bin, 'lfx'),
    [
      'serve',
      '--flow-dir',
      flows,
      '--host',
      '127.0.0.1',
      '--port',
      String(port),
      '--log-level',
      'warning',
      '--no-env-fallback',
    ],
    { env: { ...environment(folder), LANGFLOW_API_KEY: key, LANGFLOW_ALLOW_CUSTOM_COMPONENTS: 'false' } },
  );
  let output = '';
  const collect = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-OUTPUT_MAX_BYTES);
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const close = async (): Promise<void> => {
    await stop(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready(child, url, key);
  } catch (error) {
    await close();
    throw new Error(`lfx serve did not become ready: ${output.slice(-2_000)}`, { cause: error });
  }
  return { url, key, output: () => output, close };
}

/** Nothing of the caller's own environment reaches the runtime but what a program needs to start. */
function environment(home: string): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: home, DO_NOT_TRACK: 'true', PYTHONUNBUFFERED: '1' };
}

async function ready(child: ChildProcess, url: string, key: string): Promise<void> {
  const until = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < until) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    const flows = await fetch(`${url}/flows`, { headers: { 'x-api-key': key } }).catch(() => undefined);
    // Another process on this port would not take the key, or would know flows.
    if (flows?.ok && ((await flows.json()) as unknown[]).length === 0) return;
    await delay(POLL_MS);
  }
  throw new Error('it does not answer');
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const forced = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await ended;
  clearTimeout(forced);
}
