import { type LedgerSql, withDatabase } from './database.ts';
import type { ChargedReceipt } from './outbox-events.ts';

/** Numbers of receipts of one round: some hundred KiB of events. */
const RECEIPTS_PER_ROUND = 250;

/** Longer than the requests of a round take; a sender that dies is followed after it. */
const LEASE_SECONDS = 60;

/** Parked receipts that a report lists; the count is of all. */
const LISTED = 100;

/** What a sender has to do now. */
export interface OutboxRound {
  book: string;
  /** Failures in a row before this round. */
  failures: number;
  from: number;
  /** Where the position goes when all is sent. */
  to: number;
  /** Receipts that may be told now, oldest first. */
  ready: ChargedReceipt[];
  /** Among `ready`: those that the position has passed before. */
  waited: number[];
  /** Passed in this round without being told, because their holds are open. */
  open: number[];
  /** Whether there is more than fits into one round. */
  more: boolean;
}

/** A receipt with events that OpenMeter refuses for what they are. */
export interface ParkedReceipt {
  receipt: number;
  events: string[];
  reason: string;
}

/** As `GET /v1/outbox` answers it. */
export interface OutboxState {
  /** Whether usage is sent at all. */
  enabled: boolean;
  /** The `source` of its events is `/gsv/ledger/<book>`. */
  book: string;
  position: number;
  /** Numbers of receipts that are not passed yet; a few of them may never have been given to one. */
  lag: number;
  /** Charged in part, and told when the hold ends. */
  open: number;
  parked: number;
  parkedReceipts: { receipt: string; events: string[]; reason: string }[];
  failures: number;
  retryAt?: string;
  lastError?: string;
  sentAt?: string;
}

/**
 * The place of the outbox in the receipts. One sender at a time has the lease; a round that is repeated sends the same
 * events with the same ids. Every method may throw `DatabaseUnavailable`.
 */
export class Outbox {
  readonly #sql: LedgerSql;
  readonly #now: () => Date;

  constructor(sql: LedgerSql, options: { now?: () => Date } = {}) {
    this.#sql = sql;
    this.#now = options.now ?? (() => new Date());
  }

  /** The next round; undefined while another sender has the lease, or before it is time to try again. */
  async claim(holder: string): Promise<OutboxRound | undefined> {
    const [row] = await withDatabase(
      () => this.#sql<{ book: string; position: number; safe: number; failures: number }[]>`
        select book, position::float8 as position, safe::float8 as safe, failures
          from gsv_ledger.outbox_claim(${holder}, ${LEASE_SECONDS}, ${this.#now()})`,
    );
    if (!row) return undefined;
    const to = Math.min(row.safe, row.position + RECEIPTS_PER_ROUND);
    const waited = await this.#waited();
    const passed = await this.#receipts(row.position, to);
    return {
      book: row.book,
      failures: row.failures,
      from: row.position,
      to,
      ready: [...waited, ...passed.filter(({ open }) => !open)],
      waited: waited.map(({ id }) => id),
      open: passed.filter(({ open }) => open).map(({ id }) => id),
      more: to < row.safe || waited.length === RECEIPTS_PER_ROUND,
    };
  }

  /** Says that OpenMeter has the round, but for what is parked. False when the lease was lost; then nothing is said. */
  async advance(holder: string, round: OutboxRound, parked: readonly ParkedReceipt[]): Promise<boolean> {
    const stays = new Set(parked.map(({ receipt }) => receipt));
    const done = round.waited.filter((id) => !stays.has(id));
    const [row] = await withDatabase(
      () => this.#sql<{ advanced: boolean }[]>`
        select gsv_ledger.outbox_advance(${holder}, ${round.from}, ${round.to}, ${JSON.stringify(round.open)},
          ${JSON.stringify(done)}, ${JSON.stringify(parked)}, ${this.#now()}) as advanced`,
    );
    return row?.advanced ?? false;
  }

  /** Nobody sends for that long. `error` must not hold a secret. */
  async failed(holder: string, delayMs: number, error: string): Promise<void> {
    const retryAt = new Date(this.#now().getTime() + delayMs);
    await withDatabase(() => this.#sql`select gsv_ledger.outbox_failed(${holder}, ${retryAt}, ${error})`);
  }

  async release(holder: string): Promise<void> {
    await withDatabase(() => this.#sql`select gsv_ledger.outbox_release(${holder})`);
  }

  /** Lets parked receipts be sent again, and at once. @returns how many there were */
  async retry(): Promise<number> {
    const [row] = await withDatabase(
      () => this.#sql<{ receipts: number }[]>`select gsv_ledger.outbox_retry() as receipts`,
    );
    return row?.receipts ?? 0;
  }

  async state(enabled: boolean): Promise<OutboxState> {
    const [row] = await withDatabase(
      () => this.#sql<{ body: Omit<OutboxState, 'enabled'> }[]>`
        select jsonb_strip_nulls(jsonb_build_object('book', o.book, 'position', o.position,
            'lag', (select greatest(0, coalesce(max(receipt_id), 0) - o.position) from gsv_ledger.journal),
            'open', (select count(*) from gsv_ledger.outbox_receipts where state = 'open'),
            'parked', (select count(*) from gsv_ledger.outbox_receipts where state = 'parked'),
            'parkedReceipts', (select coalesce(jsonb_agg(jsonb_build_object('receipt', 'receipt_' || p.receipt_id,
                'events', to_jsonb(p.events), 'reason', p.reason) order by p.receipt_id), '[]')
              from (select * from gsv_ledger.outbox_receipts where state = 'parked' order by receipt_id limit ${LISTED}) p),
            'failures', o.failures, 'retryAt', gsv_ledger.iso(o.retry_at), 'lastError', o.last_error,
            'sentAt', gsv_ledger.iso(o.sent_at))) as body
          from gsv_ledger.outbox o`,
    );
    if (!row) throw new Error('the outbox has no row');
    return { enabled, ...row.body };
  }

  /** Seconds since the oldest receipt that is not sent was made; 0 without one. */
  async oldestSeconds(): Promise<number> {
    const [row] = await withDatabase(
      () => this.#sql<{ at: Date | null }[]>`
        select (select at from gsv_ledger.journal where receipt_id > o.position order by receipt_id, id limit 1) as at
          from gsv_ledger.outbox o`,
    );
    return row?.at ? Math.max(0, (this.#now().getTime() - row.at.getTime()) / 1000) : 0;
  }

  /** Bound by their numbers and not by a limit: a plan without statistics would look at all that is waiting. */
  #receipts(after: number, upTo: number): Promise<ChargedReceipt[]> {
    return withDatabase(
      () => this.#sql<ChargedReceipt[]>`
        select * from gsv_ledger.charged_receipts where receipt_id > ${after} and receipt_id <= ${upTo} order by receipt_id`,
    );
  }

  /** Those the position has passed whose holds have ended since, or that are tried again; each looked up by itself. */
  #waited(): Promise<ChargedReceipt[]> {
    return withDatabase(
      () => this.#sql<ChargedReceipt[]>`
        select c.* from gsv_ledger.outbox_receipts o
            cross join lateral (select * from gsv_ledger.charged_receipts where receipt_id = o.receipt_id offset 0) c
          where o.state = 'open' and not c.open order by o.receipt_id limit ${RECEIPTS_PER_ROUND}`,
    );
  }
}
