import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import { type BatchObserver, type BatchOutcomes, BatchQueue, type BatchRow, type Outcome } from './batch.ts';
import { batchRow } from './batch-row.ts';
import { DatabaseUnavailable, type LedgerSql, withDatabase } from './database.ts';
import type {
  BatchOperation,
  BatchResult,
  CaptureBody,
  DebitBody,
  FulfilmentBody,
  GrantBody,
  HoldBody,
  WalletBody,
} from './wire.ts';
import type { SettleBody } from './wire-finance.ts';

/** Fields that describe a call without being part of what it does; a retry may change them. */
const NOT_HASHED = new Set(['context', 'source', 'reason', 'resultRef', 'ttlSeconds']);

export interface Fence {
  /** The `Gsv-Fencing-Epoch`; one lower than the ledger has seen is 409 `stale_leader`. */
  epoch?: number | undefined;
}

/** How a caller names its call. */
export interface Call extends Fence {
  /** The `Idempotency-Key`. */
  key: string;
}

/**
 * What an operation answered. From status 400 on the body is `{code, detail, …extra}` (extra: `available`
 * and `required` of a 402), ready to become a problem document; below it is the reply of `interfaces.md`.
 */
export interface OperationResult {
  status: number;
  body: Record<string, unknown>;
  replayed: boolean;
}

export type BatchItem =
  | BatchOperation
  | { op: 'grant'; key: string; wallet: string; body: GrantBody }
  | { op: 'revoke'; key: string; grant: string; body: RevokeBody };

/** Absent amount = all of the grant that is not revoked yet. */
export interface RevokeBody {
  amount?: number | undefined;
  reason?: string | undefined;
}

/** The SQL functions of the migrations, one per money operation. */
type SqlOperation =
  | 'put_wallet'
  | 'close_wallet'
  | 'record_fulfilment'
  | 'settle_order'
  | 'claim_fulfilment'
  | 'create_grant'
  | 'revoke_grant'
  | 'create_hold'
  | 'extend_hold'
  | 'capture_hold'
  | 'void_hold'
  | 'debit'
  | 'put_consumer';

/** A conflict between concurrent transactions that PostgreSQL resolved by ending ours; nothing was written. */
const RETRIED_STATES = new Set(['40001', '40P01']);
/** Deadlocks and lost insert races go away on the next try; five in a row are a bug worth an error. */
const MAX_ATTEMPTS = 5;

/**
 * The only writer of money: every method is one SQL function call, so that an operation happens whole or
 * not at all and a retry under the same key answers what the first one answered. Holds, captures, voids and
 * debits of many callers share such a call (see `batch.ts`).
 *
 * Every method may throw `DatabaseUnavailable`; the outcome is then unknown and the caller retries with the
 * same key.
 */
export class LedgerOperations {
  readonly #sql: LedgerSql;
  readonly #now: () => Date;
  readonly #queue: BatchQueue;

