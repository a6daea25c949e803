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
  constructor(code: GitErrorCode, message: string, options?: ErrorOptions) {
    super(redact(message), options);
    this.name = 'GitError';
    this.code = code;
  }
}

/** A token may stand alone before the `@` of a URL, which `scrubText` alone would leave. */
export function redact(text: string): string {
  return scrubText(text.replace(/(\w:\/\/)[^\s/@]+@/g, '$1[redacted]@'));
}

const AUTHENTICATION =
  /authentication failed|could not read (username|password)|terminal prompts disabled|permission denied \(|invalid (username|credentials)|returned error: 40[13]|access denied/i;

/** Turns the words of a failed remote command into an error. */
export function remoteFailure(what: string, stderr: string): GitError {
  const words = stderr
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('hint:'))
    .slice(-8)
    .join('; ');
  return AUTHENTICATION.test(stderr)
    ? new GitError('auth_failed', `${what}: the remote refuses the credentials: ${words}`)
    : new GitError('remote_unreachable', `${what}: ${words || 'no answer'}`);
}
