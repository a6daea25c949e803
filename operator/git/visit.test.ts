import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import type { GitError } from './errors.ts';
import type { Change } from './writer.ts';

/** Longer than pack-objects takes for one small commit. Seconds. */
const GREETING_S = 1;

const change = (folder: string): Change => ({
  owns: [folder],
  files: new Map([[`${folder}/x`, folder]]),
  subject: `write ${folder}`,
  trailers: {},
});

/** A git that notes its conversations and packs, and does `prelude` first. */
async function spy(remote: GitRemote, prelude: string): Promise<{ program: string; used: () => Promise<string[]> }> {
  const program = join(remote.folder, 'spied-git');
  const notes = join(remote.folder, 'notes');
  const note = `case "$*" in *receive-pack*) echo receive-pack >>${notes};; *pack-objects*) echo pack-objects >>${notes};; esac`;
  await writeFile(program, `#!/bin/sh\n${note}\n${prelude}\nexec git "$@"\n`, { mode: 0o755 });
  return {
    program,
    used: async () => {
      const text = await readFile(notes, 'utf8').catch(() => '');
      await rm(notes, { force: true });
      return text.split('\n').filter(Boolean);
    },
  };
}

test('the commit after a lost race is whole at once', async () => {
  await using remote = await GitRemote.create();
  const { program, used } = await spy(remote, '');
  const writer = await remote.writer('writer', { program });
  await writer.commit(change('a'));
  await remote.foreign({ theirs: 't' });
  await used();
  await writer.commit(change('b'));
  // The lost race, then one conversation with everything; a pack that lacks something would need another.
  assert.equal((await used()).sort(), ['pack-objects', 'receive-pack', 'receive-pack']);
  await writer.commit(change('c'));
  assert.equal(await used(), ['receive-pack'], "the commit's own pack is enough again");
  assert.equal(await remote.files(), ['a/x', 'b/x', 'c/x', 'theirs']);
});

test('what the branch never got is packed anew, and arrives whole although the remote greets long after a small pack is made', async () => {
  await using remote = await GitRemote.create();
  const { program, used } = await spy(remote, `case "$1" in receive-pack) sleep ${GREETING_S};; esac`);
  const writer = await remote.writer('writer', { program });
  await remote.hook('pre-receive', 'exit 1');
  await writer.commit(change('a')).catch(() => undefined);
  await rm(join(remote.path, 'hooks/pre-receive'));
  await writer.commit(change('b'));
  await used();
  await writer.commit(change('a'));
  assert.equal((await used()).sort(), ['pack-objects', 'receive-pack', 'receive-pack']);
  assert.equal(await remote.files(), ['a/x', 'b/x']);
});

/** The end of the answer comes late, after the verdict was read. */
const LATE_END = 'case "$1" in receive-pack) git "$@"; sleep 0.2; printf 0000; exit;; esac';
const LOOKS = 100;
const LOOK_MS = 50;

test('what the remote says after its verdict is read, so that no conversation stays open', async () => {
  await using remote = await GitRemote.create();
  const { program, used } = await spy(remote, LATE_END);
  const writer = await remote.writer('writer', { program });
  await writer.commit(change('a'));
  const pipes = () => process.getActiveResourcesInfo().filter((name) => name === 'PipeWrap').length;
  const few = async (limit: number): Promise<boolean> => {
    for (let look = 0; look < LOOKS && pipes() > limit; look += 1) await delay(LOOK_MS);
    return pipes() <= limit;
  };
  await delay(LOOK_MS * 10);
  const before = pipes();
  for (const name of ['b', 'c', 'd', 'e']) await writer.commit(change(name));
  assert.ok((await used()).length >= 5, 'there were conversations');
  assert.ok(await few(before), `${pipes()} pipes are open, ${before} were before`);
});

for (const { times, code } of [
  { times: 1, code: undefined },
  { times: 9, code: 'local_failed' },
]) {
  test(`a pack-objects that breaks off ${times} times is our own failure: ${code ?? 'repaired in the same call'}`, async () => {
    await using remote = await GitRemote.create();
    const left = join(remote.folder, 'left');
    const breaks = `n=$(cat ${left} 2>/dev/null || echo 0); if [ "$n" -gt 0 ]; then echo $((n-1)) >${left}; printf PACK; echo "no memory" >&2; exit 3; fi`;
    const { program } = await spy(remote, `case "$*" in *pack-objects*) ${breaks};; esac; ${LATE_END}`);
    const writer = await remote.writer('writer', { program });
    await writer.commit(change('a'));
    await remote.foreign({ theirs: 't' });
    await writeFile(left, String(times));
    const error = await writer.commit(change('b')).then(
      () => undefined,
      (failure: GitError) => failure,
    );
    assert.is(error?.code, code, error?.message);
    if (error) assert.match(error.message, /git pack-objects broke off: no memory/);
    assert.ok(Number(await readFile(left, 'utf8')) < times, 'it broke off');
    await writeFile(left, '0');
    await writer.commit(change('b'));
    assert.equal(await remote.files(), ['a/x', 'b/x', 'theirs']);
  });
}
