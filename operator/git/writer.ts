import { setTimeout as delay } from 'node:timers/promises';
import { type Change, commitMessage, type Prepared, prepare, takeBatch } from './change.ts';
import { GitError } from './errors.ts';
import { FastImport } from './fast-import.ts';
import { lastCommits } from './history.ts';
import { checkBranch, Remote } from './remote.ts';
import { Repository } from './repository.ts';
import { type Entry, FOLDER, parents } from './tree.ts';

export type { Change } from './change.ts';

/** Changes in one commit: enough to hide the price of a push, few enough to read the message. */
const MAX_BATCH = 1024;
/** Each lost race costs a fetch and a push; ten in a row mean that the remote is misused. */
const MAX_PUSH_ATTEMPTS = 10;
/** Grows with each lost race. Milliseconds. */
const RACE_PAUSE_MS = 20;
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

export interface GitWriterOptions {
  /** A folder of our own for the local bare repository; it is a cache and may be lost at any time. */
  directory: string;
  /** Path or URL of the remote. */
  remote: string;
  branch: string;
  /** File in the format of `git credential-store`. */
  credentialsFile?: string;
  /** Dates of commits come from here. */
  clock: () => Date;
  /** Name or path of the git program; absent: `git` of the PATH. */
  program?: string;
  /** After so many commits the local repository is repacked. Absent: 200. */
  commitsPerRepack?: number;
}

interface Waiting {
  change: Prepared;
  resolve: (committed: Committed) => void;
  reject: (error: unknown) => void;
}

/**
 * The only way anything of ours gets into Git. Concurrent changes share a commit and a push; the push is a
 * compare-and-swap, and who loses it starts again from what the winner left. Foreign commits and files
 * are never touched. All state is the remote's: the local repository can be lost at any moment.
 */
