import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Run } from './run.ts';

/** interfaces.md: `: ping` keeps proxies from closing a silent stream. */
export const PING_MS = 15_000;

/** A client that takes nothing for this long is gone. */
const STALLED_MS = 60_000;

/**
 * Resolves when the stream can begin. Most failures (no runtime, no secret, too large an input) come
 * before the runtime begins to execute and are answered with their own status; after one ping's time
 * of silence the stream begins anyway.
 */
export async function streamable(run: Run): Promise<void> {
  const silence = Promise.withResolvers<void>();
  const timer = setTimeout(silence.resolve, PING_MS);
  await Promise.race([run.begun, silence.promise]);
  clearTimeout(timer);
  if (!run.ended) return;
  const outcome = await run.outcome;
  if (!outcome.ok) throw outcome.problem;
}

/**
 * Sends a run as server-sent events: `run`, then `delta` and `tool` as they come, then `receipt` or
 * `error` (a problem document), then `end`. A slow reader gets larger deltas, not a longer queue.
 */
export async function streamRun(run: Run, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  void reply.hijack();
  const response = reply.raw;
  response.on('error', () => {});
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-request-id': request.id,
  });
  const ping = setInterval(() => write(response, ': ping\n\n'), PING_MS);
  try {
    await send(response, 'run', { runId: run.id });
    for await (const { type, ...data } of run.events()) {
      if (!isOpen(response)) return;
      await send(response, type, data);
    }
    const outcome = await run.outcome;
    if (outcome.ok) {
      const { receipt, usage, balanceMicrocredits } = outcome.reply;
      await send(response, 'receipt', { receipt, usage, balanceMicrocredits });
    } else {
      await send(response, 'error', outcome.problem.toDocument(request.id));
    }
    await send(response, 'end', {});
    response.end();
  } finally {
    clearInterval(ping);
  }
}

async function send(response: ServerResponse, event: string, data: unknown): Promise<void> {
  // JSON has no raw line ends, so one data line always carries the whole.
  if (write(response, `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)) return;
  const waited = new AbortController();
  const signal = AbortSignal.any([waited.signal, AbortSignal.timeout(STALLED_MS)]);
  try {
    await Promise.race([once(response, 'drain', { signal }), once(response, 'close', { signal })]);
  } catch {
    response.destroy();
  } finally {
    // Takes the other listener away: a slow stream waits thousands of times.
    waited.abort();
  }
}

/** False when the reader must catch up first. */
function write(response: ServerResponse, text: string): boolean {
  return !isOpen(response) || response.write(text);
}

function isOpen(response: ServerResponse): boolean {
  return !response.destroyed && !response.writableEnded;
}
