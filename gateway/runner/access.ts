import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { type RunTicket, type TicketBooth, TicketError } from '../ticket.ts';
import { runnerProblem } from './problems.ts';

/** Run ids become part of blob keys and log lines. */
const RUN_ID = /^[\w-]{1,64}$/;
const UID = /^[\w-]{1,64}$/;

export interface Admitted {
  ticket: RunTicket;
  /** As it came, for the scrubber. */
  token: string;
}

/**
 * The ticket of a request, made for this purpose.
 *
 * @throws Problem `ticket_invalid`, `ticket_expired`, `ticket_mismatch`
 */
export async function admit(
  request: FastifyRequest,
  booth: TicketBooth,
  purpose: RunTicket['purpose'],
): Promise<Admitted> {
  const token = bearer(request);
  if (token === undefined) throw runnerProblem('ticket_invalid', 'a run ticket is required as bearer token');
  let ticket: RunTicket;
  try {
    ticket = await booth.check(token);
  } catch (error) {
    if (error instanceof TicketError) throw runnerProblem(error.code, error.message, { cause: error });
    throw error;
  }
  if (ticket.purpose !== purpose) throw runnerProblem('ticket_mismatch', `the ticket is not for ${purpose}`);
  if (!RUN_ID.test(ticket.runId) || !UID.test(ticket.instance?.uid ?? ''))
    throw runnerProblem('ticket_invalid', 'the ticket names no run or no Instance');
  return { ticket, token };
}

/** @throws Problem `probe_unauthenticated` */
export function admitProbe(request: FastifyRequest, key: string): void {
  const presented = bearer(request) ?? '';
  if (key === '' || !timingSafeEqual(digest(presented), digest(key)))
    throw runnerProblem('probe_unauthenticated', 'the probe key is required as bearer token');
}

/** Equal lengths, so that the comparison can be made in constant time. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function bearer(request: FastifyRequest): string | undefined {
  return /^Bearer ([\w.~+/=-]+)$/i.exec(request.headers.authorization ?? '')?.[1];
}
