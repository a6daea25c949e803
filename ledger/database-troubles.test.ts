/** Each way in which a real PostgreSQL does not serve is named, and the ledger goes on when it is over. */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import postgres, { type Sql } from 'postgres';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { Secret } from '../config/settings.ts';
import { freePort } from '../hack/cluster/starting.ts';
import { line } from '../hack/testing/book.ts';
import { CuttingProxy } from '../hack/testing/cutting-proxy.ts';
import { DatabaseUnavailable, openDatabase } from './database.ts';
import { DATABASE_TROUBLES, type DatabaseTrouble, troubleOf } from './database-troubles.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.ts';
import { createLedger, type Ledger } from './main.ts';
import { migrate } from './migrate.ts';
import { LedgerOperations } from './operations.ts';
import { singleToken } from './tokens.ts';

const TOKEN = 'token-of-this-suite';
/** A standby can be made of it, and it is soon full of connections. */
const SETTINGS = { fsync: 'off', max_connections: '20', wal_level: 'replica', max_wal_senders: '2' };
const quiet = createLogger({ part: 'test', level: 'fatal' });
const logs: string[] = [];
const log = createLogger({ part: 'ledger', level: 'warn', destination: { write: (text) => void logs.push(text) } });

let folder: string;
let server: EmbeddedPostgres;
let admin: Sql;
let ledger: Ledger;
/** Keeps its port while the server's changes. */
const proxy = new CuttingProxy(() => Number(new URL(server.url).port), Math.random);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gsv-troubles-'));
  await chmod(folder, 0o755);
  await startServer();
  await migrate(server.url);
  await admin`create role ledger_app superuser login password 'app'`;
  const url = new URL(await proxy.start(server.url));
  [url.username, url.password] = ['ledger_app', 'app'];
  const tokens = singleToken(Secret.of(TOKEN), log);
  ledger = await createLedger({ port: 0, opsPort: await freePort(), databaseUrl: url.href, dataDir: '', tokens, log });
  await call('PUT', '/v1/wallets/acme.main', { ownerUid: 'u' });
});
after(async () => {
  await ledger.close();
  await proxy.close();
  await stopServer();
  await rm(folder, { recursive: true, force: true });
});

async function startServer(): Promise<void> {
  server = await startEmbeddedPostgres({ dataDir: join(folder, 'primary'), log: quiet, settings: SETTINGS });
  admin = postgres(server.url, { max: 1, onnotice: () => undefined });
  await admin`select 1`;
}

async function stopServer(): Promise<void> {
  await admin.end({ timeout: 1 });
  await server.stop();
}

interface Answer {
  status: number;
  retryAfter: string | null;
  code: string | undefined;
}

