import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { FakeGit } from '../hack/testing/operator/fakes.ts';
import { ManualClock } from '../hack/testing/operator/manual-clock.ts';
import { LedgerError } from '../ledger/client.ts';
import { takeOver } from './fencing.ts';
import { GitError } from './git/errors.ts';
import type { Leader } from './runtime/leader.ts';

function leading(epoch: number): Leader {
  const signal = new AbortController().signal;
  return { elected: Promise.resolve(epoch), signal, assert: () => {}, epoch } as unknown as Leader;
}

const ledger = {
  claimFulfilment: () => Promise.reject(new LedgerError(404, 'fulfilment_not_found', 'there is none', {})),
};

test('who takes over shows its epoch and leaves platform/ behind, once', async () => {
  const git = new FakeGit();
  const given = { git, ledger, clock: new ManualClock(), log: createLogger({ part: 'test', level: 'silent' }) };
  await takeOver({ ...given, leader: leading(1) });
  assert.ok(git.files.get('platform/README.md')?.includes('operator'));
  const content = (): number => git.commits.filter(({ subject }) => subject.startsWith('Keep')).length;
  assert.is(content(), 1);
  await takeOver({ ...given, leader: leading(2) });
  assert.is(content(), 1);
});

test('a remote that is away holds the takeover up until it answers', async () => {
  const git = new FakeGit();
  const clock = new ManualClock();
  git.failure = new GitError('remote_unreachable', 'no route');
  let over = false;
  const log = createLogger({ part: 'test', level: 'silent' });
  const taken = takeOver({ git, ledger, clock, log, leader: leading(1) }).then(() => {
    over = true;
  });
  await clock.advance(10_000, async () => void (await new Promise((resolve) => setImmediate(resolve))));
  assert.is(over, false);
  git.failure = undefined;
  await clock.advance(10_000, async () => void (await new Promise((resolve) => setImmediate(resolve))));
  await taken;
  assert.is(git.files.size, 1);
});
