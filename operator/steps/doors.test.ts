import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitError } from '../git/errors.ts';
import { Transient } from '../runtime/errors.ts';
import { throughGit } from './doors.ts';

test('the words of the Git remote stand in the condition, what else the error says does not', async () => {
  const error = new GitError('rejected', 'took 17 ms: no', { words: 'pre-receive hook declined; change freeze' });
  const seen = await throughGit(() => Promise.reject(error)).catch((thrown: unknown) => thrown as Transient);
  assert.instance(seen, Transient);
  assert.is(seen.reason, 'GitRejected');
  assert.is(seen.message, 'The Git remote refuses the push: pre-receive hook declined; change freeze');
});
