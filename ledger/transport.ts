import { setTimeout as delay } from 'node:timers/promises';
import { errors, Pool } from 'undici';
import { LedgerError } from './ledger-error.ts';
import { pauseMs, type RetryPolicy, retryAfterSeconds } from './retry.ts';

/** Connections kept to the ledger; holds and captures are short, so a few carry thousands a second. */
const CONNECTIONS = 32;

/** One attempt may take this long; the ledger answers from one SQL call, so more means it is gone. */
const ATTEMPT_TIMEOUT_MS = 10_000;

/** First try plus retries. */
const ATTEMPTS = 5;
/** Who waits for the caller gives up soon after; a restart of the ledger or a failover is shorter. */
const BUDGET_MS = 15_000;

/** No list or receipt comes near it; it bounds what a wrong URL can make us buffer. */
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;

/** What the ledger takes as a key. */
const KEY_PATTERN = /^[\x20-\x7e]{1,255}$/;

/** What may differ from call to call. */
export interface CallOptions {
  /** Milliseconds for one attempt; absent: 10 000. */
  timeoutMs?: number | undefined;
  /** Attempts per call, the first included; absent: 5. 1 = never retry. */
  attempts?: number | undefined;
  /** Milliseconds from the first attempt within which another one may begin; absent: 15 000. */
  budgetMs?: number | undefined;
  /** Ends the call, whether it waits for an answer or for its next attempt, with the signal's reason. */
  signal?: AbortSignal | undefined;
}

export interface LedgerClientOptions extends Omit<CallOptions, 'signal'> {
  /** Base URL of the ledger. */
  url: string;
  /** Asked before every attempt, so that a rotated token is used at once. */
  token: () => string;
  /** The caller's fencing epoch; sent as `Gsv-Fencing-Epoch`. */
  epoch?: (() => number | undefined) | undefined;
}

/** One call of the API, as often as it is sent. */
export interface Call extends CallOptions {
  method: 'GET' | 'PUT' | 'POST';
  path: string;
  key?: string;
  body?: unknown;
}

export interface Reply<T> {
  status: number;
  replayed: boolean;
  body: T;
}

/**
 * Carries calls to the ledger over a keep-alive pool. Lost connections, 503 and a proxy's 502 and 504 are retried
 * under the same key with the same bytes, after what the ledger asks for or jittered backoff, within a budget.
 */
export class Transport {
  readonly #options: LedgerClientOptions & CallOptions;
  readonly #pool: Pool;
  readonly #prefix: string;

  /** @param pool of another transport, to share its connections */
  constructor(options: LedgerClientOptions & CallOptions, pool?: Pool) {
    const url = new URL(options.url);
    this.#options = options;
    this.#prefix = url.pathname.replace(/\/$/, '');
    this.#pool = pool ?? new Pool(url.origin, { connections: CONNECTIONS, maxResponseSize: MAX_RESPONSE_BYTES });
  }

  /** The same connections, with other defaults. */
  with(options: CallOptions): Transport {
    return new Transport({ ...this.#options, ...options }, this.#pool);
  }

  /** Milliseconds that one attempt may take. */
  get timeoutMs(): number {
    return this.#options.timeoutMs ?? ATTEMPT_TIMEOUT_MS;
  }

  get policy(): RetryPolicy {
    return { attempts: this.#options.attempts ?? ATTEMPTS, budgetMs: this.#options.budgetMs ?? BUDGET_MS };
  }

  /** Ends idle connections and waits for running calls. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  /** @throws LedgerError for anything but a 2xx; TypeError for a key that no ledger takes */
  async call<T>(call: Call): Promise<Reply<T>> {
    if (call.key !== undefined && !KEY_PATTERN.test(call.key)) {
      throw new TypeError('an Idempotency-Key is 1 to 255 printable ASCII characters');
    }
    // Once: whoever changes the object meanwhile must not make another call of it under the same key.
    const body = call.body === undefined ? null : JSON.stringify(call.body);
    const signal = call.signal ?? this.#options.signal;
    const started = performance.now();
    for (let attempts = 1; ; attempts += 1) {
      try {
        return await this.#attempt<T>(call, body, signal);
      } catch (error) {
        if (!(error instanceof LedgerError)) throw error;
        await this.pause(error, { attempts, elapsedMs: performance.now() - started }, signal);
      }
    }
  }

  /** Waits before the next attempt, or throws the error when there is to be none. */
  async pause(error: LedgerError, tried: { attempts: number; elapsedMs: number }, signal = this.#options.signal) {
    const pause = pauseMs(error, tried, this.policy);
    if (pause === undefined) throw error;
    await delay(pause, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
  }

  async #attempt<T>(call: Call, body: string | null, signal: AbortSignal | undefined): Promise<Reply<T>> {
    signal?.throwIfAborted();
    const timeout = AbortSignal.timeout(call.timeoutMs ?? this.timeoutMs);
    try {
      const response = await this.#pool.request({
        method: call.method,
        path: this.#prefix + call.path,
        headers: this.#headers(call),
        body,
        // The signal bounds the attempt as a whole; undici's own timers would cut the long poll.
        headersTimeout: 0,
        bodyTimeout: 0,
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      const { statusCode: status, headers } = response;
      const document = parse(await response.body.text());
      if (status < 200 || status > 299 || !document) throw toError(status, document ?? {}, headers['retry-after']);
      return { status, replayed: headers['idempotency-replayed'] === 'true', body: document as T };
    } catch (error) {
      if (error instanceof LedgerError || error instanceof errors.InvalidArgumentError) throw error;
      signal?.throwIfAborted();
      throw new LedgerError(0, 'ledger_unavailable', 'the ledger does not answer', {}, { cause: error });
    }
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

function toError(
  status: number,
  body: Record<string, unknown>,
  retryAfter: string | string[] | undefined,
): LedgerError {
  const code = typeof body.code === 'string' ? body.code : 'unexpected_reply';
  const detail = typeof body.detail === 'string' ? body.detail : `the ledger answered ${status}`;
  return new LedgerError(status, code, detail, body, { retryAfterSeconds: retryAfterSeconds(retryAfter) });
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
