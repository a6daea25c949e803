/** What ADR 25 chose the driver for: a connection that ends takes nothing but its own statement with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import postgres from 'postgres';
import * as assert from 'uvu/assert';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';
import { type CutSide, type Message, WireProxy } from '../hack/testing/wire-proxy.ts';
import { DatabaseUnavailable, openDatabase, withDatabase } from './database.ts';

/** New connections whose backend is ended on their first statement. */
const FIRST_STATEMENTS = 60;
const READY_BACKENDS = 20;

let database: TestDatabase;
let url: string;
const proxy = new WireProxy();
before(async () => {
  database = await createTestDatabase();
  url = await proxy.start(database.url);
});
after(async () => {
  await proxy.close();
  await database.close();
});

/** Ends the backend of every connection that says its first `Parse`, before the backend hears of it. */
function endOnFirstStatement(): Set<number> {
  const ended = new Set<number>();
  proxy.listen(async ({ name, backend }: Message) => {
    if (name === 'Parse' && backend !== undefined && !ended.has(backend)) {
      ended.add(backend);
      await database.admin`select pg_terminate_backend(${backend})`;
    }
    return undefined;
  });
  return ended;
}

test('a backend that ends on the first statement of a connection costs that call, and never the process', async () => {
  const sql = await openDatabase(url, { max: 3 });
  try {
    const old = await database.admin`
      select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'gsv-ledger' and datname = current_database()`;
    assert.ok(old.length > 0);
    const ended = endOnFirstStatement();
    while (ended.size < FIRST_STATEMENTS) {
      const calls = Array.from({ length: 3 }, () =>
        withDatabase(() => sql`select 1 as one`).catch((error: unknown) => error),
      );
      for (const answer of await Promise.all(calls)) assert.instance(answer, DatabaseUnavailable);
    }
    proxy.listen();
    assert.equal(await sql`select 1 as one`, [{ one: 1 }]);
    process.stdout.write(
      `${ended.size} backends ended on their first statement; every call was told, the process lives\n`,
    );
  } finally {
    await sql.end({ timeout: 1 });
  }
});

test('a backend that ends in the breath in which it says that it is ready costs a call at most', async () => {
  const sql = await openDatabase(url, { max: 1 });
  const ended = new Set<number>();
  try {
    await database.admin`
      select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'gsv-ledger' and datname = current_database()`;
    proxy.listen(async ({ name, backend }: Message) => {
      if (name === 'ReadyForQuery' && backend !== undefined && !ended.has(backend)) {
        ended.add(backend);
        await database.admin`select pg_terminate_backend(${backend}, 5000)`;
        // Both messages are read at once, before anybody who waits for the connection has it.
        await delay(5);
      }
      return undefined;
    });
    for (let call = 0; call < 5 * READY_BACKENDS && ended.size < READY_BACKENDS; call += 1) {
      await withDatabase(() => sql`select 1`).catch(() => undefined);
    }
    assert.is(ended.size, READY_BACKENDS);
    proxy.listen();
    await withDatabase(() => sql`select 1`).catch(() => undefined);
    assert.equal(await sql`select 1 as one`, [{ one: 1 }]);
  } finally {
    await sql.end({ timeout: 1 });
  }
});

test('the driver before it, postgres.js 3.4.9, ends the process by a rejection that nobody can handle', async () => {
  const ended = endOnFirstStatement();
  const child = spawn(process.execPath, ['--input-type=module', '-e', CALLER], {
    cwd: import.meta.dirname,
    env: { CALLED_URL: url },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const words = await lastWords(child);
  proxy.listen();
  assert.ok(ended.size > 0, 'no backend was ended');
  assert.is(child.exitCode, 1);
  assert.match(words, '57P01');
});

/** Handles every error that it is given. */
const CALLER = `
  import postgres from 'postgres';
  const sql = postgres(process.env.CALLED_URL, { max: 1, backoff: false });
  for (let call = 0; call < 5; call += 1) await sql\`select 1\`.catch(() => undefined);
  await sql.end({ timeout: 1 });`;

async function lastWords(child: ChildProcess): Promise<string> {
  let text = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(child, 'close');
  return text;
}

interface Caller {
  ask(): PromiseLike<readonly object[]>;
  end(): Promise<void>;
}

async function ours(): Promise<Caller> {
  const sql = await openDatabase(url, { max: 1 });
  return { ask: () => sql`select n from generate_series(1, 2) n`, end: () => sql.end({ timeout: 1 }) };
}

async function postgresJs(): Promise<Caller> {
  const sql = postgres(url, { max: 1, backoff: false, fetch_types: false, onnotice: () => undefined });
  await sql`select 1`;
  return { ask: () => sql`select n from generate_series(1, 2) n`, end: () => sql.end({ timeout: 1 }) };
}

/** Cuts at every message of one statement; answers what calls said that is neither an error nor the two rows. */
async function wrongAnswers(open: () => Promise<Caller>): Promise<{ cuts: number; wrong: string[] }> {
  const measured = await open();
  proxy.listen();
  await measured.ask();
  const messages = proxy.heard.length;
  await measured.end();
  const wrong: string[] = [];
  const before = proxy.cuts;
  for (let place = 0; place < messages; place += 1) {
    for (const side of ['before', 'after'] as CutSide[]) {
      const caller = await open();
      proxy.cutAt(place, side);
      for (let call = 0; call < 3; call += 1) {
        const rows = await caller.ask().then(
          (found) => JSON.stringify([...found]),
          () => undefined,
        );
        if (rows !== undefined && rows !== '[{"n":1},{"n":2}]') wrong.push(rows);
      }
      proxy.listen();
      await caller.end();
    }
  }
  return { cuts: proxy.cuts - before, wrong };
}

test('a reply that was cut at any message leaves nothing behind for the next one', async () => {
  const { cuts, wrong } = await wrongAnswers(ours);
  process.stdout.write(`${cuts} cuts in and around one statement, ${wrong.length} wrong answers\n`);
  assert.ok(cuts >= 20, `${cuts} cuts`);
  assert.equal(wrong, []);
});

test('with postgres.js the rows of a lost reply are holes of the next one', async () => {
  const { wrong } = await wrongAnswers(postgresJs);
  assert.ok(
    wrong.some((rows) => rows.startsWith('[null')),
    JSON.stringify(wrong),
  );
});
