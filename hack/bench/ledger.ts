/**
 * `npm run bench:ledger`: the ledger's figures beside PostgreSQL's own benchmark, on one durable server, in
 * interleaved rounds. The audit runs after every round.
 *
 *   -- --quick          small and short: shows that it works, its figures say little
 *   -- --rounds=N       5
 *   -- --seconds=N      of one measurement: 3
 *   -- --entries=N      of the large book: 1,000,000 (`--entries=10000000` is the row of the targets)
 *   -- --only=A,B       some of: spread hot pairs latency size
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import postgres, { type Sql } from 'postgres';
import { createLogger } from '../../config/log.ts';
import { startEmbeddedPostgres } from '../../ledger/embedded.ts';
import { type BenchBook, makeBook } from './ledger-book.ts';
import { alone, together, zipf } from './ledger-load.ts';
import { findPgbench, Pgbench } from './pgbench.ts';
import { median, type Row, report, spread } from './rounds.ts';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    entries: { type: 'string' },
    only: { type: 'string', default: 'spread,hot,pairs,latency,size' },
  },
});
/** An odd number, so that the median is a measured value. */
const ROUNDS = Number(flags.rounds ?? (flags.quick ? 1 : 5));
const SECONDS = Number(flags.seconds ?? (flags.quick ? 1 : 3));
const WALLETS = flags.quick ? 500 : 10_000;
const FEW_ENTRIES = flags.quick ? 10_000 : 100_000;
const MANY_ENTRIES = Number(flags.entries ?? (flags.quick ? 50_000 : 1_000_000));
const ONLY = new Set(flags.only.split(','));

/** pgbench's best on few cores: enough to share commits, few enough not to fight for the processor. */
const PGBENCH_CLIENTS = 32;

/** The smallest operation that one could call durable: a key, a balance and two entries (bytes of the rows alone). */
const FLOOR_BYTES = 96;

/** As a server that is not shared with a quickstart; durability stays as PostgreSQL has it. */
const SETTINGS = { max_connections: '100', shared_buffers: '256MB', max_wal_size: '2GB' };

/** What one writes first: lock the row, look, change, note. */
const NAIVE = `begin;
select balance from naive where id = 1 for update;
update naive set balance = balance - 1 where id = 1;
insert into naive_entries (wallet, amount) values (1, -1);
end;
`;

/** One durable call of one function, the least that a debit in SQL can be. */
const ONE_CALL = `\\set wallet random(1, 1000)
select one_debit(:wallet, 1);
`;

const NAIVE_TABLES = `
  create table naive (id integer primary key, balance bigint not null);
  create table naive_entries (id bigint generated always as identity primary key, wallet integer, amount bigint);
  insert into naive select n, 1000000000 from generate_series(1, 1000) n;
  create function one_debit(p_wallet integer, p_amount bigint) returns bigint language plpgsql as $$
  declare
    v_left bigint;
  begin
    update naive set balance = balance - p_amount where id = p_wallet and balance >= p_amount returning balance into v_left;
    insert into naive_entries (wallet, amount) values (p_wallet, -p_amount), (0, p_amount);
    return v_left;
  end $$;`;

interface Bench {
  pgbench: Pgbench;
  few: BenchBook;
  many: BenchBook | undefined;
}

/** What was measured, by name, one value a round. */
class Figures {
  readonly #values = new Map<string, number[]>();

  add(name: string, value: number): void {
    this.#values.set(name, [...(this.#values.get(name) ?? []), value]);
  }

