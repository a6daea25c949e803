import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import type { GitError, GitErrorCode } from './errors.ts';
import type { Change } from './writer.ts';

/** What a process may write into one file; blocks of the shell, 512 or 1024 bytes. */
const ROOM_BLOCKS = 8;
/** Does not compress below the room. Characters. */
const LARGE = 60_000;

/** Text of which no part repeats. */
function noise(length: number): string {
  let state = 42;
  const next = (): string => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state.toString(36);
  };
  let text = '';
  while (text.length < length) text += next();
  return text;
}

const change = (folder: string, text: string): Change => ({
  owns: [folder],
  files: new Map([[`${folder}/x`, text]]),
  subject: `write ${folder}`,
  trailers: { 'Gsv-Effect': folder },
});

const SIDES: readonly { side: string; command: string; code: GitErrorCode; words: RegExp; told: RegExp }[] = [
  {
    side: 'the remote',
    command: 'receive-pack',
    code: 'rejected',
    words: /File too large|unpack/,
    told: /the remote refuses the push/,
  },
  {
    side: 'our own repository',
    command: 'fast-import',
    code: 'local_failed',
    words: /^$/,
    told: /git fast-import ended: fatal: .*(File too large|cannot)/,
  },
];

for (const { side, command, code, words, told } of SIDES) {
  test(`${side} has no room for a commit: ${code}; small ones of others pass, and it passes when there is room`, async (t) => {
    await using remote = await GitRemote.create();
    const full = join(remote.folder, 'full');
    const fired = join(remote.folder, 'fired');
    const program = join(remote.folder, 'git-without-room');
    // The limit of file sizes fails a write as a full disk does, in the middle, and needs no rights.
    const limit = `echo x >>${fired}; trap '' XFSZ; ulimit -f ${ROOM_BLOCKS}`;
    const script = `#!/bin/sh\nif [ -e ${full} ]; then case " $* " in *" ${command} "*) ${limit};; esac; fi\nexec git "$@"\n`;
    await writeFile(program, script, { mode: 0o755 });
    const first = await remote.writer('writer', { program });
    await first.commit(change('before', '1'));
    await first.close();
    await writeFile(full, '');
    const writer = await remote.writer('writer', { program });
    const fails = async (): Promise<GitError> =>
      writer.commit(change('large', noise(LARGE))).then(
        () => {
          throw new Error('it was written');
        },
        (error: GitError) => error,
      );
    const met = await fails();
    t.diagnostic(met.message);
    assert.is(met.code, code, met.message);
    assert.match(met.words, words);
    assert.match(met.message, told);
    assert.ok((await readFile(fired, 'utf8')).length > 0, 'the limit was in force');
    const again = await fails();
    assert.is(again.words, met.words, 'a retry says the same');
    await writer.commit(change('small', '1'));
    await rm(full);
    await writer.commit(change('large', noise(LARGE)));
    assert.equal(await remote.files(), ['before/x', 'large/x', 'small/x']);
    await remote.git('fsck', '--strict', '--no-dangling');
    const effects = await remote.git('log', '--format=%(trailers:key=Gsv-Effect,valueonly)', 'main');
    assert.equal(effects.split('\n').filter(Boolean).sort(), ['before', 'large', 'small']);
  });
}
