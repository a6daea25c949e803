import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { GitHttp } from '../../hack/testing/git-http.ts';
import { GitRemote } from '../../hack/testing/git-remote.ts';
import type { GitError, GitErrorCode } from './errors.ts';
import { ensureBareRemote } from './remote.ts';
import type { Change, GitWriter } from './writer.ts';

/** Longer than a push here takes on a busy machine, short enough to wait for. */
const PATIENCE_MS = 4_000;

const change = (folder: string, text = '1'): Change => ({
  owns: [folder],
  files: new Map([[`${folder}/x`, text]]),
  subject: `write ${folder}`,
  trailers: { 'Gsv-Effect': folder },
});

interface Place {
  remote: GitRemote;
  http: GitHttp;
  credentialsFile: string;
}

interface Fault {
  name: string;
  /** Why it is met in practice. */
  reason: string;
  over: readonly ('path' | 'http')[];
  breaks: (place: Place) => Promise<unknown>;
  mends: (place: Place) => Promise<unknown>;
  /** How the push is refused; absent: the writer gets over it within the same call. */
  code?: GitErrorCode;
  words?: RegExp;
  /** The short patience: it is the fault that it waits for. */
  hangs?: boolean;
}

const nothing = async (): Promise<void> => {};
const both = ['path', 'http'] as const;

