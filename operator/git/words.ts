import { GitError, redact } from './errors.ts';
import type { Outcome } from './program.ts';

/** What a condition quotes: enough for the sentence of a hook. Characters. */
const MAX_QUOTE = 300;
/** Lines of a remote that are looked at; a hook that prints a page is cut. */
const MAX_LINES = 6;

const AUTHENTICATION =
  /authentication failed|could not read (username|password)|terminal prompts disabled|permission denied \(|invalid (username|credentials)|returned error: 40[13]|access denied|host key verification failed/i;

/** Our own git's and ssh's advice and bookkeeping, which say nothing about the remote. */
const NOISE =
  /^(hint:|warning: redirecting to|Everything up-to-date|To |Pushing to |error: failed to push some refs|@|IT IS POSSIBLE|Someone could be|It is also possible|The fingerprint for|SHA256:|Please contact your system|Add correct host key|Offending )/;

/** Turns the words of a failed remote command into an error. */
export function remoteFailure(what: string, { stderr, late }: Pick<Outcome, 'stderr' | 'late'>): GitError {
  if (late) return new GitError('remote_unreachable', `${what}: no answer in time`, { words: 'no answer in time' });
  const words = quote(stderr);
  return AUTHENTICATION.test(stderr)
    ? new GitError('auth_failed', `${what}: the remote refuses the credentials: ${words}`, { words })
    : new GitError('remote_unreachable', `${what}: ${words || 'no answer'}`, { words });
}

/**
 * The words of a remote, fit for a condition: without control characters and credentials, bounded, and
 * the same at every retry: object ids, temporary names, addresses, durations and counts are blanked.
 */
export function quote(text: string): string {
  const lines = text
    .split(/[\r\n]+/)
    .map((line) => plain(line.replace(/^(remote|error|fatal):\s*/, '').replace(/^(error|fatal):\s*/, '')))
    .filter((line) => line !== '' && !NOISE.test(line));
  return steady(redact([...new Set(lines)].slice(0, MAX_LINES).join('; '))).slice(0, MAX_QUOTE);
}

/** Blanks what differs from one attempt to the next, so that a retry writes no status. */
export function steady(text: string): string {
  return text
    .replace(/\b(tmp_objdir-incoming|incoming|quarantine|tmp_(?:pack|idx|obj)|pack)[-_][A-Za-z0-9]{6,40}\b/g, '$1-…')
    .replace(/\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:?\d\d)?/g, '…')
    .replace(/\b\d\d:\d\d:\d\d\b/g, '…')
    .replace(/\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, '…')
    .replace(/\b(?=[0-9a-f]*\d)[0-9a-f]{7,64}\b/gi, '…')
    .replace(/\b(?=[A-Za-z]*\d[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{16,}\b/g, '…')
    .replace(/\b\d{1,3}(\.\d{1,3}){3}\b/g, '…')
    .replace(/\b\d+(\.\d+)? ?(ms|milliseconds?|s|sec|seconds?|bytes?|[KMG]i?B|objects?)\b/g, '… $2')
    .replace(/(?<!port |:)\b\d{4,}\b/g, '…')
    .replace(/\b\d+%|\(\d+\/\d+\)/g, '…')
    .replace(/\bpid:? \d+|\bprocess \d+/gi, 'process …');
}

function plain(line: string): string {
  return line
    .replace(/\p{Cc}\[[0-9;]*[A-Za-z]|[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/ {2,}/g, ' ')
    .trim();
}
