import { sendBatch } from './client-batch.ts';
import { type Call, type CallOptions, type LedgerClientOptions, Transport } from './transport.ts';
import type {
  AuditReply,
  BatchOperation,
  BatchResult,
  CaptureBody,
  CaptureReply,
  ConsumerPosition,
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
import type { AccountStatement, OrderStatement, SettleBody, Settlement, Statement } from './wire-finance.ts';

export { LedgerError } from './ledger-error.ts';
export type { CallOptions, LedgerClientOptions } from './transport.ts';
export type * from './wire.ts';
export type * from './wire-finance.ts';

/** An audit walks every entry. */
const AUDIT_TIMEOUT_MS = 600_000;

/** Whether the ledger remembered this key and answered with the first result. */
export interface Replayed {
  replayed: boolean;
}

/**
 * Typed client of the ledger's HTTP API with a keep-alive pool. Lost connections and 503 are retried
 * under the same key, after what the ledger asks for or with jittered backoff, within a budget: every call is
 * idempotent by key, by nature, or (inbox claim) by its lease. Every method throws {@link LedgerError}.
 */
export class LedgerClient {
  readonly #transport: Transport;

  constructor(options: LedgerClientOptions | Transport) {
    this.#transport = options instanceof Transport ? options : new Transport(options);
  }

  /**
   * The same client and connections with other limits, or with a signal that ends its calls:
   * `ledger.with({ signal }).capture(…)`.
   */
  with(options: CallOptions): LedgerClient {
    return new LedgerClient(this.#transport.with(options));
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
    const reply = await this.#transport.call<FulfilmentReply>({ method: 'POST', path: '/v1/fulfilments', key, body });
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

  /** Moves an order's grants to granted x charged / total; also before its fulfilments are recorded. */
  settleOrder(
    { shop, order }: { shop: string; order: string },
    body: SettleBody,
    key: string,
  ): Promise<Settlement & Replayed> {
    return this.#replayable({ method: 'POST', path: `/v1/orders/${part(shop)}/${part(order)}/settle`, key, body });
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

  /** Open holds of an Instance, or of all, oldest first. */
  listHolds(query: { instanceUid?: string; cursor?: string; limit?: number } = {}): Promise<Page<Hold>> {
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

  /**
   * Any number of operations; each succeeds or fails by itself, look at `results[].status`. Those of which the ledger
   * does not know what became of them are asked for again; 503 is left when that goes on.
   */
  batch(operations: readonly BatchOperation[]): Promise<BatchResult[]> {
    return sendBatch(this.#transport, operations);
  }

  entries(
    wallet: string,
    page: { cursor?: string | undefined; limit?: number | undefined } = {},
  ): Promise<Page<Entry>> {
    return this.#body({ method: 'GET', path: `/v1/wallets/${part(wallet)}/entries${search(page)}` });
  }

  /** What moved in a wallet in `[from, to)`, oldest first, with the balance after each step. */
  statement(
    wallet: string,
    query: { from?: string; to?: string; cursor?: string; limit?: number } = {},
  ): Promise<Statement> {
    return this.#body({ method: 'GET', path: `/v1/wallets/${part(wallet)}/statement${search(query)}` });
  }

  /** The trial balance of a period; its columns sum to zero. */
  accounts(query: { from?: string; to?: string } = {}): Promise<AccountStatement> {
    return this.#body({ method: 'GET', path: `/v1/accounts${search(query)}`, timeoutMs: AUDIT_TIMEOUT_MS });
  }

  /** Orders whose first unit was recorded in `[from, to)`, oldest first; `totals` are of the whole period. */
  orders(
    query: { shop?: string; from?: string; to?: string; cursor?: string; limit?: number } = {},
  ): Promise<OrderStatement> {
    return this.#body({ method: 'GET', path: `/v1/orders${search(query)}` });
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
      timeoutMs: waitSeconds * 1000 + this.#transport.timeoutMs,
      signal: query.signal,
    });
  }

  /** Where a reader of the feed stands; 0 when it never said. */
  consumer(name: string): Promise<ConsumerPosition> {
    return this.#body({ method: 'GET', path: `/v1/consumers/${part(name)}` });
  }

  /** Keeps how far a reader has come. 409 `position_behind` without `rewind` for one that would go back. */
  putConsumer(name: string, body: { position: number; rewind?: boolean }): Promise<ConsumerPosition> {
    return this.#body({ method: 'PUT', path: `/v1/consumers/${part(name)}`, body });
  }

  /** `created` is false when (shop, bodySha256) was known. */
  async inboxPut(body: InboxBody): Promise<InboxEntry & { created: boolean }> {
    const reply = await this.#transport.call<InboxEntry>({ method: 'POST', path: '/v1/inbox', body });
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
    return this.#transport.close();
  }

  async #body<T>(call: Call): Promise<T> {
    return (await this.#transport.call<T>(call)).body;
  }

  async #replayable<T>(call: Call): Promise<T & Replayed> {
    const reply = await this.#transport.call<T>(call);
    return { ...reply.body, replayed: reply.replayed };
  }
}

const part = encodeURIComponent;

function search(query: Record<string, string | number | boolean | undefined>): string {
  const present = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) present.set(name, String(value));
  return present.size === 0 ? '' : `?${present}`;
}
