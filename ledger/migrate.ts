import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseUnavailable, OWNER_ROLE, toDatabaseError, WRITER_ROLE, withDatabase } from './database.ts';
import { openPool, type Sql } from './sql.ts';

const MIGRATIONS = join(import.meta.dirname, 'migrations');

/** `unique nulls not distinct` needs it. */
const MINIMUM_SERVER_VERSION = 150_000;
const CONNECT_TIMEOUT_MS = 5_000;

/** One process migrates a database at a time; the others wait and then find nothing to do. */
const LOCK_NAME = 'gsv_ledger.migrate';

const DEADLOCK = '40P01';
/** PostgreSQL looks for a deadlock after a second, so this is about a minute of bad luck. */
const MAX_ATTEMPTS = 60;

/** The database cannot be brought to what this release needs; the message says what to do. */
export class MigrationError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MigrationError';
  }
}

interface Migration {
  /** From the file name; gaps are fine, order is by number. */
  number: number;
  name: string;
  sha256: string;
  sql: string;
}

/**
 * Brings a database to the present schema. Each file runs once, in its own transaction, as the owner role with
 * `search_path = gsv_ledger`. Idempotent, and safe when several processes start at once.
 *
 * The URL's user needs CREATE on the database and either CREATEROLE or membership in both roles; it need not be
 * a superuser.
 *
 * @param options.folder where the files are; for tests
 * @returns names of the files that were applied now
 * @throws MigrationError on a newer database, an applied file that has changed, an old server, missing rights
 * @throws DatabaseUnavailable when nobody answers
 */
export async function migrate(url: string, { folder = MIGRATIONS } = {}): Promise<string[]> {
  const migrations = await readMigrations(folder);
  const pool = openPool({
    url,
    max: 1,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    statementTimeoutMs: 0,
    silenceMs: 0,
    applicationName: 'gsv-ledger-migrate',
    settings: {},
  });
  try {
    return await withDatabase(() =>
      pool.session(async (sql) => {
        await sql`select pg_advisory_lock(hashtext(${LOCK_NAME}))`;
        await prepare(sql);
        return await applyMissing(sql, migrations);
      }),
    );
  } finally {
    // Ends the session, and with it the lock.
    await pool.end({ timeout: 5 });
  }
}

async function readMigrations(folder: string): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{4}_\w+\.sql$/.test(name)).sort();
  return Promise.all(
    names.map(async (name) => {
      const sql = await readFile(join(folder, name), 'utf8');
      return { number: Number(name.slice(0, 4)), name, sql, sha256: createHash('sha256').update(sql).digest('hex') };
    }),
  );
}

/** Roles, schema and the list of applied files: what must be there before the first file can run. */
async function prepare(sql: Sql): Promise<void> {
  const [server] = await sql<{ version: number }[]>`select current_setting('server_version_num')::int as version`;
  if (!server || server.version < MINIMUM_SERVER_VERSION) {
    throw new MigrationError('the ledger needs PostgreSQL 15 or newer');
  }
  for (const role of [OWNER_ROLE, WRITER_ROLE]) await ensureRole(sql, role);
  try {
    await sql.unsafe(`create schema if not exists gsv_ledger authorization ${OWNER_ROLE}`);
    await sql.unsafe(`set role ${OWNER_ROLE}`);
  } catch (error) {
    throwIfAway(error);
    throw new MigrationError(
      `the database user may not create the schema gsv_ledger for ${OWNER_ROLE}; grant it CREATE on the database and that role`,
      { cause: error },
    );
  }
  await sql`set search_path = gsv_ledger, pg_temp`;
  await sql`create table if not exists migrations (
    number integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`;
}

/** Roles belong to the whole server, so another database's migration may be creating the same one right now. */
async function ensureRole(sql: Sql, role: string): Promise<void> {
  const [found] = await sql<{ member: boolean }[]>`
    select pg_has_role(current_user, oid, 'member') as member from pg_roles where rolname = ${role}`;
  try {
    if (!found) await sql.unsafe(`create role ${role} nologin`).catch(ignoreCodes('42710', '23505'));
    if (!found?.member) await grantToSelf(sql, role);
  } catch (error) {
    throwIfAway(error);
    throw new MigrationError(
      `the database user may not make or use the role ${role}; give the user CREATEROLE, or create the role and grant it to the user`,
      { cause: error },
    );
  }
}

/** A superuser needs no membership; since PostgreSQL 16 a role's creator may not assume it before this grant. */
async function grantToSelf(sql: Sql, role: string): Promise<void> {
  const [self] = await sql<{ super: boolean }[]>`select rolsuper as super from pg_roles where rolname = current_user`;
  if (self?.super) return;
  await sql.unsafe(`grant ${role} to current_user`);
}

/** A full disk or a replica is no fault of the user or of a migration. */
function throwIfAway(error: unknown): void {
  const outage = toDatabaseError(error);
  if (outage instanceof DatabaseUnavailable) throw outage;
}

function ignoreCodes(...codes: string[]): (error: { code?: string }) => void {
  return (error) => {
    if (!codes.includes(error.code ?? '')) throw error;
  };
}

async function applyMissing(sql: Sql, migrations: readonly Migration[]): Promise<string[]> {
  const applied = await sql<{ number: number; name: string; sha256: string }[]>`
    select number, name, sha256 from migrations order by number`;
  for (const row of applied) {
    const file = migrations.find(({ number }) => number === row.number);
    if (!file) {
      throw new MigrationError(
        `the database has migration ${row.name}, which this release does not know: it is newer, so start a newer release`,
      );
    }
    if (file.sha256 !== row.sha256) {
      throw new MigrationError(`${file.name} has changed after it was applied; restore it and add a new file instead`);
    }
  }
  const done = new Set(applied.map(({ number }) => number));
  const missing = migrations.filter(({ number }) => !done.has(number));
  for (const migration of missing) await applyOne(sql, migration);
  return missing.map(({ name }) => name);
}

/**
 * A file takes locks in its own order and callers theirs, so under load one of the two is ended by PostgreSQL, which may
 * be us. All of the file is undone then, and it begins anew.
 */
async function applyOne(sql: Sql, migration: Migration): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await sql`begin`;
      await sql.unsafe(migration.sql);
      await sql`insert into migrations (number, name, sha256)
        values (${migration.number}, ${migration.name}, ${migration.sha256})`;
      await sql`commit`;
      return;
    } catch (error) {
      await sql`rollback`.catch(() => undefined);
      throwIfAway(error);
      if ((error as { code?: string }).code === DEADLOCK && attempt < MAX_ATTEMPTS) continue;
      throw new MigrationError(`${migration.name} failed: ${(error as Error).message}`, { cause: error });
    }
  }
}
