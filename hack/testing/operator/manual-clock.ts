import type { Clock } from '../../../operator/runtime/clock.ts';

interface Timer {
  dueAt: number;
  order: number;
  run: () => void;
}

/** A clock that stands still until a test moves it; due timers run in order, at their own time. */
export class ManualClock implements Clock {
  #now: number;
  #order = 0;
  readonly #timers = new Set<Timer>();

  constructor(start = Date.parse('2026-01-01T00:00:00Z')) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { dueAt: this.#now + Math.max(0, ms), order: this.#order++, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves to the next timer that is due within `ms` and runs it; false when there is none. */
  step(ms: number): boolean {
    const [next] = [...this.#timers]
      .filter((timer) => timer.dueAt <= this.#now + ms)
      .sort((a, b) => a.dueAt - b.dueAt || a.order - b.order);
    if (next === undefined) return false;
    this.#timers.delete(next);
    this.#now = Math.max(this.#now, next.dueAt);
    next.run();
    return true;
  }

  /** Time passes during which nobody looks: what is due then runs late, and once. */
  leap(ms: number): void {
    this.#now += ms;
  }

  /** Moves by `ms`, letting `settle` finish what each timer started. */
  async advance(ms: number, settle: () => Promise<void> = async () => {}): Promise<void> {
    const end = this.#now + ms;
    while (this.step(end - this.#now)) await settle();
    this.#now = end;
    await settle();
  }
}
