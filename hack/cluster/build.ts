import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { CACHE, ETCD_VERSION, KUBERNETES_VERSION, type Program, type Progress } from './versions.ts';

const run = promisify(execFile);

/** The API server takes 5 minutes on two idle cores; a busy machine may need many times that. Milliseconds. */
const BUILD_TIMEOUT_MS = 60 * 60_000;
/** Fetching one module's file list or archive. Milliseconds. */
const FETCH_TIMEOUT_MS = 10 * 60_000;
/** A line at least this often while the compiler works. Milliseconds. */
const HEARTBEAT_MS = 15_000;
/** Lines of the compiler's last words that an error carries. */
const ERROR_LINES = 20;

/** A program that is built from published Go modules. */
export interface Recipe {
  /** The module that holds the program. */
  module: string;
  version: string;
  /** Import path of its `main` package, or `.` with `sources`. */
  command: string;
  /** Go files of ours that make up the package. */
  sources?: readonly string[];
  /**
   * Path of a file in the module -> the file of ours that takes its place. Go overlays nothing in its own cache of
   * modules, so the module is copied, and its `go.sum` with it.
   */
  replaced?: Readonly<Record<string, string>>;
  /** Lines of `go.mod` instead of those that the module needs by itself. */
  requirements?: readonly string[];
  /** About how long it takes on two idle cores: for the person who waits. */
  usually: string;
  /** `-X` flags of the linker: what the program answers when it is asked for its version. */
  stamps: readonly string[];
}

const kubernetes = (program: Program, usually: string): Recipe => {
  const [major, minor] = KUBERNETES_VERSION.slice(1).split('.');
  const stamp = (name: string, value = '') => `k8s.io/component-base/version.${name}=${value}`;
  return {
    module: 'k8s.io/kubernetes',
    version: KUBERNETES_VERSION,
    command: `k8s.io/kubernetes/cmd/${program}`,
    usually,
    stamps: [stamp('gitVersion', KUBERNETES_VERSION), stamp('gitMajor', major), stamp('gitMinor', minor)],
  };
};

const RECIPES: Record<Program, Recipe> = {
  'kube-apiserver': kubernetes('kube-apiserver', '5 minutes'),
  'kube-controller-manager': kubernetes('kube-controller-manager', '2 minutes'),
  etcd: {
    module: 'go.etcd.io/etcd/server/v3',
    version: ETCD_VERSION,
    command: 'go.etcd.io/etcd/server/v3',
    usually: '2 minutes',
    stamps: [],
  },
};

/** Builds a program of the control plane into {@link CACHE}. @throws Error without Go, or with the compiler's last words */
export function buildProgram(program: Program, progress: Progress): Promise<string> {
  return buildFromModules(program, RECIPES[program], CACHE, progress);
}

/**
 * Builds a program from published Go modules into a folder, in a module of its own. The environment's Go
 * settings (`GOPROXY`, `GOFLAGS`, …) are used as they are. The file appears by a rename, so a build that
 * was killed leaves nothing that looks whole.
 * @throws Error without Go, or with the compiler's last words
 */
