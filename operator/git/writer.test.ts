import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import { GitError } from './errors.ts';
import { type Change, type GitWriter, NO_COMMIT } from './writer.ts';

const change = (folder: string, files: Record<string, string>, more: Partial<Change> = {}): Change => ({
  owns: [folder],
  files: new Map(Object.entries(files).map(([name, content]) => [`${folder}/${name}`, content])),
  subject: `write ${folder}`,
  trailers: {},
  ...more,
});

async function failure(promise: Promise<unknown>): Promise<GitError> {
  try {
    await promise;
  } catch (error) {
    assert.instance(error, GitError);
    return error as GitError;
  }
  throw new Error('nothing was thrown');
}

test('the first commit of an empty remote creates the branch and names its effect', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const trailers = { 'Gsv-Instance-Uid': 'uid-1', 'Gsv-Generation': '3', 'Gsv-Effect': 'e-9' };
  const done = await writer.commit(change('a', { 'x.yaml': 'x: 1\n' }, { subject: 'acme/claims', trailers }));
  assert.equal(done, { commit: await remote.git('rev-parse', 'main'), changed: true });
  assert.is(await remote.read('a/x.yaml'), 'x: 1');
  const show = await remote.git('log', '-1', '--format=%an <%ae> %cI%n%s%n%(trailers:unfold,only)', 'main');
  assert.is(
    show,
    'GSV operator <operator@gsv.invalid> 2026-03-01T12:00:00+00:00\nacme/claims\nGsv-Instance-Uid: uid-1\nGsv-Generation: 3\nGsv-Effect: e-9',
  );
});

test('what is there already makes no commit and answers with the one that wrote it', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const first = await writer.commit(change('a', { x: '1' }));
  await writer.commit(change('b', { x: '1' }));
  assert.equal(await writer.commit(change('a', { x: '1' })), { commit: first.commit, changed: false });
  const restarted = await remote.writer();
  assert.equal(await restarted.commit(change('a', { x: '1' })), { commit: first.commit, changed: false });
  assert.is(await remote.commits(), 2);
});

test('nothing to write where nothing ever was answers with the tip, or with the null commit', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  assert.equal(await writer.remove(change('a', {})), { commit: NO_COMMIT, changed: false });
  const { commit } = await writer.commit(change('b', { x: '1' }));
  assert.equal(await writer.remove(change('a', {})), { commit, changed: false });
});

test('only what the change owns is pruned', async () => {
  await using remote = await GitRemote.create();
  await remote.foreign({ 'a/foreign.txt': 'f', 'a/own/old': 'o', 'a/own-not/x': 'n' });
  const writer = await remote.writer();
  await writer.commit(change('a/own', { 'deep/new': '1', z: '2' }));
  assert.equal(await remote.files(), ['a/foreign.txt', 'a/own-not/x', 'a/own/deep/new', 'a/own/z']);
  await writer.remove(change('a/own', {}));
  assert.equal(await remote.files(), ['a/foreign.txt', 'a/own-not/x']);
});

test('a single file can be owned', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.commit({ owns: ['a/one'], files: new Map([['a/one', '1']]), subject: 's', trailers: {} });
  await writer.commit({ owns: ['a/two'], files: new Map([['a/two', '2']]), subject: 's', trailers: {} });
  await writer.remove({ owns: ['a/one'], subject: 's', trailers: {} });
  assert.equal(await remote.files(), ['a/two']);
});

test('foreign commits between ours survive, and a foreign edit of our file is undone', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.commit(change('a', { x: '1' }));
  await remote.foreign({ 'a/x': 'tampered', 'a/extra': 'e', 'docs/readme': 'hello' });
  const done = await writer.commit(change('a', { x: '1' }));
  assert.ok(done.changed);
  assert.equal(await remote.files(), ['a/x', 'docs/readme']);
  assert.is(await remote.read('a/x'), '1');
  assert.is(await remote.commits(), 3);
});

test('two writers on one remote never lose an update', async () => {
  await using remote = await GitRemote.create();
  const [one, two] = [await remote.writer(), await remote.writer()];
  const rounds = Array.from({ length: 12 }, (_, round) => round);
  const write = async (writer: GitWriter, who: string): Promise<void> => {
    for (const round of rounds) await writer.commit(change(`${who}/${round}`, { x: `${who} ${round}` }));
  };
  await Promise.all([write(one, 'one'), write(two, 'two')]);
  const expected = ['one', 'two'].flatMap((who) => rounds.map((round) => `${who}/${round}/x`)).sort();
  assert.equal((await remote.files()).sort(), expected);
  assert.is(await remote.commits(), 24);
});

