import { after, before, beforeEach, test } from 'node:test';
import postgres from 'postgres';
import * as assert from 'uvu/assert';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';
import { DatabaseUnavailable, openDatabase } from './database.ts';
import { MigrationError, migrate } from './migrate.ts';

/** The server is the test database's; every test gets an empty database beside it. */
let host: TestDatabase;
let url: string;
let made = 0;
before(async () => {
  host = await createTestDatabase();
});
after(() => host.close());
beforeEach(async () => {
  made += 1;
  await host.admin.unsafe(`create database empty_${made}`);
  url = host.url.replace(/\/[^/]+$/, `/empty_${made}`);
});

async function refusal(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    assert.instance(error, MigrationError, String(error));
    return (error as Error).message;
  }
  return 'it worked';
}

async function admin<T>(run: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const sql = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    return await run(sql);
  } finally {
    await sql.end();
  }
}

test('an empty database gets every file once', async () => {
  const applied = await migrate(url);
  assert.ok(applied.length >= 6 && applied[0] === '0001_tables.sql', applied.join());
  assert.equal(await migrate(url), []);
});

test('five processes that start at once migrate once', async () => {
  const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(url)));
  assert.is(applied.filter((files) => files.length > 0).length, 1);
});

test('a database of a newer release is refused', async () => {
  await migrate(url);
  await admin(
    (sql) => sql`insert into gsv_ledger.migrations (number, name, sha256) values (9999, '9999_future.sql', 'x')`,
  );
  assert.match(await refusal(() => migrate(url)), /9999_future\.sql.*newer/);
});

test('a file that changed after it was applied is refused by name', async () => {
  await migrate(url);
  await admin((sql) => sql`update gsv_ledger.migrations set sha256 = 'x' where number = 2`);
  assert.match(await refusal(() => migrate(url)), /0002_guards\.sql has changed/);
});

test('a user who is no superuser can migrate, and works with no right to write', async () => {
  await host.admin.unsafe(`create role tenant_admin login createrole password 'pw'`);
  await host.admin.unsafe(`grant gsv_ledger_owner, gsv_ledger_writer to tenant_admin`);
  await host.admin.unsafe(`grant create on database empty_${made} to tenant_admin`);
  const limited = url.replace(/\/\/[^@]+@/, '//tenant_admin:pw@');
  assert.ok((await migrate(limited)).length > 0);
  const sql = await openDatabase(limited);
  const [row] = await sql`select current_user as role, has_table_privilege('entries', 'insert') as may_write`;
  await sql.end();
  assert.equal({ ...row }, { role: 'gsv_ledger_writer', may_write: false });
});

test('a user without the rights is told which ones are missing', async () => {
  await host.admin.unsafe(`create role stranger login password 'pw'`);
  const limited = url.replace(/\/\/[^@]+@/, '//stranger:pw@');
  assert.match(
    await refusal(() => migrate(limited)),
    /may not make or use the role gsv_ledger_owner; give the user CREATEROLE/,
  );
});

test('a database that nobody serves is unavailable, not broken', async () => {
  const nowhere = 'postgres://u:p@127.0.0.1:1/x';
  for (const run of [() => migrate(nowhere), () => openDatabase(nowhere)]) {
    const error = await run().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.instance(error, DatabaseUnavailable);
    assert.not.match(String(error), /u:p@/);
  }
});
