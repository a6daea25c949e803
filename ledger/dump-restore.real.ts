/**
 * A book with operations of every kind is dumped and restored into an empty server: everything in it and everything
 * that guards it is as before, keys still answer what they answered, and the ledger goes on. The server is the one that
 * belongs to the tools, hence also the proof that the ledger works on PostgreSQL 15.
 *
 *   npm run test:real -- ledger/dump-restore      GSV_MODEL_SEED and GSV_TEST_PG_BIN as elsewhere
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import postgres, { type Sql } from 'postgres';
import * as assert from 'uvu/assert';
import { noFigures, Pair, type Place } from '../hack/testing/ledger-pair.ts';
import { policies, round } from '../hack/testing/ledger-steps.ts';
import { findPostgresTools, type PostgresServer, startPostgresServer } from '../hack/testing/postgres-tools.ts';
import { audit } from './audit.ts';
import { OWNER_ROLE, openDatabase, WRITER_ROLE } from './database.ts';
import { migrate } from './migrate.ts';

const SEED = Number(process.env.GSV_MODEL_SEED ?? Math.floor(Math.random() * 2 ** 31));
const BOOKS = 8;
const ROUNDS = { minLength: 15, maxLength: 25 };

let folder: string;
let servers: PostgresServer[];
before(async () => {
  const bin = await findPostgresTools();
  folder = await mkdtemp(join(tmpdir(), 'gsv-dump-'));
  servers = [await startPostgresServer(bin), await startPostgresServer(bin)];
});
after(async () => {
  for (const server of servers) await server.stop();
  await rm(folder, { recursive: true, force: true });
});

async function open(url: string): Promise<Place & { close(): Promise<void> }> {
  const pools = [await openDatabase(url), await openDatabase(url, { max: 4 })] as const;
  const admin = postgres(url, { max: 2, onnotice: () => undefined });
  return {
    ...{ pools, admin },
    close: async () => {
      await Promise.all([...pools, admin].map((sql) => sql.end({ timeout: 2 })));
    },
  };
}

/** What a backup must bring back, each part as text by name. */
async function contents(admin: Sql): Promise<Record<string, string>> {
  const tables = await admin<{ name: string; kind: string }[]>`
    select relname as name, relkind as kind from pg_class
      where relnamespace = 'gsv_ledger'::regnamespace and relkind in ('r', 'S')`;
  const found: Record<string, string> = {};
  for (const { name, kind } of tables) {
    const rows = `count(*) || ' rows, ' || coalesce(md5(string_agg(t::text, E'\\n' order by t::text)), '')`;
    const [row] = await admin.unsafe<{ digest: string }[]>(
      `select ${kind === 'S' ? 'last_value || is_called::text' : rows} as digest from gsv_ledger.${name} t`,
    );
    found[`contents of ${name}`] = row?.digest ?? 'none';
  }
  const guards = await admin<{ name: string; text: string }[]>`
    select concat('function ', oid::regprocedure) as name, concat_ws(' ', pg_get_functiondef(oid), proacl, proowner::regrole) as text
      from pg_proc where pronamespace = 'gsv_ledger'::regnamespace and prokind = 'f'
    union all
    select concat('trigger ', tgname, ' of ', tgrelid::regclass), concat_ws(' ', pg_get_triggerdef(oid), tgenabled)
      from pg_trigger where tgrelid::regclass::text like 'gsv_ledger.%' and not tgisinternal
    union all
    select concat('constraint ', conname, ' of ', conrelid::regclass, contypid::regtype), pg_get_constraintdef(oid)
      from pg_constraint where connamespace = 'gsv_ledger'::regnamespace
    union all
    select concat('view ', viewname), definition from pg_views where schemaname = 'gsv_ledger'
    union all
    select concat('index ', indexname), indexdef from pg_indexes where schemaname = 'gsv_ledger'
    union all
    select concat('rights of ', relname), concat_ws(' ', relacl, relowner::regrole, reloptions)
      from pg_class where relnamespace = 'gsv_ledger'::regnamespace
    union all
    select 'rights of the schema', concat_ws(' ', nspacl, nspowner::regrole) from pg_namespace where nspname = 'gsv_ledger'`;
  for (const { name, text } of guards) found[name] = text;
  return found;
}

