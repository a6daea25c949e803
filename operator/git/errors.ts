import { scrubText } from '../../config/log.ts';

/**
 * What went wrong with Git, by treatment.
 * `git_missing`: install git. `remote_unreachable`: try again later. `auth_failed`: fix the credentials.
 * `rejected`: the remote refuses (hook, protected branch, quota); its words are in the message.
 * `diverged`: the remote moved on at every one of the bounded attempts; try again.
 * `path_refused`: a path that is not plain, or not owned by the change; a bug or an attack, never retried.
 * `path_conflict`: somebody else's file stands where our folder must be.
 * `local_failed`: the local repository or a git process failed even after it was rebuilt.
 * `superseded`: a leader with a higher epoch writes to the branch; this writer has stopped for good.
 * `closed`: the writer was closed.
 */
export type GitErrorCode =
  | 'git_missing'
  | 'remote_unreachable'
  | 'auth_failed'
  | 'rejected'
  | 'diverged'
  | 'path_refused'
  | 'path_conflict'
  | 'local_failed'
  | 'superseded'
  | 'closed';

/** Raised by everything in `operator/git`. Messages are scrubbed of credentials. */
export class GitError extends Error {
  readonly code: GitErrorCode;
  /** The remote's own words, bounded and the same at every attempt, for a condition; empty when it said none. */
  readonly words: string;
  /** Of `superseded`: the epoch that leads. */
  readonly epoch: number | undefined;
  constructor(
    code: GitErrorCode,
    message: string,
    { words = '', epoch, ...options }: ErrorOptions & { words?: string; epoch?: number } = {},
  ) {
    super(redact(message), options);
    this.name = 'GitError';
    this.code = code;
    this.words = words;
    this.epoch = epoch;
  }
}

/** A token may stand alone before the `@` of a URL, which `scrubText` alone would leave. */
export function redact(text: string): string {
  return scrubText(text.replace(/(\w:\/\/)[^\s/@]+@/g, '$1[redacted]@'));
}

/** A remote that may come back by itself, or by its credentials. */
export function isRemoteAway(error: unknown): boolean {
  return error instanceof GitError && (error.code === 'remote_unreachable' || error.code === 'auth_failed');
}
