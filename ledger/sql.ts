import pg from 'pg';

/** Values that a statement may carry. Objects and arrays travel as JSON text that the caller made. */
type Value = string | number | boolean | Date | Uint8Array | null;

/** A name of the database's own, quoted where it stands. */
class Identifier {
  readonly quoted: string;
  constructor(name: string) {
    this.quoted = pg.escapeIdentifier(name);
  }
}

/** How a statement is written: ``sql<Row[]>`select … ${value}` ``. It runs at once; every value is a parameter. */
export interface Sql {
  <Rows extends readonly object[] = Record<string, unknown>[]>(
    text: TemplateStringsArray,
    ...values: (Value | Identifier)[]
  ): Promise<Rows>;
  (name: string): Identifier;
  /** A text as it is, several statements included; only for texts of our own. */
  unsafe<Rows extends readonly object[] = Record<string, unknown>[]>(text: string): Promise<Rows>;
}

/** A pool of connections that takes statements. */
export interface PooledSql extends Sql {
  /** Rows as lists of their columns. */
  values(text: string, values: readonly unknown[]): Promise<unknown[][]>;
  /** Lends one connection; what is set in it goes with it when the pool ends. */
  session<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Runs `work` in one transaction on one connection; whatever it throws rolls back. For reads: see ADR 22. */
  begin<T>(mode: string, work: (sql: Sql) => Promise<T>): Promise<T>;
  /** Ends idle connections at once and the others after what they do, at the latest after `timeout` seconds. */
  end(options?: { timeout: number }): Promise<void>;
}

/** The connection was lost, not had, or silent: nobody knows what became of a statement that was sent. */
export class ConnectionLost extends Error {
  /** As the operating system names it, e.g. `ECONNREFUSED`; absent when the connection just ended. */
  readonly code: string | undefined;
  constructor(cause: unknown) {
    super('the connection to the database was lost', { cause });
    this.name = 'ConnectionLost';
    this.code = (cause as { code?: string } | undefined)?.code;
  }
}

export interface PoolOptions {
  url: string;
  max: number;
  /** To connect, and to wait for one of `max` connections. */
  connectTimeoutMs: number;
  /** A statement without an answer for so long is given up, and its connection with it. */
  silenceMs: number;
  statementTimeoutMs: number;
  applicationName: string;
  /** Server settings that every connection begins with. */
  settings: Record<string, string>;
}

/** An audit or a migration may be silent for hours while one statement works. */
const SESSION_SILENCE_MS = 24 * 3_600_000;

/** Texts that get a prepared statement. There are some hundred; what builds texts without end must not fill the server. */
const MAX_PREPARED = 1_000;

/** Who ends a pool without saying how long it may take. */
const MAX_GRACE_SECONDS = 60;

/** A plan whose result changed under it by a migration; nothing was run, and a new connection knows the new one. */
const STALE_PLAN = { code: '0A000', routine: 'RevalidateCachedQuery' };

/**
 * Opens a pool over `pg`. A connection that was lost is thrown away with all that it knew; nothing of it, not a row
 * and not a listener, can reach a later statement (ADR 25).
 */
export function openPool(options: PoolOptions): PooledSql {
  return pooledSql(new Connections(options));
}

function pooledSql(connections: Connections): PooledSql {
  return Object.assign(
    sqlOn((statement) => connections.once((client) => connections.ask(client, statement))),
    {
      values: (text: string, values: readonly unknown[]) =>
        connections.once((client) => connections.ask<unknown[]>(client, { text, values, lists: true })),
      session: <T>(work: (sql: Sql) => Promise<T>) => connections.session(work),
      begin: <T>(mode: string, work: (sql: Sql) => Promise<T>) =>
        connections.session((sql) => transaction(sql, mode, work)),
      end: ({ timeout }: { timeout: number } = { timeout: MAX_GRACE_SECONDS }) => connections.end(timeout * 1000),
    },
  );
}

interface Statement {
  text: string;
  /** Absent: the simple protocol, which takes several statements. */
  values?: readonly unknown[];
  lists?: boolean;
  silenceMs?: number;
}

function sqlOn(run: (statement: Statement) => Promise<object[]>): Sql {
  const call = (text: TemplateStringsArray | string, ...values: unknown[]): unknown =>
    typeof text === 'string' ? new Identifier(text) : run(statementOf(text, values));
  return Object.assign(call, { unsafe: (text: string) => run({ text }) }) as unknown as Sql;
}

async function transaction<T>(sql: Sql, mode: string, work: (sql: Sql) => Promise<T>): Promise<T> {
  await sql.unsafe(`begin ${mode}`);
  try {
    const result = await work(sql);
    await sql.unsafe('commit');
    return result;
  } catch (error) {
    await sql.unsafe('rollback').catch(() => undefined);
    throw error;
  }
}

