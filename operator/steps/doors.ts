import { ArtifactError } from '../../config/artifacts.ts';
import { SecretsError } from '../../config/secrets.ts';
import type { Reason } from '../../crds/conditions.ts';
import { LedgerError } from '../../ledger/client.ts';
import { GitError, type GitErrorCode } from '../git/errors.ts';
import { RenderError } from '../render/errors.ts';
import { Terminal, Transient, Waiting } from '../runtime/errors.ts';

/** A foreign file in our way is somebody's to move; looking every 5 min costs nothing. */
const GIT_CONFLICT_RETRY_MS = 300_000;

/**
 * Names the failures of the outside systems, so that status says which one is away. Refusals that
 * mean something (404, 409) pass through for the step to interpret.
 */
export async function throughLedger<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error;
    const away = error.status === 0 || error.status >= 500 || error.status === 429;
    if (away) throw new Transient('LedgerUnavailable', 'The ledger does not answer.', { cause: error });
    if (error.status === 401 || error.status === 403)
      throw new Transient('LedgerUnavailable', 'The ledger refuses the operator’s token.', { cause: error });
    throw error;
  }
}

/** True for a refusal with this stable code. */
export function isLedgerRefusal(error: unknown, ...codes: string[]): boolean {
  return error instanceof LedgerError && codes.includes(error.code);
}

export async function throughSecrets<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof SecretsError) || error.code === 'cas_mismatch') throw error;
    const sentence =
      error.code === 'unavailable' ? 'The secret store does not answer' : 'The secret store refuses the operator';
    const message = error.words === '' ? `${sentence}.` : `${sentence}: ${error.words}.`;
    throw new Transient('SecretsUnavailable', message, { cause: error });
  }
}

/** What failed, in a sentence; the remote's own words follow it where it said some. */
const GIT_FAILURES: Record<
  Exclude<GitErrorCode, 'path_conflict' | 'path_refused'>,
  [reason: Reason, sentence: string]
> = {
  git_missing: ['GitUnavailable', 'The git program is not installed'],
  remote_unreachable: ['GitUnavailable', 'The Git remote does not answer'],
  auth_failed: ['GitUnauthorized', 'The Git remote refuses the credentials'],
  rejected: ['GitRejected', 'The Git remote refuses the push'],
  diverged: ['GitUnavailable', 'The Git branch moved on at every attempt'],
  local_failed: ['GitUnavailable', 'The local Git repository failed'],
  superseded: ['GitUnavailable', 'A newer leader writes to the Git branch; this operator has stopped'],
  closed: ['GitUnavailable', 'The Git writer is closing'],
};

export async function throughGit<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof GitError)) throw error;
    if (error.code === 'path_conflict')
      throw new Waiting(GIT_CONFLICT_RETRY_MS, 'GitPathConflict', 'A foreign file stands where our folder must be.');
    if (error.code === 'path_refused')
      throw new Terminal('RenderRefused', 'A path of the manifests may not be written.');
    const [reason, sentence] = GIT_FAILURES[error.code];
    throw new Transient(reason, error.words === '' ? `${sentence}.` : `${sentence}: ${error.words}`, { cause: error });
  }
}

/** Rendering is pure: what it refuses, it will refuse again. */
export function throughRender<T>(render: () => T): T {
  try {
    return render();
  } catch (error) {
    if (!(error instanceof RenderError)) throw error;
    switch (error.code) {
      case 'profile_not_offered':
        throw new Terminal('ProfileNotOffered', error.message);
      case 'secret_in_config':
        throw new Terminal('ConfigInvalid', error.message);
      case 'invalid_name':
      case 'invalid_value':
        throw new Terminal('RenderRefused', error.message);
    }
  }
}

export async function throughArtifacts<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ArtifactError) throw error;
    throw new Transient('ArtifactStoreUnavailable', 'The artifact store does not answer.', { cause: error });
  }
}
