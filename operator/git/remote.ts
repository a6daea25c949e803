import { access, mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { GitError } from './errors.ts';
import { type News, nearNews, news, type Place } from './history.ts';
import { GitProgram, type Outcome } from './program.ts';
import { GitReader } from './reader.ts';
import { FarVisit, NearVisit, type Visit } from './visit.ts';
import { remoteFailure } from './words.ts';

/** Where the remote's branch stands in the local repository after a fetch. */
const TRACKING_REF = 'refs/gsv/remote';
/** A branch name that is also plain on a command line. */
const BRANCH = /^[A-Za-z0-9_][-A-Za-z0-9._/]*$/;
/** Words of our own git for a branch that the remote does not have. */
const NO_BRANCH = /couldn't find remote ref/;

/** The remote repository, seen through a local one. Its address and credentials are configured in `program`. */
export class Remote {
  readonly #program: GitProgram;
  readonly #gitDirectory: string;
  readonly #branch: string;
  readonly #localPath: string | undefined;
  readonly #reader: GitReader;
  /** Reads a remote on this machine where it is. */
  readonly #near: GitReader | undefined;

  constructor({ program, gitDirectory, localPath }: Place & { localPath: string | undefined }, branch: string) {
    this.#program = program;
    this.#gitDirectory = gitDirectory;
    this.#localPath = localPath;
    this.#reader = new GitReader(gitDirectory, program);
    this.#near = localPath === undefined ? undefined : new GitReader(localPath, program);
    this.#branch = `refs/heads/${checkBranch(branch)}`;
  }

  /** Begins to talk: what the visit says about the branch is as fresh as this call. */
  visit(): Visit {
    return this.#localPath === undefined
      ? new FarVisit(this.#branch, (args) => this.#git(args))
      : new NearVisit(this.#branch, this.#program, this.#gitDirectory, this.#localPath);
  }

  /**
   * The branch's commit at this moment. A remote on this machine is asked by a process that stays; where that finds
   * nothing, the remote itself says why.
   */
  async tip(): Promise<string | undefined> {
    const found = await this.#near?.read(this.#branch).catch(() => undefined);
    if (found !== undefined) return found.oid;
    const visit = this.visit();
    try {
      return await visit.tip();
    } finally {
      visit.end();
    }
  }

  /** Makes the branch readable here and says what is new since `before`; undefined when there is no such branch. */
  async fetch(before: string | undefined, visit: Visit): Promise<News | undefined> {
    // A remote on this machine is read where it is. Nothing is copied, so catching up with others is quick.
    const tip = this.#localPath === undefined ? await this.#copy() : await visit.tip();
    if (tip === undefined) return undefined;
    if (tip !== TRACKING_REF) {
      const found = await nearNews(this.#reader, tip, before);
      if (found !== undefined) return found;
    }
    const place = { program: this.#program, gitDirectory: this.#gitDirectory };
    // A repository that was made anew does not know `before` any more.
    return news(place, tip, before).catch(() => news(place, tip, undefined));
  }

  /** Ends its process. */
  async close(): Promise<void> {
    await this.#reader.close();
    await this.#near?.close();
  }

  async #copy(): Promise<string | undefined> {
    const outcome = await this.#git([
      'fetch',
      '--quiet',
      '--no-tags',
      '--no-write-fetch-head',
      '--no-auto-maintenance',
      '--no-recurse-submodules',
      '--end-of-options',
      'gsv',
      `+${this.#branch}:${TRACKING_REF}`,
    ]);
    if (outcome.code === 0) return TRACKING_REF;
    if (NO_BRANCH.test(outcome.stderr)) return undefined;
    throw remoteFailure('fetching', outcome);
  }

  /** Whether `ancestor` is `commit` or lies behind it. Both must be here. */
  async contains(commit: string, ancestor: string): Promise<boolean> {
    const outcome = await this.#git(['merge-base', '--is-ancestor', ancestor, commit]);
    return outcome.code === 0;
  }

  async #git(args: readonly string[]): Promise<Outcome> {
    const outcome = await this.#program.run([`--git-dir=${this.#gitDirectory}`, ...args]);
    // A lock or file of our own repository: not the remote's fault, and repaired.
    if (outcome.code !== 0 && outcome.stderr.includes(this.#gitDirectory))
      throw new GitError('local_failed', `git ${args[0]}: ${outcome.stderr.trim()}`);
    return outcome;
  }
}

/** @throws GitError `path_refused` */
export function checkBranch(branch: string): string {
  if (!BRANCH.test(branch) || branch.includes('..') || branch.includes('//') || /(\.lock|[./])$/.test(branch)) {
    throw new GitError('path_refused', `${JSON.stringify(branch)} is not a plain branch name`);
  }
  return branch;
}

/** A path on this machine as an absolute one; a URL or `host:path` as it is. */
export function remoteAddress(remote: string): { url: string; localPath: string | undefined } {
  if (remote.startsWith('file://')) return { url: remote, localPath: decodeURIComponent(new URL(remote).pathname) };
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(remote) || /^[^/.][^/]*:/.test(remote)) {
    return { url: remote, localPath: undefined };
  }
  return { url: resolve(remote), localPath: resolve(remote) };
}

/**
 * Makes an empty bare repository unless one is there: the quickstart's remote. Idempotent.
 *
 * @throws GitError `local_failed` when something else stands at that path, `git_missing`
 */
export async function ensureBareRemote(path: string, branch = 'main'): Promise<void> {
  const folder = resolve(path);
  const config = [['safe.directory', folder]] as const;
  await mkdir(dirname(folder), { recursive: true });
  const program = new GitProgram({ directory: dirname(folder), config });
  if (await exists(folder)) {
    const probe = await program.run([`--git-dir=${folder}`, 'rev-parse', '--is-bare-repository']);
    if (probe.code === 0 && probe.stdout.trim() === 'true') return;
    throw new GitError('local_failed', `${folder} is not a bare Git repository: move it away, or name another folder`);
  }
  const head = `--initial-branch=${checkBranch(branch)}`;
  await program.output(['init', '--bare', '--quiet', '--object-format=sha1', head, '--end-of-options', folder]);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