export async function buildFromModules(
  program: string,
  recipe: Recipe,
  cache: string,
  progress: Progress,
): Promise<string> {
  await requireGo();
  const folder = await mkdtemp(join(tmpdir(), 'gsv-build-'));
  try {
    progress(`${program} ${recipe.version}: fetching its modules`);
    await writeFile(join(folder, 'go.mod'), await moduleFile(recipe, folder));
    for (const source of recipe.sources ?? []) await copyFile(source, join(folder, basename(source)));
    if (recipe.replaced !== undefined) await copyModule(recipe, recipe.replaced, folder);
    await compile(program, recipe, folder, progress);
    await mkdir(cache, { recursive: true });
    const target = join(cache, program);
    const partial = `${target}.${process.pid}.partial`;
    await run('cp', [join(folder, program), partial]);
    await rename(partial, target);
    return target;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The checksums are its publisher's own: not every database that is asked for them knows all. */
async function copyModule({ module, version }: Recipe, replaced: Record<string, string>, folder: string) {
  const { Dir } = await download(`${module}@${version}`, folder);
  const copy = join(folder, 'module');
  await run('cp', ['-R', Dir, copy]);
  // Go keeps its modules read-only.
  await run('chmod', ['-R', 'u+w', copy]);
  for (const [path, file] of Object.entries(replaced)) await copyFile(file, join(copy, path));
  await copyFile(join(copy, 'go.sum'), join(folder, 'go.sum'));
  await run('go', ['mod', 'edit', `-replace=${module}=./module`], { cwd: folder });
}

async function requireGo(): Promise<void> {
  await run('go', ['version']).catch((cause: unknown) => {
    throw new Error('Go is not on the PATH, so nothing can be built', { cause });
  });
}

/**
 * Kubernetes is published with its parts ("staging" modules) required as v0.0.0 and replaced by
 * folders that are not in the archive. They are published on their own as v0.x.y, so each is
 * replaced by that.
 */
async function moduleFile({ module, version, requirements }: Recipe, folder: string): Promise<string> {
  if (requirements !== undefined) return ['module gsv.invalid/build', ...requirements, ''].join('\n');
  const { GoMod } = await download(`${module}@${version}`, folder);
  const published = await readFile(GoMod, 'utf8');
  const part = version.replace(/^v1\./, 'v0.');
  const parts = [...published.matchAll(/^\s*(k8s\.io\/[\w.-]+) => \.\/staging\//gm)].map(([, name]) => name);
  const go = /^go (\S+)$/m.exec(published)?.[1];
  return [
    'module gsv.invalid/build',
    ...(go === undefined ? [] : [`go ${go}`]),
    `require ${module} ${version}`,
    ...parts.map((name) => `replace ${name} => ${name} ${part}`),
    '',
  ].join('\n');
}

/** Folder of a published module's files. @throws Error when it cannot be had */
export async function downloadModule(query: string): Promise<string> {
  await requireGo();
  return (await download(query, tmpdir())).Dir;
}

async function download(query: string, cwd: string): Promise<{ GoMod: string; Dir: string }> {
  const args = ['mod', 'download', '-json', query];
  try {
    const { stdout } = await run('go', args, { cwd, timeout: FETCH_TIMEOUT_MS });
    return JSON.parse(stdout) as { GoMod: string; Dir: string };
  } catch (cause) {
    const answer = (cause as { stdout?: string }).stdout ?? '';
    const reason = /"Error": "(.*)"/.exec(answer)?.[1] ?? String(cause);
    throw new Error(`Go module ${query} cannot be had: ${reason}`, { cause });
  }
}

async function compile(program: string, recipe: Recipe, folder: string, progress: Progress): Promise<void> {
  const flags = ['-s', '-w', ...recipe.stamps.map((stamp) => `-X ${stamp}`)].join(' ');
  const args = ['build', '-mod=mod', '-trimpath', '-v', '-ldflags', flags, '-o', join(folder, program), recipe.command];
  const started = Date.now();
  // `-v` names each package as it is compiled: that is what the heartbeat counts.
  const child = spawn('go', args, {
    cwd: folder,
    env: { ...process.env, CGO_ENABLED: '0' },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: BUILD_TIMEOUT_MS,
  });
  let packages = 0;
  const said: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    packages += 1;
    if (!/^[\w.-]+(\/[\w.~-]+)*$/.test(line)) said.push(line);
  });
  const tell = (): void =>
    progress(`${program}: compiling, ${packages} packages in ${seconds(started)} s (usually ${recipe.usually})`);
  tell();
  const heartbeat = setInterval(tell, HEARTBEAT_MS);
  const stop = (): boolean => child.kill();
  process.once('exit', stop);
  try {
    const code = await ended(child);
    if (code !== 0) throw new Error(`building ${program} failed:\n${said.slice(-ERROR_LINES).join('\n')}`);
  } finally {
    clearInterval(heartbeat);
    process.removeListener('exit', stop);
  }
  progress(`${program} ${recipe.version}: built in ${seconds(started)} s`);
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
}

function seconds(since: number): number {
  return Math.round((Date.now() - since) / 1000);
}
