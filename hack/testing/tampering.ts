/** What somebody with the disk in his hands can do to a table, whatever its columns are. */
import type { Sql, TransactionSql } from 'postgres';

/** One change of one row, or of two. */
export interface Tampering {
  /** `table.column`, or `table` and what is done to its rows. */
  what: string;
  statement: string;
}

/** Another value of the type; null becomes one, too. */
const OTHER: Record<string, (column: string) => string> = {
  bigint: (c) => `coalesce(${c}, 0) + 1`,
  integer: (c) => `coalesce(${c}, 0) + 1`,
  smallint: (c) => `coalesce(${c}, 0) + 1`,
  amount: (c) => `coalesce(${c}, 0) + 1`,
  text: (c) => `coalesce(${c}, '') || 'x'`,
  boolean: (c) => `not coalesce(${c}, false)`,
  'timestamp with time zone': (c) => `coalesce(${c}, now()) + interval '1 second'`,
  date: (c) => `${c} + 1`,
  jsonb: () => `'{"tampered": true}'`,
  json: () => `'{"tampered": true}'`,
  bytea: () => `sha256('tampered')`,
  uuid: () => 'gen_random_uuid()',
  xid8: () => `'1'`,
  int8multirange: () => `'{[900,901)}'`,
  'bigint[]': (c) => `coalesce(${c}, '{}') || 7::bigint`,
  'text[]': (c) => `coalesce(${c}, '{}') || 'x'::text`,
};

interface Column {
  table: string;
  column: string;
  type: string;
  key: boolean;
  generated: boolean;
}

/**
 * Every column of every table changed; a row of each deleted, copied under another id, and two of them exchanged.
 *
 * @throws Error for a table without rows and for a type that has no other value here: both would show nothing
 */
export async function tamperings(admin: Sql, leftOut: ReadonlySet<string>): Promise<Tampering[]> {
  const columns = await admin<Column[]>`
    select c.relname as table, a.attname as column, replace(format_type(a.atttypid, null), 'gsv_ledger.', '') as type,
        a.attgenerated <> '' as generated, coalesce(a.attnum = any (i.indkey), false) as key
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        left join pg_index i on i.indrelid = c.oid and i.indisprimary
      where c.relnamespace = 'gsv_ledger'::regnamespace and c.relkind = 'r' order by c.relname, a.attnum`;
  const tables = Map.groupBy(
    columns.filter(({ table }) => !leftOut.has(table)),
    ({ table }) => table,
  );
  const made: Tampering[] = [];
  for (const [table, own] of tables) {
    const rows = await admin.unsafe<{ rows: number }[]>(`select count(*)::int as rows from gsv_ledger.${table}`);
    if (!rows[0]?.rows) throw new Error(`${table} has no row to tamper with`);
    for (const { column, type, generated } of own) {
      if (generated) continue;
      const other = OTHER[type]?.(column);
      if (other === undefined) throw new Error(`no other value is known for ${table}.${column}, a ${type}`);
      const row = `select ctid from ${table} order by ${column} is null, ctid limit 1`;
      made.push({
        what: `${table}.${column}`,
        statement: `update ${table} set ${column} = ${other} where ctid = (${row})`,
      });
    }
    made.push({
      what: `${table}: delete`,
      statement: `delete from ${table} where ctid = (select min(ctid) from ${table})`,
    });
    made.push(...copies(table, own), ...exchanges(table, own, rows[0].rows));
  }
  return made;
}

function copies(table: string, columns: readonly Column[]): Tampering[] {
  const own = columns.filter(({ generated }) => !generated);
  const names = own.map(({ column }) => column).join(', ');
  const values = own.map(({ column, type, key }) => (key && type !== 'boolean' ? other(column, type) : column));
  return [
    {
      what: `${table}: copy`,
      statement: `insert into ${table} (${names}) overriding system value
        select ${values.join(', ')} from ${table} order by ctid limit 1`,
    },
  ];
}

/** Far from every id that is there. */
function other(column: string, type: string): string {
  return type === 'bigint' ? `${column} + 1000` : (OTHER[type]?.(column) ?? column);
}

function exchanges(table: string, columns: readonly Column[], rows: number): Tampering[] {
  const own = columns.filter(({ generated, key }) => !generated && !key).map(({ column }) => column);
  if (rows < 2 || own.length === 0) return [];
  const pair = `array[(select min(ctid) from ${table}), (select max(ctid) from ${table})]`;
  return [
    {
      what: `${table}: exchange`,
      statement: `update ${table} t set ${own.map((column) => `${column} = o.${column}`).join(', ')}
        from (select ctid as place, * from ${table}) o
        where t.ctid = any (${pair}) and o.place = any (${pair}) and o.place <> t.ctid`,
    },
  ];
}

const UNDONE = new Error('undone');

/** What a look at the book finds after a tampering, which is undone then; `refused` when the database does not let it. */
export async function afterTampering<T>(
  admin: Sql,
  { statement }: Tampering,
  look: (tx: TransactionSql) => Promise<T>,
): Promise<{ refused: string } | { changed: number; found: T }> {
  let result: { refused: string } | { changed: number; found: T } | undefined;
  await admin
    .begin(async (tx) => {
      // No trigger and no foreign key keeps him from it.
      await tx`set local session_replication_role = replica`;
      await tx`set local search_path = gsv_ledger, pg_temp`;
      const changed = await tx
        .savepoint((inner) => inner.unsafe(statement))
        .then(({ count }) => count)
        .catch((error: Error) => {
          result = { refused: error.message };
          throw UNDONE;
        });
      result = { changed, found: await look(tx) };
      throw UNDONE;
    })
    .catch((error: unknown) => {
      if (error !== UNDONE) throw error;
    });
  if (result === undefined) throw new Error('nothing was tampered with');
  return result;
}
