import type { Logger } from '../config/log.ts';
import type { LedgerOperations } from './operations.ts';

export interface Sweeper {
  /** Stops the interval and waits for the sweep that is under way. */
  stop(): Promise<void>;
}

/** An idle wallet shows its expiry in the events feed at most this much late; every use of a wallet is exact. */
const INTERVAL_MS = 1_000;

/** Wallets of one transaction: few, so that no caller waits long for one of them. */
const WALLETS_PER_CALL = 50;

/**
 * Books what is due in wallets that nobody uses. Safe in several processes at once: a wallet that somebody else
 * has locked is skipped, and whoever has it books its due expiries.
 */
export function startSweeper(options: {
  operations: Pick<LedgerOperations, 'expireDue'>;
  log: Logger;
  intervalMs?: number;
}): Sweeper {
  let stopped = false;
  let running: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;

  const sweep = async (): Promise<void> => {
    try {
      while (!stopped && (await options.operations.expireDue({ limit: WALLETS_PER_CALL })) === WALLETS_PER_CALL);
    } catch (error) {
      options.log.warn({ err: error }, 'expired holds and grants could not be booked; trying again');
    }
    schedule();
  };
  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      running = sweep();
    }, options.intervalMs ?? INTERVAL_MS);
    timer.unref();
  };

  schedule();
  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
