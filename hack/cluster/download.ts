import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { arch, platform, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { KUBERNETES_VERSION, type Progress } from './versions.ts';

/** The index that `setup-envtest` reads: every release with address and SHA-512 of its archives. */
const INDEX = 'https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml';
/** Without internet this is what a person waits before the build begins. Milliseconds. */
const INDEX_TIMEOUT_MS = 5_000;
/** An archive has about 60 MB. Milliseconds. */
const ARCHIVE_TIMEOUT_MS = 5 * 60_000;
const ARCHIVE_MAX_BYTES = 512 * 1024 * 1024;

interface Release {
  /** SHA-512 of the archive, hexadecimal. */
  hash: string;
  selfLink: string;
}
interface Index {
  releases: Record<string, Record<string, Release>>;
}

/** Thrown when the release index or an archive cannot be had; the message says why in one sentence. */
export class DownloadError extends Error {}

/**
 * Fetches kube-apiserver and etcd of the newest envtest release of our minor version into `folder`.
 * @throws DownloadError
 */
export async function downloadPrograms(folder: string, progress: Progress, indexUrl = INDEX): Promise<void> {
  const index = parse((await fetchBytes(indexUrl, INDEX_TIMEOUT_MS)).toString()) as Index;
  const { name, version, release } = choose(index);
  progress(`downloading the envtest programs ${version}`);
  const archive = await fetchBytes(release.selfLink, ARCHIVE_TIMEOUT_MS);
  const digest = createHash('sha512').update(archive).digest('hex');
  if (digest !== release.hash) throw new DownloadError(`${name} does not have the checksum that its index states`);
  await unpack(archive, folder);
}

/** The newest release of our minor version that has an archive for this machine. @throws DownloadError */
function choose(index: Index) {
  const machine = `${platform()}-${GO_ARCH[arch()] ?? arch()}`;
  const [major, minor] = KUBERNETES_VERSION.split('.');
  const versions = Object.keys(index.releases ?? {})
    .filter((version) => new RegExp(`^${major}\\.${minor}\\.\\d+$`).test(version))
    .sort((a, b) => patch(b) - patch(a));
  for (const version of versions) {
    const name = `envtest-${version}-${machine}.tar.gz`;
    const release = index.releases[version]?.[name];
    if (release !== undefined) return { name, version, release };
  }
  throw new DownloadError(`the envtest release index has nothing of ${major}.${minor} for ${machine}`);
}

const GO_ARCH: Record<string, string> = { x64: 'amd64', arm64: 'arm64', ppc64: 'ppc64le', s390x: 's390x' };

function patch(version: string): number {
  return Number(version.split('.')[2]);
}

async function fetchBytes(url: string, timeoutMs: number): Promise<Buffer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
    if (!response.ok) throw new Error(`it answered ${response.status}`);
    const bytes = Buffer.from(await response.arrayBuffer());
    if (bytes.length > ARCHIVE_MAX_BYTES) throw new Error('it is too large');
    return bytes;
  } catch (cause) {
    const { message, cause: inner } = cause as Error;
    const reason = inner instanceof Error ? inner.message : message;
    throw new DownloadError(`${new URL(url).host} cannot be reached (${reason})`, { cause });
  }
}

/** By a rename, so a download that was killed leaves nothing that looks whole. */
async function unpack(archive: Buffer, folder: string): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'gsv-envtest-'));
  const partial = `${folder}.${process.pid}.partial`;
  try {
    await writeFile(join(scratch, 'archive.tar.gz'), archive);
    await mkdir(partial, { recursive: true });
    const strip = ['--strip-components=2', '-xzf', join(scratch, 'archive.tar.gz'), '-C', partial];
    await promisify(execFile)('tar', strip);
    await mkdir(dirname(folder), { recursive: true });
    await rename(partial, folder);
  } finally {
    await rm(scratch, { recursive: true, force: true });
    await rm(partial, { recursive: true, force: true });
  }
}
