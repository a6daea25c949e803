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

/** Tables that no query of ours reads through drizzle: the migrator's own, and the inbox with its own file. */
const ELSEWHERE = ['inbox', 'migrations'];

interface Column {
  name: string;
  type: string;
  required: boolean;
}

const byName = (a: Column, b: Column) => (a.name < b.name ? -1 : 1);

test('every table is described, and every description has its table', async () => {
  const rows = await database.sql<
    { name: string }[]
  >`select tablename as name from pg_tables where schemaname = 'gsv_ledger'`;
  const described = Object.values(schema)
    .filter((value) => value instanceof PgTable)
    .map((table) => getTableConfig(table).name);
  assert.equal([...described, ...ELSEWHERE].sort(), rows.map(({ name }) => name).sort());
});

for (const table of Object.values(schema)) {
  const { name, columns } = getTableConfig(table);
  test(`${name}: every column is as the migrations made it`, async () => {
    const found = await database.sql<Column[]>`
      select a.attname as name, format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), null) as type, a.attnotnull as required
        from pg_attribute a join pg_type t on t.oid = a.atttypid
        where a.attrelid = ${`gsv_ledger.${name}`}::regclass and a.attnum > 0 and not a.attisdropped`;
    const described = columns.map(
      (column): Column => ({
        name: column.name,
        type: column.getSQLType(),
        required: column.notNull,
      }),
    );
    assert.equal(described.sort(byName), found.map((row) => ({ ...row })).sort(byName));
  });
}
