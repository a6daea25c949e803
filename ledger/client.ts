import { setTimeout as delay } from 'node:timers/promises';
import { errors, Pool } from 'undici';
import type {
  AuditReply,
  BatchOperation,
  BatchResult,
  CaptureBody,
  CaptureReply,
  DebitBody,
  DebitReply,
  Entry,
  Fulfilment,
  FulfilmentBody,
  FulfilmentQuery,
  FulfilmentReply,
  Grant,
  GrantBody,
  Hold,
  HoldBody,
  HoldReply,
  InboxBody,
  InboxEntry,
  InboxItem,
  InboxState,
  LedgerEvent,
  Page,
  Receipt,
  VoidReply,
  Wallet,
  WalletBody,
  WalletName,
} from './wire.ts';

export type * from './wire.ts';

/** Connections kept to the ledger; holds and captures are short, so a few carry thousands a second. */
const CONNECTIONS = 32;

/** One attempt may take this long; the ledger answers from one SQL call, so more means it is gone. */
const ATTEMPT_TIMEOUT_MS = 10_000;

/** An audit walks every entry. */
const AUDIT_TIMEOUT_MS = 600_000;

/** First try plus retries. With the backoff below a caller waits under 2 s beyond its attempts. */
const ATTEMPTS = 5;
const BACKOFF_BASE_MS = 50;
const BACKOFF_CAP_MS = 1_000;

/** No list or receipt comes near it; it bounds what a wrong URL can make us buffer. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

export interface LedgerClientOptions {
  /** Base URL of the ledger. */
  url: string;
  /** Asked before every attempt, so that a rotated token is used at once. */
  token: () => string;
  /** The caller's fencing epoch; sent as `Gsv-Fencing-Epoch`. */
  epoch?: (() => number | undefined) | undefined;
  /** Milliseconds for one attempt; absent: 10 000. */
  timeoutMs?: number | undefined;
  /** Attempts per call, the first included; absent: 5. 1 = never retry. */
  attempts?: number | undefined;
}

/**
 * Anything but a 2xx. `status` 0 with code `ledger_unavailable` = no reply within all attempts: the
 * effect is unknown and the call may be repeated under the same key.
 */
export class LedgerError extends Error {
  readonly status: number;
  /** The problem's stable code, e.g. `insufficient_credits`. */
  readonly code: string;
  /** The whole problem document, e.g. with `available` and `required` of a 402. */
  readonly body: Record<string, unknown>;
  constructor(status: number, code: string, message: string, body: Record<string, unknown>, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LedgerError';
    this.status = status;
    this.code = code;
    this.body = body;
  }
}

/** Whether the ledger remembered this key and answered with the first result. */
export interface Replayed {
  replayed: boolean;
}

interface Call {
  method: 'GET' | 'PUT' | 'POST';
  path: string;
  key?: string;
  body?: unknown;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

interface Reply<T> {
  status: number;
  replayed: boolean;
  body: T;
}

/**
 * Typed client of the ledger's HTTP API with a keep-alive pool. Lost connections and 503 are retried
 * under the same key with jittered backoff: every call is idempotent by key, by nature, or (inbox
 * claim) by its lease. Every method throws {@link LedgerError}.
 */
export class LedgerClient {
  readonly #options: LedgerClientOptions;
  readonly #pool: Pool;
  readonly #prefix: string;

  constructor(options: LedgerClientOptions) {
    const url = new URL(options.url);
    this.#options = options;
    this.#prefix = url.pathname.replace(/\/$/, '');
    this.#pool = new Pool(url.origin, { connections: CONNECTIONS, maxResponseSize: MAX_RESPONSE_BYTES });
  }

  /** Creates or updates. 409 `owner_mismatch` when the open wallet belongs to another uid. */
  putWallet(name: string, body: WalletBody): Promise<Wallet> {
    return this.#body({ method: 'PUT', path: `/v1/wallets/${part(name)}`, body });
  }

  /** 404 `wallet_not_found`. */
  getWallet(name: string): Promise<Wallet> {
    return this.#body({ method: 'GET', path: `/v1/wallets/${part(name)}` });
  }

  /** 409 `wallet_not_empty` while open holds, or without `forfeit` money, are there. */
  closeWallet(name: string, body: { forfeit?: boolean }, key: string): Promise<Wallet & Replayed> {
    return this.#replayable({ method: 'POST', path: `/v1/wallets/${part(name)}/close`, key, body });
  }

  /** `created` is false when the same (shop, line, ordinal) was fulfilled before, under any key. */
  async recordFulfilment(body: FulfilmentBody, key: string): Promise<FulfilmentReply & { created: boolean }> {
    const reply = await this.#call<FulfilmentReply>({ method: 'POST', path: '/v1/fulfilments', key, body });
    return { ...reply.body, created: reply.status === 201 && !reply.replayed };
  }

  /** Open wallets by age, without balances; for comparisons, so nothing is booked by it. */
  listWallets(page: { cursor?: string | undefined } = {}): Promise<Page<WalletName>> {
    return this.#body({ method: 'GET', path: `/v1/wallets${search({ ...page, limit: 100 })}` });
  }

