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

const CHECK_VIOLATION = '23514';
const MOST = '9007199254740991';

test('entries that do not sum to zero are refused by the table itself', async () => {
  const { admin } = book.database;
  const row = (entries: string | null) => ({ wallet_id: 1, at: new Date(), operation: 'x', entries });
  /** One statement with these rows, undone. */
  const insert = (...rows: (string | null)[]) =>
    admin.begin(async (tx) => {
      await tx`insert into gsv_ledger.journal ${tx(rows.map(row))}`;
      const [link] = await tx<{ rows: number }[]>`
        select (upper(transactions) - lower(transactions))::int as rows from gsv_ledger.chain order by link desc limit 1`;
      await tx.unsafe(`rollback`);
      return link?.rows;
    });
  const good = '{1,0,5,2,0,-5}';
  for (const entries of [
    good,
    '{1,0,5,2,0,-3,3,0,-2}',
    '{1,0,5,2,0,-3,3,0,-1,4,0,-1}',
    `{1,0,${MOST},2,0,-${MOST}}`,
    null,
  ]) {
    assert.is(await insert(entries), 1, `${entries} is right`);
    assert.is(await insert(good, entries), 2, `${entries} is right among others`);
  }
  for (const [entries, reason] of [
    ['{1,0,5,2,0,-4}', 'one is left over'],
    ['{1,0,5,2,0,-3,3,0,-1}', 'one of three is left over'],
    ['{1,0,5,2,0,-3,3,0,-1,4,0,-2}', 'four are too many'],
    ['{1,0,0,2,0,0}', 'nothing moves'],
    ['{1,0,5,2,0,-5,3,0,0}', 'nothing moves in one of three'],
    ['{1,0,5,2,0,-5,3,0,0,4,0,0}', 'nothing moves in two of four'],
    ['{1,0,5,2,0,NULL}', 'an amount is missing'],
    ['{1,0,5}', 'one alone'],
    ['{1,0,5,2,0,-5,3}', 'half an entry'],
    ['{}', 'no entries at all'],
    ['{1,0,9007199254740992,2,0,-9007199254740992}', 'more than JSON carries'],
    ['{1,0,9007199254740992,2,0,-9007199254740991,3,0,-1}', 'more than JSON carries in one of three'],
  ] as const) {
    assert.is(await refusal(() => insert(entries)), CHECK_VIOLATION, reason);
    assert.is(await refusal(() => insert(good, entries)), CHECK_VIOLATION, `${reason}, among others`);
  }
});

test('wallets and grants that break a rule are refused by name', async () => {
  for (const [change, rule] of [
    [`wallets set available = ${MOST}, held = 1`, 'funds_fit_json'],
    ['wallets set floor = 1', 'wallets_floor_check'],
    [`wallets set floor = -${MOST} - 1`, 'wallets_floor_check'],
    ["wallets set state = 'x'", 'wallets_state_check'],
    ["wallets set state = 'closed', closed_at = now()", 'closed_is_empty'],
    ["wallets set state = 'closed', available = 0", 'closed_is_empty'],
    ['grants set remaining = remaining - 1', 'nothing_lost'],
    ['grants set held = remaining + 1', 'held_is_part_of_remaining'],
    ['grants set clawed_back = amount + 1', 'not_revoked_twice'],
    ["grants set kind = 'x'", 'grants_kind_check'],
  ]) {
    const told = await book.database.admin.unsafe(`update gsv_ledger.${change}`).catch((error: object) => error);
    const { code, constraint_name: broken } = told as { code?: string; constraint_name?: string };
    assert.equal([code, broken], [CHECK_VIOLATION, rule], change);
  }
  const undone = await book.database.admin.begin(async (tx) => {
    const closed = await tx`update gsv_ledger.wallets set state = 'closed', closed_at = now(), available = 0`;
    const spent = await tx`update gsv_ledger.grants set remaining = remaining - 1, spent = spent + 1`;
    await tx.unsafe('rollback');
    return [closed.count, spent.count];
  });
  assert.equal(undone, [1, 1], 'and those that break none are not');
});
