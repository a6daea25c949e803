import { GitError } from './errors.ts';
import type { Written } from './fast-import.ts';
import type { Fence } from './fence.ts';
import type { Remote } from './remote.ts';
import type { Visit } from './visit.ts';

/** The remote branch as last seen, and the only way to move it. */
export class Branch {
  readonly #remote: Remote;
  readonly #fence: Fence;
  /** Called when commits that were on the branch are not there any more. */
  readonly #onRewritten: () => void;
  /** Only meaningful while `#known`. */
  #tip: string | undefined;
  #known = false;
  #visit: Visit | undefined;
  /** Objects of a commit that did not arrive are not written a second time: the next commit's own pack lacks them. */
  #undelivered = false;

  constructor(remote: Remote, fence: Fence, onRewritten: () => void) {
    this.#remote = remote;
    this.#fence = fence;
    this.#onRewritten = onRewritten;
  }

  /** The commit to build on; undefined for an empty branch. @throws GitError */
  async base(): Promise<string | undefined> {
    if (!this.#known) await this.synchronise();
    return this.#tip;
  }

  /** Begins to talk to the remote, which takes a while: to be called when there will be something to push. */
  greet(): void {
    this.#visit ??= this.#remote.visit();
  }

  /** Reads the remote without meaning to write. */
  async look(): Promise<void> {
    try {
      await this.synchronise();
    } finally {
      this.#leave();
    }
  }

  /** Whether `commit` is `revision` or lies behind it; false when either is not here. */
  contains(revision: string, commit: string): Promise<boolean> {
    return this.#remote.contains(revision, commit);
  }

  /** After a failure: what we believe about the remote has to be read again. */
  doubt(): void {
    this.#known = false;
    this.#leave();
  }

  /** Asks the remote whether it still stands at `base`. */
  async standsAt(base: string | undefined): Promise<boolean> {
    try {
      this.#known = (await (this.#visit === undefined ? this.#remote.tip() : this.#visit.tip())) === base;
      return this.#known;
    } finally {
      this.#leave();
    }
  }

  /** Reads the remote; the epochs of all new commits pass the fence. */
  async synchronise(): Promise<void> {
    const before = this.#tip;
    this.#visit ??= this.#remote.visit();
    const found = await this.#remote.fetch(before, this.#visit);
    this.#fence.look(found ?? { grown: false, epoch: 0 });
    this.#tip = found?.tip;
    this.#known = true;
    if (before !== undefined && !found?.grown) this.#onRewritten();
  }

  /**
   * Undefined once the remote has the commit; otherwise why somebody else came first. When the answer is
   * lost, the remote itself tells whether the push had arrived.
   */
  async advance({ id: commit, pack }: Written): Promise<{ moved: boolean; words: string } | undefined> {
    const base = this.#tip;
    const visit = this.#visit ?? this.#remote.visit();
    const parcel = { commit, base, pack: this.#undelivered ? undefined : pack };
    const result = await visit.push(parcel).catch((error: GitError) => error);
    this.#leave();
    this.#undelivered = result instanceof GitError || !result.done;
    if (!(result instanceof GitError) && result.done) {
      this.#tip = commit;
      this.#fence.look({ grown: true, epoch: this.#fence.own ?? 0 });
      return undefined;
    }
    if (result instanceof GitError && result.code !== 'remote_unreachable') throw result;
    await this.synchronise();
    if (!(result instanceof GitError)) return { moved: this.#tip !== base, words: result.words };
    if (this.#tip !== undefined && (await this.#remote.contains(this.#tip, commit))) return undefined;
    throw result;
  }

  /** Ends its processes. */
  async close(): Promise<void> {
    this.#leave();
    await this.#remote.close();
  }

  /** Ends the conversation: one that waited would not notice that the remote was moved away. */
  #leave(): void {
    this.#visit?.end();
    this.#visit = undefined;
  }
}