  ratios(name: string, beside: string): number[] {
    const [mine, theirs] = [this.#values.get(name) ?? [], this.#values.get(beside) ?? []];
    return mine.map((value, round) => value / (theirs[round] as number));
  }

  toString(): string {
    return [...this.#values].map(([name, values]) => `${name}: ${spread(values, 1)}`).join('\n');
  }
}

async function round(number: number, { pgbench, few, many }: Bench, figures: Figures): Promise<void> {
  const draw = zipf(WALLETS, number);
  const hot = few.walletName(WALLETS - 1);
  figures.add('TPC-B tps', await pgbench.throughput({ clients: PGBENCH_CLIENTS, seconds: SECONDS }));
  if (ONLY.has('spread') || ONLY.has('hot') || ONLY.has('size')) {
    const [bytes, calls] = [await few.bytes(), few.load.calls];
    figures.add('spread debits/s', await together(SECONDS, () => few.load.debit(few.walletName(draw()))));
    figures.add('bytes/debit', ((await few.bytes()) - bytes) / (few.load.calls - calls));
    figures.add('floor bytes', FLOOR_BYTES);
  }
  if (ONLY.has('hot')) {
    figures.add('hot debits/s', await together(SECONDS, () => few.load.debit(hot)));
    figures.add('naive tps', await pgbench.throughput({ clients: PGBENCH_CLIENTS, seconds: SECONDS, script: NAIVE }));
  }
  if (ONLY.has('pairs')) {
    figures.add('pairs/s', await together(SECONDS, () => few.load.pair(few.walletName(draw()))));
  }
  if (ONLY.has('latency')) {
    figures.add('one debit ms', median(await alone(SECONDS, () => few.load.debit(few.walletName(draw())))));
    figures.add('one call ms', await pgbench.latency({ seconds: SECONDS, script: ONE_CALL }));
  }
  if (many) {
    figures.add('debits/s, many entries', await together(SECONDS, () => many.load.debit(many.walletName(draw()))));
  }
  await few.check();
  await many?.check();
}

/** Plans are made for tables that have rows in them, as on every server that is older than a minute. */
async function warmUp(few: BenchBook, many: BenchBook | undefined, ...admins: Sql[]): Promise<void> {
  for (const book of many ? [few, many] : [few]) {
    await together(1, () => book.load.pair(book.walletName(0)));
  }
  for (const admin of admins) await admin`analyze`;
}

function rows(figures: Figures): Row[] {
  const row = (what: string, beside: string, reach: number, aim: number, ratios: number[], lower = false): Row => ({
    what,
    beside,
    better: lower ? 'lower' : 'higher',
    reach,
    aim,
    ratios,
  });
  const many = MANY_ENTRIES.toLocaleString('en');
  return [
    row('debits/s, Zipf, 256 callers', 'TPC-B', 3, 8, figures.ratios('spread debits/s', 'TPC-B tps')),
    row('one hot wallet', 'spread debits/s', 1, 1.3, figures.ratios('hot debits/s', 'spread debits/s')),
    row('one hot wallet', 'naive SELECT FOR UPDATE', 15, 50, figures.ratios('hot debits/s', 'naive tps')),
    row('reserve + capture pairs/s', 'TPC-B', 2, 5, figures.ratios('pairs/s', 'TPC-B tps')),
    row('unloaded debit p50', 'one SQL call by pgbench', 2.5, 1.3, figures.ratios('one debit ms', 'one call ms'), true),
    row(
      `debits/s at ${many} entries`,
      `at ${FEW_ENTRIES.toLocaleString('en')}`,
      0.8,
      0.95,
      figures.ratios('debits/s, many entries', 'spread debits/s'),
    ),
    row(
      'bytes on disk per debit',
      `${FLOOR_BYTES} B floor`,
      4,
      2.5,
      figures.ratios('bytes/debit', 'floor bytes'),
      true,
    ),
  ].filter(({ ratios }) => ratios.length > 0);
}

async function withDatabase<T>(
  server: { url: string },
  name: string,
  work: (admin: Sql, url: string) => Promise<T>,
): Promise<T> {
  const url = server.url.replace(/\/postgres$/, `/${name}`);
  const control = postgres(server.url, { max: 1, onnotice: () => undefined });
  await control.unsafe(`create database ${name}`);
  await control.end();
  const admin = postgres(url, { max: 1, onnotice: () => undefined });
  try {
    return await work(admin, url);
  } finally {
    await admin.end({ timeout: 5 });
  }
}

async function main(): Promise<void> {
  const program = await findPgbench();
  const dataDir = await mkdtemp(join(tmpdir(), 'gsv-bench-ledger-'));
  const log = createLogger({ part: 'bench', level: 'warn' });
  const server = await startEmbeddedPostgres({ dataDir, log, settings: SETTINGS });
  const say = (text: string): void => void process.stdout.write(`${text}\n`);
  try {
    await withDatabase(server, 'tpcb', async (tpcb, url) => {
      await tpcb.unsafe(NAIVE_TABLES);
      const pgbench = new Pgbench(program, url);
      await pgbench.prepare(PGBENCH_CLIENTS * 2);
      await withDatabase(server, 'few', async (fewAdmin, fewUrl) => {
        const few = await makeBook(fewAdmin, { url: fewUrl, wallets: WALLETS, entries: FEW_ENTRIES });
        await withDatabase(server, 'many', async (manyAdmin, manyUrl) => {
          const many = ONLY.has('size')
            ? await makeBook(manyAdmin, { url: manyUrl, wallets: WALLETS, entries: MANY_ENTRIES })
            : undefined;
          const figures = new Figures();
          try {
            await warmUp(few, many, fewAdmin, manyAdmin);
            for (let number = 1; number <= ROUNDS; number += 1) {
              await round(number, { pgbench, few, many }, figures);
              say(`round ${number} of ${ROUNDS} done, audit clean`);
            }
          } finally {
            await Promise.all([few.close(), many?.close()]);
          }
          say(`\n${cpus().length} cores, ${ROUNDS} rounds of ${SECONDS} s each; median (lowest .. highest)\n`);
          say(`${figures.toString()}\n\n${report(rows(figures))}`);
        });
      });
    });
  } finally {
    await server.stop();
    // As root the server keeps its files elsewhere and says so; they are gigabytes.
    const elsewhere = (await readFile(join(dataDir, 'postgres.location'), 'utf8').catch(() => '')).trim();
    if (elsewhere !== '') await rm(elsewhere, { recursive: true, force: true });
    await rm(dataDir, { recursive: true, force: true });
  }
}

await main();
