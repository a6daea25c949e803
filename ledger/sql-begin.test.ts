/** Why no money operation was several statements of one `sql.begin`: ADR 22; and that ours would bear it: ADR 25. */
import { test } from 'node:test';
import postgres from 'postgres';
import * as assert from 'uvu/assert';
import { createTestDatabase } from '../hack/testing/postgres.ts';
import { ConnectionLost } from './sql.ts';

test('with postgres.js, a transaction whose backend was killed fails, and yet its next statement may be committed', async () => {
  const database = await createTestDatabase();
  const sql = postgres(database.url, { max: 1, onnotice: () => undefined });
  const finished = Promise.withResolvers<void>();
  try {
    await database.admin`create table legs (amount bigint not null)`;
    const transaction = sql.begin(async (tx) => {
      const [backend] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`;
      await tx`insert into legs values (-5)`;
      await database.admin`select pg_terminate_backend(${backend?.pid ?? 0})`;
      // The pool opens the connection anew for another caller; the transaction still holds the same object.
      let open = false;
      while (!open) {
        open = await sql`select 1`.then(
          () => true,
          () => false,
        );
      }
      await tx`insert into legs values (5)`.then(() => finished.resolve(), finished.reject);
    });
    const outcome = await transaction.then(
      () => 'committed',
      (error: { code?: string }) => error.code,
    );
    await finished.promise;
    assert.is(outcome, 'CONNECTION_CLOSED');
    const legs = await database.admin<{ amount: string }[]>`select amount from legs`;
    // One leg of two, from a transaction that was reported as failed: half an operation.
    assert.equal(
      legs.map(({ amount }) => Number(amount)),
      [5],
    );
  } finally {
    await sql.end({ timeout: 1 });
    await database.close();
  }
});

test('with ours nothing of a transaction whose backend was killed is committed', async () => {
  const database = await createTestDatabase();
  try {
    await database.admin`create table legs (amount bigint not null)`;
    await database.admin`grant insert on legs to public`;
    const errors: unknown[] = [];
    const outcome = await database.sql
      .begin('read write', async (tx) => {
        const [backend] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`;
        await tx`insert into public.legs values (-5)`;
        await database.admin`select pg_terminate_backend(${backend?.pid ?? 0})`;
        // Other callers get other connections; this one stays the dead one.
        await database.sql`select 1`;
        await tx`insert into public.legs values (5)`.catch((error: unknown) => errors.push(error));
      })
      .catch((error: unknown) => error);
    assert.instance(outcome, ConnectionLost);
    assert.is(errors.length, 1);
    assert.equal([...(await database.admin`select amount from legs`)], []);
  } finally {
    await database.close();
  }
});