const FAULTS: readonly Fault[] = [
  {
    name: 'diverged',
    reason: 'somebody else commits to the branch',
    over: both,
    breaks: ({ remote }) => remote.foreign({ theirs: 't' }),
    mends: nothing,
  },
  {
    name: 'force-pushed',
    reason: 'somebody rewrites the tip',
    over: both,
    breaks: ({ remote }) => remote.foreign({ theirs: 't' }, { amend: true }),
    mends: nothing,
  },
  {
    name: 'branch deleted',
    reason: 'somebody cleans up',
    over: both,
    breaks: ({ remote }) => remote.git('update-ref', '-d', 'refs/heads/main'),
    mends: nothing,
  },
  {
    name: 'repository deleted and recreated',
    reason: 'a migration, or a restore that lost it',
    over: both,
    breaks: ({ remote }) => rm(remote.path, { recursive: true }),
    mends: ({ remote }) => ensureBareRemote(remote.path),
    code: 'remote_unreachable',
    words: /not (appear to be a git repository|found)|does not exist/i,
  },
  {
    name: 'ref locked',
    reason: 'a git that was killed on the server leaves its lock',
    over: both,
    breaks: ({ remote }) => writeFile(join(remote.path, 'refs/heads/main.lock'), ''),
    mends: ({ remote }) => rm(join(remote.path, 'refs/heads/main.lock')),
    code: 'rejected',
    words: /failed to update ref.*File exists/,
  },
  {
    name: 'full',
    reason: 'the host limits what one push may bring',
    over: both,
    breaks: ({ remote }) => remote.git('config', 'receive.maxInputSize', '50'),
    mends: ({ remote }) => remote.git('config', '--unset', 'receive.maxInputSize'),
    code: 'rejected',
    words: /exceeds maximum allowed size/,
  },
  {
    name: 'objects cannot be written',
    reason: 'a disk without room, or mounted read-only',
    over: both,
    breaks: async ({ remote }) => {
      await rename(join(remote.path, 'objects'), join(remote.path, 'objects.full'));
      await mkdir(join(remote.path, 'objects'));
      await writeFile(join(remote.path, 'objects/info'), '');
      await writeFile(join(remote.path, 'objects/pack'), '');
    },
    mends: async ({ remote }) => {
      await rm(join(remote.path, 'objects'), { recursive: true });
      await rename(join(remote.path, 'objects.full'), join(remote.path, 'objects'));
    },
    code: 'rejected',
  },
  {
    name: 'rejected by a hook',
    reason: 'a policy of the host; it names the moment and the push, which differ each time',
    over: both,
    breaks: ({ remote }) =>
      remote.hook(
        'pre-receive',
        'read old new ref; echo "change freeze (request 2741$$ of $(date +%Y-%m-%dT%H:%M:%S)) refuses $new, ask https://bot:hunter2@wiki.example/x (you are first-password)" >&2; exit 1',
      ),
    mends: ({ remote }) => rm(join(remote.path, 'hooks/pre-receive')),
    code: 'rejected',
    words: /pre-receive hook declined; change freeze .* refuses …, ask/,
  },
  {
    name: 'protected branch',
    reason: 'only some may push to it',
    over: both,
    breaks: ({ remote }) =>
      remote.hook(
        'update',
        'echo "You are not allowed to push code to protected branches on this project." >&2; exit 1',
      ),
    mends: ({ remote }) => rm(join(remote.path, 'hooks/update')),
    code: 'rejected',
    words: /hook declined; You are not allowed to push code to protected branches/,
  },
  {
    name: 'hanging',
    reason: 'a hook or a disk that waits for something',
    over: ['path'],
    breaks: ({ remote }) => remote.hook('pre-receive', 'exec sleep 30 >/dev/null 2>&1'),
    mends: ({ remote }) => rm(join(remote.path, 'hooks/pre-receive')),
    code: 'remote_unreachable',
    words: /no answer in time/,
    hangs: true,
  },
  {
    name: 'silent server',
    reason: 'a firewall that swallows packets',
    over: ['http'],
    breaks: ({ http }) => http.fails({ hang: true }),
    mends: ({ http }) => http.fails(undefined),
    code: 'remote_unreachable',
    words: /no answer in time/,
    hangs: true,
  },
  {
    name: 'credentials expired',
    reason: 'tokens are rotated in the file that is mounted',
    over: ['http'],
    breaks: ({ http }) => http.accepts('robot:second-password'),
    mends: ({ http, credentialsFile }) =>
      writeFile(credentialsFile, `http://robot:second-password@127.0.0.1:${http.port}\n`),
    code: 'auth_failed',
    words: /Authentication failed/,
  },
  {
    name: 'server down',
    reason: 'an upgrade of the Git host',
    over: ['http'],
    breaks: ({ http }) => http.close(),
    mends: ({ http }) => http.open(),
    code: 'remote_unreachable',
    words: /Failed to connect|Couldn't connect/,
  },
  {
    name: 'server overloaded',
    reason: 'a proxy answers for a host that is away',
    over: ['http'],
    breaks: ({ http }) => http.fails({ status: 503, words: 'try again later' }),
    mends: ({ http }) => http.fails(undefined),
    code: 'remote_unreachable',
    words: /503/,
  },
  {
    name: 'reply lost',
    reason: 'the connection breaks after the push was applied',
    over: ['http'],
    breaks: ({ http }) => http.fails({ only: '/git-receive-pack', cutReplyAt: 0 }),
    mends: ({ http }) => http.fails(undefined),
  },
];

async function outcome(writer: GitWriter, wanted: Change): Promise<GitError | undefined> {
  return writer.commit(wanted).then(
    () => undefined,
    (error: GitError) => error,
  );
}

async function begin(over: 'path' | 'http', hangs: boolean, work: (place: Place, writer: GitWriter) => Promise<void>) {
  await using remote = await GitRemote.create();
  const http = await GitHttp.start(remote.path);
  const credentialsFile = join(remote.folder, 'credentials');
  try {
    http.credentials = 'robot:first-password';
    await writeFile(credentialsFile, `http://robot:first-password@127.0.0.1:${http.port}\n`);
    const writer = await remote.writer('writer', {
      ...(over === 'http' ? { remote: `http://127.0.0.1:${http.port}/remote.git`, credentialsFile } : {}),
      ...(hangs ? { timeoutMs: PATIENCE_MS } : {}),
    });
    await work({ remote, http, credentialsFile }, writer);
  } finally {
    await http.close();
  }
}

