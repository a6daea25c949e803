import { setTimeout as delay } from 'node:timers/promises';
import type { Hold } from '../../ledger/client.ts';
import { ledgerTrouble } from '../admission/credits.ts';
import type { Edge } from '../edge.ts';
import { problem } from '../errors.ts';
import type { RunTicket } from '../ticket.ts';
import { lossProblem } from './execution.ts';
import { runnerProblem } from './outcome.ts';
import { RunnerLost, type RunnerReply, readText } from './runner-client.ts';

/** The request that carries the run out may have its hold but not have reached the runner yet. */
const START_TRIES = 10;
const START_PAUSE_MS = 150;

/** Longer than the longest run and its settlement: whoever attaches may wait for the end. */
const WAIT_MS = 3_700_000;

/**
 * The reply of a run that another request carries out or has carried out: JSON once it has ended, or
 * its events from the first on.
 * @throws Problem `result_expired`, `run_failed`, `run_in_progress`, or what the run failed with
 */
export async function attach(edge: Edge, ticket: RunTicket, accept: string, signal: AbortSignal): Promise<RunnerReply> {
  for (let attempt = 1; ; attempt++) {
    const reply = await follow(edge, ticket, accept, signal);
    if (reply.status === 200) return reply;
    const text = await readText(reply.body).catch((error: unknown) => {
      throw error instanceof RunnerLost ? lossProblem(error) : error;
    });
    if (reply.status !== 404) throw runnerProblem(reply.status, text);
    const hold = await edge.ledger.run(ticket.runId).catch((error: unknown) => {
      throw ledgerTrouble(error);
    });
    refuseEnded(hold);
    if (attempt >= START_TRIES)
      throw problem('run_in_progress', { retryAfterSeconds: 2, extra: { runId: ticket.runId } });
    await delay(START_PAUSE_MS, undefined, { signal });
  }
}

/** The runner does not have it, so nothing more will come of a run that has ended. */
function refuseEnded(hold: Hold): void {
  if (hold.state === 'captured')
    throw problem('result_expired', { extra: hold.receipt === undefined ? {} : { receipt: hold.receipt } });
  if (hold.state !== 'open') throw problem('run_failed', { extra: { reason: hold.reason ?? hold.state } });
}

async function follow(edge: Edge, ticket: RunTicket, accept: string, signal: AbortSignal): Promise<RunnerReply> {
  try {
    return await edge.runner.follow(ticket, accept, WAIT_MS, signal);
  } catch (error) {
    throw error instanceof RunnerLost ? lossProblem(error) : error;
  }
}