  constructor(sql: LedgerSql, options: { now?: () => Date; onBatch?: BatchObserver } = {}) {
    this.#sql = sql;
    this.#now = options.now ?? (() => new Date());
    this.#queue = new BatchQueue((rows, epoch) => this.#runBatch(rows, epoch), {
      observe: options.onBatch,
      lockedOf: (rows) => lockedOf(sql, rows),
    });
  }

  /** 200 the wallet · 409 `owner_mismatch`. */
  putWallet(name: string, body: WalletBody, call: Fence = {}): Promise<OperationResult> {
    return this.#run('put_wallet', name, body, { ...call, key: '' });
  }

  /** 200 `{wallet, state, forfeited}` · 409 `wallet_not_empty`, `wallet_closed`. */
  closeWallet(name: string, body: { forfeit?: boolean | undefined }, call: Call): Promise<OperationResult> {
    return this.#run('close_wallet', name, body, call);
  }

  /** 201 `{fulfilment, grants}`; 200 with the first when (shop, line, ordinal) is known. */
  recordFulfilment(body: FulfilmentBody, call: Call): Promise<OperationResult> {
    return this.#run('record_fulfilment', '', body, call);
  }

  /** 200 a {@link Settlement}, whether or not the order is known: the word is kept for fulfilments to come. */
  settleOrder(order: { shop: string; order: string }, body: SettleBody, call: Call): Promise<OperationResult> {
    return this.#run('settle_order', '', { ...order, ...body }, call);
  }

  /** 200 the fulfilment · 404 `fulfilment_not_found` · 409 `already_claimed`. */
  claimFulfilment(id: string, body: { instanceUid: string }, call: Fence = {}): Promise<OperationResult> {
    return this.#run('claim_fulfilment', id, body, { ...call, key: '' });
  }

  /** 201 `{grant, wallet, amount, remaining}`. */
  grant(wallet: string, body: GrantBody, call: Call): Promise<OperationResult> {
    return this.#run('create_grant', wallet, body, call);
  }

  /** 200 `{revoked, debt, writtenOff?}`. */
  revokeGrant(grant: string, body: RevokeBody, call: Call): Promise<OperationResult> {
    return this.#run('revoke_grant', grant, body, call);
  }

  /** 201 `{hold, wallet, amount, state, expiresAt}` · 402 `insufficient_credits` · 429 `too_many_runs`. */
  hold(body: HoldBody, call: Call): Promise<OperationResult> {
    return this.#run('create_hold', '', body, call);
  }

  /** 200 the hold · 409 `already_captured`, `already_voided`, `already_expired`. */
  extendHold(hold: string, body: { ttlSeconds: number }, call: Call): Promise<OperationResult> {
    return this.#run('extend_hold', hold, body, call);
  }

  /** 200 the capture reply · 409 like extend. */
  capture(hold: string, body: CaptureBody, call: Call): Promise<OperationResult> {
    return this.#run('capture_hold', hold, body, call);
  }

  /** 200 `{hold, state, released}` · 409 like extend. */
  voidHold(hold: string, body: { reason?: string | undefined }, call: Call): Promise<OperationResult> {
    return this.#run('void_hold', hold, body, call);
  }

  /** 201 `{receipt, amount, available}` · 402 `insufficient_credits`. */
  debit(body: DebitBody, call: Call): Promise<OperationResult> {
    return this.#run('debit', '', body, call);
  }

  /** 200 a {@link ConsumerPosition} · 409 `position_behind` · 422 beyond the end of the feed. */
  putConsumer(
    name: string,
    body: { position: number; rewind?: boolean | undefined },
    call: Fence = {},
  ): Promise<OperationResult> {
    return this.#run('put_consumer', name, body, { ...call, key: '' });
  }

  /**
   * Operations of several callers in one go. Each item is answered for itself, in order: a refused or broken
   * one never touches its neighbours.
   *
   * @throws DatabaseUnavailable when not even the first item could be tried
   */
  async batch(items: readonly BatchItem[], call: Fence = {}): Promise<BatchResult[]> {
    const results: BatchResult[] = [];
    for (const item of items) {
      results.push(await this.#runItem(item, { ...call, key: item.key }, results.length === 0));
    }
    return results;
  }

  /**
   * Books what is due at the present time: expired holds and expired grants, in one wallet or in up to `limit`
   * wallets that nobody else is working on. Safe to call from several processes.
   *
   * @returns how many wallets were settled; fewer than `limit` means that nothing more was due
   */
  async expireDue(options: { limit: number }): Promise<number> {
    const rows = await withDatabase(
      () => this.#sql<{ wallets: number }[]>`select gsv_ledger.expire_due(${this.#now()}, ${options.limit}) as wallets`,
    );
    return rows[0]?.wallets ?? 0;
  }

  async #runItem(item: BatchItem, call: Call, first: boolean): Promise<BatchResult> {
    try {
      const { status, body } = await this.#dispatch(item, call);
      return { key: item.key, status, body };
    } catch (error) {
      if (first && error instanceof DatabaseUnavailable) throw error;
      const outage = error instanceof DatabaseUnavailable ? error : undefined;
      return {
        key: item.key,
        status: outage ? 503 : 500,
        body: {
          code: outage?.trouble ?? 'internal',
          detail: 'this operation may or may not have happened; retry it with the same key',
        },
      };
    }
  }

  #dispatch(item: BatchItem, call: Call): Promise<OperationResult> {
    switch (item.op) {
      case 'hold':
        return this.hold(item.body, call);
      case 'debit':
        return this.debit(item.body, call);
      case 'grant':
        return this.grant(item.wallet, item.body, call);
      case 'revoke':
        return this.revokeGrant(item.grant, item.body, call);
      case 'extend':
        return this.extendHold(item.hold, item.body, call);
      case 'capture':
        return this.capture(item.hold, item.body, call);
      case 'void':
        return this.voidHold(item.hold, item.body, call);
    }
  }

  #run(operation: SqlOperation, target: string, body: object, call: Call): Promise<OperationResult> {
    const hash = payloadHash(target, body);
    const alone = (): Promise<Outcome> => this.#runAlone(operation, target, body, hash, call);
    const row = batchRow(operation, target, body, { key: call.key, hash });
    return row ? this.#queue.add(row, call.epoch, alone) : alone();
  }

  async #runBatch(rows: readonly BatchRow[], epoch: number | undefined): Promise<BatchOutcomes> {
    const [first] = rows;
    if (first !== undefined && rows.length === 1) {
      const outcome = await this.#runOne(first, epoch);
      return new Map(outcome ? [[0, outcome]] : []);
    }
    const items = JSON.stringify(rows.map((row, item) => ({ item, ...row })));
    const outcomes = await withDatabase(
      () => this.#sql<(Outcome & { item: number })[]>`
        select item, status, body, replayed
          from gsv_ledger.run_batch(${items}::text::json, ${this.#now()}, ${epoch ?? null})`,
    );
    return new Map(outcomes.map(({ item, ...outcome }) => [item, outcome]));
  }

  /** What `run_batch` says of one row, without what a batch needs. */
  async #runOne(row: BatchRow, epoch: number | undefined): Promise<Outcome | undefined> {
    const { operation, wallet = null, hold = null, amount = null, offering = null, project = null } = row;
    const { instance_uid = null, max_concurrent = null, ttl_seconds = null, key, hash } = row;
    const { result_ref = null, reason = null } = row;
    const context = row.context === undefined ? null : JSON.stringify(row.context);
    const lines = row.lines === undefined ? null : JSON.stringify(row.lines);
    const [answer] = await withDatabase(
      () => this.#sql<{ told: string | null }[]>`
        select gsv_ledger.run_one(${operation}, ${wallet}, ${hold}, ${amount}, ${offering}, ${project}, ${instance_uid},
          ${max_concurrent}, ${ttl_seconds}, ${key}, ${hash}, ${context}, ${lines}, ${result_ref}, ${reason},
          ${this.#now()}, ${epoch ?? null}) as told`,
    );
    return answer?.told ? (JSON.parse(answer.told) as Outcome) : undefined;
  }

  async #runAlone(
    operation: SqlOperation,
    target: string,
    body: object,
    hash: string,
    call: Call,
  ): Promise<OperationResult> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const rows = await withDatabase(
          () => this.#sql<Outcome[]>`
            select status, body, replayed from gsv_ledger.${this.#sql(operation)}(
              ${target}, ${JSON.stringify(body)}::text::jsonb, ${call.key}, ${hash}, ${this.#now()}, ${call.epoch ?? null})`,
        );
        const row = rows[0];
        // Every function answers a row. After a cut connection the driver may lose one; the outcome is then unknown.
        if (row === undefined) throw new DatabaseUnavailable(new Error(`gsv_ledger.${operation} answered nothing`));
        return { status: row.status, body: row.body, replayed: row.replayed };
      } catch (error) {
        if (attempt >= MAX_ATTEMPTS || !isLostRace(error)) throw error;
      }
    }
  }
}

