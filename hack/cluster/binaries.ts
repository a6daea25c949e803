import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { buildProgram } from './build.ts';
import { DownloadError, downloadPrograms } from './download.ts';
import { type Binaries, CACHE, PROGRAMS, type Program, type Progress } from './versions.ts';

const ENVTEST = join(CACHE, 'envtest');

/**
 * Finds the programs of a control plane, or makes them: the folder named by `KUBEBUILDER_ASSETS`,
 * else the PATH, else our cache, else the envtest releases, else a build from published Go modules
 * (about ten minutes, once). A folder that is named is taken at its word: what it lacks is an error.
 * @throws Error that says what was tried
 */
export async function findBinaries(progress: Progress, env: NodeJS.ProcessEnv = process.env): Promise<Binaries> {
  const assets = env.KUBEBUILDER_ASSETS;
  if (assets) {
    const given = inFolders([assets]);
    if (given !== undefined) return given;
    throw new Error(`KUBEBUILDER_ASSETS is ${assets}, but kube-apiserver and etcd are not both there`);
  }
  const found = inFolders((env.PATH ?? '').split(delimiter).filter((folder) => folder !== ''));
  if (found !== undefined) return found;
  const built = inFolders([CACHE]);
  if (built?.['kube-controller-manager'] !== undefined) return built;
  return inFolders([ENVTEST]) ?? (await fetchOrBuild(progress));
}

/** kube-apiserver and etcd must both be there; the controller manager may be. */
function inFolders(folders: readonly string[]): Binaries | undefined {
  const first = (program: Program): string | undefined =>
    folders.map((folder) => join(folder, program)).find((file) => isProgram(file));
  const [server, etcd, controllers] = [first('kube-apiserver'), first('etcd'), first('kube-controller-manager')];
  if (server === undefined || etcd === undefined) return undefined;
  return { 'kube-apiserver': server, etcd, ...(controllers ? { 'kube-controller-manager': controllers } : {}) };
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

async function fetchOrBuild(progress: Progress): Promise<Binaries> {
  const reason = await download(progress);
  const downloaded = inFolders([ENVTEST]);
  if (downloaded !== undefined) return downloaded;
  progress(`no API server to download (${reason}): building one from its Go modules, once`);
  const built: Partial<Record<Program, string>> = {};
  for (const program of PROGRAMS) {
    const file = join(CACHE, program);
    built[program] = isProgram(file) ? file : await build(program, progress);
  }
  return built as Binaries;
}

/** Returns why there is nothing, or undefined when the programs are there. */
async function download(progress: Progress): Promise<string | undefined> {
  try {
    await downloadPrograms(ENVTEST, progress);
    return undefined;
  } catch (error) {
    if (error instanceof DownloadError) return error.message;
    throw error;
  }
}

async function build(program: Program, progress: Progress): Promise<string> {
  try {
    return await buildProgram(program, progress);
  } catch (cause) {
    throw new Error(
      `There is no ${program}: neither KUBEBUILDER_ASSETS nor the PATH nor the cache has one, it cannot be ` +
        `downloaded, and it cannot be built. Set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd. ` +
        (cause as Error).message,
      { cause },
    );
  }
}