  async findFulfilments(query: FulfilmentQuery): Promise<Fulfilment[]> {
    const found: Fulfilment[] = [];
    for (let cursor: string | undefined; ; ) {
      const path = `/v1/fulfilments${search({ ...query, cursor, limit: 100 })}`;
      const page = await this.#body<Page<Fulfilment>>({ method: 'GET', path });
      found.push(...page.items);
      if (page.next === null) return found;
      cursor = page.next;
    }
  }

  /** Claims again for the same uid is 200; for another 409 `already_claimed`. */
  claimFulfilment(id: string, body: { instanceUid: string }): Promise<Fulfilment> {
    return this.#body({ method: 'POST', path: `/v1/fulfilments/${part(id)}/claim`, body });
  }

  grant(wallet: string, body: GrantBody, key: string): Promise<Grant & Replayed> {
    return this.#replayable({ method: 'POST', path: `/v1/wallets/${part(wallet)}/grants`, key, body });
  }

  /** Absent amount: all of the grant that is not revoked yet. */
  revokeGrant(
    grant: string,
    body: { amount?: number | undefined; reason?: string | undefined },
    key: string,
  ): Promise<{ revoked: number; debt: number; writtenOff?: number } & Replayed> {
    return this.#replayable({ method: 'POST', path: `/v1/grants/${part(grant)}/revoke`, key, body });
  }

  /** 402 `insufficient_credits` {available, required}; 429 `too_many_runs`. */
  hold(body: HoldBody, key: string): Promise<HoldReply & Replayed> {
    return this.#replayable({ method: 'POST', path: '/v1/holds', key, body });
  }

  getHold(hold: string): Promise<Hold> {
    return this.#body({ method: 'GET', path: `/v1/holds/${part(hold)}` });
  }

  /** Open holds of an Instance, oldest first. */
  listHolds(query: { instanceUid: string; cursor?: string; limit?: number }): Promise<Page<Hold>> {
    return this.#body({ method: 'GET', path: `/v1/holds${search(query)}` });
  }

  extendHold(hold: string, body: { ttlSeconds: number }, key: string): Promise<HoldReply & Replayed> {
    return this.#replayable({ method: 'POST', path: `/v1/holds/${part(hold)}/extend`, key, body });
  }

  /** 409 `already_captured`, `already_voided` or `already_expired`. */
  capture(hold: string, body: CaptureBody, key: string): Promise<CaptureReply & Replayed> {
    return this.#replayable({ method: 'POST', path: `/v1/holds/${part(hold)}/capture`, key, body });
  }

  voidHold(hold: string, body: { reason?: string | undefined }, key: string): Promise<VoidReply & Replayed> {
    return this.#replayable({ method: 'POST', path: `/v1/holds/${part(hold)}/void`, key, body });
  }

  debit(body: DebitBody, key: string): Promise<DebitReply & Replayed> {
    return this.#replayable({ method: 'POST', path: '/v1/debits', key, body });
  }

