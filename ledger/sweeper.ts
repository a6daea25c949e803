import type { Logger } from '../config/log.ts';
import type { Inbox } from './inbox.ts';
import type { LedgerOperations } from './operations.ts';

export interface Sweeper {
  /** Stops the interval and waits for the sweep that is under way. */
  stop(): Promise<void>;
}

/** An idle wallet shows its expiry in the events feed at most this much late; every use of a wallet is exact. */
const EXPIRY_INTERVAL_MS = 1_000;

/** Wallets of one transaction: few, so that no caller waits long for one of them. */
const WALLETS_PER_CALL = 50;

/** Kept for days, so an hour more is nothing. */
const RETENTION_INTERVAL_MS = 3_600_000;

/** Items of one transaction: each may have a megabyte, and a webhook may be waiting for the disk. */
const ITEMS_PER_CALL = 100;

interface SweeperOptions {
  log: Logger;
  /** Absent: as often as the promise of the sweep needs. */
  intervalMs?: number;
}

/**
 * Books what is due in wallets that nobody uses. Safe in several processes at once: a wallet that somebody else
 * has locked is skipped, and whoever has it books its due expiries.
 */
export function startSweeper(options: SweeperOptions & { operations: Pick<LedgerOperations, 'expireDue'> }): Sweeper {
  return repeat({
    full: WALLETS_PER_CALL,
    sweep: () => options.operations.expireDue({ limit: WALLETS_PER_CALL }),
    intervalMs: options.intervalMs ?? EXPIRY_INTERVAL_MS,
    failed: (error) => options.log.warn({ err: error }, 'expired holds and grants could not be booked; trying again'),
  });
}

/** Drops the bytes of deliveries whose time is over. Safe in several processes at once, like the other sweeper. */
export function startRetention(options: SweeperOptions & { inbox: Pick<Inbox, 'forget'> }): Sweeper {
  return repeat({
    full: ITEMS_PER_CALL,
    sweep: () => options.inbox.forget({ limit: ITEMS_PER_CALL }),
    intervalMs: options.intervalMs ?? RETENTION_INTERVAL_MS,
    failed: (error) => options.log.warn({ err: error }, 'old deliveries could not be dropped; trying again'),
  });
}

interface Sweep {
  /** What a sweep answers when there may be more. */
  full: number;
  sweep: () => Promise<number>;
  intervalMs: number;
  failed: (error: unknown) => void;
}

function repeat({ full, sweep, intervalMs, failed }: Sweep): Sweeper {
  let stopped = false;
  let running: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout | undefined;

  const run = async (): Promise<void> => {
    try {
      while (!stopped && (await sweep()) === full);
    } catch (error) {
      failed(error);
    }
    schedule();
  };
  const schedule = (): void => {
    if (stopped) return;
    timer = setTimeout(() => {
      running = run();
    }, intervalMs);
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
