import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Logger } from '../config/log.ts';
import type { BatchReport } from './batch.ts';
import { type LedgerSql, withDatabase } from './database.ts';
import type { Inbox } from './inbox.ts';

/** Seconds. A fsync takes 1 to 10 ms; beyond one second something is wrong. */
const LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];

/** Operations of one batch; 256 is the most. */
const SIZE_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** Transactions that a scrape sums: some milliseconds of work. */
const NEWEST = 5_000;

export interface LedgerMetrics {
  answered(method: string, route: string, status: number, seconds: number): void;
  /** Counts the `code` of a problem document. */
  refused(problem: string): void;
  /** Counts a group commit. */
  batched(report: BatchReport): void;
  /** Counts a waiting reader of the events feed; call what it returns when the wait is over. */
  waiting(): () => void;
}

/** Registers the ledger's figures; those about the book are read from the database at each scrape. */
export function createMetrics(options: {
  registry: Registry;
  sql: LedgerSql;
  inbox: Inbox;
  log: Logger;
  now: () => Date;
}): LedgerMetrics {
  const registers = [options.registry];
  const requests = new Histogram({
    name: 'gsv_ledger_request_seconds',
    help: 'Duration of requests by route and status; its count is the number of requests.',
    labelNames: ['method', 'route', 'status'],
    buckets: LATENCY_BUCKETS,
    registers,
  });
  const refusals = new Counter({
    name: 'gsv_ledger_refusals_total',
    help: 'Refused requests by problem code.',
    labelNames: ['code'],
    registers,
  });
  const sizes = new Histogram({
    name: 'gsv_ledger_batch_items',
    help: 'Operations that shared one commit.',
    buckets: SIZE_BUCKETS,
    registers,
  });
  const times = new Histogram({
    name: 'gsv_ledger_batch_seconds',
    help: 'Duration of a group commit.',
    buckets: LATENCY_BUCKETS,
    registers,
  });
  const left = new Counter({
    name: 'gsv_ledger_batch_left_total',
    help: 'Operations that a group commit left to their own functions.',
    registers,
  });
  const failures = new Counter({
    name: 'gsv_ledger_batch_failures_total',
    help: 'Group commits that failed as a whole; their operations were tried one by one, unless the database was away.',
    registers,
  });
  const polls = new Gauge({
    name: 'gsv_ledger_event_polls',
    help: 'Readers of the events feed that are waiting.',
    registers,
  });
  registerBook(options);
  return {
    answered: (method, route, status, seconds) => requests.observe({ method, route, status }, seconds),
    refused: (problem) => refusals.inc({ code: codeOf(problem) }),
    batched: (report) => {
      sizes.observe(report.items);
      times.observe(report.seconds);
      left.inc(report.left);
      if (report.error === undefined) return;
      failures.inc();
      options.log.warn({ err: report.error, items: report.items }, 'a group commit failed');
    },
    waiting: () => {
      polls.inc();
      return () => polls.dec();
    },
  };
}

function registerBook(options: {
  registry: Registry;
  sql: LedgerSql;
  inbox: Inbox;
  log: Logger;
  now: () => Date;
}): void {
  const registers = [options.registry];
  // Two readings instead of one that sets both: a gauge must be set within its own collection.
  new Gauge({
    name: 'gsv_ledger_open_holds',
    help: 'Holds that are neither captured, voided nor expired.',
    registers,
    async collect() {
      await unlessAway(options.log, async () => {
        const [row] = await withDatabase(
          () => options.sql<{ open: number }[]>`
            select count(*)::integer as open from gsv_ledger.holds where state = 'open'`,
        );
        this.set(row?.open ?? 0);
      });
    },
  });
  new Gauge({
    name: 'gsv_ledger_oldest_open_hold_seconds',
    help: 'Age of the oldest open hold; 0 without one.',
    registers,
    async collect() {
      await unlessAway(options.log, async () => {
        const [row] = await withDatabase(
          () => options.sql<{ oldest: Date | null }[]>`
            select min(created_at) as oldest from gsv_ledger.holds where state = 'open'`,
        );
        this.set(row?.oldest ? Math.max(0, (options.now().getTime() - row.oldest.getTime()) / 1000) : 0);
      });
    },
  });
  registerProof(options);
  new Gauge({
    name: 'gsv_ledger_inbox_items',
    help: 'Inbox items by state, finished ones left out.',
    labelNames: ['state'],
    registers,
    async collect() {
      await unlessAway(options.log, async () => {
        for (const [state, items] of Object.entries(await options.inbox.waiting())) this.set({ state }, items);
      });
    },
  });
}

/** What shows from outside that the book is in order. */
function registerProof({ registry, sql, log }: { registry: Registry; sql: LedgerSql; log: Logger }): void {
  const registers = [registry];
  new Gauge({
    name: 'gsv_ledger_unbalanced_transactions',
    help: 'Transactions that do not sum to zero, among the newest 5,000; the audit looks at all.',
    registers,
    async collect() {
      await unlessAway(log, async () => {
        const [row] = await withDatabase(
          () => sql<{ unbalanced: number }[]>`
            select count(*)::integer as unbalanced from (
              select from gsv_ledger.entries
                where transaction_id > (select max(id) - ${NEWEST} from gsv_ledger.transactions)
                group by transaction_id having sum(amount) <> 0) t`,
        );
        this.set(row?.unbalanced ?? 0);
      });
    },
  });
  new Gauge({
    name: 'gsv_ledger_chain_links',
    help: 'Links of the hash chain; it never falls.',
    registers,
    async collect() {
      await unlessAway(log, async () => this.set((await lastLink(sql))?.links ?? 0));
    },
  });
  new Gauge({
    name: 'gsv_ledger_chain_head',
    help: 'The first 48 bits of the last digest of the hash chain: a witness outside of the database.',
    registers,
    async collect() {
      await unlessAway(log, async () => this.set(Number.parseInt((await lastLink(sql))?.start ?? '0', 16)));
    },
  });
}

async function lastLink(sql: LedgerSql): Promise<{ links: number; start: string } | undefined> {
  const [row] = await withDatabase(
    () => sql<{ links: number; start: string }[]>`
      select link::float8 as links, encode(substring(digest for 6), 'hex') as start
        from gsv_ledger.chain order by link desc limit 1`,
  );
  return row;
}

/** A scrape during a database outage must still show the rest. */
export async function unlessAway(log: Logger, read: () => Promise<void>): Promise<void> {
  try {
    await read();
  } catch (error) {
    log.warn({ err: error }, 'figures of the book cannot be read');
  }
}

function codeOf(problem: string): string {
  try {
    const { code } = JSON.parse(problem) as { code?: unknown };
    return typeof code === 'string' ? code : 'none';
  } catch {
    return 'none';
  }
}
