import { backoffMs } from './backoff.ts';
import type { LedgerError } from './ledger-error.ts';

/** How long somebody goes on asking. */
export interface RetryPolicy {
  /** Attempts per call, the first included. */
  attempts: number;
  /** Milliseconds from the first attempt within which another one may begin. */
  budgetMs: number;
}

const BACKOFF = { baseMs: 50, capMs: 1_000 };
/** Callers that were told to come back in so many seconds come in the quarter after them. */
const SPREAD = 0.25;

/** How often and how long a call was tried. */
export interface Tried {
  attempts: number;
  elapsedMs: number;
}

/**
 * Milliseconds to wait before the next attempt: what the ledger asks for, else a {@link backoffMs}. Undefined: it is over, because the answer will not
 * change, the attempts are used up or the wait goes beyond the budget.
 */
export function pauseMs(
  error: LedgerError,
  tried: Tried,
  policy: RetryPolicy,
  random: () => number = Math.random,
): number | undefined {
  if (!error.isTransient || tried.attempts >= policy.attempts) return undefined;
  const asked = error.retryAfterSeconds;
  const pause =
    asked === undefined ? backoffMs(tried.attempts, BACKOFF, random) : asked * 1000 * (1 + random() * SPREAD);
  return tried.elapsedMs + pause > policy.budgetMs ? undefined : pause;
}

/** Seconds of a `Retry-After` that is a number; a date is as good as none, for clocks differ. */
export function retryAfterSeconds(header: string | string[] | undefined): number | undefined {
  return typeof header === 'string' && /^\d{1,9}$/.test(header) ? Number(header) : undefined;
}