test('200 concurrent changes share few commits, each answered with one that has its files', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const names = Array.from({ length: 200 }, (_, index) => `i/${index}`);
  const results = await Promise.all(
    names.map((name) => writer.commit(change(name, { x: name }, { trailers: { 'Gsv-Instance-Uid': name } }))),
  );
  assert.ok((await remote.commits()) <= 3, `${await remote.commits()} commits`);
  for (const [index, { commit }] of results.entries()) {
    if (index % 40 === 0) assert.is(await remote.read(`i/${index}/x`, commit), `i/${index}`);
  }
  const trailers = await remote.git('log', '--format=%(trailers:key=Gsv-Instance-Uid,valueonly)', 'main');
  assert.is(new Set(trailers.split('\n').filter(Boolean)).size, 200);
});

test('concurrent changes of one path keep their order, in commits of their own', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const results = await Promise.all(['1', '2', '3'].map((text) => writer.commit(change('a', { x: text }))));
  assert.is(new Set(results.map(({ commit }) => commit)).size, 3);
  for (const [index, { commit }] of results.entries()) assert.is(await remote.read('a/x', commit), String(index + 1));
  assert.is(await remote.read('a/x'), '3');
});

test('a rewritten remote is followed: what it lost is written again', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await remote.foreign({ base: 'b' });
  const first = await writer.commit(change('a', { x: '1' }));
  await remote.git('update-ref', 'refs/heads/main', `${first.commit}~1`);
  await remote.foreign({ other: 'o' });
  const again = await writer.commit(change('a', { x: '1' }));
  assert.ok(again.changed);
  await remote.foreign({ base: 'rewritten' }, { amend: true });
  await writer.commit(change('b', { x: '2' }));
  assert.equal(await remote.files(), ['a/x', 'b/x', 'base', 'other']);
  assert.is(await remote.read('base'), 'rewritten');
});

test('a branch that was set back is noticed, not pushed over', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const base = await writer.commit(change('a', { x: '1' }));
  await remote.foreign({ mistake: 'm' });
  await writer.commit(change('b', { x: '1' }));
  await remote.git('update-ref', 'refs/heads/main', base.commit);
  await writer.commit(change('c', { x: '1' }));
  assert.equal(await remote.files(), ['a/x', 'c/x']);
});

test('a deleted branch is created anew', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.commit(change('a', { x: '1' }));
  await remote.git('update-ref', '-d', 'refs/heads/main');
  assert.ok((await writer.commit(change('a', { x: '1' }))).changed);
  assert.equal(await remote.files(), ['a/x']);
  assert.is(await remote.commits(), 1);
});

test('a killed fast-import is replaced and nothing is lost', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.commit(change('a', { x: '1' }));
  const { importerPid } = writer;
  assert.type(importerPid, 'number');
  process.kill(importerPid ?? 0, 'SIGKILL');
  await writer.commit(change('b', { x: '2' }));
  assert.is.not(writer.importerPid, importerPid);
  assert.equal(await remote.files(), ['a/x', 'b/x']);
});

test('a reused local folder with a killed git’s leftovers works', async () => {
  await using remote = await GitRemote.create();
  const first = await remote.writer('same');
  await first.commit(change('a', { x: '1' }));
  await first.close();
  const git = join(remote.folder, 'same', 'repository.git');
  await writeFile(join(git, 'refs/gsv/work.lock'), '');
  await writeFile(join(git, 'refs/gsv/remote.lock'), '');
  await writeFile(join(git, 'packed-refs.lock'), '');
  const second = await remote.writer('same');
  await second.commit(change('b', { x: '2' }));
  assert.equal(await remote.files(), ['a/x', 'b/x']);
});

test('a local repository that is damaged or gone is rebuilt from the remote', async () => {
  await using remote = await GitRemote.create();
  const first = await remote.writer('same');
  await first.commit(change('a', { x: '1' }));
  await first.close();
  const objects = join(remote.folder, 'same', 'repository.git', 'objects');
  for (const name of await readdir(objects)) if (name.length === 2) await rm(join(objects, name), { recursive: true });
  const second = await remote.writer('same');
  await second.commit(change('b', { x: '2' }));
  await rm(join(remote.folder, 'same', 'repository.git'), { recursive: true });
  await second.commit(change('c', { x: '3' }));
  await rm(join(remote.folder, 'same'), { recursive: true });
  await second.commit(change('d', { x: '4' }));
  assert.equal(await remote.files(), ['a/x', 'b/x', 'c/x', 'd/x']);
});

test('repacking in between loses nothing and keeps the local repository small', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer('packed', { commitsPerRepack: 4 });
  for (let round = 0; round < 12; round += 1) await writer.commit(change('a', { x: String(round) }));
  await writer.close();
  assert.is(await remote.read('a/x'), '11');
  assert.is(await remote.commits(), 12);
  const objects = join(remote.folder, 'packed', 'repository.git', 'objects');
  const loose = (await readdir(objects)).filter((name) => name.length === 2);
  assert.equal(loose, []);
  assert.ok((await readdir(join(objects, 'pack'))).filter((name) => name.endsWith('.pack')).length <= 3);
});

test('close refuses what comes later and what waits, with a code', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.close();
  assert.is((await failure(writer.commit(change('a', { x: '1' })))).code, 'closed');
});
