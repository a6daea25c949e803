import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import { GitError, type GitErrorCode } from './errors.ts';
import { checkBranch, ensureBareRemote } from './remote.ts';
import { remoteFailure } from './words.ts';
import type { Change } from './writer.ts';

const change = (path: string, text: string, more: Partial<Change> = {}): Change => ({
  owns: [path],
  files: new Map([[`${path}/x`, text]]),
  subject: `write ${path}`,
  trailers: {},
  ...more,
});

async function failure(work: () => Promise<unknown>): Promise<GitError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof GitError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const PATHS = [
  '../x',
  'a/../../x',
  '/etc/passwd',
  'a//b',
  'a/',
  '',
  '.',
  '.git/config',
  'a/.git/hooks/post-checkout',
  'a/.gitattributes',
  '-x',
  'a b',
  'a\nM 100644 inline b',
  '"a"',
  'a\\b',
  'a\u202eb',
  'a\0b',
  `${'a/'.repeat(20)}b`,
  'a'.repeat(300),
];

test('a path that is not plain is refused before anything is done, as owned path and as file', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  for (const path of PATHS) {
    const owned = await failure(() => writer.commit({ owns: [path], files: new Map(), subject: 's', trailers: {} }));
    assert.is(owned.code, 'path_refused', JSON.stringify(path));
    const files = new Map([[`a/${path}`, 'x']]);
    // An empty last segment makes `a/`, which is refused as well.
    const file = await failure(() => writer.commit({ owns: ['a'], files, subject: 's', trailers: {} }));
    assert.is(file.code, 'path_refused', JSON.stringify(path));
  }
  assert.is(await remote.git('for-each-ref'), '');
});

test('a file outside of what the change owns is refused, and so are nested claims and a file that is a folder', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const wrong: Pick<Change, 'owns' | 'files'>[] = [
    { owns: ['a'], files: new Map([['b/x', '1']]) },
    { owns: ['a'], files: new Map([['ab', '1']]) },
    { owns: ['a', 'a/b'], files: new Map() },
    {
      owns: ['a'],
      files: new Map([
        ['a/b', '1'],
        ['a/b/c', '2'],
      ]),
    },
    {
      owns: ['a'],
      files: new Map([
        ['a/b/c', '2'],
        ['a/b', '1'],
      ]),
    },
  ];
  for (const part of wrong) {
    const error = await failure(() => writer.commit({ ...part, subject: 's', trailers: {} }));
    assert.is(error.code, 'path_refused');
  }
});

test('text of a tenant in a subject or trailer cannot pose as another trailer', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const trailers = { 'Gsv-Instance-Uid': 'u\n\nGsv-Effect: forged\u2028Gsv-Epoch: 9' };
  await writer.commit(change('a', '1', { subject: 'x\n\nGsv-Effect: forged', trailers }));
  assert.is(
    await remote.git('log', '-1', '--format=%(trailers:key=Gsv-Effect,valueonly)%(trailers:key=Gsv-Epoch)', 'main'),
    '',
  );
  const error = await failure(() => writer.commit(change('b', '1', { trailers: { 'a b': 'c' } })));
  assert.is(error.code, 'path_refused');
});

test('somebody else’s file where our folder must be is left alone; others of the batch go on', async () => {
  await using remote = await GitRemote.create();
  await remote.foreign({ 'a/b': 'their file' });
  const writer = await remote.writer();
  const [blocked, fine] = await Promise.all([
    failure(() => writer.commit(change('a/b/c', '1'))),
    writer.commit(change('d', '1')),
  ]);
  assert.is(blocked.code, 'path_conflict');
  assert.ok(fine.changed);
  assert.equal(await remote.files(), ['a/b', 'd/x']);
});

