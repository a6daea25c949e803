import postgres, { type Sql } from 'postgres';

/** A pool that works as the writer role: it may read and call the ledger's functions, nothing else. */
export type LedgerSql = Sql<Record<string, never>>;

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
const CONNECT_TIMEOUT_SECONDS = 5;
/** No operation needs longer; a statement that hangs on a lock is ended and the caller may retry. */
const STATEMENT_TIMEOUT_MS = 15_000;

const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'ENOTFOUND',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EAI_AGAIN',
  'CONNECT_TIMEOUT',
  'CONNECTION_CLOSED',
  'CONNECTION_ENDED',
  'CONNECTION_DESTROYED',
]);

/** True for errors that say "no database", as opposed to errors that the database answered. */
function isUnavailable(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== 'string') return false;
  // 08 connection exception, 53 insufficient resources, 57P admin shutdown / crash / starting up,
  // 57014 statement timeout, 25006 a read-only standby.
  return NETWORK_CODES.has(code) || /^(08...|53...|57P0\d|57014|25006)$/.test(code);
}

/**
 * Runs a query and turns connection troubles into {@link DatabaseUnavailable}. One of them has no error: on a
 * connection that was made anew after a cut in the middle of an answer, postgres.js 3.4.9 goes on counting rows
 * where the lost answer ended, so the next result begins with a hole. It must not be taken for "not found".
 */
export async function withDatabase<T>(query: () => PromiseLike<T>): Promise<T> {
  try {
    const result = await query();
    if (Array.isArray(result) && result.length > 0 && !(0 in result))
      throw new DatabaseUnavailable(new Error('the driver has lost the first row of an answer'));
    return result;
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
  const sql = postgres(url, {
    max: options.max ?? POOL_SIZE,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    // Reconnecting is paced by the callers' retries; a refused one must answer at once.
    backoff: false,
    onnotice: () => undefined,
    connection: {
      role: WRITER_ROLE,
      search_path: 'gsv_ledger,pg_temp',
      application_name: 'gsv-ledger',
      statement_timeout: STATEMENT_TIMEOUT_MS,
    },
  });
  try {
    const [row] = await withDatabase(
      () => sql<{ role: string; may_write: boolean }[]>`
        select current_user as role, has_table_privilege('gsv_ledger.entries', 'insert') as may_write`,
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
