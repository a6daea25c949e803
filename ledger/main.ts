import { setTimeout as delay } from 'node:timers/promises';
import { blobStoreOf } from '../config/artifacts.ts';
import { createLogger, type Logger } from '../config/log.ts';
import { createRegistry, startOps } from '../config/ops.ts';
import { loadSettings, type Settings, SettingsError } from '../config/settings.ts';
import { AccountStatements } from './account-statements.ts';
import { createLedgerApp } from './app.ts';
import { archiveMonth } from './archive.ts';
import { audit } from './audit.ts';
import { checkHead, parseHead } from './audit-head.ts';
import { backoffMs } from './backoff.ts';
import { DatabaseUnavailable, type LedgerSql, openDatabase } from './database.ts';
import { drift } from './drift.ts';
import { driftArguments, driftText } from './drift-report.ts';
import { startEmbeddedPostgres } from './embedded.ts';
import { Inbox } from './inbox.ts';
import { createMetrics } from './metrics.ts';
import { migrate } from './migrate.ts';
import { OpenMeter, type OpenMeterOptions } from './openmeter.ts';
import { LedgerOperations } from './operations.ts';
import { OrderStatements } from './order-statements.ts';
import { Outbox } from './outbox.ts';
import { createOutboxMetrics } from './outbox-metrics.ts';
import { startOutboxSender } from './outbox-sender.ts';
import { LedgerQueries } from './queries.ts';
import { Statements } from './statements.ts';
import { startRetention, startSweeper } from './sweeper.ts';
import { fileTokens, singleToken, type Tokens } from './tokens.ts';

/** A drain that takes longer is cut, so that a stuck request cannot keep the process. */
const DRAIN_TIMEOUT_MS = 20_000;

/** While a database is away at start. It is looked for as often as callers would come back. */
const DATABASE_BACKOFF = { baseMs: 500, capMs: 5_000 };

export interface DatabaseOptions {
  /** PostgreSQL 15 or newer; absent: an embedded one in `dataDir`. */
  databaseUrl?: string | undefined;
  /** Whether a database that is away is waited for. Absent: it is an error. */
  waitForDatabase?: boolean;
  dataDir: string;
  log: Logger;
}

export interface LedgerOptions extends DatabaseOptions {
  /** 0 = a free one. */
  port: number;
  host?: string | undefined;
  tokens: Tokens;
  /** 0 or absent = no ops server. */
  opsPort?: number | undefined;
  /** Absent: 127.0.0.1. */
  opsHost?: string | undefined;
  /** Where usage is sent; absent: nowhere. */
  openmeter?: OpenMeterOptions | undefined;
  /** The ledger's clock; for tests. */
  now?: (() => Date) | undefined;
}

export interface Ledger {
  /** Base URL of the API. */
  url: string;
  /** Base URL of the ops server; undefined when off. */
  opsUrl: string | undefined;
  /** Ends long polls, drains requests, then stops everything down to an embedded database. Safe to call twice. */
  close(): Promise<void>;
}

interface Database {
  sql: LedgerSql;
  close(): Promise<void>;
}

/** Opens the book: embedded or external database, migrated, as the writer role. */
async function openBook(options: DatabaseOptions): Promise<Database> {
  // Not even a note before the line with the bound URL, which must be the first.
  const quiet = options.log.child({}, { level: 'warn' });
  const embedded = options.databaseUrl
    ? undefined
    : await startEmbeddedPostgres({ dataDir: options.dataDir, log: quiet });
  const url = options.databaseUrl ?? embedded?.url ?? '';
  try {
    const sql = await whenServed(options, async () => {
      await migrate(url);
      return openDatabase(url);
    });
    return {
      sql,
      close: async () => {
        await sql.end({ timeout: 5 });
        await embedded?.stop();
      },
    };
  } catch (error) {
    await embedded?.stop();
    throw error;
  }
}

/** Tries until the database serves, if that was asked for. What waiting does not mend is thrown at once. */
async function whenServed<T>({ waitForDatabase, log }: DatabaseOptions, open: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures += 1) {
    try {
      return await open();
    } catch (error) {
      const mends = error instanceof DatabaseUnavailable && error.trouble !== 'database_login';
      if (!waitForDatabase || !mends) throw error;
      log.warn({ trouble: error.trouble, failures: failures + 1 }, `waiting for the database: ${error.message}`);
      await delay(backoffMs(failures, DATABASE_BACKOFF));
    }
  }
}

