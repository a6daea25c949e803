import { Agent, request } from 'undici';
import type { Secret } from '../config/settings.ts';
import type { UsageEvent } from './outbox-events.ts';

/** OpenMeter answers an ingestion once Kafka has it: milliseconds. */
const TIMEOUT_MS = 10_000;

/** Sending is one after the other, a report too. */
const CONNECTIONS = 2;

/** Of what an error says: enough to know which field is wrong. */
const MAX_REASON = 300;

/** A page of events; its own maximum. */
const PAGE = 100;

/** A wrong URL must not make us buffer anything; a page of 100 events has some 100 KiB. */
const MAX_RESPONSE_BYTES = 8 * 1024 * 1024;

/** What went wrong, as the metric `gsv_ledger_outbox_failed_total` counts it. */
export type OpenMeterFailure = 'unreachable' | 'unauthorized' | 'throttled' | 'unavailable' | 'unexpected';

/** OpenMeter did not do it, and not because of an event: trying again later may help. */
export class OpenMeterError extends Error {
  readonly failure: OpenMeterFailure;
  /** What `Retry-After` asked for; undefined without one. */
  readonly retryAfterMs: number | undefined;
  constructor(failure: OpenMeterFailure, message: string, retryAfterMs?: number, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OpenMeterError';
    this.failure = failure;
    this.retryAfterMs = retryAfterMs;
  }
}

/** OpenMeter refuses the request for what is in it (400, 413, 422). */
export class EventsRefused extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.name = 'EventsRefused';
    this.status = status;
  }
}

/** An event as OpenMeter has it. `validationError`: it was taken, and no meter can count it. */
export interface IngestedEvent {
  event: Pick<UsageEvent, 'id' | 'subject' | 'time'> & { data?: Record<string, unknown> | null };
  validationError?: string;
}

export interface OpenMeterOptions {
  /** Base URL, without `/api/v1`. */
  url: string;
  /** Bearer token of the hosted one; asked for at every request, so that a rotated one is used. */
  token?: Secret | undefined;
}

/**
 * The three calls of OpenMeter that the ledger makes. Redirects are not followed: a token goes to the host that was
 * named and to no other.
 */
export class OpenMeter {
  readonly #options: OpenMeterOptions;
  readonly #agent = new Agent({ connections: CONNECTIONS, maxResponseSize: MAX_RESPONSE_BYTES });

  constructor(options: OpenMeterOptions) {
    this.#options = options;
  }

  close(): Promise<void> {
    return this.#agent.close();
  }

  /**
   * Sends events, all or none. Repeating it is safe: OpenMeter knows an event by source and id, for 32 days.
   *
   * @throws EventsRefused · OpenMeterError
   */
  async ingest(events: readonly UsageEvent[], signal?: AbortSignal): Promise<void> {
    await this.#call('POST', '/api/v1/events', { body: JSON.stringify(events), signal });
  }

  /** Events of a source in a period (`to` not included), all pages. @throws OpenMeterError */
  async *events(query: {
    source: string;
    subject?: string | undefined;
    from?: string | undefined;
    to?: string | undefined;
  }): AsyncGenerator<IngestedEvent> {
    const { source, subject, from, to } = query;
    const bounds = [...(from ? [{ $gte: from }] : []), ...(to ? [{ $lt: to }] : [])];
    const filter = {
      source: { $eq: source },
      ...(subject === undefined ? {} : { subject: { $eq: subject } }),
      ...(bounds.length === 0 ? {} : { time: { $and: bounds } }),
    };
    for (let cursor = ''; ; ) {
      const search = new URLSearchParams({ limit: String(PAGE), filter: JSON.stringify(filter) });
      if (cursor) search.set('cursor', cursor);
      const page = await this.#json<{ items: IngestedEvent[]; nextCursor?: string }>(`/api/v2/events?${search}`);
      yield* page.items;
      // The cursor is that of the last item, so only an empty page is certainly the end.
      if (page.items.length === 0 || !page.nextCursor || page.nextCursor === cursor) return;
      cursor = page.nextCursor;
    }
  }

  /** What a meter counts in a period for one subject or all. @throws OpenMeterError */
  async query(
    meter: string,
    query: { subject?: string | undefined; from?: string | undefined; to?: string | undefined },
  ): Promise<number> {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) search.set(name, value);
    const path = `/api/v1/meters/${encodeURIComponent(meter)}/query?${search}`;
    const { data } = await this.#json<{ data: { value: number }[] }>(path);
    return data.reduce((sum, { value }) => sum + value, 0);
  }

  async #json<T>(path: string): Promise<T> {
    try {
      return JSON.parse(await this.#call('GET', path, {})) as T;
    } catch (error) {
      if (error instanceof SyntaxError) throw new OpenMeterError('unexpected', 'OpenMeter did not answer JSON');
      if (!(error instanceof EventsRefused)) throw error;
      throw new OpenMeterError('unexpected', `OpenMeter answered ${error.status}: ${error.message}`);
    }
  }

  async #call(method: 'GET' | 'POST', path: string, sent: { body?: string; signal?: AbortSignal | undefined }) {
    const token = this.#options.token?.reveal();
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    let status: number;
    let text: string;
    let retryAfter: string | undefined;
    try {
      const response = await request(this.#options.url + path, {
        method,
        dispatcher: this.#agent,
        headers: {
          accept: 'application/json',
          ...(sent.body === undefined ? {} : { 'content-type': 'application/cloudevents-batch+json' }),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
        body: sent.body ?? null,
        signal: sent.signal ? AbortSignal.any([sent.signal, timeout]) : timeout,
      });
      status = response.statusCode;
      retryAfter = [response.headers['retry-after'] ?? []].flat()[0];
      text = await response.body.text();
    } catch (cause) {
      throw new OpenMeterError('unreachable', 'OpenMeter does not answer', undefined, { cause });
    }
    if (status >= 200 && status < 300) return text;
    throw failureOf(status, reasonOf(text, token), retryAfterMs(retryAfter));
  }
}

function failureOf(status: number, reason: string, retryAfter: number | undefined): Error {
  if (status === 400 || status === 413 || status === 422) return new EventsRefused(status, reason);
  const message = `OpenMeter answered ${status}${reason === '' ? '' : `: ${reason}`}`;
  if (status === 401 || status === 403) return new OpenMeterError('unauthorized', message, retryAfter);
  if (status === 408 || status === 429) return new OpenMeterError('throttled', message, retryAfter);
  if (status >= 500) return new OpenMeterError('unavailable', message, retryAfter);
  return new OpenMeterError('unexpected', message, retryAfter);
}

/** The beginning of what it said, on one line, and never our token, should it be repeated there. */
function reasonOf(text: string, token: string | undefined): string {
  const shown = token ? text.replaceAll(token, '[secret]') : text;
  return shown.replace(/\s+/g, ' ').trim().slice(0, MAX_REASON);
}

/** `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3). */
function retryAfterMs(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