test('a dump restored into an empty server is the same book, and the ledger goes on with it', async () => {
  const [old, empty] = servers as [PostgresServer, PostgresServer];
  await migrate(old.url);
  const before = await open(old.url);
  const figures = noFigures();
  const pairs: Pair[] = [];
  const books = fc.sample(fc.tuple(policies, fc.array(round, ROUNDS)), { seed: SEED, numRuns: BOOKS });
  for (const [n, [rules, rounds]] of books.entries()) {
    const [row] = await before.admin<{ last: number }[]>`
      select coalesce(max(seq), 0)::float8 as last from gsv_ledger.events`;
    const epoch = pairs.at(-1)?.known.book.epoch ?? 0;
    const pair = new Pair(before, figures, { run: n, epoch, lastSeq: row?.last ?? 0 });
    pairs.push(pair);
    await pair.begin(rules);
    // Each book has a clock of its own, and a sweep goes by one clock through all wallets.
    for (const each of rounds) await pair.play({ ...each, sweep: false });
  }
  const asked = figures.operations;
  const book = await audit(before.pools[0]);
  assert.equal(book.problems, []);
  const expected = await contents(before.admin);

  const file = join(folder, 'book.dump');
  await old.tool('pg_dump', ['--format=custom', `--file=${file}`]);
  const roleless = await empty.tool('pg_restore', ['--exit-on-error', file]).catch(String);
  assert.match(roleless, `role "${OWNER_ROLE}" does not exist`);
  const control = postgres(empty.url, { max: 1, onnotice: () => undefined });
  await control.unsafe('drop schema if exists gsv_ledger cascade');
  for (const role of [OWNER_ROLE, WRITER_ROLE]) await control.unsafe(`create role ${role} nologin`);
  await control.end();
  await empty.tool('pg_restore', ['--exit-on-error', file]);
  await before.close();
  await old.stop();
  servers = [empty];

  assert.equal(await migrate(empty.url), []);
  const restored = await open(empty.url);
  try {
    const found = await contents(restored.admin);
    assert.equal(Object.keys(found).toSorted(), Object.keys(expected).toSorted());
    for (const [name, text] of Object.entries(expected)) assert.is(found[name], text, name);
    assert.equal(await audit(restored.pools[0]), book);
    await assertGuarded(restored);

    for (const pair of pairs) {
      pair.moveTo(restored);
      await pair.repeatAll();
      await pair.end();
    }
    const repeated = figures.answered.replayed ?? 0;
    const [last] = pairs.slice(-1) as [Pair];
    for (const each of fc.sample(round, { seed: SEED + 1, numRuns: 30 })) await last.play(each);
    const { problems, chain, checkedEntries } = await audit(restored.pools[0]);
    assert.equal(problems, []);
    assert.ok(chain.links > book.chain.links);
    const [server] = await restored.admin<{ version: string }[]>`select current_setting('server_version') as version`;
    process.stdout.write(
      `GSV_MODEL_SEED=${SEED}: PostgreSQL ${server?.version}: ${asked} operations in ${BOOKS} books, ${Object.keys(expected).length} ` +
        `parts equal after the restore, ${repeated} keys repeated, chain ${book.chain.links} -> ${chain.links} links, ` +
        `${checkedEntries} entries, 0 divergences\n`,
    );
    assert.ok(repeated > 100);
  } finally {
    await restored.close();
  }
});

/** The writer may not touch a table, and not even a superuser changes what was booked without taking a guard away. */
async function assertGuarded({ pools, admin }: Place): Promise<void> {
  const refusal = (run: Promise<unknown>): Promise<string> =>
    run.then(
      () => 'it worked',
      (error: Error) => error.message,
    );
  for (const table of ['journal', 'chain']) {
    assert.match(await refusal(pools[0].unsafe(`delete from ${table}`)), /permission denied/, table);
    assert.match(await refusal(admin.unsafe(`delete from gsv_ledger.${table}`)), /append-only/, table);
    assert.match(await refusal(admin.unsafe(`truncate gsv_ledger.${table} cascade`)), /append-only/, table);
  }
  assert.match(await refusal(pools[0].unsafe("select post(1, 'x', now(), '{}')")), /permission denied/);
  assert.match(
    await refusal(admin`insert into gsv_ledger.journal (wallet_id, at, first_entry, operation, entries)
      values (1, now(), 1, 'grant', '{1,0,5,2,0,-4}')`),
    /does not sum to zero/,
  );
}
