import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { seeded } from '../../hack/testing/faults.ts';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import type { GitError } from './errors.ts';
import type { Change, GitWriter } from './writer.ts';

const change = (folder: string, text: string, more: Partial<Change> = {}): Change => ({
  owns: [folder],
  files: new Map([[`${folder}/x`, text]]),
  subject: `write ${folder}`,
  trailers: {},
  ...more,
});

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: GitError) => error.code,
  );
}

const log = (remote: GitRemote, format = '%s'): Promise<string> => remote.git('log', `--format=${format}`, 'main');
const epochs = (remote: GitRemote): Promise<string> =>
  log(remote, '%(trailers:key=Gsv-Epoch,valueonly,separator=%x2C)');

test('a leader begins with an empty marker commit, and every commit after it carries the epoch', async () => {
  await using remote = await GitRemote.create();
  await remote.foreign({ readme: 'r' });
  const writer = await remote.writer();
  await writer.claim(3);
  assert.is(await remote.git('diff', '--stat', 'main~1', 'main'), '');
  await Promise.all([writer.commit(change('a', '1')), writer.commit(change('b', '1'))]);
  assert.is(await epochs(remote), '3\n3');
  assert.is((await log(remote)).split('\n')[1], 'Epoch 3 begins');
  await writer.claim(3);
  const restarted = await remote.writer();
  await restarted.claim(3);
  assert.is(await remote.commits(), 3, 'a repeated claim finds the marker');
});

test('the first commit of an empty branch can be a marker', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.claim(1);
  assert.ok((await writer.commit(change('a', '1'))).changed);
  assert.equal(await remote.files(), ['a/x']);
  assert.is(await remote.commits(), 2);
});

test('a deposed writer writes nothing after the marker, says so once, and never starts again', async () => {
  await using remote = await GitRemote.create();
  const told: string[] = [];
  const old = await remote.writer('old', { onSuperseded: (error) => told.push(error.code) });
  await old.claim(1);
  await old.commit(change('a', '1'));
  const next = await remote.writer('new');
  await next.claim(2);
  const late = await Promise.all([
    code(old.commit(change('a', 'stale'))),
    code(old.commit(change('b', 'stale'))),
    code(old.commit(change('a', '1'))),
  ]);
  assert.equal(late, ['superseded', 'superseded', 'superseded']);
  assert.is(await log(remote), 'Epoch 2 begins\nwrite a\nEpoch 1 begins');
  assert.is(await code(old.claim(3)), 'superseded');
  assert.is(await code(old.remove(change('a', ''))), 'superseded');
  assert.equal(told, ['superseded']);
});

test('a marker between the last known tip and the present one counts, however much lies on top of it', async () => {
  await using remote = await GitRemote.create();
  const old = await remote.writer('old');
  await old.claim(1);
  await (await remote.writer('new')).claim(2);
  for (let index = 0; index < 4; index += 1) await remote.foreign({ [`f${index}`]: 'foreign' });
  assert.is(await code(old.commit(change('a', 'stale'))), 'superseded');
  assert.is((await remote.files()).includes('a/x'), false);
});

test('a marker that a merge brought in counts', async () => {
  await using remote = await GitRemote.create();
  const old = await remote.writer('old');
  await old.claim(1);
  const before = await remote.git('rev-parse', 'main');
  await (await remote.writer('new')).claim(2);
  // Somebody pulled our branch into a line of his own: the marker is behind the second parent.
  const own = await remote.git('commit-tree', '-p', before, '-m', 'own line', 'main^{tree}');
  const merge = await remote.git('commit-tree', '-p', own, '-p', 'main', '-m', 'merge', 'main^{tree}');
  await remote.git('update-ref', 'refs/heads/main', merge);
  assert.is(await code(old.commit(change('a', 'stale'))), 'superseded');
});

test('a restarted writer finds the epoch below foreign commits; a lower one is refused at the claim', async () => {
  await using remote = await GitRemote.create();
  await (await remote.writer()).claim(5);
  await remote.foreign({ readme: 'r' });
  assert.is(await code((await remote.writer()).claim(4)), 'superseded');
  assert.is(await code((await remote.writer()).commit(change('a', '1'))), 'superseded', 'no claim at all');
  const unclaimed = await remote.writer();
  assert.is(await code(unclaimed.commit(change('a', '1'))), 'superseded');
  await unclaimed.claim(6);
  assert.ok((await unclaimed.commit(change('a', '1'))).changed, 'a claim is still possible');
});

test('an epoch in a commit of somebody else deposes nobody, and a change cannot carry one', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.claim(1);
  const forged = await remote.git('commit-tree', '-p', 'main', '-m', 'x\n\nGsv-Epoch: 99', 'main^{tree}');
  await remote.git('update-ref', 'refs/heads/main', forged);
  assert.ok((await writer.commit(change('a', '1'))).changed);
  for (const key of ['Gsv-Epoch', 'Gsv-Retry-Of'])
    assert.is(await code(writer.commit(change('b', '1', { trailers: { [key]: '99' } }))), 'path_refused');
});

