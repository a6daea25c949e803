import type { Logger } from '../../config/log.ts';
import type { Outcome } from '../../crds/conditions.ts';
import type { Clock } from './clock.ts';
import { outcomeOf } from './errors.ts';
import type { ControllerMetrics } from './metrics.ts';
import { WorkQueue } from './queue.ts';

/** How a visit ended, as the loop sees it; `Gone` = there is no such object any more. */
export type Result = (Outcome | { kind: 'Gone' }) & {
  /** After success: come back this soon if the next resync is later. Where only a change helps: so does this time. */
  againAfterMs?: number;
};

export interface ControllerOptions {
  name: string;
  /**
   * Reads the present state of one key, makes it so, and says how that went. It never learns what
   * kind of change woke it. What it throws counts as the outcome that {@link outcomeOf} gives.
   */
  reconcile: (key: string) => Promise<Result>;
  /** Keys worked on at once. */
  concurrency: number;
  clock: Clock;
  random: () => number;
  log: Logger;
  metrics: ControllerMetrics;
  /** Adds every key again; called after the queue had to refuse some. */
  relist: () => void;
  /** True for a key that somebody waits for; see {@link WorkQueue}. */
  urgent?: (key: string) => boolean;
  /** Base of the periodic visit after success; the real delay is 1 to 1.5 times it. */
  resyncMs?: number;
}

/** 10 min: a missed change heals within it, and 10k objects make 17 cheap visits a second. */
const RESYNC_MS = 600_000;

/** The loop: key -> reconcile -> result or error -> one switch, which is the whole retry policy. */
export class Controller {
  readonly name: string;
  readonly queue: WorkQueue;
  readonly #options: ControllerOptions;
  readonly #loops: Promise<void>[] = [];

  constructor(options: ControllerOptions) {
    this.name = options.name;
    this.#options = options;
    const { clock, random, relist, urgent } = options;
    this.queue = new WorkQueue({ clock, random, onRoom: relist, ...(urgent && { urgent }) });
  }

  start(): void {
    for (let loop = 0; loop < this.#options.concurrency; loop++) this.#loops.push(this.#run());
  }

  /** Takes no new key and resolves when the running visits have ended. */
  async stop(): Promise<void> {
    await this.queue.stop();
    await Promise.all(this.#loops);
  }

  async #run(): Promise<void> {
    for (;;) {
      const key = await this.queue.take();
      if (key === undefined) return;
      const result = await this.#visit(key);
      this.#schedule(key, result);
      this.queue.done(key);
      this.#options.metrics.depth.set({ controller: this.name }, this.queue.depth);
    }
  }

  async #visit(key: string): Promise<Result> {
    const { metrics, clock, log } = this.#options;
    const started = clock.now();
    let result: Result;
    try {
      result = await this.#options.reconcile(key);
    } catch (error) {
      result = outcomeOf(error);
      log.warn({ controller: this.name, key, err: error }, 'a visit failed');
    }
    metrics.visits.inc({ controller: this.name, outcome: result.kind });
    if ('reason' in result) metrics.heldUp.inc({ controller: this.name, reason: result.reason });
    metrics.seconds.observe({ controller: this.name }, (clock.now() - started) / 1000);
    return result;
  }

  #schedule(key: string, result: Result): void {
    const { queue } = this;
    if (result.kind !== 'Transient') queue.forget(key);
    switch (result.kind) {
      case 'Progressing':
        queue.add(key);
        return;
      case 'Succeeded': {
        const resyncMs = (this.#options.resyncMs ?? RESYNC_MS) * (1 + this.#options.random() / 2);
        queue.addAfter(key, Math.min(result.againAfterMs ?? Number.POSITIVE_INFINITY, Math.round(resyncMs)));
        return;
      }
      case 'Waiting':
        queue.addAfter(key, result.retryAfterMs);
        return;
      case 'Transient':
        queue.addBackoff(key);
        return;
      case 'Terminal':
      case 'Suspended':
        // A state that time alone changes, such as the grace of one that is paused.
        if (result.againAfterMs !== undefined) queue.addAfter(key, result.againAfterMs);
        return;
      case 'Gone':
        return;
    }
  }
}