test('a push that loses the race is tried again on top of the winner', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await writer.commit(change('a', '1'));
  await remote.hook(
    'update',
    `test -f lost && exit 0
     touch lost
     tree=$(git rev-parse 'main^{tree}')
     winner=$(GIT_AUTHOR_NAME=w GIT_AUTHOR_EMAIL=w@example.com GIT_COMMITTER_NAME=w GIT_COMMITTER_EMAIL=w@example.com git commit-tree -p main -m winner "$tree")
     git update-ref refs/heads/main "$winner"`,
  );
  const done = await writer.commit(change('b', '2'));
  assert.ok((await stat(join(remote.path, 'lost'))).isFile(), 'the race happened');
  assert.is(await remote.git('log', '--format=%s', 'main'), 'write b\nwinner\nwrite a');
  assert.is(await remote.git('rev-parse', 'main'), done.commit);
});

test('a push whose answer is lost is found on the remote, not done twice', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  // The ref is written, the report is not: receive-pack dies between the two.
  await remote.hook(
    'reference-transaction',
    'cat >/dev/null; test "$1" = committed || exit 0; touch cut; kill -9 $PPID',
  );
  const done = await writer.commit(change('a', '1'));
  assert.ok((await stat(join(remote.path, 'cut'))).isFile(), 'the cut happened');
  assert.equal(done, { commit: await remote.git('rev-parse', 'main'), changed: true });
  assert.is(await remote.commits(), 1);
});

test('a hook of the remote that refuses is reported in its own words, and the writer goes on', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await remote.hook(
    'pre-receive',
    'test -f open && exit 0; echo "change freeze, see https://bot:hunter2@wiki.example/freeze" >&2; exit 1',
  );
  const error = await failure(() => writer.commit(change('a', '1')));
  assert.is(error.code, 'rejected');
  assert.match(error.message, /change freeze/);
  assert.not.match(error.message, /hunter2/);
  await writeFile(join(remote.path, 'open'), '');
  assert.ok((await writer.commit(change('a', '1'))).changed);
});

test('one change that the remote refuses does not take its batch with it', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await remote.hook('update', `git grep -q poison "$3" && { echo "poison found" >&2; exit 1; }; exit 0`);
  const names = Array.from({ length: 10 }, (_, index) => `i${index}`);
  const outcomes = await Promise.allSettled(
    names.map((name) => writer.commit(change(name, name === 'i6' ? 'poison' : 'fine'))),
  );
  const refused = outcomes.flatMap((outcome, index) => (outcome.status === 'rejected' ? [names[index]] : []));
  assert.equal(refused, ['i6']);
  assert.is((await remote.files()).length, 9);
});

test('a remote that is not there is a named error, at the start and later, and its return is enough', async () => {
  await using remote = await GitRemote.create();
  const open = await failure(() => remote.writer('w0', { remote: join(remote.folder, 'nowhere.git') }));
  assert.is(open.code, 'remote_unreachable');
  const writer = await remote.writer();
  await rename(remote.path, `${remote.path}.away`);
  assert.is((await failure(() => writer.commit(change('a', '1')))).code, 'remote_unreachable');
  await rename(`${remote.path}.away`, remote.path);
  assert.ok((await writer.commit(change('a', '1'))).changed);
});

test('a patient writer starts without its remote, names it at the first commit, and works when it is there', async () => {
  await using remote = await GitRemote.create();
  await rename(remote.path, `${remote.path}.away`);
  const writer = await remote.writer('patient', { patient: true });
  assert.is((await failure(() => writer.commit(change('a', '1')))).code, 'remote_unreachable');
  await rename(`${remote.path}.away`, remote.path);
  assert.ok((await writer.commit(change('a', '1'))).changed);
});

test('a missing git says what to install', async () => {
  await using remote = await GitRemote.create();
  const error = await failure(() => remote.writer('w', { program: 'no-such-git-program' }));
  assert.is(error.code, 'git_missing');
  assert.match(error.message, /install git/);
});

test('a remote that would run a program or an option is refused', async () => {
  await using remote = await GitRemote.create();
  const mark = join(remote.folder, 'mark');
  for (const address of [
    `ext::sh -c touch% ${mark}`,
    `--upload-pack=touch ${mark}`,
    `-oProxyCommand=touch ${mark}:x`,
  ]) {
    assert.ok(
      ['remote_unreachable', 'auth_failed'].includes(
        (await failure(() => remote.writer('w', { remote: address }))).code,
      ),
    );
  }
  assert.throws(() => execFileSync('ls', [mark], { stdio: 'ignore' }));
});

