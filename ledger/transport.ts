import { setTimeout as delay } from 'node:timers/promises';
import { errors, Pool } from 'undici';

/** Connections kept to the ledger; holds and captures are short, so a few carry thousands a second. */
const CONNECTIONS = 32;

/** One attempt may take this long; the ledger answers from one SQL call, so more means it is gone. */
const ATTEMPT_TIMEOUT_MS = 10_000;

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

/** One call of the API, as often as it is sent. */
export interface Call {
  method: 'GET' | 'PUT' | 'POST';
  path: string;
  key?: string;
  body?: unknown;
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

export interface Reply<T> {
  status: number;
  replayed: boolean;
  body: T;
}

/**
 * Carries calls to the ledger over a keep-alive pool. Lost connections and 503 are retried under the same key
 * with jittered backoff.
 */
export class Transport {
  readonly #options: LedgerClientOptions;
  readonly #pool: Pool;
  readonly #prefix: string;

  constructor(options: LedgerClientOptions) {
    const url = new URL(options.url);
    this.#options = options;
    this.#prefix = url.pathname.replace(/\/$/, '');
    this.#pool = new Pool(url.origin, { connections: CONNECTIONS, maxResponseSize: MAX_RESPONSE_BYTES });
  }

  /** Milliseconds that one attempt may take. */
  get timeoutMs(): number {
    return this.#options.timeoutMs ?? ATTEMPT_TIMEOUT_MS;
  }

  /** Ends idle connections and waits for running calls. */
  close(): Promise<void> {
    return this.#pool.close();
  }

  /** @throws LedgerError for anything but a 2xx */
  async call<T>(call: Call): Promise<Reply<T>> {
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
    const timeout = AbortSignal.timeout(call.timeoutMs ?? this.timeoutMs);
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
