/**
 * Callers move money over HTTP while backends are terminated, connections to PostgreSQL are cut in the middle of what
 * they say, PostgreSQL is stopped as by a crash, and the ledger process is killed; both are started again.
 *
 *   npm run soak:ledger                                  20 000 transfers, 20 crashes, 40 kills
 *   GSV_BANK_SEED=7 npm test -- ledger/bank-faults       what the callers of one seed do, as a failure names it
 */
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import postgres, { type Sql } from 'postgres';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { Bank, FLOOR } from '../hack/testing/bank.ts';
import { CuttingProxy } from '../hack/testing/cutting-proxy.ts';
import { seeded } from '../hack/testing/faults.ts';
import { KeptLedger } from '../hack/testing/kept-ledger.ts';
import { createTestDatabase } from '../hack/testing/postgres.ts';
import { overHttp } from '../hack/testing/teller.ts';
import { LedgerClient } from './client.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded.ts';
import { migrate } from './migrate.ts';

interface Plan {
  transfers: number;
  /** Crashes of PostgreSQL. */
  restarts: number;
  /** SIGKILLs of the ledger process. */
  kills: number;
  /** The control: what was not answered is asked for again under another key. */
  freshKeys: boolean;
}

const PLAN: Plan = {
  transfers: Number(process.env.GSV_BANK_TRANSFERS ?? 300),
  restarts: Number(process.env.GSV_BANK_RESTARTS ?? 1),
  kills: Number(process.env.GSV_BANK_KILLS ?? 2),
  freshKeys: false,
};
const CONTROL: Plan = { transfers: 150, restarts: 0, kills: 1, freshKeys: true };
const SEED = Number(process.env.GSV_BANK_SEED ?? Math.floor(Math.random() * 1e6));
/** Below this a run has shown nothing. */
const LEAST = { ended: 10, cuts: 10, reads: 5 };

const TOKEN = 'token-of-the-bank';

