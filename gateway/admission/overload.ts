import { problem } from '../errors.ts';

/**
 * How many runs this process carries at once. One more is refused before it costs anything, so that
 * the accepted ones keep their speed (goodput under overload).
 */
export class Overload {
  readonly #limit: number;
  #running = 0;
  #draining = false;
  #idle: (() => void) | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get running(): number {
    return this.#running;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Takes a place; the returned function gives it back, once. @throws Problem `overloaded`, `draining` */
  enter(): () => void {
    if (this.#draining) throw problem('draining', { headers: { connection: 'close' } });
    if (this.#running >= this.#limit) throw problem('overloaded', { retryAfterSeconds: 1 });
    this.#running += 1;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#running -= 1;
      if (this.#running === 0) this.#idle?.();
    };
  }

  /** Refuses new runs and resolves when the last one has ended. */
  drain(): Promise<void> {
    this.#draining = true;
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }
}