test('the leader goes on when its marker was rewritten away, and its next commit fences again', async () => {
  await using remote = await GitRemote.create();
  const old = await remote.writer('old');
  await old.claim(1);
  const base = await remote.git('rev-parse', 'main');
  const next = await remote.writer('new');
  await next.claim(2);
  await remote.git('update-ref', 'refs/heads/main', base);
  assert.ok((await next.commit(change('a', '1'))).changed);
  assert.is(await code(old.commit(change('a', 'stale'))), 'superseded');
});

test('a lost local repository loses no fence', async () => {
  await using remote = await GitRemote.create();
  const old = await remote.writer('old');
  await old.claim(1);
  await (await remote.writer('new')).claim(2);
  await remote.foreign({ readme: 'r' });
  await rm(join(remote.folder, 'old'), { recursive: true });
  assert.is(await code(old.commit(change('a', 'stale'))), 'superseded');
});

test('a forced commit changes nothing, names what it stands in for, and is made once', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const first = await writer.commit(change('a', '1'));
  const wanted = change('a', '1', { force: first.commit, trailers: { 'Gsv-Instance-Uid': 'u' } });
  const again = await writer.commit(wanted);
  assert.ok(again.changed);
  assert.is(await remote.git('diff', '--stat', first.commit, again.commit), '');
  const trailers = await remote.git('log', '-1', '--format=%(trailers:only)', again.commit);
  assert.is(trailers, `Gsv-Instance-Uid: u\nGsv-Retry-Of: ${first.commit}`);
  await remote.foreign({ readme: 'r' });
  assert.equal(await writer.commit(wanted), { commit: again.commit, changed: false });
  assert.equal(await (await remote.writer()).commit(wanted), { commit: again.commit, changed: false });
  assert.is(await remote.commits(), 3);
});

test('a forced commit with another tree is one commit; a second id makes a second one', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.commit(change('a', '1'));
  const done = await writer.commit(change('a', '2', { force: 'one' }));
  assert.equal(await writer.commit(change('a', '2', { force: 'one' })), { commit: done.commit, changed: false });
  assert.ok((await writer.commit(change('a', '2', { force: 'two' }))).changed);
  assert.is(await remote.commits(), 3);
  for (const force of ['', '-x', 'a b', 'a\nGsv-Epoch: 9', 'x'.repeat(65)])
    assert.is(await code(writer.commit(change('a', '2', { force }))), 'path_refused', JSON.stringify(force));
});

/** Rounds in which writers meet; each seed mixes them anew. */
const ROUNDS = 15;

for (const seed of [1, 7, 42]) {
  test(`two writers at once lose no update (seed ${seed})`, async () => {
    await using remote = await GitRemote.create();
    const random = seeded(seed);
    const writers = [await remote.writer(), await remote.writer()];
    const last = new Map<string, string>();
    const write = async (writer: GitWriter, who: number): Promise<void> => {
      for (let round = 0; round < ROUNDS; round += 1) {
        // Folders of its own, and side by side in folders of both: the trees that a merge must not lose.
        const folder = `shared/${Math.floor(random() * 6)}/${who}`;
        last.set(folder, `${who}-${round}`);
        const wanted = change(folder, `${who}-${round}`);
        // A slow writer can lose every race of one call; the controller would come again.
        while ((await code(writer.commit(wanted))) === 'diverged');
      }
    };
    await Promise.all(writers.map(write));
    assert.is(await remote.commits(), 2 * ROUNDS, 'every commit is in the one line of history');
    for (const [folder, text] of last) assert.is(await remote.read(`${folder}/x`), text);
  });

  test(`a takeover at any moment leaves nothing of the old leader above the marker (seed ${seed})`, async () => {
    await using remote = await GitRemote.create();
    const random = seeded(seed);
    let writer = await remote.writer();
    await writer.claim(1);
    for (let epoch = 2; epoch <= 5; epoch += 1) {
      const old = writer;
      writer = await remote.writer();
      // Writes on and on, as a leader does that does not know yet.
      const busy = (async () => {
        let end = 'done';
        for (let n = 0; end === 'done' || end === 'diverged'; n += 1)
          end = await code(old.commit(change(`e${epoch}/${n}`, String(epoch - 1))));
        return end;
      })();
      await new Promise((resolve) => setTimeout(resolve, Math.floor(random() * 150)));
      await writer.claim(epoch);
      await writer.commit(change('leader', String(epoch)));
      assert.is(await busy, 'superseded');
      assert.is(await code(old.commit(change('leader', 'stale'))), 'superseded');
    }
    const order = (await epochs(remote)).split('\n').filter(Boolean).map(Number).reverse();
    assert.equal(order, order.slice().sort(), 'epochs only grow');
    assert.is(await remote.read('leader/x'), '5');
  });
}