/** Starts a whole ledger in this process. Resolves once it listens. */
export async function createLedger(options: LedgerOptions): Promise<Ledger> {
  const { log } = options;
  const now = options.now ?? (() => new Date());
  const book = await openBook(options);
  const closing = new AbortController();
  const inbox = new Inbox(book.sql, { now });
  const outbox = new Outbox(book.sql, { now });
  const registry = createRegistry('ledger');
  const metrics = createMetrics({ registry, sql: book.sql, inbox, log, now });
  const operations = new LedgerOperations(book.sql, { now, onBatch: metrics.batched });
  const ready = async (): Promise<string[]> => {
    if (closing.signal.aborted) return ['the ledger is stopping'];
    return book.sql<{ setting: string }[]>`select current_setting('transaction_read_only') as setting`.then(
      ([row]) => (row?.setting === 'off' ? [] : ['the database is read-only']),
      () => ['the database does not answer'],
    );
  };
  const openmeter = options.openmeter && new OpenMeter(options.openmeter);
  const stops: (() => Promise<void>)[] = [async () => openmeter?.close(), () => book.close()];
  try {
    const app = await createLedgerApp({
      parts: {
        operations,
        queries: new LedgerQueries(book.sql, { now }),
        statements: new Statements(book.sql, { now }),
        orderStatements: new OrderStatements(book.sql),
        accountStatements: new AccountStatements(book.sql),
        inbox,
        outbox,
        outboxEnabled: openmeter !== undefined,
        audit: () => audit(book.sql),
        drift: (query) => drift(query, { sql: book.sql, openmeter }),
        ready,
        metrics,
        closing: closing.signal,
      },
      tokens: options.tokens,
      metrics,
      log,
    });
    stops.unshift(() => app.close());
    const url = await app.listen({
      port: options.port,
      host: options.host ?? '127.0.0.1',
      listenTextResolver: (address) => `ledger listens at ${address}`,
    });
    const ops = await startOps({ port: options.opsPort ?? 0, host: options.opsHost, log, ready, registry });
    stops.unshift(() => ops.close());
    if (ops.url) log.info({ url: ops.url }, 'ops server listens');
    const sweeper = startSweeper({ operations, log });
    stops.unshift(() => sweeper.stop());
    const retention = startRetention({ inbox, log });
    stops.unshift(() => retention.stop());
    if (openmeter) {
      const observer = createOutboxMetrics({ registry, outbox, log });
      const sender = startOutboxSender({ outbox, openmeter, observer, log });
      stops.unshift(() => sender.stop());
    }
    log.info(openmeter ? 'usage is sent to OpenMeter' : 'usage is not sent to OpenMeter: GSV_OPENMETER_URL is not set');
    const close = async (): Promise<void> => {
      closing.abort();
      for (const stop of stops.splice(0)) await stop();
    };
    return { url, opsUrl: ops.url, close };
  } catch (error) {
    for (const stop of stops) await stop();
    throw error;
  }
}

const SETTING_KEYS = [
  'dataDir',
  'logLevel',
  'opsPort',
  'opsHost',
  'ledgerPort',
  'ledgerHost',
  'ledgerDatabaseUrl',
  'ledgerTokensFile',
  'ledgerToken',
  'openmeterUrl',
  'openmeterToken',
] as const;

/** @throws TypeError that completes a sentence about the tokens */
function openTokens(settings: Settings<'ledgerTokensFile' | 'ledgerToken'>, log: Logger): Tokens {
  if (settings.ledgerTokensFile) return fileTokens(settings.ledgerTokensFile, log);
  if (settings.ledgerToken) return singleToken(settings.ledgerToken, log);
  throw new TypeError('or GSV_LEDGER_TOKEN is required: without a token nobody could call the ledger');
}

/** Problems of settings and of tokens, all at once. */
function readConfiguration(): { settings: Settings<(typeof SETTING_KEYS)[number]>; tokens: Tokens; log: Logger } {
  const problems: string[] = [];
  const attempt = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch (error) {
      if (error instanceof SettingsError) problems.push(...error.problems);
      else if (error instanceof TypeError) problems.push(`GSV_LEDGER_TOKENS_FILE ${error.message}`);
      else throw error;
      return undefined;
    }
  };
  const settings = attempt(() => loadSettings(SETTING_KEYS));
  const tokenSettings = settings ?? attempt(() => loadSettings(['ledgerTokensFile', 'ledgerToken']));
  const log = createLogger({ part: 'ledger', level: settings?.logLevel ?? 'info' });
  const tokens = tokenSettings && attempt(() => openTokens(tokenSettings, log));
  if (!settings || !tokens) throw new SettingsError([...new Set(problems)]);
  return { settings, tokens, log };
}

