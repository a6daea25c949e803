import { access, mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { GitError, redact, remoteFailure } from './errors.ts';
import { type News, news } from './history.ts';
import { GitProgram } from './program.ts';

/** Where the remote's branch stands in the local repository after a fetch. */
const TRACKING_REF = 'refs/gsv/remote';
/** A branch name that is also plain on a command line. */
const BRANCH = /^[A-Za-z0-9_][-A-Za-z0-9._/]*$/;
/** Words of a remote for "somebody else was faster"; anything else is a refusal. */
const RACE =
  /fetch first|non-fast-forward|stale info|cannot lock ref|failed to (lock|update ref)|incorrect old value|reference already exists/i;

/** Words of our own git for a branch that the remote does not have. */
const NO_BRANCH = /couldn't find remote ref/;

export type PushResult = { done: true } | { done: false; words: string };

/** The remote repository, seen through a local one. Its address and credentials are configured in `program`. */
export class Remote {
  readonly #program: GitProgram;
  readonly #gitDirectory: string;
  readonly #branch: string;

  constructor(program: GitProgram, gitDirectory: string, branch: string) {
    this.#program = program;
    this.#gitDirectory = gitDirectory;
    this.#branch = `refs/heads/${checkBranch(branch)}`;
  }

  /** The branch's present commit, asked of the remote; undefined when there is no such branch. */
  async tip(): Promise<string | undefined> {
    const outcome = await this.#git(['ls-remote', '--quiet', '--end-of-options', 'gsv', this.#branch]);
    if (outcome.code !== 0) throw remoteFailure('reading the remote', outcome.stderr);
    const line = outcome.stdout.split('\n').find((row) => row.endsWith(`\t${this.#branch}`));
    return line?.split('\t')[0];
  }

  /** Brings the branch here and says what is new since `before`; undefined when there is no such branch. */
  async fetch(before: string | undefined): Promise<News | undefined> {
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
    if (outcome.code !== 0) {
      if (NO_BRANCH.test(outcome.stderr)) return undefined;
      throw remoteFailure('fetching', outcome.stderr);
    }
    const place = { program: this.#program, gitDirectory: this.#gitDirectory };
    // A repository that was made anew does not know `before` any more.
    return news(place, TRACKING_REF, before).catch(() => news(place, TRACKING_REF, undefined));
  }

  /**
   * The compare-and-swap: puts `commit` on the branch if and only if it still stands at `base`. The lease
   * never rewrites anything (`commit` descends from `base`); it also notices a branch that was set back.
   *
   * @returns `done: false` when somebody else was faster
   * @throws GitError `rejected` with the remote's words, `remote_unreachable`, `auth_failed`
   */
  async push(commit: string, base: string | undefined): Promise<PushResult> {
    const lease = `--force-with-lease=${this.#branch}:${base ?? ''}`;
    const refspec = `${commit}:${this.#branch}`;
    const options = ['--porcelain', '--no-verify', '--no-follow-tags', '--recurse-submodules=no', lease];
    const outcome = await this.#git(['push', ...options, '--end-of-options', 'gsv', refspec]);
    if (outcome.code === 0) return { done: true };
    const refusal = outcome.stdout.split('\n').find((line) => line.startsWith('!'));
    if (refusal === undefined) throw remoteFailure('pushing', outcome.stderr);
    const words = redact([refusal.split('\t').at(-1) ?? '', ...remoteWords(outcome.stderr)].join('; '));
    if (RACE.test(refusal)) return { done: false, words };
    throw new GitError('rejected', `the remote refuses the push: ${words}`);
  }

  /** Whether `ancestor` is `commit` or lies behind it. Both must be here. */
  async contains(commit: string, ancestor: string): Promise<boolean> {
    const outcome = await this.#git(['merge-base', '--is-ancestor', ancestor, commit]);
    return outcome.code === 0;
  }

  #git(args: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
    return this.#program.run([`--git-dir=${this.#gitDirectory}`, ...args]);
  }
}

function remoteWords(stderr: string): string[] {
  return stderr
    .split('\n')
    .filter((line) => line.startsWith('remote:'))
    .map((line) => line.slice('remote:'.length).trim())
    .filter(Boolean);
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
