import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { text } from 'node:stream/consumers';
import { GitError } from './errors.ts';
import type { GitProgram, Outcome } from './program.ts';
import { ReceivePack, type Verdict } from './receive-pack.ts';
import { quote, remoteFailure } from './words.ts';

/** Words of a remote for "somebody else was faster"; anything else is a refusal. */
const RACE =
  /fetch first|non-fast-forward|stale info|cannot lock ref|failed to (lock|update ref)|incorrect old value|reference already exists/i;
/** The pack that we sent lacked something that the remote does not have. */
const INCOMPLETE = /missing necessary objects|unpack|index-pack/;

export type PushResult = { done: true } | { done: false; words: string };

/** What is to be put on the branch. */
export interface Parcel {
  commit: string;
  /** What the commit was built on; undefined: the branch is new. */
  base: string | undefined;
  /** A file with the pack of what the commit adds, unless the remote may lack more. */
  pack: string | undefined;
}

/** One conversation with the remote. */
export interface Visit {
  /** The branch's commit at the beginning of the visit; undefined when there is no such branch. */
  tip(): Promise<string | undefined>;
  /**
   * The compare-and-swap: puts the commit on the branch if and only if that still stands at its base. It
   * never rewrites anything (the commit descends from the base), and it notices a branch that was set back.
   *
   * @returns `done: false` when somebody else was faster
   * @throws GitError `rejected` with the remote's words, `remote_unreachable`, `auth_failed`
   */
  push(parcel: Parcel): Promise<PushResult>;
  /** Nothing more is wanted. */
  end(): void;
}

/** Over the network: git's own commands, which know proxies, credentials and certificates. */
export class FarVisit implements Visit {
  readonly #branch: string;
  readonly #git: (args: readonly string[]) => Promise<Outcome>;

  constructor(branch: string, git: (args: readonly string[]) => Promise<Outcome>) {
    this.#branch = branch;
    this.#git = git;
  }

  async tip(): Promise<string | undefined> {
    const outcome = await this.#git(['ls-remote', '--quiet', '--end-of-options', 'gsv', this.#branch]);
    if (outcome.code !== 0) throw remoteFailure('reading the remote', outcome);
    const line = outcome.stdout.split('\n').find((row) => row.endsWith(`\t${this.#branch}`));
    return line?.split('\t')[0];
  }

  async push({ commit, base }: Parcel): Promise<PushResult> {
    const lease = `--force-with-lease=${this.#branch}:${base ?? ''}`;
    const refspec = `${commit}:${this.#branch}`;
    const options = ['--porcelain', '--no-verify', '--no-follow-tags', '--recurse-submodules=no', lease];
    const outcome = await this.#git(['push', ...options, '--end-of-options', 'gsv', refspec]);
    if (outcome.code === 0) return { done: true };
    const refusal = outcome.stdout.split('\n').find((line) => line.startsWith('!'));
    if (refusal === undefined) throw remoteFailure('pushing', outcome);
    const short = (refusal.split('\t').at(-1) ?? '').replace(/^\[(remote )?rejected\] \((.*)\)$/, '$2');
    return refused(
      short,
      outcome.stderr
        .split('\n')
        .filter((line) => line.startsWith('remote:'))
        .join('\n'),
    );
  }

  end(): void {}
}

/** A repository on this machine: its own receive-pack, begun while the commit is still being built. */
export class NearVisit implements Visit {
  readonly #branch: string;
  readonly #program: GitProgram;
  readonly #gitDirectory: string;
  readonly #path: string;
  #talk: ReceivePack;

  constructor(branch: string, program: GitProgram, gitDirectory: string, path: string) {
    this.#branch = branch;
    this.#program = program;
    this.#gitDirectory = gitDirectory;
    this.#path = path;
    this.#talk = new ReceivePack(program, path);
  }

  tip(): Promise<string | undefined> {
    return this.#talk.tip(this.#branch);
  }

  async push(parcel: Parcel): Promise<PushResult> {
    if ((await this.tip()) !== parcel.base) return { done: false, words: 'fetch first' };
    const quick = parcel.pack === undefined ? undefined : await this.#send(parcel, createReadStream(parcel.pack));
    if (quick?.accepted) return { done: true };
    if (quick !== undefined && !INCOMPLETE.test(quick.refusal)) return refused(quick.refusal, quick.words);
    if (quick !== undefined) this.#talk = new ReceivePack(this.#program, this.#path);
    const full = await this.#send(parcel, this.#packed(parcel));
    return full.accepted ? { done: true } : refused(full.refusal, full.words);
  }

  end(): void {
    this.#talk.end();
  }

  #send({ base, commit }: Parcel, pack: AsyncIterable<Buffer>): Promise<Verdict> {
    return this.#talk.push(this.#branch, base, commit, pack);
  }

  /**
   * Everything that the branch does not have. The process starts when the first byte is asked for, not before:
   * Node throws away what a child that has ended left unread, and the remote's greeting may take longer than
   * a small pack.
   *
   * @throws GitError `local_failed` when the pack is not whole
   */
  async *#packed({ base, commit }: Parcel): AsyncGenerator<Buffer> {
    const args = ['pack-objects', '--revs', '--stdout', '--quiet', '--delta-base-offset'];
    const child = this.#program.start([`--git-dir=${this.#gitDirectory}`, ...args]);
    const ended = once(child, 'close').catch((error: Error) => [error.message]);
    child.stdin.on('error', () => undefined);
    child.stdin.end(base === undefined ? `${commit}\n` : `${commit}\n^${base}\n`);
    const words = text(child.stderr);
    const timer = setTimeout(() => child.kill('SIGKILL'), this.#program.timeoutMs);
    try {
      yield* child.stdout as AsyncIterable<Buffer>;
      const [code, signal] = await ended;
      if (code === 0) return;
      const why = (await words).trim() || `exit ${code ?? signal}`;
      throw new GitError('local_failed', `git pack-objects broke off: ${why}`);
    } finally {
      clearTimeout(timer);
      child.kill();
    }
  }
}

/** Somebody was faster, or the remote does not want it. @throws GitError `rejected` */
function refused(short: string, words: string): PushResult {
  const said = quote(`${short}\n${words}`);
  if (RACE.test(short)) return { done: false, words: said };
  throw new GitError('rejected', `the remote refuses the push: ${said}`, { words: said });
}