/** Also where two wallets of one owner book under one key at once: only the first of them is in the journal. */
function isLostRace(error: unknown): boolean {
  const { code = '', constraint } = error as { code?: string; constraint?: string };
  return RETRIED_STATES.has(code) || (code === '23505' && constraint === 'journal_key');
}

async function lockedOf(sql: LedgerSql, rows: readonly BatchRow[]): Promise<(string | undefined)[]> {
  const names = JSON.stringify([...new Set(rows.map(({ wallet }) => wallet))]);
  const holds = JSON.stringify(rows.map(({ hold }) => hold));
  const locked = await withDatabase(
    () => sql<{ wallet: string; hold: string | null }[]>`
      select wallet, hold from gsv_ledger.locked_wallets(
        array(select json_array_elements_text(${names}::text::json)),
        array(select x::bigint from json_array_elements_text(${holds}::text::json) x where x is not null))`,
  );
  const walletOf = new Map(locked.map(({ wallet, hold }) => [hold === null ? wallet : `hold_${hold}`, wallet]));
  return rows.map(({ wallet, hold }) => walletOf.get(wallet ?? `hold_${hold}`));
}

/**
 * What a key stands for: sha256 over the canonical JSON (RFC 8785) of the target and of every field that
 * decides what happens. Computed here and not by the caller, so that it cannot differ between callers.
 */
export function payloadHash(target: string, body: object): string {
  const fields = Object.fromEntries(Object.entries(body).filter(([name]) => !NOT_HASHED.has(name)));
  return createHash('sha256')
    .update(canonicalize({ target, body: fields }) ?? '')
    .digest('hex');
}
