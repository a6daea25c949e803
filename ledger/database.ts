import { ConnectionLost, openPool, type PooledSql, type Sql } from './sql.ts';

/** A pool that works as the writer role: it may read and call the ledger's functions, nothing else. */
export type LedgerSql = PooledSql;

/** The same within one transaction. */
export type TransactionSql = Sql;

/** Owns schema, tables and functions; only `migrate` works as it. */
export const OWNER_ROLE = 'gsv_ledger_owner';
/** SELECT on the tables and EXECUTE on the functions. */
export const WRITER_ROLE = 'gsv_ledger_writer';

/** PostgreSQL cannot be reached, is starting or stopping; whether the last call took effect is unknown. */
export class DatabaseUnavailable extends Error {
  constructor(cause: unknown) {
    super('the ledger database is not available; retry with the same Idempotency-Key', { cause });
    this.name = 'DatabaseUnavailable';
  }
}

/** Connections of one ledger process. The embedded server takes 40, so that two processes and psql fit. */
const POOL_SIZE = 12;
const CONNECT_TIMEOUT_MS = 5_000;
/** No operation needs longer; a statement that hangs on a lock is ended and the caller may retry. */
const STATEMENT_TIMEOUT_MS = 15_000;
/** Beyond it the server would have said that it gave up: it is gone, or the network swallows what it says. */
const SILENCE_GRACE_MS = 5_000;

/** True for errors that say "no database", as opposed to errors that the database answered. */
function isUnavailable(error: unknown): boolean {
  if (error instanceof ConnectionLost) return true;
  const code = (error as { code?: unknown }).code;
  if (typeof code !== 'string') return false;
  // 08 connection exception, 53 insufficient resources, 57P admin shutdown / crash / starting up,
  // 57014 statement timeout, 25006 a read-only standby.
  return /^(08...|53...|57P0\d|57014|25006)$/.test(code);
}

/** Runs a query and turns connection troubles into {@link DatabaseUnavailable}. */
export async function withDatabase<T>(query: () => PromiseLike<T>): Promise<T> {
  try {
    return await query();
  } catch (error) {
    if (error instanceof DatabaseUnavailable) throw error;
    throw isUnavailable(error) ? new DatabaseUnavailable(error) : error;
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
    settings: { role: WRITER_ROLE, search_path: 'gsv_ledger,pg_temp' },
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
