import { createHash } from 'node:crypto';
import { Problem } from '../config/problem.ts';
import { type LedgerSql, withDatabase } from './database.ts';
import type { Fence, OperationResult } from './operations.ts';
import type { InboxBody } from './wire.ts';

/** Largest raw delivery in bytes. An order of Saleor with 100 lines has about 200 KiB. */
export const MAX_RAW_BYTES = 1_048_576;

/** A worker that needs longer renews nothing: it has died, and another one takes over. */
export const MAX_LEASE_SECONDS = 3_600;

/**
 * Days that the bytes of a finished delivery are kept: they carry names and addresses, and a month is long enough
 * to look into an order. Its digest and its facts stay.
 */
export const RAW_RETENTION_DAYS = 30;
const DAY_MS = 86_400_000;

/**
 * The durable inbox: put once per (shop, content), claim under a lease and one after the other per
 * order, then done, fail (due again later) or park (a person must look). Every method may throw
 * `DatabaseUnavailable`; all but a claim may simply be repeated, and a lost claim ends with its lease.
 */
export class Inbox {
  readonly #sql: LedgerSql;
  readonly #now: () => Date;

  constructor(sql: LedgerSql, options: { now?: () => Date } = {}) {
    this.#sql = sql;
    this.#now = options.now ?? (() => new Date());
  }

  /**
   * 201 the item, or 200 the known one.
   *
   * @throws Problem 422 `invalid_request` when the base64 is not canonical or the digest is not that of its bytes
   */
  async put(body: InboxBody): Promise<OperationResult> {
    const raw = decode(body);
    const { rawBase64: _raw, ...fields } = body;
    return this.#run(
      (sql) => sql<OperationResult[]>`
        select * from gsv_ledger.inbox_put(
          ${JSON.stringify(fields)}, ${Buffer.from(body.bodySha256, 'hex')}, ${raw}, ${this.#now()})`,
    );
  }

  /** 200 `{item}`, null when nothing is due. */
  claim(leaseSeconds: number, call: Fence = {}): Promise<OperationResult> {
    return this.#run(
      (sql) => sql<OperationResult[]>`
        select * from gsv_ledger.inbox_claim(${leaseSeconds}, ${this.#now()}, ${call.epoch ?? null})`,
    );
  }

  /** 200 · 404 `inbox_item_not_found` · 409 `inbox_item_not_claimed`. */
  done(id: string, call: Fence = {}): Promise<OperationResult> {
    return this.#resolve(id, 'done', null, null, call);
  }

  /** Pending again, due after `retryAfterSeconds`. Replies as `done`. */
  fail(
    id: string,
    body: { retryAfterSeconds: number; reason?: string | undefined },
    call: Fence = {},
  ): Promise<OperationResult> {
    const due = new Date(this.#now().getTime() + body.retryAfterSeconds * 1000);
    return this.#resolve(id, 'pending', body.reason ?? null, due, call);
  }

  /** Out of the queue until a person acts. Replies as `done`. */
  park(id: string, body: { reason: string }, call: Fence = {}): Promise<OperationResult> {
    return this.#resolve(id, 'parked', body.reason, null, call);
  }

  /** A parked item is due again at once. 200 · 404 `inbox_item_not_found` · 409 `inbox_item_not_parked`. */
  retry(id: string, call: Fence = {}): Promise<OperationResult> {
    return this.#run(
      (sql) => sql<OperationResult[]>`
        select * from gsv_ledger.inbox_retry(${id}, ${this.#now()}, ${call.epoch ?? null})`,
    );
  }

  /** Newest first. `cursor` is the `next` of the page before. */
  async list(query: {
    state?: string | undefined;
    cursor?: string | undefined;
    limit: number;
    raw: boolean;
  }): Promise<{ items: Record<string, unknown>[]; next: string | null }> {
    const rows = await withDatabase(
      () => this.#sql<{ item: Record<string, unknown> }[]>`
        select item from gsv_ledger.inbox_list(
          ${query.state ?? null}, ${query.cursor ?? null}, ${query.limit + 1}, ${query.raw}) as item`,
    );
    const items = rows.slice(0, query.limit).map((row) => row.item);
    return { items, next: rows.length > query.limit ? String(items.at(-1)?.id) : null };
  }

  /**
   * Drops the bytes of finished items that are older than {@link RAW_RETENTION_DAYS}. What still waits, parked items
   * included, keeps them.
   *
   * @returns of how many items; `limit` means that there may be more
   */
  async forget({ limit }: { limit: number }): Promise<number> {
    const before = new Date(this.#now().getTime() - RAW_RETENTION_DAYS * DAY_MS);
    const [row] = await withDatabase(
      () => this.#sql<{ items: number }[]>`select gsv_ledger.inbox_forget(${before}, ${limit}) as items`,
    );
    return row?.items ?? 0;
  }

  /** How many items wait in each state that somebody should look at; finished ones are not counted. */
  async waiting(): Promise<Record<'pending' | 'claimed' | 'deferred' | 'parked', number>> {
    const rows = await withDatabase(
      () => this.#sql<{ state: string; items: number }[]>`
        select state, count(*)::integer as items from gsv_ledger.inbox
        where state in ('pending', 'claimed', 'deferred', 'parked') group by state`,
    );
    return {
      pending: 0,
      claimed: 0,
      deferred: 0,
      parked: 0,
      ...Object.fromEntries(rows.map((r) => [r.state, r.items])),
    };
  }

  #resolve(id: string, state: string, reason: string | null, due: Date | null, call: Fence): Promise<OperationResult> {
    return this.#run(
      (sql) => sql<OperationResult[]>`
        select * from gsv_ledger.inbox_resolve(${id}, ${state}, ${reason}, ${due}, ${call.epoch ?? null})`,
    );
  }

  async #run(query: (sql: LedgerSql) => PromiseLike<readonly OperationResult[]>): Promise<OperationResult> {
    const [row] = await withDatabase(() => query(this.#sql));
    if (row === undefined) throw new Error('the inbox answered nothing');
    return { status: row.status, body: row.body, replayed: row.replayed };
  }
}

function decode(body: InboxBody): Buffer {
  const raw = Buffer.from(body.rawBase64, 'base64');
  // Buffer skips what is no base64; only the canonical form survives the way back.
  if (raw.toString('base64') !== body.rawBase64) {
    throw invalid('/rawBase64', 'base64', 'must be canonical base64 with padding');
  }
  if (raw.length === 0 || raw.length > MAX_RAW_BYTES) {
    throw invalid('/rawBase64', 'size', `must hold 1 to ${MAX_RAW_BYTES} bytes`);
  }
  if (createHash('sha256').update(raw).digest('hex') !== body.bodySha256) {
    throw invalid('/bodySha256', 'sha256', 'must be the sha256 of the raw bytes');
  }
  return raw;
}

function invalid(pointer: string, rule: string, message: string): Problem {
  return new Problem({
    status: 422,
    code: 'invalid_request',
    detail: `body is invalid: ${pointer} ${message}`,
    errors: [{ pointer, rule, message }],
  });
}
