import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, line, openBook } from '../hack/testing/book.ts';

let book: Book;
before(async () => {
  book = await openBook();
  await book.wallet('a', 100);
  await book.operations.debit({ wallet: 'a', lines: [line(1)] }, book.key());
});
after(() => book.close());

/** The SQL state of what the statement was refused with. */
async function refusal(run: () => PromiseLike<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    return String((error as { code?: string }).code);
  }
  return 'it worked';
}

const INSUFFICIENT_PRIVILEGE = '42501';

test('the ledger process works as the writer role', async () => {
  const [row] = await book.database.sql`select current_user as role`;
  assert.is(row?.role, 'gsv_ledger_writer');
});

test('the writer role cannot write any table, whatever the statement', async () => {
  const tables = await book.database.admin<{ name: string }[]>`
    select tablename as name from pg_tables where schemaname = 'gsv_ledger'`;
  assert.ok(tables.length > 12);
  for (const { name } of tables) {
    for (const statement of [
      `delete from ${name}`,
      `truncate ${name}`,
      `insert into ${name} default values`,
      `drop table ${name}`,
    ]) {
      assert.is(await refusal(() => book.database.sql.unsafe(statement)), INSUFFICIENT_PRIVILEGE, statement);
    }
  }
  assert.is(await refusal(() => book.database.sql`update wallets set available = 1e9`), INSUFFICIENT_PRIVILEGE);
});

test('the writer role cannot call the helpers that book without asking', async () => {
  const { sql } = book.database;
  assert.is(await refusal(() => sql`select post(1, 'x', now(), '{}')`), INSUFFICIENT_PRIVILEGE);
  assert.is(await refusal(() => sql`select emit(1, 'x', now(), '{}')`), INSUFFICIENT_PRIVILEGE);
  assert.is(await refusal(() => sql`select remember('a', 'b', 'c', 'd', 1, '{}', now())`), INSUFFICIENT_PRIVILEGE);
  assert.is(
    await refusal(() => sql`create function f() returns int language sql as 'select 1'`),
    INSUFFICIENT_PRIVILEGE,
  );
});

test('not even the owner changes what is booked', async () => {
  for (const table of ['journal', 'chain']) {
    for (const statement of [`delete from ${table}`, `truncate ${table} cascade`]) {
      const run = () =>
        book.database.admin.begin(async (tx) => {
          await tx`set local role gsv_ledger_owner`;
          await tx.unsafe(`${statement.replace(table, `gsv_ledger.${table}`)}`);
        });
      assert.is(await refusal(run), INSUFFICIENT_PRIVILEGE, statement);
    }
  }
  assert.is(
    await refusal(() => book.database.admin`update gsv_ledger.journal set answered = 1`),
    INSUFFICIENT_PRIVILEGE,
  );
});

test('entries that do not sum to zero are refused by the table itself', async () => {
  const insert = () =>
    book.database
      .admin`insert into gsv_ledger.journal (wallet_id, at, operation, entries) values (1, now(), 'x', '{1,0,5,2,0,-4}')`;
  assert.is(await refusal(insert), '23514');
});