/** A database that the troubles of this suite do not keep from being looked at. */
interface Place {
  url(): string;
  admin(): Sql;
  /** As by a crash. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

async function sharedPlace(): Promise<Place> {
  const database = await createTestDatabase();
  return {
    url: () => database.url,
    admin: () => database.admin,
    restart: () => Promise.reject(new Error('others use the same server')),
    close: () => database.close(),
  };
}

/** A server with the settings that we ship: what it has acknowledged must outlive a crash. */
async function crashingPlace(): Promise<Place> {
  const dataDir = await mkdtemp(join(tmpdir(), 'gsv-bank-'));
  await chmod(dataDir, 0o755);
  const start = (): Promise<EmbeddedPostgres> =>
    startEmbeddedPostgres({ dataDir, log: createLogger({ part: 'test', level: 'fatal' }) });
  const connect = (): Sql => postgres(server.url, { max: 2, onnotice: () => undefined });
  let server = await start();
  let admin = connect();
  await migrate(server.url);
  return {
    url: () => server.url,
    admin: () => admin,
    async restart() {
      const postmaster = Number((await readFile(join(dataDir, 'postgres/data/postmaster.pid'), 'utf8')).split('\n')[0]);
      await admin.end({ timeout: 0 });
      // Immediate shutdown: nothing is written, the next start recovers from the log.
      process.kill(postmaster, 'SIGQUIT');
      await server.stop();
      server = await start();
      admin = connect();
    },
    async close() {
      await admin.end({ timeout: 1 });
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

const portOf = (url: string): number => Number(new URL(url).port);

interface Troubles {
  /** Backends. */
  ended: number;
  /** Crashes of PostgreSQL. */
  restarts: number;
  /** Times that somebody looked at the whole book meanwhile. */
  reads: number;
}

/** One snapshot in the middle of everything: nothing has come from nowhere, nothing has gone, nobody is below the floor. */
async function assertConstant(admin: Sql): Promise<void> {
  const [row] = await admin<Record<string, string>[]>`
    select (select coalesce(sum(amount), 0) from gsv_ledger.entries) as entries,
      (select sum(amount - remaining - spent - expired - revoked) from gsv_ledger.grants) as lost,
      (select sum(available + held) from gsv_ledger.wallets) - (select sum(remaining) from gsv_ledger.grants) as differ,
      (select coalesce(sum(amount), 0) from gsv_ledger.hold_grants) - (select sum(held) from gsv_ledger.wallets) as reserved,
      (select count(*) from gsv_ledger.wallets
        where available < 0 or held < 0 or debt < 0 or debt > ${-FLOOR}) as negative`;
  assert.equal(Object.values(row ?? {}).map(Number), [0, 0, 0, 0, 0], 'the total has changed');
}

/** Ends up to three backends of the ledger, those who are at work first. */
async function endBackends(admin: Sql, random: () => number): Promise<number> {
  const ended = await admin<{ ended: boolean }[]>`
    select pg_terminate_backend(pid) as ended from pg_stat_activity
      where application_name like 'gsv-ledger%' and datname = current_database()
      order by state = 'active' desc, random() limit ${1 + Math.floor(random() * 3)}`;
  return ended.filter((row) => row.ended).length;
}

interface Scene {
  plan: Plan;
  place: Place;
  proxy: CuttingProxy;
  ledger: KeptLedger;
  bank: Bank;
  random: () => number;
  seen: Troubles;
}

/** True when so much of the work is done that it is time for the next of so many. */
const isDue = (share: number, done: number, of: number): boolean => done < of && share > (done + 1) / (of + 1);

async function makeTrouble({ plan, place, proxy, ledger, bank, random, seen }: Scene): Promise<void> {
  assert.equal(ledger.crashes, [], 'the ledger has ended by itself');
  const share = bank.transfers / plan.transfers;
  if (isDue(share, ledger.kills, plan.kills)) return ledger.kill();
  if (isDue(share, seen.restarts, plan.restarts)) {
    await place.restart();
    seen.restarts += 1;
    return;
  }
  const what = random();
  if (what < 0.3) proxy.cutNext('reply');
  else if (what < 0.5) proxy.cutNext('request');
  else if (what < 0.85) seen.ended += await endBackends(place.admin(), random);
  else {
    await assertConstant(place.admin());
    seen.reads += 1;
  }
}

function isEnough({ plan, proxy, ledger, bank, seen }: Scene): boolean {
  return (
    bank.transfers >= plan.transfers &&
    seen.ended >= LEAST.ended &&
    proxy.cuts.request + proxy.cuts.reply >= LEAST.cuts &&
    seen.reads >= LEAST.reads &&
    ledger.kills >= plan.kills &&
    seen.restarts >= plan.restarts &&
    (plan.freshKeys || bank.found.happened > 0)
  );
}

/** The troubles go on until the last caller has been answered. */
async function work(scene: Scene): Promise<void> {
  let closed = false;
  const troubles = (async () => {
    while (!closed) {
      await delay(30 + scene.random() * 60);
      await makeTrouble(scene);
    }
  })().catch((error: unknown) => {
    scene.bank.abandon();
    throw error;
  });
  const callers = scene.bank.open(() => isEnough(scene));
  await Promise.all([troubles, callers.finally(() => (closed = true))]);
}

/** A bank under troubles; what its callers were told and what the book says, compared. */
async function day(place: Place, plan: Plan): Promise<string[]> {
  const random = seeded(SEED);
  const proxy = new CuttingProxy(() => portOf(place.url()), random);
  const ledger = await KeptLedger.start(await proxy.start(place.url()), TOKEN);
  // The bank itself repeats what it got no answer to.
  const client = new LedgerClient({ url: ledger.url, token: () => TOKEN, attempts: 1 });
  const bank = new Bank({ seed: SEED, operations: overHttp(client), freshKeys: plan.freshKeys });
  const seen: Troubles = { ended: 0, restarts: 0, reads: 0 };
  try {
    await bank.prepare();
    await work({ plan, place, proxy, ledger, bank, random, seen });
    await assertConstant(place.admin());
    const calm = new LedgerClient({ url: ledger.url, token: () => TOKEN });
    const { problems, chain } = await calm.audit().finally(() => calm.close());
    const { transfers, unknown, found } = bank;
    process.stdout.write(
      `seed ${SEED}${plan.freshKeys ? ' (control)' : ''}: ${transfers} transfers, ${seen.ended} backends ended, ${proxy.cuts.request} requests and ` +
        `${proxy.cuts.reply} replies cut, ${seen.restarts} crashes of PostgreSQL, ${ledger.kills} kills of the ledger, ` +
        `${seen.reads} looks; ${unknown} calls without an answer, of which ${found.happened} had happened and ` +
        `${found.not} had not; ${chain.links} links\n`,
    );
    return [...ledger.crashes, ...problems, ...(await bank.differences(place.admin()))];
  } finally {
    await client.close();
    await ledger.close();
    await proxy.close();
  }
}

const REPLAY = `replay: GSV_BANK_SEED=${SEED} GSV_BANK_TRANSFERS=${PLAN.transfers} GSV_BANK_RESTARTS=${PLAN.restarts} GSV_BANK_KILLS=${PLAN.kills} npm test -- ledger/bank-faults`;

test('nothing is lost or doubled, whatever is cut or killed, and every unknown outcome is known after a retry', async () => {
  const place = await crashingPlace();
  try {
    assert.equal(await day(place, PLAN), [], REPLAY);
  } finally {
    await place.close();
  }
});

test('a bank that retries under another key doubles something, and is found out', async () => {
  const place = await sharedPlace();
  try {
    const differences = await day(place, CONTROL);
    assert.ok(
      differences.some((text) => text.includes('happened and nobody knows')),
      REPLAY,
    );
  } finally {
    await place.close();
  }
});
