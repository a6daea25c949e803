import { setTimeout as delay } from 'node:timers/promises';
import { request } from 'undici';
import type { KubernetesConnection } from './kubernetes-connection.ts';
import { ApiError } from './kubernetes-errors.ts';

/** One attempt of a call. The API server itself gives up after 60 s. Milliseconds. */
const CALL_TIMEOUT_MS = 30_000;
/** The first attempt counts. */
const CALL_ATTEMPTS = 4;
/** First pause before another attempt; it doubles, and half of it is random. Milliseconds. */
const RETRY_MS = 200;
/** A server that asks for a longer pause than this is treated as not available. Milliseconds. */
const RETRY_AFTER_MAX_MS = 10_000;
/** A watch is answered at once or not at all. Milliseconds. */
const WATCH_START_TIMEOUT_MS = 30_000;
/** etcd keeps objects of 1.5 MiB; twice that for an update, and much more for what escapes. Bytes. */
const WATCH_LINE_MAX_BYTES = 16 * 1024 * 1024;

const NEWLINE = 0x0a;

export interface Call {
  query?: Record<string, string | number | boolean | undefined>;
  body?: unknown;
  contentType?: string;
  timeoutMs?: number;
  /**
   * When another attempt is harmless. `always`: the call may take effect twice (reads, forced
   * apply). `refused`: only when the server said that it did nothing, or was never reached.
   */
  repeat: 'always' | 'refused';
  /** Called right before each attempt; what it throws ends the call. */
  admit?: (() => void) | undefined;
}

/** One line of a watch. */
export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: unknown;
}

/** Speaks HTTP with an API server: bounded in time, repeated where that is harmless. */
export class KubernetesApi {
  readonly #connection: KubernetesConnection;
  readonly #random: () => number;
  readonly #closing = new AbortController();

  constructor(connection: KubernetesConnection, random: () => number = Math.random) {
    this.#connection = connection;
    this.#random = random;
  }

  get closed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** @returns the parsed JSON answer @throws ApiError, and what `admit` throws */
  async call(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, options: Call): Promise<unknown> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#once(method, path, options);
      } catch (error) {
        if (error instanceof NotAdmitted) throw error.cause;
        const problem = ApiError.of(error);
        const pause = this.#pause(attempt, problem);
        if (this.closed || attempt >= CALL_ATTEMPTS || pause === undefined || !harmless(problem, options.repeat)) {
          throw problem;
        }
        await delay(pause, undefined, { signal: this.#closing.signal }).catch(() => undefined);
      }
    }
  }

  /**
   * Yields the events of a watch until the server ends it.
   * @param silenceMs ends it, too, when nothing at all has come for so long
   * @param end and so does this
   * @throws ApiError
   */
  async *watch(path: string, query: Call['query'], silenceMs: number, end?: AbortSignal): AsyncGenerator<WatchEvent> {
    const silence = new AbortController();
    const fallSilent = (): void => silence.abort(new ApiError(0, 'Silent', `nothing was heard for ${silenceMs} ms`));
    let timer = setTimeout(fallSilent, Math.min(silenceMs, WATCH_START_TIMEOUT_MS));
    try {
      const signal = AbortSignal.any([silence.signal, this.#closing.signal, ...(end ? [end] : [])]);
      const { headers, watches } = await this.#connection.open();
      const url = this.#connection.url(path, { ...query, watch: true });
      const response = await request(url, { headers, dispatcher: watches, signal, headersTimeout: 0, bodyTimeout: 0 });
      if (response.statusCode !== 200) {
        throw ApiError.answer(response.statusCode, await response.body.text(), response.headers);
      }
      const lines = new Lines();
      for await (const chunk of response.body) {
        clearTimeout(timer);
        timer = setTimeout(fallSilent, silenceMs);
        for (const line of lines.push(chunk as Buffer)) yield parseEvent(line);
      }
    } catch (error) {
      throw ApiError.of(silence.signal.aborted ? silence.signal.reason : error);
    } finally {
      clearTimeout(timer);
      // Ends the connection when the reader has left the loop.
      silence.abort();
    }
  }

  /** Ends all calls and watches. */
  async close(): Promise<void> {
    this.#closing.abort(new ApiError(0, 'Closed', 'the store is closed'));
    await this.#connection.close();
  }

  async #once(method: string, path: string, options: Call): Promise<unknown> {
    const { query, body, contentType = 'application/json', timeoutMs = CALL_TIMEOUT_MS } = options;
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#closing.signal]);
    signal.throwIfAborted();
    const { headers, calls } = await this.#connection.open();
    admitted(options);
    const response = await request(this.#connection.url(path, query ?? {}), {
      method: method as 'GET',
      headers: body === undefined ? headers : { ...headers, 'content-type': contentType },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      dispatcher: calls,
      signal,
    });
    const text = await response.body.text();
    if (response.statusCode >= 400) throw ApiError.answer(response.statusCode, text, response.headers);
    return parseJson(text);
  }

  /** Milliseconds to wait; undefined = longer than anybody should wait. */
  #pause(attempt: number, { retryAfterMs }: ApiError): number | undefined {
    if (retryAfterMs !== undefined && retryAfterMs > RETRY_AFTER_MAX_MS) return undefined;
    const backoff = RETRY_MS * 2 ** (attempt - 1);
    return (retryAfterMs ?? 0) + backoff * (0.5 + this.#random() / 2);
  }
}

/** Carries what `admit` threw past the retries. */
class NotAdmitted extends Error {}

function admitted({ admit }: Call): void {
  try {
    admit?.();
  } catch (cause) {
    throw new NotAdmitted('the caller takes the call back', { cause });
  }
}

function harmless(error: ApiError, repeat: Call['repeat']): boolean {
  if (error.refused) return true;
  return repeat === 'always' && error.transient;
}

function parseEvent(line: Buffer): WatchEvent {
  const event = parseJson(line.toString()) as WatchEvent;
  if (typeof event?.type !== 'string' || typeof event.object !== 'object' || event.object === null) {
    throw new ApiError(0, 'Malformed', 'an event of the watch has no type or no object');
  }
  return event;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ApiError(0, 'Malformed', 'the answer is no JSON', { cause });
  }
}

/** Cuts a stream of bytes at its newlines. */
class Lines {
  #parts: Buffer[] = [];
  #bytes = 0;

  push(chunk: Buffer): Buffer[] {
    const lines: Buffer[] = [];
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, from)) {
      const line = Buffer.concat([...this.#parts, chunk.subarray(from, at)]);
      this.#parts = [];
      this.#bytes = 0;
      if (line.length > 0) lines.push(line);
      from = at + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
    return lines;
  }

  #keep(rest: Buffer): void {
    this.#parts.push(rest);
    this.#bytes += rest.length;
    if (this.#bytes > WATCH_LINE_MAX_BYTES) throw new ApiError(0, 'Malformed', 'an event of the watch is too large');
  }
}
