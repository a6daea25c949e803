import type { Logger } from '../../config/log.ts';
import { type LedgerClient, LedgerError } from '../../ledger/client.ts';
import { runnerProblem } from './problems.ts';
import type { Run } from './run.ts';

/** A run still going after this long gets its hold extended; most are over by then and cost no call. */
const EXTEND_AFTER_MS = 10_000;
const RETRY_MS = 2_000;

export interface HoldGuard {
  ledger: LedgerClient;
  hold: string;
  run: Run;
  /** Milliseconds that the run may take in all. */
  runMs: number;
  /** Milliseconds that settlement may take after it. */
  settleMs: number;
  log: Logger;
}

/**
 * Sees to it that the hold outlives the run and its settlement: extends it once, in the first half of
 * the run time, whatever lifetime the edge gave it. A run whose hold has ended is aborted, because
 * nothing it does could be charged. Returns a function that ends the watch.
 */
export function guardHold(guard: HoldGuard): () => void {
  const startedAt = performance.now();
  let timer: NodeJS.Timeout;
  const extend = async (): Promise<void> => {
    const { ledger, hold, run, runMs, settleMs, log } = guard;
    const left = runMs - (performance.now() - startedAt) + settleMs;
    try {
      await ledger.extendHold(hold, { ttlSeconds: Math.max(1, Math.ceil(left / 1000)) }, `extend:${run.id}`);
    } catch (error) {
      if (error instanceof LedgerError && error.code.startsWith('already_')) {
        run.abort(runnerProblem('hold_not_open', 'the hold ended while the run was going on', { cause: error }));
        return;
      }
      log.warn({ err: error, hold }, 'the hold could not be extended yet');
      if (!run.ended) schedule(RETRY_MS);
    }
  };
  const schedule = (ms: number): void => {
    timer = setTimeout(() => void extend(), ms);
    timer.unref();
  };
  schedule(Math.min(EXTEND_AFTER_MS, guard.runMs / 2));
  return () => clearTimeout(timer);
}