let recovered = 0;
const cases = FAULTS.flatMap((fault) => fault.over.map((over) => ({ fault, over })));

for (const { fault, over } of cases) {
  test(`${fault.name} over ${over}: ${fault.code ?? 'no error'}, and the next push works without a restart`, () =>
    begin(over, fault.hangs ?? false, async (place, writer) => {
      await writer.commit(change('before'));
      await fault.breaks(place);
      const met = await outcome(writer, change('during'));
      assert.is(met?.code, fault.code, `${fault.reason}: ${met?.message}`);
      if (fault.words) assert.match(met?.words ?? '', fault.words);
      if (met) {
        assert.not.match(met.words + met.message, over === 'http' ? /hunter2|password/ : /hunter2/);
        const again = await outcome(writer, change('during'));
        assert.is(again?.words, met.words, 'a retry says the same, so that status is not written again');
      }
      await fault.mends(place);
      await writer.commit(change('during'));
      await writer.commit(change('after'));
      const files = await place.remote.files();
      assert.ok(files.includes('during/x') && files.includes('after/x'), files.join());
      const effects = await place.remote.git('log', '--format=%(trailers:key=Gsv-Effect,valueonly)', 'main');
      assert.is(effects.split('\n').filter((effect) => effect === 'during').length, 1, 'written once');
      recovered += 1;
    }));
}

test('every fault of the table recovers', (t) => {
  t.diagnostic(`${recovered} of ${cases.length} recover without restart`);
  assert.is(recovered, cases.length);
});

/** Bytes between two cuts: coprime to all sizes of packets, so that over the suite every part is hit. */
const CUT_EVERY = 61;

test('a connection that breaks anywhere along a push or its answer loses and doubles nothing', (t) =>
  begin('http', false, async ({ remote, http }, writer) => {
    await writer.commit(change('measure'));
    await writer.commit(change('measured'));
    const { request, reply } = { ...http.lastPush };
    assert.ok(request > 0 && reply > 0, 'a push was measured');
    const points = [
      ...Array.from({ length: Math.ceil(request / CUT_EVERY) }, (_, at) => ({ cutRequestAt: at * CUT_EVERY })),
      ...Array.from({ length: Math.ceil(reply / 7) }, (_, at) => ({ cutReplyAt: at * 7 })),
    ];
    for (const [index, point] of points.entries()) {
      http.fault = { only: '/git-receive-pack', ...point };
      http.fired = 0;
      const error = await outcome(writer, change(`cut-${index}`));
      assert.ok(http.fired > 0, 'the cut happened');
      if (error) assert.is(error.code, 'remote_unreachable', error.message);
      http.fault = undefined;
      await writer.commit(change(`cut-${index}`));
    }
    const effects = (await remote.git('log', '--format=%(trailers:key=Gsv-Effect,valueonly)', 'main')).split('\n');
    const written = effects.filter((effect) => effect.startsWith('cut-'));
    assert.equal([...new Set(written)].length, points.length);
    assert.is(written.length, points.length, 'nothing twice');
    t.diagnostic(`${points.length} of ${points.length} cut points recover without restart`);
  }));

test('control: a writer that takes a lost reply for a failure would write twice, and the suite sees it', () =>
  begin('http', false, async ({ remote, http }, writer) => {
    await writer.commit(change('a'));
    http.fault = { only: '/git-receive-pack', cutReplyAt: 0 };
    await writer.commit(change('b'));
    http.fault = undefined;
    // What such a writer would do: the same change again, as a new commit.
    await writer.commit({ ...change('b'), force: 'careless' });
    const effects = await remote.git('log', '--format=%(trailers:key=Gsv-Effect,valueonly)', 'main');
    assert.is(effects.split('\n').filter((effect) => effect === 'b').length, 2);
  }));
