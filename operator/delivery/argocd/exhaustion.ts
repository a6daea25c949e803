import { keepNewest } from '../newest.ts';

/** After the first commit that Argo CD has given up the next one is made at once: a passing cause is over by then. */
const FIRST_PAUSE_MS = 60_000;
/** A cause that stays costs one empty commit in half an hour, and is noticed to be cured within it. */
const LONGEST_PAUSE_MS = 30 * 60_000;
/** Applications in trouble at once; more would be a broken Argo CD, and forgetting costs an early commit. */
const MAX_REMEMBERED = 10_000;

interface Trouble {
  revision: string;
  /** Commits given up in a row. */
  count: number;
  dueAtMs: number;
}

/** When a commit that Argo CD has given up is to be made anew: at once, then after pauses that double. */
export class Exhaustion {
  readonly #now: () => number;
  readonly #troubles = new Map<string, Trouble>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether a new commit is due for the `revision` that the Application has given up. */
  isDue(application: string, revision: string): boolean {
    const known = this.#troubles.get(application);
    if (known?.revision === revision) return this.#now() >= known.dueAtMs;
    const count = (known?.count ?? 0) + 1;
    const pauseMs = count === 1 ? 0 : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (count - 2));
    const dueAtMs = this.#now() + pauseMs;
    keepNewest(this.#troubles, application, { revision, count, dueAtMs }, MAX_REMEMBERED);
    return pauseMs === 0;
  }

  /** An operation of the Application has succeeded. */
  over(application: string): void {
    this.#troubles.delete(application);
  }
}
