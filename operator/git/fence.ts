import { GitError } from './errors.ts';
import type { News } from './history.ts';

/**
 * Which of two leaders may write. Every commit of a leader carries its epoch; a leader begins with a
 * marker commit. A push is a compare-and-swap on a commit whose whole history has been looked at here, so
 * once a marker is on the branch no writer with a lower epoch can put anything on top of it.
 */
export class Fence {
  readonly #onSuperseded: ((error: GitError) => void) | undefined;
  /** The highest epoch ever seen on the branch. It only grows: a rewritten branch gives no right back. */
  #seen = 0;
  /** The epoch of the branch as it stands. */
  #present = 0;
  #own: number | undefined;
  #final: GitError | undefined;

  constructor(onSuperseded?: (error: GitError) => void) {
    this.#onSuperseded = onSuperseded;
  }

  /** The epoch that commits carry; undefined before one is claimed. */
  get own(): number | undefined {
    return this.#own;
  }

  /** From now on this writer speaks for `epoch`. @throws GitError `superseded` */
  claim(epoch: number): void {
    if (!Number.isSafeInteger(epoch) || epoch < 1) throw new RangeError(`${epoch} is not an epoch`);
    if (this.#final !== undefined) throw this.#final;
    const before = this.#own ?? 0;
    this.#own = epoch;
    if (epoch < before) throw this.#stop(before, epoch);
    this.check();
  }

  /** Every look at the branch passes here before anything is built on its tip. */
  look({ grown, epoch }: Pick<News, 'grown' | 'epoch'>): void {
    this.#present = Math.max(grown ? this.#present : 0, epoch);
    this.#seen = Math.max(this.#seen, epoch);
  }

  /** Whether the branch carries our epoch. A commit of ours that it took counts as well as the marker. */
  get stands(): boolean {
    return this.#present === this.#own;
  }

  /** Before every write. @throws GitError `superseded`; for good, unless no epoch was claimed yet */
  check(): void {
    if (this.#final !== undefined) throw this.#final;
    if (this.#seen <= (this.#own ?? 0)) return;
    if (this.#own !== undefined) throw this.#stop(this.#seen, this.#own);
    throw new GitError('superseded', `the branch belongs to a leader of epoch ${this.#seen}; this writer claimed none`);
  }

  #stop(higher: number, own: number): GitError {
    const message = `epoch ${higher} leads on the branch; this writer has epoch ${own}`;
    this.#final = new GitError('superseded', message, { epoch: higher });
    this.#onSuperseded?.(this.#final);
    return this.#final;
  }
}