async function call(method: string, path: string, body?: object, key = ''): Promise<Answer> {
  const reply = await fetch(ledger.url + path, {
    method,
    headers: {
      authorization: `Bearer ${TOKEN}`,
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...(key ? { 'idempotency-key': key } : {}),
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const { code } = (await reply.json()) as { code?: string };
  return { status: reply.status, retryAfter: reply.headers.get('retry-after'), code };
}

const grant = (key: string): Promise<Answer> =>
  call('POST', '/v1/wallets/acme.main/grants', { amount: 1_000_000, kind: 'purchased' }, key);

const debit = (key: string): Promise<Answer> =>
  call('POST', '/v1/debits', { wallet: 'acme.main', lines: [line(1)] }, key);

/** The pool opens new connections, which know the server as it is now. */
const forgetConnections = (): PromiseLike<unknown> =>
  admin`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gsv-ledger'`;

async function postmaster(): Promise<number> {
  const text = await readFile(join(folder, 'primary/postgres/data/postmaster.pid'), 'utf8');
  return Number(text.split('\n')[0]);
}

async function assertNamed(answer: Answer, code: DatabaseTrouble): Promise<void> {
  const { retryAfterSeconds, next } = DATABASE_TROUBLES[code];
  assert.equal(answer, { status: 503, retryAfter: String(retryAfterSeconds), code });
  const said = logs.filter((text) => text.includes(`"code":"${code}"`));
  assert.ok(said.length > 0 && said.every((text) => text.includes(next)), `${code} is not in the log with what to do`);
  const metrics = await (await fetch(`${ledger.opsUrl}/metrics`)).text();
  assert.match(metrics, new RegExp(`gsv_ledger_refusals_total{code="${code}"[^}]*} [1-9]`));
}

type Ask = (key: string) => Promise<Answer>;

/** Calls until the answer is that; those that had one of the ended connections are told of its end first. */
async function until(key: string, fits: (answer: Answer) => boolean, ask: Ask): Promise<Answer> {
  let answer = await ask(key);
  for (let attempt = 0; attempt < 100 && !fits(answer); attempt += 1) {
    await delay(20);
    answer = await ask(key);
  }
  return answer;
}

const assertRefuses = async (key: string, code: DatabaseTrouble, ask: Ask = debit): Promise<void> =>
  assertNamed(await until(key, (answer) => answer.code === code, ask), code);

/** The trouble is over: the same key has its effect, in the same process. */
const assertServes = async (key: string, ask: Ask = debit): Promise<void> =>
  assert.is((await until(key, ({ status }) => status === 201, ask)).status, 201);

/** Files of tables in which nothing is yet. */
async function emptyFiles(): Promise<string[]> {
  const rows = await admin<{ path: string }[]>`
    select pg_relation_filepath(c.oid) as path from pg_class c
      where c.relnamespace = 'gsv_ledger'::regnamespace and c.relkind = 'r' and pg_relation_size(c.oid) = 0`;
  return rows.map(({ path }) => join(folder, 'primary/postgres/data', path));
}

test('a full disk', async () => {
  await admin`checkpoint`;
  const files = await emptyFiles();
  assert.ok(files.length > 0);
  // For this device the kernel says ENOSPC to every write, as a full disk does.
  for (const file of files) {
    await rename(file, `${file}.kept`);
    await symlink('/dev/full', file);
  }
  await forgetConnections();
  await assertRefuses('full', 'database_full', grant);
  assert.is((await call('GET', '/v1/wallets/acme.main')).status, 200);
  for (const file of files) await rename(`${file}.kept`, file);
  await forgetConnections();
  await assertServes('full', grant);
});

test('no connection left', async () => {
  const others: Sql[] = [];
  const fill = async (): Promise<void> => {
    for (let refused = false; !refused; ) {
      const other = postgres(server.url, { max: 1, onnotice: () => undefined });
      refused = await other`select 1`.then(
        () => false,
        ({ code }: { code: string }) => code === '53300',
      );
      others.push(other);
    }
  };
  try {
    for (let left = true; left; ) {
      await forgetConnections();
      await fill();
      const mine = await admin`select from pg_stat_activity where application_name = 'gsv-ledger'`;
      left = mine.length > 0;
    }
    await assertRefuses('many', 'database_connections');
  } finally {
    await Promise.all(others.map((other) => other.end({ timeout: 1 })));
  }
  await assertServes('many');
});

test('read-only by a setting: money is refused, readiness says so, receipts are still read', async () => {
  const receipt = ((await admin`select min(id) as id from gsv_ledger.receipts`)[0] as { id: string }).id;
  await admin.unsafe('alter database postgres set default_transaction_read_only = on');
  await forgetConnections();
  await assertRefuses('read-only', 'database_read_only');
  assert.is((await call('GET', `/v1/receipts/receipt_${receipt}`)).status, 200);
  const ready = await fetch(`${ledger.url}/readyz`);
  assert.is(ready.status, 503);
  assert.match(await ready.text(), 'read-only');
  await admin.begin(async (tx) => {
    await tx.unsafe('set transaction read write');
    await tx.unsafe('alter database postgres reset default_transaction_read_only');
  });
  await forgetConnections();
  await assertServes('read-only');
});

test('a wallet that somebody keeps locked', async () => {
  const connection = await admin.reserve();
  try {
    await connection`begin`;
    await connection`select from gsv_ledger.wallets where name = 'acme.main' for update`;
    await assertRefuses('locked', 'wallet_busy');
  } finally {
    await connection`rollback`;
    connection.release();
  }
  await assertServes('locked');
});

/** Runs while a debit of that key waits for the wallet's lock; answers what became of the debit. */
async function whileWaiting(key: string, work: () => Promise<unknown>): Promise<Answer> {
  const locker = postgres(server.url, { max: 1, onnotice: () => undefined });
  const connection = await locker.reserve();
  await connection`begin`;
  await connection`select from gsv_ledger.wallets where name = 'acme.main' for update`;
  const answer = debit(key);
  for (let waiting = false; !waiting; ) {
    const [row] = await admin<{ waiting: boolean }[]>`
      select exists (select from pg_stat_activity
        where application_name = 'gsv-ledger' and wait_event_type = 'Lock') as waiting`;
    waiting = row?.waiting ?? false;
  }
  await work();
  await locker.end({ timeout: 0 });
  return await answer;
}

test('a statement that took too long', async () => {
  // What statement_timeout does at its end.
  const cancel = () => admin`
    select pg_cancel_backend(pid) from pg_stat_activity
      where application_name = 'gsv-ledger' and wait_event_type = 'Lock'`;
  await assertNamed(await whileWaiting('slow', cancel), 'database_slow');
  await assertServes('slow');
});

test('a login that is refused', async () => {
  await admin.unsafe('alter role ledger_app nologin');
  await forgetConnections();
  await assertRefuses('login', 'database_login');
  await admin.unsafe('alter role ledger_app login');
  await assertServes('login');
});

test('a real replica: the ledger does not start on it, and one that ran is refused', async () => {
  await stopServer();
  const standbyDir = join(folder, 'standby');
  // Owner and modes are what PostgreSQL looks at first.
  await promisify(execFile)('cp', ['-a', join(folder, 'primary'), standbyDir]);
  await writeFile(join(standbyDir, 'postgres/data/standby.signal'), '');
  await startServer();
  const standby = await startEmbeddedPostgres({ dataDir: standbyDir, log: quiet, settings: SETTINGS });
  const troubleIn = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => undefined,
      (error: unknown) => (error instanceof DatabaseUnavailable ? error.trouble : error),
    );
  try {
    assert.is(await troubleIn(migrate(standby.url)), 'database_read_only');
    const sql = await openDatabase(standby.url, { max: 1 });
    const operations = new LedgerOperations(sql);
    const outcome = operations.debit({ wallet: 'acme.main', lines: [line(1)] }, { key: 'replica' });
    assert.is(await troubleIn(outcome), 'database_read_only');
    await sql.end({ timeout: 1 });
  } finally {
    await standby.stop();
  }
  await assertServes('replica');
});

test('a shutdown: those at work are told, newcomers are told, and a start is noticed without a restart', async () => {
  const stopped = Promise.withResolvers<void>();
  const answer = await whileWaiting('stop', async () => {
    // Fast: sessions are ended.
    process.kill(await postmaster(), 'SIGINT');
    stopped.resolve();
  });
  await stopped.promise;
  await assertNamed(answer, 'database_stopping');
  await stopServer();
  await assertRefuses('stop', 'database_unavailable');
  await startServer();
  await assertServes('stop');
});

test('a server that is going down lets nobody in', async () => {
  const stays = postgres(server.url, { max: 1, onnotice: () => undefined });
  const connection = await stays.reserve();
  await forgetConnections();
  // Smart: waits for the sessions that are there.
  process.kill(await postmaster(), 'SIGTERM');
  let answer = await debit('down');
  for (let attempt = 0; attempt < 100 && answer.code !== 'database_starting'; attempt += 1)
    answer = await debit('down');
  await assertNamed(answer, 'database_starting');
  connection.release();
  await stays.end({ timeout: 0 });
  await stopServer();
  await startServer();
  await assertServes('down');
});

const STATES: [state: string, trouble: DatabaseTrouble | undefined, reason: string][] = [
  ['53200', 'database_unavailable', 'out of memory'],
  ['08006', 'database_unavailable', 'connection failure'],
  ['57P02', 'database_stopping', 'another backend crashed'],
  ['28P01', 'database_login', 'a wrong password'],
  ['3D000', 'database_login', 'no such database'],
  ['23505', undefined, 'a row that is there is about the statement'],
  ['40001', undefined, 'a lost race is about the statement'],
  ['55000', undefined, 'an object in the wrong state is about the statement'],
];
for (const [state, trouble, reason] of STATES) {
  test(`SQLSTATE ${state} is ${trouble ?? 'no trouble of the database'}: ${reason}`, () => {
    assert.is(troubleOf(state), trouble);
  });
}
