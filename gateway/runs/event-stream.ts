import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** A client that takes nothing for this long holds a runner's stream open for nobody. */
const STALLED_MS = 60_000;

/** Two line ends close whatever event the runner was in the middle of. */
const FRESH_EVENT = '\n\n';

/** Server-sent events to the client, once the reply has left Fastify's hands. */
export class EventStream {
  readonly #raw: ServerResponse;

  /** Sends the head; from here on problems travel as `error` events. */
  constructor(request: FastifyRequest, reply: FastifyReply, runId: string) {
    void reply.hijack();
    this.#raw = reply.raw;
    this.#raw.on('error', () => {});
    this.#raw.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-request-id': request.id,
      'gsv-run-id': runId,
    });
    this.#raw.flushHeaders();
  }

  get open(): boolean {
    return !this.#raw.destroyed && !this.#raw.writableEnded;
  }

  /** Passes bytes on and resolves when the client can take more; one that takes nothing is cut off. */
  async relay(bytes: Uint8Array): Promise<void> {
    if (!this.open || this.#raw.write(bytes)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const stalled = setTimeout(() => this.#raw.destroy(), STALLED_MS);
    this.#raw.once('drain', resolve);
    this.#raw.once('close', resolve);
    await promise;
    clearTimeout(stalled);
    this.#raw.off('drain', resolve);
    this.#raw.off('close', resolve);
  }

  event(name: string, data: unknown): void {
    if (this.open) this.#raw.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  /** Ends the stream with a problem, wherever it was. */
  fail(document: Record<string, unknown>): void {
    if (!this.open) return;
    this.#raw.write(FRESH_EVENT);
    this.event('error', document);
    this.end();
  }

  /** The last event, and the end. */
  end(): void {
    this.event('end', {});
    this.finish();
  }

  finish(): void {
    if (this.open) this.#raw.end();
  }
}
