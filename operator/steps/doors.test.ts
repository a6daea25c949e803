import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { SecretsError } from '../../config/secrets.ts';
import { GitError } from '../git/errors.ts';
import { Transient } from '../runtime/errors.ts';
import { throughGit, throughSecrets } from './doors.ts';

test('the words of the Git remote stand in the condition, what else the error says does not', async () => {
  const error = new GitError('rejected', 'took 17 ms: no', { words: 'pre-receive hook declined; change freeze' });
  const seen = await throughGit(() => Promise.reject(error)).catch((thrown: unknown) => thrown as Transient);
  assert.instance(seen, Transient);
  assert.is(seen.reason, 'GitRejected');
  assert.is(seen.message, 'The Git remote refuses the push: pre-receive hook declined; change freeze');
});

test('the words of the secret store that are known to be harmless stand in the condition, its path does not', async () => {
  const say = async (error: SecretsError) =>
    ((await throughSecrets(() => Promise.reject(error)).catch((thrown: unknown) => thrown)) as Transient).message;
  const sealed = new SecretsError('unavailable', 'Vault answered POST x with 503', { words: 'Vault is sealed' });
  assert.is(await say(sealed), 'The secret store does not answer: Vault is sealed.');
  assert.is(
    await say(new SecretsError('unavailable', 'no answer to POST x: ECONNREFUSED')),
    'The secret store does not answer.',
  );
  const refused = new SecretsError('permission_denied', 'x: 403', { words: 'permission denied' });
  assert.is(await say(refused), 'The secret store refuses the operator: permission denied.');
});
