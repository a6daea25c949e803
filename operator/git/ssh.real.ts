import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import { makeKey, Sshd } from '../../hack/testing/sshd.ts';
import { branchPaths } from '../audit/git-paths.ts';
import type { GitAccess } from './access.ts';
import type { GitError, GitErrorCode } from './errors.ts';
import type { Change, GitWriter } from './writer.ts';

const change = (folder: string): Change => ({
  owns: [folder],
  files: new Map([[`${folder}/x`, folder]]),
  subject: `write ${folder}`,
  trailers: { 'Gsv-Effect': folder },
});

interface Place {
  remote: GitRemote;
  sshd: Sshd;
  writer: GitWriter;
  access: Required<GitAccess> & { sshKeyFile: string; sshKnownHostsFile: string };
}

/** A writer that reaches its remote by SSH alone. The names of its files are as unpleasant as they may be. */
async function begin(work: (place: Place) => Promise<void>): Promise<void> {
  await using remote = await GitRemote.create();
  const folder = join(remote.folder, `it's 100%h "here"`);
  await mkdir(folder);
  const access = {
    credentialsFile: undefined,
    sshKeyFile: join(folder, 'key'),
    sshKnownHostsFile: join(folder, 'known hosts'),
  };
  const sshd = await Sshd.start(join(remote.folder, 'sshd'), remote.path, await makeKey(access.sshKeyFile));
  try {
    await writeFile(access.sshKnownHostsFile, sshd.knownHost);
    const writer = await remote.writer('writer', { remote: sshd.url, ...access });
    await work({ remote, sshd, writer, access });
  } finally {
    await sshd.close();
  }
}

async function outcome(writer: GitWriter, wanted: Change): Promise<GitError | undefined> {
  return writer.commit(wanted).then(
    () => undefined,
    (error: GitError) => error,
  );
}

test('pushes and fetches over SSH with the key and the hosts of its settings; the auditor reads the same way', () =>
  begin(async ({ remote, sshd, writer, access }) => {
    await writer.commit(change('a'));
    await remote.foreign({ theirs: 't' });
    await writer.commit(change('b'));
    assert.equal(await remote.files(), ['a/x', 'b/x', 'theirs']);
    assert.equal(await branchPaths(sshd.url, 'main', access), ['a/x', 'b/x', 'theirs']);
  }));

interface Fault {
  name: string;
  /** Why it is met in practice. */
  reason: string;
  breaks: (place: Place) => Promise<unknown>;
  mends: (place: Place) => Promise<unknown>;
  code: GitErrorCode;
  words: RegExp;
}

const FAULTS: readonly Fault[] = [
  {
    name: 'another key',
    reason: 'the deploy key was replaced at the host, not yet here',
    breaks: ({ access }) => swapKey(access.sshKeyFile, 'away'),
    mends: ({ access }) => swapKey(access.sshKeyFile, 'back'),
    code: 'auth_failed',
    words: /Permission denied \(publickey\)/,
  },
  {
    name: 'another host key',
    reason: 'the host was rebuilt, or somebody answers in its place',
    breaks: ({ sshd }) => sshd.renewHostKey(),
    mends: ({ sshd, access }) => writeFile(access.sshKnownHostsFile, sshd.knownHost),
    code: 'auth_failed',
    words: /Host key verification failed/,
  },
  {
    name: 'an unknown host',
    reason: 'nobody has said which key is the right one',
    breaks: ({ access }) => writeFile(access.sshKnownHostsFile, ''),
    mends: ({ sshd, access }) => writeFile(access.sshKnownHostsFile, sshd.knownHost),
    code: 'auth_failed',
    words: /Host key verification failed/,
  },
  {
    name: 'nobody listens',
    reason: 'an upgrade of the Git host',
    breaks: ({ sshd }) => sshd.close(),
    mends: ({ sshd }) => sshd.open(),
    code: 'remote_unreachable',
    words: /Connection refused/,
  },
  {
    name: 'a hook refuses',
    reason: 'a policy of the host',
    breaks: ({ remote }) => remote.hook('pre-receive', 'echo "change freeze" >&2; exit 1'),
    mends: ({ remote }) => remote.hook('pre-receive', 'exit 0'),
    code: 'rejected',
    words: /pre-receive hook declined; change freeze/,
  },
];

async function swapKey(file: string, way: 'away' | 'back'): Promise<void> {
  if (way === 'back') return rename(`${file}.right`, file);
  await rename(file, `${file}.right`);
  await makeKey(file);
}

for (const { name, reason, breaks, mends, code, words } of FAULTS) {
  test(`${name}: ${code}, and the next push works without a restart`, () =>
    begin(async (place) => {
      const { writer, remote } = place;
      await writer.commit(change('before'));
      await breaks(place);
      const met = await outcome(writer, change('during'));
      assert.is(met?.code, code, `${reason}: ${met?.message}`);
      assert.match(met?.words ?? '', words);
      assert.is((await outcome(writer, change('during')))?.words, met?.words, 'a retry says the same');
      await mends(place);
      await writer.commit(change('during'));
      assert.equal(await remote.files(), ['before/x', 'during/x']);
    }));
}

/** Cuts of each direction, spread over the greeting, the login and the push itself. */
const CUTS = 5;
/** The verdict and the end of the session: the push has arrived when this is cut. Bytes. */
const TAIL = 60;

test('a connection that is lost anywhere in a push or its answer loses and doubles nothing', (t) =>
  begin(async ({ remote, sshd, writer }) => {
    await writer.commit(change('measure'));
    await writer.commit(change('measured'));
    const { last } = sshd;
    const spread = (['request', 'reply'] as const).flatMap((of) =>
      Array.from({ length: CUTS }, (_, index) => ({ of, at: Math.floor((last[of] * (index + 0.5)) / CUTS) })),
    );
    const cuts = [...spread, { of: 'reply' as const, at: last.reply - TAIL }];
    let lost = 0;
    for (const [index, cut] of cuts.entries()) {
      sshd.cut = cut;
      sshd.fired = 0;
      const error = await outcome(writer, change(`cut-${index}`));
      assert.is(sshd.fired, 1, `${cut.of} cut at ${cut.at} of ${last[cut.of]}`);
      if (error) {
        assert.is(error.code, 'remote_unreachable', error.message);
        lost += 1;
      }
      await writer.commit(change(`cut-${index}`));
    }
    assert.ok(lost > 0 && lost < cuts.length, `${lost} of ${cuts.length} pushes had not arrived`);
    const effects = (await remote.git('log', '--format=%(trailers:key=Gsv-Effect,valueonly)', 'main')).split('\n');
    const written = effects.filter((effect) => effect.startsWith('cut-'));
    assert.is(new Set(written).size, cuts.length, 'nothing is lost');
    assert.is(written.length, cuts.length, 'nothing twice');
    t.diagnostic(`${cuts.length} cuts, ${lost} before the push had arrived`);
  }));

test('control: this server does refuse whoever has no key, so the settings are what opens it', () =>
  begin(async ({ remote, sshd, access }) => {
    const { sshKnownHostsFile } = access;
    const met = await remote.writer('stranger', { remote: sshd.url, sshKnownHostsFile }).then(
      () => undefined,
      (error: GitError) => error,
    );
    assert.is(met?.code, 'auth_failed', met?.message);
  }));
