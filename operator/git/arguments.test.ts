import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitHttp } from '../../hack/testing/git-http.ts';
import { GitRemote } from '../../hack/testing/git-remote.ts';

/** What may stand on a command line without `--end-of-options` before it: nothing that a user can choose. */
const OURS = /^([0-9a-f]{40}|refs\/gsv\/[a-z]+)(\^\{commit\})?$/;
/** Names that are options, shell or revision syntax where they are not expected. */
const HOSTILE = '--upload-pack=touch mark; $(touch mark) `touch mark` @{u} -c core.hooksPath=/tmp';

/** Every start of git, as its arguments and the hooks path that it was given. */
async function recorded(remote: GitRemote): Promise<{ program: string; calls: () => Promise<string[][]> }> {
  const log = join(remote.folder, 'calls');
  const program = join(remote.folder, 'recording-git');
  const script = `#!/bin/sh
{ printf '%s\\037' "$@"; printf 'hooks=%s\\036' "$GIT_CONFIG_KEY_0:$GIT_CONFIG_VALUE_0"; } >> '${log}'
exec git "$@"
`;
  await writeFile(program, script, { mode: 0o755 });
  const calls = async (): Promise<string[][]> =>
    (await readFile(log, 'utf8'))
      .split('\x1e')
      .filter(Boolean)
      .map((call) => call.split('\x1f'));
  return { program, calls };
}

/** What breaks the rules in one call. */
function faults([...call]: string[]): string[] {
  const hooks = call.pop();
  const command = call.findIndex((arg) => !arg.startsWith('-'));
  const rest = call.slice(command + 1);
  const end = rest.indexOf('--end-of-options');
  const loose = (end < 0 ? rest : rest.slice(0, end)).filter((arg) => !arg.startsWith('-') && !OURS.test(arg));
  const foreign = rest.filter((arg) => arg.includes('touch mark'));
  // The far end of a remote on this machine keeps its own hooks.
  const hooksOff = call[command] === 'receive-pack' || hooks === 'hooks=core.hooksPath:/dev/null';
  return [...loose, ...foreign, ...(hooksOff ? [] : [`hooks of ${call.join(' ')}`])];
}

const SEEN = ['init', 'fast-import', 'log', 'repack'];

for (const over of ['path', 'file', 'http'] as const) {
  test(`no text of a user is an argument of git, and hooks are off (${over})`, async () => {
    await using remote = await GitRemote.create();
    const { program, calls } = await recorded(remote);
    const http = await GitHttp.start(remote.path);
    const { port } = http;
    const address = { path: remote.path, file: `file://${remote.path}`, http: `http://127.0.0.1:${port}/remote.git` }[
      over
    ];
    const writer = await remote.writer('-w', { program, remote: address, branch: 'release/x', commitsPerRepack: 1 });
    await writer.claim(1);
    const wanted = {
      owns: ['a'],
      files: new Map([['a/x', HOSTILE]]),
      subject: HOSTILE,
      trailers: { 'Gsv-Effect': HOSTILE },
    };
    const { commit } = await writer.commit(wanted);
    await writer.commit({ ...wanted, force: commit });
    await writer.commit(wanted);
    await (await remote.writer('-w2', { program, remote: address, branch: 'release/x' })).claim(2);
    await writer.commit({ ...wanted, owns: ['b'], files: new Map() }).catch(() => undefined);
    const seen = await calls();
    await http.close();
    const names = new Set(seen.map((call) => call.find((arg) => !arg.startsWith('-'))));
    const commands = over === 'http' ? ['fetch', 'push', 'ls-remote'] : ['receive-pack', 'cat-file'];
    for (const name of [...SEEN, ...commands]) assert.ok(names.has(name), name);
    assert.equal(seen.flatMap(faults), []);
  });
}

test('control: a loose name, user text and live hooks are seen', () => {
  assert.equal(faults(['push', 'gsv', 'hooks=core.hooksPath:/dev/null']), ['gsv']);
  assert.equal(faults(['log', '--', 'x', 'hooks=:']), ['x', 'hooks of log -- x']);
  assert.equal(faults(['fetch', '--end-of-options', HOSTILE, 'hooks=core.hooksPath:/dev/null']), [HOSTILE]);
});
