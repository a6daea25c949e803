import type { Problem } from '../../config/problem.ts';
import { runnerProblem } from './problems.ts';
import type { RunReply } from './settle.ts';

/** What a listener hears while a run goes on. Already scrubbed. */
export type RunEvent = { type: 'delta'; text: string } | { type: 'tool'; name: string; state: 'started' | 'finished' };

export type RunOutcome = { ok: true; reply: RunReply } | { ok: false; problem: Problem };

/** All text of one answer, in characters; a result beyond it is no chat answer but a dump. */
export const OUTPUT_MAX_CHARS = 1024 * 1024;
/** Tool events and deltas of one run. */
const EVENTS_MAX = 200_000;
/** A listener that lags gets deltas joined up to this size. */
const JOINED_DELTA_MAX_CHARS = 16 * 1024;

/**
 * One run while it is in memory. Its events are a log that listeners read at their own pace, so a slow
 * one buffers nothing of its own and never slows the runtime down, and one that comes late misses nothing.
 */
export class Run {
  readonly id: string;
  readonly instanceUid: string;
  readonly outcome: Promise<RunOutcome>;
  readonly #end: (outcome: RunOutcome) => void;
  readonly #abort = new AbortController();
  readonly #abortWhenAlone: boolean;
  readonly #events: RunEvent[] = [];
  #chars = 0;
  #listeners = 0;
  #ended = false;
  readonly #begun = Promise.withResolvers<void>();
  #changed = Promise.withResolvers<void>();

  constructor(options: { id: string; instanceUid: string; abortWhenAlone: boolean }) {
    this.id = options.id;
    this.instanceUid = options.instanceUid;
    this.#abortWhenAlone = options.abortWhenAlone;
    const { promise, resolve } = Promise.withResolvers<RunOutcome>();
    this.outcome = promise;
    this.#end = resolve;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Resolves when the runtime has begun to execute, or the run has ended: until then a failure can still be a plain reply. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  begin(): void {
    this.#begun.resolve();
  }

  /** Aborted with the {@link Problem} that is to be answered. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Stops the execution. Without effect once it is over and only settles. */
  abort(problem: Problem): void {
    if (!this.#ended) this.#abort.abort(problem);
  }

  /** @throws Problem `output_too_large` */
  append(event: RunEvent): void {
    if (this.#ended) return;
    if (event.type === 'delta') this.#chars += event.text.length;
    if (this.#chars > OUTPUT_MAX_CHARS || this.#events.length >= EVENTS_MAX)
      throw runnerProblem('output_too_large', `the answer exceeds ${OUTPUT_MAX_CHARS} characters`);
    this.#events.push(event);
    this.#wake();
  }

  finish(outcome: RunOutcome): void {
    this.#ended = true;
    this.#end(outcome);
    this.#begun.resolve();
    this.#wake();
  }

  /** Counts a client in; the returned function counts it out. The last one leaving may abort the run. */
  attach(): () => void {
    this.#listeners++;
    let attached = true;
    return () => {
      if (!attached) return;
      attached = false;
      this.#listeners--;
      if (this.#listeners === 0 && this.#abortWhenAlone)
        this.abort(runnerProblem('client_gone', 'nobody waits for the run any more'));
    };
  }

  /** Every event from the first on, until the run has ended. */
  async *events(): AsyncGenerator<RunEvent, void, void> {
    for (let next = 0; ; ) {
      const changed = this.#changed.promise;
      while (next < this.#events.length) {
        const joined = this.#joined(next);
        next = joined.next;
        yield joined.event;
      }
      if (this.#ended) return;
      await changed;
    }
  }

  #joined(from: number): { event: RunEvent; next: number } {
    const first = this.#events[from] as RunEvent;
    if (first.type !== 'delta') return { event: first, next: from + 1 };
    let { text } = first;
    let next = from + 1;
    for (let event = this.#events[next]; event?.type === 'delta'; event = this.#events[next]) {
      if (text.length + event.text.length > JOINED_DELTA_MAX_CHARS) break;
      text += event.text;
      next++;
    }
    return { event: { type: 'delta', text }, next };
  }

  #wake(): void {
    const { resolve } = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    resolve();
  }
}