async function serve(): Promise<void> {
  const { settings, tokens, log } = readConfiguration();
  const ledger = await createLedger({
    port: settings.ledgerPort,
    host: settings.ledgerHost,
    databaseUrl: settings.ledgerDatabaseUrl,
    waitForDatabase: true,
    dataDir: settings.dataDir,
    opsPort: settings.opsPort,
    opsHost: settings.opsHost,
    openmeter: settings.openmeterUrl ? { url: settings.openmeterUrl, token: settings.openmeterToken } : undefined,
    tokens,
    log,
  });
  const signal = await new Promise<string>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  log.info({ signal }, 'ledger stops');
  const cut = setTimeout(() => {
    log.error('the drain takes too long; stopping now');
    process.exit(1);
  }, DRAIN_TIMEOUT_MS);
  await ledger.close();
  clearTimeout(cut);
}

/** `audit LINK:DIGEST` also looks whether a link that was kept elsewhere is still what it was. */
async function auditOnce(): Promise<void> {
  const kept = process.argv[3];
  const known = kept === undefined ? undefined : parseHead(kept);
  if (kept !== undefined && !known)
    throw new Error(`${kept} is no LINK:DIGEST, like the chain of an archive's manifest`);
  const settings = loadSettings(['dataDir', 'logLevel', 'ledgerDatabaseUrl']);
  const log = createLogger({ part: 'ledger-audit', level: settings.logLevel });
  const book = await openBook({ dataDir: settings.dataDir, databaseUrl: settings.ledgerDatabaseUrl, log });
  try {
    const result = await audit(book.sql, (checked) => process.stderr.write(`checked ${checked} entries\n`));
    if (known) result.problems.push(...(await checkHead(book.sql, known)));
    result.ok = result.problems.length === 0;
    process.stdout.write(`${JSON.stringify(result)}\n`);
    process.exitCode = result.ok ? 0 : 1;
  } finally {
    await book.close();
  }
}

async function archiveOnce(): Promise<void> {
  const settings = loadSettings(
    ['dataDir', 'logLevel', 'ledgerDatabaseUrl', 'artifactsUrl', 's3Endpoint', 's3AccessKey', 's3SecretKey'],
    ['artifactsUrl'],
  );
  const blobs = blobStoreOf(settings);
  const log = createLogger({ part: 'ledger-archive', level: settings.logLevel });
  const book = await openBook({ dataDir: settings.dataDir, databaseUrl: settings.ledgerDatabaseUrl, log });
  try {
    const manifest = await archiveMonth(process.argv[3] ?? '', { sql: book.sql, blobs, now: () => new Date() });
    process.stdout.write(`${JSON.stringify(manifest)}\n`);
  } finally {
    await book.close();
  }
}

/** Ends with 0 without a difference, with 1 with one, with 2 when a side could not be read. */
async function driftOnce(): Promise<void> {
  let close = async (): Promise<void> => undefined;
  try {
    const { json, ...query } = driftArguments(process.argv.slice(3));
    const settings = loadSettings(['dataDir', 'logLevel', 'ledgerDatabaseUrl', 'openmeterUrl', 'openmeterToken']);
    const log = createLogger({ part: 'ledger-drift', level: settings.logLevel });
    const { openmeterUrl: url, openmeterToken: token } = settings;
    const book = await openBook({ dataDir: settings.dataDir, databaseUrl: settings.ledgerDatabaseUrl, log });
    close = () => book.close();
    const report = await drift(query, { sql: book.sql, openmeter: url ? new OpenMeter({ url, token }) : undefined });
    process.stdout.write(json ? `${JSON.stringify(report)}\n` : driftText(report));
    process.exitCode = report.ok ? 0 : 1;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exitCode = 2;
  } finally {
    await close();
  }
}

const COMMANDS: Record<string, () => Promise<void>> = { audit: auditOnce, archive: archiveOnce, drift: driftOnce };

if (import.meta.main) {
  const run = COMMANDS[process.argv[2] ?? ''] ?? serve;
  await run().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
}