test('branch names that are options, ranges or locks are refused', () => {
  for (const branch of ['-x', 'a..b', 'a b', 'a.lock', 'a/', 'a//b', '', 'a~1', 'a:b', '@{u}']) {
    assert.throws(
      () => checkBranch(branch),
      (error: GitError) => error.code === 'path_refused',
      branch,
    );
  }
  assert.is(checkBranch('release/2026-03'), 'release/2026-03');
});

test('hooks in the local repository never run', async () => {
  await using remote = await GitRemote.create();
  const first = await remote.writer('same');
  await first.commit(change('a', '1'));
  const hooks = join(remote.folder, 'same', 'repository.git', 'hooks');
  await mkdir(hooks, { recursive: true });
  await writeFile(join(hooks, 'pre-push'), `#!/bin/sh\ntouch ${join(remote.folder, 'ran')}\nexit 1\n`, { mode: 0o755 });
  await first.commit(change('b', '1'));
  assert.throws(() => execFileSync('ls', [join(remote.folder, 'ran')], { stdio: 'ignore' }));
});

test('the credentials file reaches the remote as basic authentication and no error shows it', async () => {
  await using remote = await GitRemote.create();
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="git"' }).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const credentialsFile = join(remote.folder, "it's a file");
  await writeFile(credentialsFile, `http://robot:hunter2@127.0.0.1:${port}\n`, { mode: 0o600 });
  const address = `http://127.0.0.1:${port}/r.git`;
  const error = await failure(() => remote.writer('w', { remote: address, credentialsFile }));
  server.close();
  assert.is(error.code, 'auth_failed');
  assert.not.match(error.message, /hunter2/);
  assert.ok(seen.includes(`Basic ${Buffer.from('robot:hunter2').toString('base64')}`), 'the credentials were offered');
});

test('a token in an address is scrubbed from every error', () => {
  const cases: [stderr: string, code: GitErrorCode][] = [
    ["fatal: unable to access 'https://tok3n@git.example/r.git/': Could not resolve host", 'remote_unreachable'],
    ["fatal: Authentication failed for 'https://bot:tok3n@git.example/r.git/'", 'auth_failed'],
    ["fatal: unable to access 'https://tok3n@git.example/': The requested URL returned error: 403", 'auth_failed'],
    ["fatal: could not read Username for 'https://git.example': terminal prompts disabled", 'auth_failed'],
    ['git@git.example: Permission denied (publickey).', 'auth_failed'],
    ['', 'remote_unreachable'],
  ];
  for (const [stderr, code] of cases) {
    const error = remoteFailure('pushing', { stderr, late: false });
    assert.is(error.code, code, stderr);
    assert.not.match(error.message, /tok3n/);
  }
});

test('the bare remote of the quickstart is made once, kept, and never made over something else', async () => {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  const { commit } = await writer.commit(change('a', '1'));
  await ensureBareRemote(remote.path);
  assert.is(await remote.git('rev-parse', 'main'), commit);
  await ensureBareRemote(join(remote.folder, 'deep', 'er', 'remote.git'));
  const occupied = join(remote.folder, 'occupied');
  await mkdir(occupied);
  await writeFile(join(occupied, 'precious'), 'p');
  const error = await failure(() => ensureBareRemote(occupied));
  assert.is(error.code, 'local_failed');
  assert.match(error.message, /not a bare Git repository/);
  assert.is(await readFile(join(occupied, 'precious'), 'utf8'), 'p');
});

// Only root can give a folder away, and root is who meets a volume that belongs to another user.
if (process.getuid?.() === 0) {
  test('a remote that belongs to another user is served to root', async () => {
    await using remote = await GitRemote.create();
    execFileSync('chown', ['-R', '65534', remote.path]);
    const writer = await remote.writer();
    const done = await writer.commit(change('a', '1'));
    assert.ok(done.changed);
    assert.equal(await (await remote.writer()).commit(change('a', '1')), { ...done, changed: false });
  });
}
