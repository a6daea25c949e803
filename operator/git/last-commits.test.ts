import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import type { GitError } from './errors.ts';
import { LastCommits } from './last-commits.ts';
import { GitProgram } from './program.ts';
import { ensureBareRemote } from './remote.ts';
import type { Change } from './writer.ts';

const change = (name: string, text = name): Change => ({
  owns: [`tenants/${name}.yaml`, `tenants/${name}`],
  files: new Map([[`tenants/${name}.yaml`, text]]),
  subject: name,
  trailers: {},
});

/** A git that notes the command of each of its starts. */
async function counted(remote: GitRemote): Promise<{ program: string; starts: (command: string) => Promise<number> }> {
  const log = join(remote.folder, 'starts');
  const program = join(remote.folder, 'counted-git');
  await writeFile(program, `#!/bin/sh\nprintf '%s ' "$@" >> '${log}'\necho >> '${log}'\nexec git "$@"\n`, {
    mode: 0o755,
  });
  const starts = async (command: string): Promise<number> =>
    (await readFile(log, 'utf8').catch(() => '')).split('\n').filter((line) => line.split(' ').includes(command))
      .length;
  return { program, starts };
}

test('a start asks about everything, batch by batch, with one walk and without talking to receive-pack', async () => {
  await using remote = await GitRemote.create();
  const first = await remote.writer();
  const names = Array.from({ length: 20 }, (_, index) => `i-${index}`);
  const made = new Map<string, string>();
  for (const name of names) made.set(name, (await first.commit(change(name))).commit);
  const { program, starts } = await counted(remote);
  const second = await remote.writer('second', { program });
  const before = { log: await starts('log'), talks: await starts('receive-pack') };
  for (const name of names)
    assert.equal(await second.commit(change(name)), { commit: made.get(name), changed: false }, name);
  assert.is((await starts('log')) - before.log, 1, 'walks');
  assert.is((await starts('receive-pack')) - before.talks, 0, 'conversations');
  assert.is((await second.commit(change('i-0', 'other'))).changed, true);
  assert.is((await starts('receive-pack')) - before.talks, 1, 'control: a push is seen by the count');
});

test('an unchanged Instance on a remote that moved or went is not answered from memory', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const changed = async (): Promise<boolean> => (await writer.commit(change('a'))).changed;
  await writer.commit(change('a'));
  assert.is(await changed(), false, 'the process that reads the remote runs');
  for (const prepare of [() => remote.git('pack-refs', '--all'), () => remote.git('repack', '-adq')]) {
    await prepare();
    assert.is(await changed(), false);
    await remote.foreign({ 'tenants/a.yaml': 'somebody else was here' });
    assert.is(await changed(), true, 'their change is taken back');
    assert.is(await remote.read('tenants/a.yaml'), 'a');
    assert.is(await changed(), false);
  }
  await remote.git('update-ref', '-d', 'refs/heads/main');
  assert.is(await changed(), true, 'the branch was deleted');
  await rm(remote.path, { recursive: true });
  const refusal = await changed().catch((error: unknown) => error);
  assert.is((refusal as GitError).code, 'remote_unreachable');
  await ensureBareRemote(remote.path);
  assert.is(await changed(), true, 'another repository stands there');
  assert.is(await changed(), false);
});

test('the last commit that touched any of the paths is the answer, a folder counts by what is in it', async () => {
  await using remote = await GitRemote.create();
  const commit = async (files: Record<string, string>): Promise<string> => {
    await remote.foreign(files);
    return remote.git('rev-parse', 'main');
  };
  const one = await commit({ 'a/x/1': '1', 'b.yaml': '1' });
  const two = await commit({ 'a/x/2': '2' });
  const three = await commit({ 'b/1': '1' });
  const found = new LastCommits({
    program: new GitProgram({ directory: remote.folder, config: [['safe.directory', '*']] }),
    gitDirectory: remote.path,
  });
  const ask = async (tip: string, ...paths: string[]) => (await found.find(tip, new Map([['', paths]]))).get('');
  const cases: [tip: string, paths: string[], wanted: string | undefined, reason: string][] = [
    [three, ['a'], two, 'a folder, by its newest file'],
    [three, ['a/x/1'], one, 'an older file of it, further down the same walk'],
    [three, ['b.yaml', 'b'], three, 'the newest of two paths, both of which are known'],
    [three, ['b.yaml'], one, 'one of them alone'],
    [three, ['c'], undefined, 'nothing'],
    [two, ['b.yaml', 'b'], one, 'as of another tip'],
    [two, ['b'], undefined, 'not there yet at that tip'],
  ];
  for (const [tip, paths, wanted, reason] of cases) assert.is(await ask(tip, ...paths), wanted, reason);
  found.forget();
});
