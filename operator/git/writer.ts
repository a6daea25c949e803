import { setTimeout as delay } from 'node:timers/promises';
import type { GitAccess } from './access.ts';
import { Branch } from './branch.ts';
import { type Change, commitMessage, type Prepared, prepare, takeBatch } from './change.ts';
import { GitError, isRemoteAway } from './errors.ts';
import { FastImport, type Written } from './fast-import.ts';
import { Fence } from './fence.ts';
import { retryOf } from './history.ts';
import { LastCommits } from './last-commits.ts';
import { checkBranch, Remote } from './remote.ts';
import { Repository } from './repository.ts';
import { type Entry, FOLDER, parents } from './tree.ts';

export type { Change } from './change.ts';

/** Changes in one commit: enough to hide the price of a push, few enough to read the message. */
const MAX_BATCH = 1024;
/** Each lost race costs a fetch and a push; ten in a row mean that the remote is misused. */
const MAX_PUSH_ATTEMPTS = 10;
/** Grows with each lost race, so that of many writers one gets through. Milliseconds. */
const RACE_PAUSE_MS = 20;
/** A leader's marker must get past one that still writes at full speed: it never pauses, and gives up late. */
const MAX_CLAIM_ATTEMPTS = 200;
/** A git process that dies is restarted; the second time the local repository is made anew. */
const MAX_LOCAL_ATTEMPTS = 3;
/** Pushes refused within one batch while the guilty change is searched for. */
const MAX_REFUSALS = 12;
/** After so many commits the local repository is repacked and fast-import's memory is given back. */
const COMMITS_PER_REPACK = 200;
/** Answers for unchanged paths that are kept. A restart of a full shard (10k Instances) fits. */
const MAX_REMEMBERED = 20_000;
/** What stands for "no commit": an empty branch and nothing to write. Git's own null id. */
export const NO_COMMIT = '0'.repeat(40);

export interface Committed {
  /** A commit on the remote branch that contains the files: the new one, or the last that touched them. */
  commit: string;
  /** False when the files were there already and nothing was written. */
  changed: boolean;
}

export interface GitWriterOptions extends GitAccess {
  /** A folder of our own for the local bare repository; it is a cache and may be lost at any time. */
  directory: string;
  /** Path or URL of the remote. */
  remote: string;
  branch: string;
  /** The remote need not answer yet: what it lacks is then told by the first commit. Absent: false. */
  patient?: boolean;
  /** Dates of commits come from here. */
  clock: () => Date;
  /** Name or path of the git program; absent: `git` of the PATH. */
  program?: string;
  /** After so many commits the local repository is repacked. Absent: 200. */
  commitsPerRepack?: number;
  /** After this many milliseconds a command or a conversation with the remote is given up. Absent: two minutes. */
  timeoutMs?: number;
  /** Told once, when a leader with a higher epoch is seen on the branch. */
  onSuperseded?: (error: GitError) => void;
}

interface Waiting {
  change: Prepared;
  resolve: (committed: Committed) => void;
  reject: (error: unknown) => void;
}

interface Claim {
  epoch: number;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** What one attempt built on a base; `commit` is absent when the base has everything already. */
interface Attempt {
  commit: Written | undefined;
  /** Answers the callers, once the remote is known to have it. */
  settle: () => Promise<void> | void;
}

/** How a batch stands to the tip. */
interface Comparison {
  changed: Waiting[];
  unchanged: Waiting[];
  /** Nothing differs, but a commit of its own is asked for. */
  forced: Waiting[];
}

/**
 * The only way anything of ours gets into Git. Concurrent changes share a commit and a push; the push is a
 * compare-and-swap, and who loses it starts again from what the winner left. Foreign commits and files
 * are never touched. All state is the remote's: the local repository can be lost at any moment.
 */
export class GitWriter {
  readonly #options: GitWriterOptions;
  readonly #repository: Repository;
  readonly #branch: Branch;
  readonly #fence: Fence;
  readonly #queue: Waiting[] = [];
  readonly #claims: Claim[] = [];
  readonly #remembered = new Map<string, string>();
  readonly #lastCommits: LastCommits;
  #importer: FastImport | undefined;
  #commits = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  private constructor(options: GitWriterOptions, repository: Repository) {
    this.#options = options;
    this.#repository = repository;
    this.#lastCommits = new LastCommits(repository);
    this.#fence = new Fence(options.onSuperseded);
    this.#branch = new Branch(new Remote(repository, options.branch), this.#fence, () => this.#remembered.clear());
  }

  /** Prepares the local repository and reads the remote. @throws GitError */
  static async open(options: GitWriterOptions): Promise<GitWriter> {
    checkBranch(options.branch);
    const writer = new GitWriter(options, await Repository.open(options));
    try {
      await writer.#repairing(() => writer.#branch.look());
      return writer;
    } catch (error) {
      if (options.patient === true && isRemoteAway(error)) return writer;
      await writer.close();
      throw error;
    }
  }

