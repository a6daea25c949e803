import type { Logger } from '../../config/log.ts';
import type { Clock } from './clock.ts';

export interface EventsReaderOptions<E> {
  /** Answers the events after `after`, waiting up to `waitSeconds` for the first. */
  read: (query: { after: number; waitSeconds: number; signal: AbortSignal }) => Promise<{ events: E[]; next: number }>;
  /** Must not throw for an unknown event: a feed grows new types. */
  handle: (event: E) => void;
  clock: Clock;
  random: () => number;
  log: Logger;
}

/** How long one request may stay open; the feed's own limit is 30 s. */
const WAIT_SECONDS = 25;
/** First pause after a failed read; doubles up to the cap. */
const RETRY_BASE_MS = 250;
const RETRY_CAP_MS = 15_000;

/**
 * Follows an ordered, replayable feed by long polling, from its beginning: what was learned from it
 * is kept in memory only, so a restart learns it again.
 */
export class EventsReader<E> {
  /** Resolves once everything that was in the feed at the start has been handled. */
  readonly caughtUp: Promise<void>;
  readonly #options: EventsReaderOptions<E>;
  readonly #abort = new AbortController();
  readonly #caughtUp = Promise.withResolvers<void>();
  #loop: Promise<void> | undefined;

  constructor(options: EventsReaderOptions<E>) {
    this.#options = options;
    this.caughtUp = this.#caughtUp.promise;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    let after = 0;
    let behind = true;
    let failures = 0;
    while (!signal.aborted) {
      try {
        const page = await this.#options.read({ after, waitSeconds: behind ? 0 : WAIT_SECONDS, signal });
        for (const event of page.events) this.#options.handle(event);
        behind = page.next > after && page.events.length > 0;
        after = Math.max(after, page.next);
        failures = 0;
        if (!behind) this.#caughtUp.resolve();
      } catch (error) {
        if (signal.aborted) return;
        this.#options.log.warn({ err: error }, 'the events feed cannot be read');
        await this.#pause(failures++);
      }
    }
  }

  #pause(failures: number): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#abort;
    const whole = Math.min(RETRY_CAP_MS, RETRY_BASE_MS * 2 ** Math.min(failures, 10));
    return new Promise((resolve) => {
      const cancel = clock.after(whole * (0.5 + random() / 2), resolve);
      signal.addEventListener(
        'abort',
        () => {
          cancel();
          resolve();
        },
        { once: true },
      );
    });
  }
}
