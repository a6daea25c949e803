import { DATABASE_TROUBLES, type DatabaseTrouble, troubleOf } from './database-troubles.ts';
import { ConnectionLost, openPool, type PooledSql, type Sql } from './sql.ts';

/** A pool that works as the writer role: it may read and call the ledger's functions, nothing else. */
export type LedgerSql = PooledSql;

/** The same within one transaction. */
export type TransactionSql = Sql;

/** Owns schema, tables and functions; only `migrate` works as it. */
export const OWNER_ROLE = 'gsv_ledger_owner';
/** SELECT on the tables and EXECUTE on the functions. */
export const WRITER_ROLE = 'gsv_ledger_writer';

/**
 * PostgreSQL does not serve; `trouble` says how. Whether the last call took effect is unknown, unless that trouble is
 * a refusal.
 */
export class DatabaseUnavailable extends Error {
  readonly trouble: DatabaseTrouble;
  constructor(cause: unknown, trouble: DatabaseTrouble = 'database_unavailable') {
    const { meaning, next } = DATABASE_TROUBLES[trouble];
    super(`${meaning} Operators: ${next}.`, { cause });
    this.name = 'DatabaseUnavailable';
    this.trouble = trouble;
  }
}

/** Connections of one ledger process. The embedded server takes 40, so that two processes and psql fit. */
const POOL_SIZE = 12;
const CONNECT_TIMEOUT_MS = 5_000;
/** No operation needs longer. */
const STATEMENT_TIMEOUT_MS = 15_000;
/** Those who use a hot wallet well have it for milliseconds; a caller gives up after 10 s. */
const LOCK_TIMEOUT_MS = 3_000;
/** Beyond it the server would have said that it gave up: it is gone, or the network swallows what it says. */
const SILENCE_GRACE_MS = 5_000;

/** A {@link DatabaseUnavailable} for what says so, and anything else unchanged. */
export function toDatabaseError(error: unknown): unknown {
  if (error instanceof DatabaseUnavailable) return error;
  if (error instanceof ConnectionLost) return new DatabaseUnavailable(error);
  const { code } = error as { code?: unknown };
  const trouble = typeof code === 'string' ? troubleOf(code) : undefined;
  return trouble ? new DatabaseUnavailable(error, trouble) : error;
}

/** Runs a query and turns the troubles of the database into {@link DatabaseUnavailable}. */
export async function withDatabase<T>(query: () => PromiseLike<T>): Promise<T> {
  try {
    return await query();
  } catch (error) {
    throw toDatabaseError(error);
  }
}

/**
 * Opens the pool of a ledger process. Every connection starts as {@link WRITER_ROLE}, whoever the URL logs in
 * as, so a statement of this process can neither write a table nor change a function.
 *
 * @throws DatabaseUnavailable when nobody answers; Error when the role is not what it must be
 */
export async function openDatabase(url: string, options: { max?: number } = {}): Promise<LedgerSql> {
  const sql = openPool({
    url,
    max: options.max ?? POOL_SIZE,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    silenceMs: STATEMENT_TIMEOUT_MS + SILENCE_GRACE_MS,
    applicationName: 'gsv-ledger',
    settings: { role: WRITER_ROLE, search_path: 'gsv_ledger,pg_temp', lock_timeout: String(LOCK_TIMEOUT_MS) },
  });
  try {
    const [row] = await withDatabase(
      () => sql<{ role: string; may_write: boolean }[]>`
        select current_user as role, has_table_privilege('gsv_ledger.journal', 'insert') as may_write`,
    );
    if (row?.role !== WRITER_ROLE || row.may_write) {
      throw new Error(`the ledger must work as ${WRITER_ROLE} without the right to write tables; run its migrations`);
    }
  } catch (error) {
    await sql.end({ timeout: 1 });
    throw error;
  }
  return sql;
}