  /** Each operation succeeds or fails by itself; look at `results[].status`. */
  async batch(operations: readonly BatchOperation[]): Promise<BatchResult[]> {
    const reply = await this.#body<{ results: BatchResult[] }>({
      method: 'POST',
      path: '/v1/batch',
      body: { operations },
    });
    return reply.results;
  }

  entries(
    wallet: string,
    page: { cursor?: string | undefined; limit?: number | undefined } = {},
  ): Promise<Page<Entry>> {
    return this.#body({ method: 'GET', path: `/v1/wallets/${part(wallet)}/entries${search(page)}` });
  }

  receipt(id: string): Promise<Receipt> {
    return this.#body({ method: 'GET', path: `/v1/receipts/${part(id)}` });
  }

  /** The hold whose context names this run id; 404 `run_not_found`. */
  run(runId: string): Promise<Hold> {
    return this.#body({ method: 'GET', path: `/v1/runs/${part(runId)}` });
  }

  /** Waits up to `waitSeconds` (<= 30) for events after `after`; an aborted `signal` rejects with its reason. */
  events(query: { after: number; waitSeconds?: number; signal?: AbortSignal }): Promise<{
    events: LedgerEvent[];
    next: number;
  }> {
    const waitSeconds = query.waitSeconds ?? 0;
    return this.#body({
      method: 'GET',
      path: `/v1/events${search({ after: query.after, waitSeconds })}`,
      timeoutMs: waitSeconds * 1000 + this.#timeoutMs(),
      signal: query.signal,
    });
  }

  /** `created` is false when (shop, bodySha256) was known. */
  async inboxPut(body: InboxBody): Promise<InboxEntry & { created: boolean }> {
    const reply = await this.#call<InboxEntry>({ method: 'POST', path: '/v1/inbox', body });
    return { ...reply.body, created: reply.status === 201 };
  }

  /** The next due item, under a lease; undefined when nothing is due. Serial per order. */
  async inboxClaim(body: { leaseSeconds: number }): Promise<InboxItem | undefined> {
    const reply = await this.#body<{ item: InboxItem | null }>({ method: 'POST', path: '/v1/inbox/claim', body });
    return reply.item ?? undefined;
  }

  inboxDone(id: string): Promise<InboxEntry> {
    return this.#body({ method: 'POST', path: `/v1/inbox/${part(id)}/done`, body: {} });
  }

  /** Back to pending, due again after `retryAfterSeconds`. */
  inboxFail(id: string, body: { retryAfterSeconds: number; reason?: string | undefined }): Promise<InboxEntry> {
    return this.#body({ method: 'POST', path: `/v1/inbox/${part(id)}/fail`, body });
  }

  inboxPark(id: string, body: { reason: string }): Promise<InboxEntry> {
    return this.#body({ method: 'POST', path: `/v1/inbox/${part(id)}/park`, body });
  }

  /** A parked item is due again at once, after a person mended what it waited for. */
  inboxRetry(id: string): Promise<InboxEntry> {
    return this.#body({ method: 'POST', path: `/v1/inbox/${part(id)}/retry`, body: {} });
  }

  /** Newest first; `rawBase64` is present only with `raw: true`. */
  inboxList(query: {
    state?: InboxState | undefined;
    cursor?: string | undefined;
    limit?: number | undefined;
    raw?: boolean | undefined;
  }): Promise<Page<InboxEntry & { rawBase64?: string }>> {
    return this.#body({ method: 'GET', path: `/v1/inbox${search(query)}` });
  }

  /** Recomputes every sum; may take minutes on a large book. */
  audit(): Promise<AuditReply> {
    return this.#body({ method: 'POST', path: '/v1/audit', body: {}, timeoutMs: AUDIT_TIMEOUT_MS });
  }

  /** Ends idle connections and waits for running calls. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  async #body<T>(call: Call): Promise<T> {
    return (await this.#call<T>(call)).body;
  }

  async #replayable<T>(call: Call): Promise<T & Replayed> {
    const reply = await this.#call<T>(call);
    return { ...reply.body, replayed: reply.replayed };
  }

  #timeoutMs(): number {
    return this.#options.timeoutMs ?? ATTEMPT_TIMEOUT_MS;
  }

  async #call<T>(call: Call): Promise<Reply<T>> {
    const attempts = this.#options.attempts ?? ATTEMPTS;
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#attempt<T>(call);
      } catch (error) {
        const last = attempt >= attempts || !isTransient(error);
        if (last) throw error;
        await delay(backoffMs(attempt), undefined, call.signal ? { signal: call.signal } : {});
      }
    }
  }

  async #attempt<T>(call: Call): Promise<Reply<T>> {
    const timeout = AbortSignal.timeout(call.timeoutMs ?? this.#timeoutMs());
    const signal = call.signal ? AbortSignal.any([call.signal, timeout]) : timeout;
    let status: number;
    let text: string;
    let replayed: boolean;
    try {
      const response = await this.#pool.request({
        method: call.method,
        path: this.#prefix + call.path,
        headers: this.#headers(call),
        body: call.body === undefined ? null : JSON.stringify(call.body),
        // The signal bounds the attempt as a whole; undici's own timers would cut the long poll.
        headersTimeout: 0,
        bodyTimeout: 0,
        signal,
      });
      status = response.statusCode;
      replayed = response.headers['idempotency-replayed'] === 'true';
      text = await response.body.text();
    } catch (error) {
      call.signal?.throwIfAborted();
      throw unavailable(error);
    }
    const body = parse(text);
    if (status >= 200 && status < 300 && body) return { status, replayed, body: body as T };
    throw toError(status, body ?? {});
  }

  #headers(call: Call): Record<string, string> {
    const epoch = this.#options.epoch?.();
    return {
      authorization: `Bearer ${this.#options.token()}`,
      accept: 'application/json',
      ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(call.key === undefined ? {} : { 'idempotency-key': call.key }),
      ...(epoch === undefined ? {} : { 'gsv-fencing-epoch': String(epoch) }),
    };
  }
}

function isTransient(error: unknown): boolean {
  return error instanceof LedgerError && (error.status === 0 || error.status === 503);
}

/** Full jitter: callers that failed together must not come back together. */
function backoffMs(attempt: number): number {
  return Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt);
}

function unavailable(cause: unknown): LedgerError {
  if (cause instanceof errors.InvalidArgumentError) throw cause;
  return new LedgerError(0, 'ledger_unavailable', 'the ledger does not answer', {}, { cause });
}

function toError(status: number, body: Record<string, unknown>): LedgerError {
  const code = typeof body.code === 'string' ? body.code : 'unexpected_reply';
  const detail = typeof body.detail === 'string' ? body.detail : `the ledger answered ${status}`;
  return new LedgerError(status, code, detail, body);
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

const part = encodeURIComponent;

function search(query: Record<string, string | number | boolean | undefined>): string {
  const present = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) present.set(name, String(value));
  return present.size === 0 ? '' : `?${present}`;
}
