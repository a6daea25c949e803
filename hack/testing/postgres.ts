import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after } from 'node:test';
import { promisify } from 'node:util';
import postgres, { type Sql } from 'postgres';
import { createLogger } from '../../config/log.ts';
import { type LedgerSql, openDatabase } from '../../ledger/database.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../ledger/embedded.ts';
import { migrate } from '../../ledger/migrate.ts';
import { mutate } from './ledger-mutants.ts';

/** An empty, migrated database of its own for one test or suite. */
export interface TestDatabase {
  /** Superuser URL. */
  url: string;
  /** Pool as the writer role, like the ledger's own. */
  sql: LedgerSql;
  /** Superuser: to tamper with what nobody else may touch. */
  admin: Sql;
  close(): Promise<void>;
}

interface Server {
  dataDir: string;
  postgres: EmbeddedPostgres;
  admin: Sql;
}

const ROOT = join(import.meta.dirname, '../..');
const log = createLogger({ part: 'test', level: 'error' });

/** Tests need no durability, so nothing waits for the disk. */
const SETTINGS = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '100' };

/** A prepared folder is some 40 MB, and every change of a migration makes another one. */
const KEPT_MS = 3_600_000;

let server: Promise<Server> | undefined;
let made = 0;
let open = 0;
let finished = false;

// Registered while the test file loads, hence at its root and before the file's own hooks, which may close
// databases after it: the server ends with the last of them.
after(async () => {
  finished = true;
  await endServer();
});

async function endServer(): Promise<void> {
  if (!finished || open > 0 || !server) return;
  const { admin, postgres: embedded, dataDir } = await server;
  await admin.end({ timeout: 1 });
  await embedded.stop();
  await rm(dataDir, { recursive: true, force: true });
}

/**
 * Clones a migrated template on the one embedded server of this test process, which starts with the first call
 * and ends after the last test of the file.
 */
export async function createTestDatabase(options: { max?: number } = {}): Promise<TestDatabase> {
  open += 1;
  try {
    server ??= startServer();
    return await cloneTemplate(await server, options);
  } catch (error) {
    open -= 1;
    throw error;
  }
}

async function cloneTemplate(
  { postgres: embedded, admin: control }: Server,
  options: { max?: number },
): Promise<TestDatabase> {
  made += 1;
  const name = `test_${process.pid}_${made}`;
  await control.unsafe(`create database ${name} template gsv_template`);
  const url = database(embedded, name);
  const sql = await openDatabase(url, options);
  const admin = postgres(url, { max: 2, onnotice: () => undefined });
  await mutate(admin);
  return {
    url,
    sql,
    admin,
    async close() {
      await Promise.all([sql.end({ timeout: 2 }), admin.end({ timeout: 2 })]);
      await control.unsafe(`drop database ${name} with (force)`);
      open -= 1;
      await endServer();
    },
  };
}

async function startServer(): Promise<Server> {
  const dataDir = await mkdtemp(join(tmpdir(), 'gsv-test-postgres-'));
  // mkdtemp closes the folder; PostgreSQL's user must be able to pass when the tests run as root.
  await chmod(dataDir, 0o755);
  await copyFolder(await preparedFolder(), dataDir);
  const embedded = await startEmbeddedPostgres({ dataDir, log, settings: SETTINGS });
  return { dataDir, postgres: embedded, admin: postgres(embedded.url, { max: 1, onnotice: () => undefined }) };
}

function database(server: EmbeddedPostgres, name: string): string {
  return server.url.replace(/\/postgres$/, `/${name}`);
}

/**
 * A data folder with the migrated template in it, made once per state of the migrations and copied by every test
 * process: making one takes seconds, a copy a tenth of one.
 */
async function preparedFolder(): Promise<string> {
  const folder = join(ROOT, 'node_modules/.cache', `gsv-test-postgres-${await fingerprint()}`, 'ready');
  if (await stat(folder).catch(() => undefined)) return folder;
  const dataDir = await mkdtemp(join(tmpdir(), 'gsv-test-postgres-'));
  await chmod(dataDir, 0o755);
  const embedded = await startEmbeddedPostgres({ dataDir, log, settings: SETTINGS });
  try {
    const admin = postgres(embedded.url, { max: 1, onnotice: () => undefined });
    await admin.unsafe('create database gsv_template');
    await admin.end();
    await migrate(database(embedded, 'gsv_template'));
  } finally {
    await embedded.stop();
  }
  await forgetOld(dirname(dirname(folder)));
  await mkdir(dirname(folder), { recursive: true });
  const partial = `${folder}.${process.pid}`;
  await copyFolder(dataDir, partial);
  await rm(dataDir, { recursive: true, force: true });
  // Another test process may have been faster; its folder is as good.
  await rename(partial, folder).catch(() => rm(partial, { recursive: true, force: true }));
  return folder;
}

/** Folders of earlier states of the migrations; a young one may be in use by a test run of this moment. */
async function forgetOld(cache: string): Promise<void> {
  for (const name of await readdir(cache).catch(() => [])) {
    const folder = join(cache, name);
    if (!name.startsWith('gsv-test-postgres-') || Date.now() - (await stat(folder)).mtimeMs < KEPT_MS) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

/** Keeps owners and modes, which PostgreSQL checks, unlike `fs.cp`. */
async function copyFolder(from: string, to: string): Promise<void> {
  await promisify(execFile)('cp', ['-a', `${from}/.`, to]);
}

async function fingerprint(): Promise<string> {
  const hash = createHash('sha256').update(`${process.getuid?.()} ${process.arch}`);
  const migrations = join(ROOT, 'ledger/migrations');
  const files = (await readdir(migrations)).sort().map((name) => join(migrations, name));
  for (const file of [...files, join(ROOT, 'package.json'), join(ROOT, 'ledger/embedded.ts')]) {
    hash.update(await readFile(file));
  }
  return hash.digest('hex').slice(0, 16);
}
