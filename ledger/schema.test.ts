import { after, before, test } from 'node:test';
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import * as assert from 'uvu/assert';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';
import * as schema from './schema.ts';

let database: TestDatabase;
before(async () => {
  database = await createTestDatabase();
});
after(() => database.close());

/** What no query of ours reads through drizzle: the migrator's own, and inbox and outbox with files of their own. */
const ELSEWHERE = ['charged_receipts', 'inbox', 'migrations'];

interface Column {
  name: string;
  type: string;
  required: boolean;
}

const byName = (a: Column, b: Column) => (a.name < b.name ? -1 : 1);

const described = Object.values(schema)
  .filter((value) => value instanceof PgTable)
  .map((table) => getTableConfig(table));

test('every table and view is described, and every description has its own', async () => {
  const rows = await database.sql<{ name: string }[]>`
    select relname as name from pg_class where relnamespace = 'gsv_ledger'::regnamespace and relkind in ('r', 'v')`;
  assert.equal([...described.map(({ name }) => name), ...ELSEWHERE].sort(), rows.map(({ name }) => name).sort());
});

for (const { name, columns } of described) {
  test(`${name}: every column is as the migrations made it`, async () => {
    const found = await database.sql<(Column & { view: boolean })[]>`
      select a.attname as name, format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), null) as type, a.attnotnull as required, c.relkind = 'v' as view
        from pg_attribute a join pg_type t on t.oid = a.atttypid join pg_class c on c.oid = a.attrelid
        where a.attrelid = ${`gsv_ledger.${name}`}::regclass and a.attnum > 0 and not a.attisdropped`;
    const expected = columns.map(
      (column): Column => ({
        name: column.name,
        type: column.getSQLType(),
        // A view cannot say that a column is never null.
        required: column.notNull && !found[0]?.view,
      }),
    );
    assert.equal(expected.sort(byName), found.map(({ view: _, ...row }) => row).sort(byName));
  });
}