function statementOf(strings: TemplateStringsArray, values: readonly unknown[]): Statement {
  const parameters: unknown[] = [];
  let text = strings[0] ?? '';
  values.forEach((value, index) => {
    if (value === undefined) throw new TypeError(`value ${index + 1} of a statement is undefined`);
    if (value instanceof Identifier) text += value.quoted;
    else text += `$${parameters.push(value)}`;
    text += strings[index + 1] ?? '';
  });
  return { text, values: parameters };
}

class Connections {
  readonly #pool: pg.Pool;
  readonly #options: PoolOptions;
  readonly #busy = new Set<pg.PoolClient>();
  readonly #names = new Map<string, string>();
  #ended: Promise<void> | undefined;

  constructor(options: PoolOptions) {
    const settings = Object.entries(options.settings).map(([name, value]) => `-c ${name}=${value}`);
    this.#options = options;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: options.max,
      connectionTimeoutMillis: options.connectTimeoutMs,
      idleTimeoutMillis: 0,
      keepAlive: true,
      application_name: options.applicationName,
      statement_timeout: options.statementTimeoutMs,
      options: settings.join(' '),
    });
    // A connection that ends while idle: the pool has dropped it, and the next caller gets another one.
    this.#pool.on('error', ignore);
    // From the first moment on: between the pool's listeners and ours, and between two statements, nobody else listens,
    // and an error that nobody hears ends the process. Whoever uses the connection is told by its statement.
    this.#pool.on('connect', (client) => client.on('error', ignore));
  }

  /** @throws ConnectionLost, or what the database answered */
  async once<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    try {
      return await this.#lend(work);
    } catch (error) {
      if (!isStalePlan(error)) throw error;
      return await this.#lend(work);
    }
  }

  /** @throws ConnectionLost, or what the database or `work` said */
  async session<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return await this.#lend((client) =>
      work(sqlOn((statement) => this.ask(client, { ...statement, silenceMs: SESSION_SILENCE_MS }))),
    );
  }

  async ask<Row extends object>(client: pg.PoolClient, statement: Statement): Promise<Row[]> {
    const { text, values, lists, silenceMs = this.#options.silenceMs } = statement;
    const name = values && this.#nameOf(text);
    try {
      const result = await client.query({
        text,
        ...(values === undefined ? {} : { values: [...values] }),
        ...(name === undefined ? {} : { name }),
        ...(lists ? { rowMode: 'array' } : {}),
        query_timeout: silenceMs,
      } as pg.QueryConfig);
      return rowsOf<Row>(result);
    } catch (error) {
      throw error instanceof pg.DatabaseError || error instanceof ConnectionLost ? error : new ConnectionLost(error);
    }
  }

  /** Lets nobody in; who is at work may finish within that time. */
  end(graceMs: number): Promise<void> {
    this.#ended ??= this.#end(graceMs);
    return this.#ended;
  }

  async #end(graceMs: number): Promise<void> {
    const drop = setTimeout(() => {
      // With a statement under way this closes the socket, which ends it for whoever waits.
      for (const client of this.#busy) void (client as unknown as pg.Client).end().catch(() => undefined);
    }, graceMs);
    await this.#pool.end();
    clearTimeout(drop);
  }

  async #lend<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw error instanceof pg.DatabaseError ? error : new ConnectionLost(error);
    });
    this.#busy.add(client);
    let spent: Error | undefined;
    try {
      return await work(client);
    } catch (error) {
      if (isSpent(error)) spent = error as Error;
      throw error;
    } finally {
      this.#busy.delete(client);
      client.release(spent);
    }
  }

  #nameOf(text: string): string | undefined {
    const known = this.#names.get(text);
    if (known !== undefined || this.#names.size >= MAX_PREPARED) return known;
    const name = `gsv_${this.#names.size + 1}`;
    this.#names.set(text, name);
    return name;
  }
}

function ignore(): void {}

function isStalePlan(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.code === STALE_PLAN.code && error.routine === STALE_PLAN.routine;
}

/** Whether a connection is of no use after this: all but an error that the database answered and goes on after. */
function isSpent(error: unknown): boolean {
  return error instanceof pg.DatabaseError
    ? error.severity !== 'ERROR' || isStalePlan(error)
    : error instanceof ConnectionLost;
}

/** The rows, if they are all there: the server says how many it has sent. */
function rowsOf<Row>(result: pg.QueryResult | pg.QueryResult[]): Row[] {
  const last = Array.isArray(result) ? result.at(-1) : result;
  if (last === undefined) return [];
  if (last.command === 'SELECT' && last.rowCount !== last.rows.length) {
    throw new ConnectionLost(new Error(`${last.rowCount} rows were sent and ${last.rows.length} came`));
  }
  return last.rows as Row[];
}
