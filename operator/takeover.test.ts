import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { FaultyStore } from '../hack/testing/faults.ts';
import { secretCapability } from '../hack/testing/operator/catalog.ts';
import { FakeGit } from '../hack/testing/operator/fakes.ts';
import { ManualClock } from '../hack/testing/operator/manual-clock.ts';
import { Rival, settle } from '../hack/testing/operator/rivals.ts';
import { NS, World } from '../hack/testing/operator/world.ts';
import { LedgerError } from '../ledger/client.ts';
import { takeOver } from './fencing.ts';
import { GitError } from './git/errors.ts';
import { LEADER_TIMES, type Leader } from './runtime/leader.ts';

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

test('a standby whose watch fell silent does not begin anew what the leader before it has ended', async () => {
  const world = await World.open();
  const rivals = ['first', 'second'].map((name) => new Rival(world, name));
  const [first, second] = rivals as [Rival, Rival];
  const alone = world.settle;
  try {
    await world.start();
    await world.catalog({ capability: secretCapability() });
    await world.stop();
    world.settle = () => settle(world, rivals);
    await world.store.create('Namespace', { metadata: { name: 'gsv-system' }, spec: {} });
    first.start({ git: world.git.writer() });
    await world.settle();
    await world.advance(LEADER_TIMES.leaseMs + 2 * LEADER_TIMES.retryMs);
    await world.order('claims', { fulfilment: world.pay() });
    const { uid } = (await world.instance()).metadata;
    assert.is(world.secrets.policies.size, 1);
    let behind: FaultyStore | undefined;
    second.start({
      git: world.git.writer(),
      wrap: (doors) => {
        behind = new FaultyStore(doors.store, { seed: 1 });
        return { ...doors, store: behind };
      },
    });
    await world.advance(1_000);
    behind?.silence();
    await world.delete('Instance', { namespace: NS, name: 'claims' });
    await world.advance(30_000);
    assert.is(world.secrets.policies.size, 0);
    await first.close();
    await world.advance(30_000);
    assert.is(second.leader.state, 'leading');
    assert.ok((behind?.fired.silentEvents ?? 0) > 0);
    assert.equal([world.git.mentioning(uid), [...world.secrets.policies.keys()]], [[], []]);
  } finally {
    world.settle = alone;
    for (const rival of rivals) await rival.close();
    await world.close();
  }
});
