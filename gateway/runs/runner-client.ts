import type { Readable } from 'node:stream';
import { Pool } from 'undici';
import type { RunTicket, TicketBooth } from '../ticket.ts';

/** Runs are long; each holds a connection. The edge's own limit on runs comes first. */
const CONNECTIONS = 2_048;

/** Between two pieces of a stream; the runner sends a ping every 15 s. */
const SILENCE_MS = 60_000;

/** Beyond the run's own time: the runner still drains and settles. */
const SETTLE_MS = 60_000;

const SHORT_CALL_MS = 15_000;
const SECRET_CALL_SECONDS = 60;

/** A JSON reply with an answer of an agent in it; larger ones are a fault. */
const MAX_REPLY_BYTES = 16 * 1024 * 1024;

export interface RunnerReply {
  status: number;
  contentType: string;
  body: Readable;
}

export interface RunnerText {
  status: number;
  text: string;
}

/** The runner did not answer, or its answer broke off. */
export class RunnerLost extends Error {
  /** False when the request cannot have reached it. */
  readonly reached: boolean;
  constructor(reached: boolean, cause: unknown) {
    super(reached ? 'the runner broke off' : 'the runner cannot be reached', { cause });
    this.name = 'RunnerLost';
    this.reached = reached;
  }
}

/** What the edge asks of the runner; every call carries a ticket and no other credential. */
export class RunnerClient {
  readonly #pool: Pool;
  readonly #prefix: string;
  readonly #booth: TicketBooth;

  constructor(url: string, booth: TicketBooth) {
    const base = new URL(url);
    this.#prefix = base.pathname.replace(/\/$/, '');
    this.#pool = new Pool(base.origin, { connections: CONNECTIONS, pipelining: 1 });
    this.#booth = booth;
  }

  /** Starts a run; the body is for the caller to read or destroy. @throws RunnerLost */
  async start(
    ticket: RunTicket,
    body: { input: string; session?: string },
    accept: string,
    signal: AbortSignal,
  ): Promise<RunnerReply> {
    const runMs = (ticket.limits?.runSeconds ?? 0) * 1000 + SETTLE_MS;
    return this.#send({ method: 'POST', path: '/internal/runs', ticket, body, accept, waitMs: runMs, signal });
  }

  /** A run's reply, as JSON once it has ended or as a stream from its first event on. @throws RunnerLost */
  async follow(ticket: RunTicket, accept: string, waitMs: number, signal?: AbortSignal): Promise<RunnerReply> {
    const path = `/internal/runs/${encodeURIComponent(ticket.runId)}`;
    return this.#send({ method: 'GET', path, ticket, accept, waitMs, signal });
  }

  /** A run's JSON reply; waits while it runs. @throws RunnerLost */
  async read(ticket: RunTicket, waitMs: number): Promise<RunnerText> {
    const reply = await this.follow(ticket, 'application/json', waitMs);
    return { status: reply.status, text: await readText(reply.body) };
  }

  /** Asks to stop a run: 202, or 404 when the runner does not have it. @throws RunnerLost */
  async cancel(ticket: RunTicket): Promise<RunnerText> {
    const path = `/internal/runs/${encodeURIComponent(ticket.runId)}`;
    return this.#text({ method: 'DELETE', path, ticket, accept: 'application/json', waitMs: SHORT_CALL_MS });
  }

  /** Sets one buyer secret. @throws RunnerLost */
  async writeSecret(ticket: RunTicket, body: { value: string; version?: number }): Promise<RunnerText> {
    const { organization, name } = ticket.instance;
    const path = `/internal/secrets/${[organization, name, ticket.secret ?? ''].map(encodeURIComponent).join('/')}`;
    return this.#text({ method: 'PUT', path, ticket, body, accept: 'application/json', waitMs: SHORT_CALL_MS });
  }

  /** Ends all connections; calls still under way fail. */
  close(): Promise<void> {
    return this.#pool.destroy();
  }

  async #text(call: Call): Promise<RunnerText> {
    const reply = await this.#send(call);
    return { status: reply.status, text: await readText(reply.body) };
  }

  async #send(call: Call): Promise<RunnerReply> {
    const ttlSeconds = Math.ceil(call.waitMs / 1000) + SECRET_CALL_SECONDS;
    const token = await this.#booth.sign(call.ticket, ttlSeconds);
    try {
      const reply = await this.#pool.request({
        method: call.method,
        path: this.#prefix + call.path,
        headers: {
          authorization: `Bearer ${token}`,
          accept: call.accept,
          ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(call.ticket.traceparent === undefined ? {} : { traceparent: call.ticket.traceparent }),
        },
        body: call.body === undefined ? null : JSON.stringify(call.body),
        headersTimeout: call.waitMs,
        bodyTimeout: SILENCE_MS,
        ...(call.signal ? { signal: call.signal } : {}),
      });
      const type = reply.headers['content-type'];
      return { status: reply.statusCode, contentType: typeof type === 'string' ? type : '', body: reply.body };
    } catch (error) {
      throw new RunnerLost(!neverSent(error), error);
    }
  }
}

interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  ticket: RunTicket;
  body?: unknown;
  accept: string;
  waitMs: number;
  signal?: AbortSignal | undefined;
}

/** Reads a whole JSON reply. @throws RunnerLost when it breaks off or is too large */
export async function readText(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_REPLY_BYTES) throw new RangeError('the runner answers with too much');
      chunks.push(chunk);
    }
  } catch (error) {
    throw new RunnerLost(true, error);
  }
  return Buffer.concat(chunks).toString();
}

const NEVER_SENT = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'UND_ERR_CONNECT_TIMEOUT']);

function neverSent(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && NEVER_SENT.has(code);
}
