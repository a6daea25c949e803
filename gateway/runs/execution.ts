import type { FastifyReply } from 'fastify';
import type { Problem } from '../../config/problem.ts';
import { giveBack } from '../admission/credits.ts';
import type { Edge } from '../edge.ts';
import { problem } from '../errors.ts';
import type { RunTicket } from '../ticket.ts';
import { runnerProblem } from './outcome.ts';
import { RunnerLost, readText } from './runner-client.ts';

/** How long a result that is there already may take to be read. */
const READ_BACK_MS = 15_000;

/** What the runner answers when only the charge is missing. */
const SETTLEMENT_OPEN = 'settlement_unavailable';

/** A run that this request carries out. */
export interface Execution {
  edge: Edge;
  ticket: RunTicket & { hold: string };
  body: { input: string; session?: string };
}

/**
 * Carries a run out and returns the runner's JSON reply unchanged.
 * @throws Problem; the hold is then given back
 */
export async function runToJson(execution: Execution, reply: FastifyReply): Promise<string> {
  const { edge, ticket, body } = execution;
  const departure = watchDeparture(reply, ticket.onDisconnect);
  try {
    const upstream = await edge.runner.start(ticket, body, 'application/json', departure.signal);
    const text = await readText(upstream.body);
    if (upstream.status === 200) return text;
    return await afterFailure(execution, runnerProblem(upstream.status, text));
  } catch (error) {
    if (!(error instanceof RunnerLost)) throw error;
    if (departure.signal.aborted) return await afterDeparture(execution);
    return await afterFailure(execution, lossProblem(error));
  } finally {
    departure.stop();
  }
}

export function lossProblem(lost: RunnerLost): Problem {
  return problem(lost.reached ? 'runner_failed' : 'runner_unavailable', { cause: lost });
}

/**
 * Gives the hold of a failed run back. If the runner had captured it by then the run did succeed, and
 * its reply is read back.
 * @throws Problem `refusal`, or `result_expired` when the reply is gone
 */
export async function afterFailure(execution: Execution, refusal: Problem): Promise<string> {
  const { edge, ticket } = execution;
  // The run is done and its result kept; whoever asks next lets the runner try the charge again.
  if (refusal.code === SETTLEMENT_OPEN) throw refusal;
  const state = await release(execution, refusal.code);
  if (state !== 'captured') throw refusal;
  try {
    const result = await edge.runner.read({ ...ticket, purpose: 'read' }, READ_BACK_MS);
    if (result.status === 200) return result.text;
  } catch (error) {
    if (!(error instanceof RunnerLost)) throw error;
  }
  throw problem('result_expired', {
    detail: 'the run was carried out and charged, but its result cannot be read now; ask for the run again',
    extra: { runId: ticket.runId },
  });
}

/** The client has left and the contract says abort: the runner settles what was used, if it has the run. */
export async function afterDeparture(execution: Execution): Promise<never> {
  const { edge, ticket } = execution;
  const known = await edge.runner
    .cancel({ ...ticket, purpose: 'read' })
    .then((reply) => reply.status === 202 || reply.status === 200)
    .catch(() => false);
  if (!known) await release(execution, 'client_left');
  throw problem('run_failed', { detail: 'the client has left' });
}

async function release(execution: Execution, reason: string): Promise<string> {
  const { edge, ticket } = execution;
  try {
    return await giveBack(edge.ledger, ticket.hold, reason);
  } catch (error) {
    edge.metrics.heldToExpiry.inc();
    edge.log.error({ err: error, runId: ticket.runId, hold: ticket.hold }, 'a hold is left to its expiry');
    return 'unknown';
  }
}

export interface Departure {
  /** Aborted when the client has left and the contract says abort. */
  signal: AbortSignal;
  /** Whether the client has left, whatever the contract says. */
  gone: () => boolean;
  stop: () => void;
}

/** Watches for a client that closes its connection before the reply is complete. */
export function watchDeparture(reply: FastifyReply, onDisconnect: RunTicket['onDisconnect']): Departure {
  const abort = new AbortController();
  let gone = false;
  const listener = (): void => {
    if (reply.raw.writableFinished) return;
    gone = true;
    if (onDisconnect === 'Abort') abort.abort();
  };
  // It may have left while the credits were being reserved.
  if (reply.raw.destroyed) listener();
  else reply.raw.once('close', listener);
  return { signal: abort.signal, gone: () => gone, stop: () => void reply.raw.off('close', listener) };
}
