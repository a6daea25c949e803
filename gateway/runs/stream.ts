import type { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { toProblem } from '../../config/http.ts';
import { problem } from '../errors.ts';
import { EventStream } from './event-stream.ts';
import {
  afterDeparture,
  afterFailure,
  type Departure,
  type Execution,
  lossProblem,
  watchDeparture,
} from './execution.ts';
import { runnerProblem } from './outcome.ts';
import { RunnerLost, type RunnerReply, readText } from './runner-client.ts';

/**
 * Carries a run out and relays the runner's events byte for byte. Until the runner has begun to
 * stream, failures are thrown and answered as problem+json; afterwards they are `error` events.
 * @throws Problem; the hold is then given back
 */
export async function runToStream(execution: Execution, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { runId, onDisconnect } = execution.ticket;
  const departure = watchDeparture(reply, onDisconnect);
  try {
    const begun = await begin(execution, departure);
    const stream = new EventStream(request, reply, runId);
    if (typeof begun === 'string') replay(stream, runId, begun);
    else await relay(execution, begun.body, stream, departure, request.id);
  } finally {
    departure.stop();
  }
}

/** The runner's stream; or its whole reply, when the run turned out to have succeeded already. */
async function begin(execution: Execution, departure: Departure): Promise<RunnerReply | string> {
  const { edge, ticket, body } = execution;
  try {
    const upstream = await edge.runner.start(ticket, body, 'text/event-stream', departure.signal);
    if (upstream.status === 200) return upstream;
    return await afterFailure(execution, runnerProblem(upstream.status, await readText(upstream.body)));
  } catch (error) {
    if (!(error instanceof RunnerLost)) throw error;
    if (departure.signal.aborted) return await afterDeparture(execution);
    return await afterFailure(execution, lossProblem(error));
  }
}

/** With a contract that drains, the runner's bytes are taken to their end even when nobody listens. */
async function relay(
  execution: Execution,
  body: Readable,
  stream: EventStream,
  departure: Departure,
  requestId: string,
): Promise<void> {
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) await stream.relay(chunk);
    stream.finish();
  } catch (error) {
    if (departure.signal.aborted) return await afterDeparture(execution).catch(() => {});
    const lost = lossProblem(new RunnerLost(true, error));
    const refusal = await afterFailure(execution, lost).then(
      // Charged, but parts of the answer were lost on the way.
      () => problem('stream_interrupted', { extra: { runId: execution.ticket.runId } }),
      (reason: unknown) => toProblem(reason),
    );
    stream.fail(refusal.toDocument(requestId));
  }
}

/** A run that another request carries out, as its events come. */
export async function relayAttached(
  body: Readable,
  runId: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const stream = new EventStream(request, reply, runId);
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) await stream.relay(chunk);
    stream.finish();
  } catch {
    stream.fail(problem('run_in_progress', { extra: { runId } }).toDocument(request.id));
  }
}

/** A finished run as the events that its stream would have had. */
function replay(stream: EventStream, runId: string, text: string): void {
  const { output, ...receipt } = JSON.parse(text) as Record<string, unknown>;
  stream.event('run', { runId });
  stream.event('delta', output);
  stream.event('receipt', receipt);
  stream.end();
}