export class GitWriter {
  readonly #options: GitWriterOptions;
  readonly #repository: Repository;
  readonly #remote: Remote;
  readonly #queue: Waiting[] = [];
  readonly #remembered = new Map<string, string>();
  #importer: FastImport | undefined;
  /** The remote's commit as last seen. Only meaningful while `#known`. */
  #tip: string | undefined;
  #known = false;
  #commits = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  private constructor(options: GitWriterOptions, repository: Repository) {
    this.#options = options;
    this.#repository = repository;
    this.#remote = new Remote(repository.program, repository.gitDirectory, options.branch);
  }

  /** Prepares the local repository and reads the remote. @throws GitError */
  static async open(options: GitWriterOptions): Promise<GitWriter> {
    checkBranch(options.branch);
    const writer = new GitWriter(options, await Repository.open(options));
    await writer.#repairing(() => writer.#synchronise());
    return writer;
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
      commitMessage([prepared]);
      this.#queue.push({ change: prepared, resolve: resolvePromise, reject });
      this.#running ??= this.#run();
    });
  }

  /** Makes the owned paths hold nothing. */
  remove(removal: Omit<Change, 'files'>): Promise<Committed> {
    return this.commit({ ...removal, files: new Map() });
  }

  /** For diagnosis: the process that builds the commits, if one runs. */
  get importerPid(): number | undefined {
    return this.#importer?.alive ? this.#importer.pid : undefined;
  }

  /** Finishes the batch in flight, refuses what waits, ends the process. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of this.#queue.splice(0)) reject(new GitError('closed', 'the Git writer is closed'));
    await this.#running;
    await this.#importer?.close();
  }

  async #run(): Promise<void> {
    // Let every change of this turn of the event loop join the first batch.
    await new Promise((resolvePromise) => setImmediate(resolvePromise));
    while (this.#queue.length > 0) {
      const batch = takeBatch(this.#queue, MAX_BATCH);
      await this.#settle(batch, { left: MAX_REFUSALS });
      if (this.#commits >= (this.#options.commitsPerRepack ?? COMMITS_PER_REPACK)) await this.#repack();
    }
    this.#running = undefined;
  }

  /** Answers every change of the batch. One that the remote refuses does not take the others with it. */
  async #settle(batch: readonly Waiting[], refusals: { left: number }): Promise<void> {
    try {
      await this.#repairing(() => this.#apply(batch));
    } catch (error) {
      this.#known = false;
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

  async #apply(batch: readonly Waiting[]): Promise<void> {
    let words = '';
    let moved = false;
    for (let attempt = 1; attempt <= MAX_PUSH_ATTEMPTS; attempt += 1) {
      if (!this.#known) await this.#synchronise();
      const base = this.#tip;
      const { changed, unchanged } = await this.#compare(batch, base);
      if (changed.length === 0) {
        // Nothing is pushed, so nothing has proved yet that the remote still stands where we think.
        if ((await this.#remote.tip()) === base) return this.#answerUnchanged(unchanged, base);
        this.#known = false;
        continue;
      }
      const commit = await this.#build(changed, base);
      const refusal = await this.#push(commit, base);
      if (refusal !== undefined) {
        words = refusal;
        moved = this.#tip !== base;
        await delay(RACE_PAUSE_MS * attempt);
        continue;
      }
      for (const waiting of changed) this.#answer(waiting, commit, true);
      return this.#answerUnchanged(unchanged, base);
    }
    const code = moved ? 'diverged' : 'rejected';
    throw new GitError(code, `the push lost ${MAX_PUSH_ATTEMPTS} times against others: ${words}`);
  }

  /**
   * Undefined once the remote has the commit; otherwise why somebody else came first. When the answer is
   * lost, the remote itself tells whether the push had arrived.
   */
  async #push(commit: string, base: string | undefined): Promise<string | undefined> {
    const result = await this.#remote.push(commit, base).catch((error: GitError) => error);
    if (!(result instanceof GitError) && result.done) {
      this.#tip = commit;
      return undefined;
    }
    if (result instanceof GitError && result.code !== 'remote_unreachable') throw result;
    await this.#synchronise();
    if (this.#tip !== undefined && (await this.#remote.contains(this.#tip, commit))) return undefined;
    if (result instanceof GitError) throw result;
    return result.words;
  }

  /** Splits a batch by whether the tip has the desired content. A change in conflict is answered at once. */
  async #compare(
    batch: readonly Waiting[],
    base: string | undefined,
  ): Promise<{ changed: Waiting[]; unchanged: Waiting[] }> {
    const changed: Waiting[] = [];
    const unchanged: Waiting[] = [];
    const above = new Map<string, Promise<Entry | undefined>>();
    await Promise.all(
      batch.map(async (waiting) => {
        const same = await Promise.all(waiting.change.desired.map((want) => this.#isThere(want, base)));
        if (same.every(Boolean)) unchanged.push(waiting);
        else if (await this.#isBlocked(waiting, base, above)) return;
        else changed.push(waiting);
      }),
    );
    return { changed, unchanged };
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

  async #build(changed: readonly Waiting[], base: string | undefined): Promise<string> {
    const changes = changed.map(({ change }) => change);
    const at = this.#options.clock();
    this.#commits += 1;
    return this.#fastImport().commit({ parent: base, message: commitMessage(changes), at, changes });
  }

  async #answerUnchanged(unchanged: readonly Waiting[], base: string | undefined): Promise<void> {
    const unknown = unchanged.filter(({ change }) => !this.#remembered.has(change.signature));
    const groups = new Map(unknown.map(({ change }) => [change.signature, change.owns]));
    const found =
      base === undefined || groups.size === 0
        ? new Map<string, string>()
        : await lastCommits(this.#repository, base, groups);
    for (const waiting of unchanged) {
      const { signature } = waiting.change;
      const commit = this.#remembered.get(signature) ?? found.get(signature) ?? base ?? NO_COMMIT;
      this.#answer(waiting, commit, false);
    }
  }

  #answer(waiting: Waiting, commit: string, changed: boolean): void {
    const { signature } = waiting.change;
    this.#remembered.delete(signature);
    if (commit !== NO_COMMIT) this.#remembered.set(signature, commit);
    if (this.#remembered.size > MAX_REMEMBERED) {
      const oldest = this.#remembered.keys().next().value;
      if (oldest !== undefined) this.#remembered.delete(oldest);
    }
    waiting.resolve({ commit, changed });
  }

  /** Reads the remote. Remembered answers survive only if the old tip is still part of its history. */
  async #synchronise(): Promise<void> {
    const before = this.#tip;
    this.#tip = await this.#remote.fetch();
    this.#known = true;
    if (before === undefined || before === this.#tip) return;
    const grown = this.#tip !== undefined && (await this.#remote.contains(this.#tip, before));
    if (!grown) this.#remembered.clear();
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
        this.#known = false;
        const local = error instanceof GitError && error.code === 'local_failed';
        if (!local || attempt >= MAX_LOCAL_ATTEMPTS) throw error;
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
