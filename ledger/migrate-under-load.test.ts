/**
 * A book of the first release is brought to the present one, file by file, while callers move money through the
 * functions that the first release had; two migrators come each time, and one is killed at its work. Then replicas of
 * both releases work side by side. GSV_BANK_SEED repeats what the callers do, not who is faster.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import postgres, { type Sql } from 'postgres';
import * as assert from 'uvu/assert';
import { Bank } from '../hack/testing/bank.ts';
import { OldTeller } from '../hack/testing/old-teller.ts';
import { createTestDatabase, type TestDatabase } from '../hack/testing/postgres.ts';
import type { Teller } from '../hack/testing/teller.ts';
import { audit } from './audit.ts';
import { type LedgerSql, openDatabase } from './database.ts';
import { migrate } from './migrate.ts';
import { LedgerOperations } from './operations.ts';

const SEED = Number(process.env.GSV_BANK_SEED ?? Math.floor(Math.random() * 1e6));
const MIGRATIONS = join(import.meta.dirname, 'migrations');
/** The last file of the first release. */
const FIRST_RELEASE = '0006_holds.sql';
/** Moves between two files: enough that callers are in the middle of something. */
const MOVES = 25;
const SIDE_BY_SIDE = 300;

let host: TestDatabase;
let folder: string;
let files: string[];
before(async () => {
  host = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), 'gsv-migrations-'));
  files = (await readdir(MIGRATIONS)).filter((name) => name.endsWith('.sql')).sort();
});
after(async () => {
  await rm(folder, { recursive: true, force: true });
  await host.close();
});

/** What a release with the files up to this one has. */
async function release(last: string): Promise<string> {
  const path = join(folder, last);
  await mkdir(path, { recursive: true });
  for (const name of files.filter((each) => each <= last)) await cp(join(MIGRATIONS, name), join(path, name));
  return path;
}

async function emptyDatabase(name: string): Promise<{ url: string; admin: Sql }> {
  await host.admin.unsafe(`create database ${name}`);
  const url = host.url.replace(/\/[^/]+$/, `/${name}`);
  return { url, admin: postgres(url, { max: 2, onnotice: () => undefined }) };
}

const refusal = (run: Promise<unknown>): Promise<string> =>
  run.then(
    () => 'it worked',
    (error: Error) => error.message,
  );

test('a book is migrated while it is worked on, and releases work side by side', async () => {
  const { url, admin } = await emptyDatabase('under_load');
  await migrate(url, { folder: await release(FIRST_RELEASE) });
  const old = new OldTeller(url);
  let newSql: LedgerSql | undefined;
  let turn = 0;
  let tellers: Teller[] = [old];
  const next = (): Teller => tellers[turn++ % tellers.length] as Teller;
  const either: Teller = {
    putWallet: (...call) => next().putWallet(...call),
    grant: (...call) => next().grant(...call),
    debit: (...call) => next().debit(...call),
    hold: (...call) => next().hold(...call),
    capture: (...call) => next().capture(...call),
    voidHold: (...call) => next().voidHold(...call),
  };
  const bank = new Bank({ seed: SEED, operations: either });
  try {
    await bank.prepare();
    let done = false;
    const callers = bank
      .open(() => done)
      .finally(() => {
        done = true;
      });
    const moves = async (count: number): Promise<void> => {
      const enough = bank.transfers + count;
      while (bank.transfers < enough && !done) await delay(5);
      assert.not(done, 'the callers gave up');
    };
    const work = (async () => {
      for (const file of files.filter((name) => name > FIRST_RELEASE)) {
        await moves(MOVES);
        const path = await release(file);
        if (file === '0500_journal.sql') await killMigrator(url, admin, path);
        const applied = await Promise.all([migrate(url, { folder: path }), migrate(url, { folder: path })]);
        assert.equal(
          applied.flat(),
          [file],
          'one of two migrators applies it, the other waits and finds nothing to do',
        );
      }
      const transfers = bank.transfers;
      newSql = await openDatabase(url);
      tellers = [old, new LedgerOperations(newSql)];
      await moves(SIDE_BY_SIDE);
      return { transfers, sql: newSql };
    })().finally(() => {
      done = true;
    });
    const [{ transfers, sql }] = await Promise.all([work, callers]);
    const { problems, chain, checkedEntries } = await audit(sql);
    assert.equal([...problems, ...(await bank.differences(admin))], [], `GSV_BANK_SEED=${SEED}`);
    assert.match(await refusal(migrate(url, { folder: await release(FIRST_RELEASE) })), /newer/);
    process.stdout.write(
      `GSV_BANK_SEED=${SEED}: ${files.length - files.indexOf(FIRST_RELEASE) - 1} files applied under ${transfers} transfers, ` +
        `1 migrator killed, ${bank.transfers - transfers} transfers by two releases side by side; callers sent back ` +
        `${JSON.stringify(old.conflicts)}; ${checkedEntries} entries, ${chain.links} links, 0 differences\n`,
    );
  } finally {
    bank.abandon();
    await Promise.all([old.close(), newSql?.end({ timeout: 1 }), admin.end({ timeout: 1 })]);
  }
});

/** Ends a migrator that is in the middle of a file; what it had done of the file must be gone. */
async function killMigrator(url: string, admin: Sql, path: string): Promise<void> {
  const before = await admin`select count(*)::int as files from gsv_ledger.migrations`;
  let migrating: Promise<string> = Promise.resolve('');
  await admin.begin(async (tx) => {
    // Whoever works on the book goes on; the file needs more than that.
    await tx`lock table gsv_ledger.wallets in access share mode`;
    migrating = refusal(migrate(url, { folder: path }));
    for (;;) {
      // Not in the transaction, which would see the sessions of its first look for ever.
      const [ended] = await admin<{ ended: boolean }[]>`
        select pg_terminate_backend(l.pid) as ended from pg_locks l join pg_stat_activity a on a.pid = l.pid
          where l.relation = 'gsv_ledger.wallets'::regclass and l.mode = 'AccessExclusiveLock' and not l.granted
            and a.application_name = 'gsv-ledger-migrate'`;
      if (ended?.ended) break;
      await delay(2);
    }
  });
  assert.is.not(await migrating, 'it worked');
  assert.equal(await admin`select count(*)::int as files from gsv_ledger.migrations`, before);
}

test('a file that was changed after it was applied is refused by its name, and nothing is applied', async () => {
  const { url, admin } = await emptyDatabase('changed_file');
  try {
    await migrate(url, { folder: await release(FIRST_RELEASE) });
    const path = await release(files.at(-1) ?? '');
    const changed = join(path, '0003_posting.sql');
    await writeFile(changed, `${await readFile(changed, 'utf8')}\n-- a word more\n`);
    assert.match(await refusal(migrate(url, { folder: path })), /0003_posting\.sql has changed after it was applied/);
    const [row] = await admin<{ last: string }[]>`select max(name) as last from gsv_ledger.migrations`;
    assert.is(row?.last, FIRST_RELEASE);
  } finally {
    await admin.end({ timeout: 1 });
  }
});