  /**
   * Makes the owned paths hold exactly these files on the remote branch.
   *
   * @throws GitError; nothing of the change is on the remote then, unless its reply was lost, in which case
   * the same call finds it there and answers `changed: false`
   */
  commit(change: Change): Promise<Committed> {
    return new Promise((resolvePromise, reject) => {
      if (this.#closed) throw new GitError('closed', 'the Git writer is closed');
      const prepared = prepare(change);
      commitMessage([prepared], undefined);
      this.#queue.push({ change: prepared, resolve: resolvePromise, reject });
      this.#running ??= this.#run();
    });
  }

  /**
   * Takes the branch for a leader: once its empty marker commit is on the remote, no writer with a lower
   * epoch can write there. To be awaited before the first commit; a repeat finds the marker.
   *
   * @throws GitError `superseded` when a higher epoch is there
   */
  claim(epoch: number): Promise<void> {
    return new Promise((resolvePromise, reject) => {
      if (this.#closed) throw new GitError('closed', 'the Git writer is closed');
      this.#claims.push({ epoch, resolve: resolvePromise, reject });
      this.#running ??= this.#run();
    });
  }

  /** Makes the owned paths hold nothing. */
  remove(removal: Omit<Change, 'files'>): Promise<Committed> {
    return this.commit({ ...removal, files: new Map() });
  }

  /**
   * Whether `commit` is `revision` or lies behind it, as far as the history is known here. Every commit and
   * removal brings it up to the remote's, so what is asked about after one of them is here.
   */
  contains(revision: string, commit: string): Promise<boolean> {
    return this.#branch.contains(revision, commit);
  }

  /** For diagnosis: the process that builds the commits, if one runs. */
  get importerPid(): number | undefined {
    return this.#importer?.alive ? this.#importer.pid : undefined;
  }

  /** Finishes the batch in flight, refuses what waits, ends the process. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of [...this.#queue.splice(0), ...this.#claims.splice(0)])
      reject(new GitError('closed', 'the Git writer is closed'));
    await this.#running;
    this.#lastCommits.forget();
    await this.#importer?.close();
    await this.#branch.close();
  }

  async #run(): Promise<void> {
    // Let every change of this turn of the event loop join the first batch.
    await new Promise((resolvePromise) => setImmediate(resolvePromise));
    while (this.#queue.length > 0 || this.#claims.length > 0) {
      for (const claim of this.#claims.splice(0)) await this.#mark(claim);
      const batch = takeBatch(this.#queue, MAX_BATCH);
      if (batch.length > 0) await this.#settle(batch, { left: MAX_REFUSALS });
      if (this.#commits >= (this.#options.commitsPerRepack ?? COMMITS_PER_REPACK)) await this.#repack();
    }
    this.#running = undefined;
  }

  async #mark({ epoch, resolve, reject }: Claim): Promise<void> {
    try {
      this.#fence.claim(epoch);
      const change = { subject: `Epoch ${epoch} begins`, trailers: {} };
      await this.#repairing(() =>
        this.#land(
          async (base) => ({
            commit: base !== undefined && this.#fence.stands ? undefined : await this.#build([change], [], base),
            settle: resolve,
          }),
          MAX_CLAIM_ATTEMPTS,
          0,
        ),
      );
    } catch (error) {
      this.#branch.doubt();
      reject(error);
    }
  }

  /** Answers every change of the batch. One that the remote refuses does not take the others with it. */
  async #settle(batch: readonly Waiting[], refusals: { left: number }): Promise<void> {
    try {
      await this.#repairing(() => this.#land((base) => this.#attempt(batch, base)));
    } catch (error) {
      this.#branch.doubt();
      refusals.left -= 1;
      const searchable = error instanceof GitError && error.code === 'rejected' && refusals.left > 0;
      if (batch.length === 1 || !searchable) {
        for (const { reject } of batch) reject(error);
        return;
      }
      const middle = Math.ceil(batch.length / 2);
      await this.#settle(batch.slice(0, middle), refusals);
      await this.#settle(batch.slice(middle), refusals);
    }
  }

  /** Builds on the tip and pushes, again and again while others are faster. The fence is asked before each. */
  async #land(
    attempt: (base: string | undefined) => Promise<Attempt>,
    rounds = MAX_PUSH_ATTEMPTS,
    pauseMs = RACE_PAUSE_MS,
  ): Promise<void> {
    let lost = { moved: false, words: '' };
    for (let round = 1; round <= rounds; round += 1) {
      const base = await this.#branch.base();
      this.#fence.check();
      const { commit, settle } = await attempt(base);
      if (commit === undefined) {
        // Nothing is pushed, so nothing has proved yet that the remote still stands where we think.
        if (await this.#branch.standsAt(base)) return settle();
        continue;
      }
      const refusal = await this.#branch.advance(commit);
      if (refusal === undefined) return settle();
      lost = refusal;
      await delay(pauseMs * round);
    }
    const code = lost.moved ? 'diverged' : 'rejected';
    throw new GitError(code, `the push lost ${rounds} times against others: ${lost.words}`, { words: lost.words });
  }

  async #attempt(batch: readonly Waiting[], base: string | undefined): Promise<Attempt> {
    const { changed, unchanged, forced } = await this.#compare(batch, base);
    const writes = [...changed, ...forced];
    const commit =
      writes.length === 0
        ? undefined
        : await this.#build(
            writes.map(({ change }) => change),
            changed.map(({ change }) => change),
            base,
          );
    return {
      commit,
      settle: async () => {
        for (const waiting of writes) this.#answer(waiting, commit?.id ?? NO_COMMIT, true);
        await this.#answerUnchanged(unchanged, base);
      },
    };
  }

  /** Splits a batch by whether the tip has the desired content. A change in conflict is answered at once. */
  async #compare(batch: readonly Waiting[], base: string | undefined): Promise<Comparison> {
    const found: Comparison = { changed: [], unchanged: [], forced: [] };
    const above = new Map<string, Promise<Entry | undefined>>();
    await Promise.all(
      batch.map(async (waiting) => {
        const same = await Promise.all(waiting.change.desired.map((want) => this.#isThere(want, base)));
        if (same.every(Boolean)) ((await this.#isForced(waiting, base)) ? found.forced : found.unchanged).push(waiting);
        else if (await this.#isBlocked(waiting, base, above)) return;
        else found.changed.push(waiting);
      }),
    );
    return found;
  }

  /** Whether a commit is asked for that the branch does not have yet. One that it has becomes the answer. */
  async #isForced({ change }: Waiting, base: string | undefined): Promise<boolean> {
    if (change.force === undefined) return false;
    const made = base === undefined ? undefined : await retryOf(this.#repository, base, change.force);
    if (made !== undefined) this.#remember(change.signature, made);
    return made === undefined;
  }

  async #isThere({ path, entry }: Prepared['desired'][number], base: string | undefined): Promise<boolean> {
    if (base === undefined) return entry === undefined;
    const present = await this.#fastImport().entry(base, path);
    return present?.oid === entry?.oid && present?.mode === entry?.mode;
  }

  /** Somebody else's file where a folder of ours must be is not replaced: the change is refused. `above` shares the answers of a batch. */
  async #isBlocked(
    { change, reject }: Waiting,
    base: string | undefined,
    above: Map<string, Promise<Entry | undefined>>,
  ): Promise<boolean> {
    if (base === undefined) return false;
    for (const { path, entry } of change.desired) {
      if (entry === undefined) continue;
      for (const parent of parents(path)) {
        const asked = above.get(parent) ?? this.#fastImport().entry(base, parent);
        above.set(parent, asked);
        const present = await asked;
        if (present === undefined) break;
        if (present.mode === FOLDER) continue;
        reject(new GitError('path_conflict', `${parent} is a file of somebody else; ${path} needs it to be a folder`));
        return true;
      }
    }
    return false;
  }

  async #build(
    named: readonly Pick<Change, 'subject' | 'trailers' | 'force'>[],
    changes: readonly Prepared[],
    parent: string | undefined,
  ): Promise<Written> {
    this.#branch.greet();
    const at = this.#options.clock();
    this.#commits += 1;
    const message = commitMessage(named, this.#fence.own);
    return this.#fastImport().commit({ parent, message, at, changes });
  }

  async #answerUnchanged(unchanged: readonly Waiting[], base: string | undefined): Promise<void> {
    const unknown = unchanged.filter(({ change }) => !this.#remembered.has(change.signature));
    const groups = new Map(unknown.map(({ change }) => [change.signature, change.owns]));
    const found =
      base === undefined || groups.size === 0 ? new Map<string, string>() : await this.#lastCommits.find(base, groups);
    for (const waiting of unchanged) {
      const { signature } = waiting.change;
      const commit = this.#remembered.get(signature) ?? found.get(signature) ?? base ?? NO_COMMIT;
      this.#answer(waiting, commit, false);
    }
  }

  #answer({ change, resolve }: Waiting, commit: string, changed: boolean): void {
    if (commit !== NO_COMMIT) this.#remember(change.signature, commit);
    resolve({ commit, changed });
  }

  #remember(signature: string, commit: string): void {
    this.#remembered.delete(signature);
    this.#remembered.set(signature, commit);
    if (this.#remembered.size <= MAX_REMEMBERED) return;
    const oldest = this.#remembered.keys().next().value;
    if (oldest !== undefined) this.#remembered.delete(oldest);
  }

  #fastImport(): FastImport {
    if (!this.#importer?.alive) this.#importer = new FastImport(this.#repository);
    return this.#importer;
  }

  /** Retries what failed on our side of the wire: first with a new process, then with a new repository. */
  async #repairing<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work();
      } catch (error) {
        this.#branch.doubt();
        const local = error instanceof GitError && error.code === 'local_failed';
        if (!local || attempt >= MAX_LOCAL_ATTEMPTS) throw await this.#repository.withoutSecrets(error);
        this.#lastCommits.forget();
        this.#importer?.kill();
        await this.#importer?.close();
        await (attempt > 1 ? this.#repository.rebuild() : this.#repository.repair());
      }
    }
  }

  async #repack(): Promise<void> {
    this.#commits = 0;
    await this.#importer?.close();
    this.#importer = undefined;
    await this.#repository.repack();
  }
}
