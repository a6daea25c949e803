import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Sql, TransactionSql } from 'postgres';

const MIGRATIONS = join(import.meta.dirname, '../../ledger/migrations');

/**
 * Turns a test database into one of an earlier release: the schema anew, with the migrations up to that number. What
 * is missing of the present ones is then `migrate`'s to add.
 *
 * @param admin a superuser of a database that nobody else uses
 */
export async function makeOld(admin: Sql, last: number): Promise<void> {
  const names = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql') && Number(name.slice(0, 4)) <= last);
  const kept = await admin<{ number: number; name: string; sha256: string; applied_at: Date }[]>`
    select * from gsv_ledger.migrations where number <= ${last}`;
  await admin.unsafe('drop schema gsv_ledger cascade; create schema gsv_ledger authorization gsv_ledger_owner');
  const inSchema = (work: (tx: TransactionSql) => Promise<unknown>): Promise<unknown> =>
    admin.begin(async (tx) => {
      await tx.unsafe('set local role gsv_ledger_owner; set local search_path = gsv_ledger, pg_temp');
      await work(tx);
    });
  await inSchema(async (tx) => {
    await tx`create table migrations (
      number integer primary key, name text not null, sha256 text not null, applied_at timestamptz not null default now())`;
    await tx`insert into migrations ${tx(kept)}`;
  });
  for (const name of names.sort()) {
    const file = await readFile(join(MIGRATIONS, name), 'utf8');
    await inSchema((tx) => tx.unsafe(file));
  }
}
