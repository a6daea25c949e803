/** `npm run bench:operator -- [--quick] [--only=ROW,…]`: the rows of the operator's figures, side by side in one run. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { deflateSync } from 'node:zlib';
import { childEnvironment } from '../../config/settings.ts';
import type { Change, GitWriter } from '../../operator/git/writer.ts';
import { defaultPlatform, instanceOwns, renderInstance } from '../../operator/render/render.ts';
import { GitRemote } from '../testing/git-remote.ts';
import { cacheMemory } from './cache-memory.ts';
import { restarts } from './restart.ts';

const quick = process.argv.includes('--quick');
const MANY = quick ? 300 : 10_000;
const FEW = quick ? 30 : 100;
/** Making all of them Ready first takes minutes. */
const RESTARTED = quick ? FEW : MANY;
/** An odd number, so that the median is a measured value. */
const ROUNDS = quick ? 1 : 5;
const PLATFORM = defaultPlatform('https://git.example.com/r.git', 'main');

/** What the operator commits for one Instance; `plan` makes another tree of it. */
function change(index: number, plan = 'pro'): Change {
  const organization = { metadata: { name: `org-${index % 97}`, uid: `org-uid-${index % 97}` } };
  const project = { metadata: { name: 'default', uid: `project-uid-${index % 97}` }, spec: {} };
  const metadata = { name: `claims-${index}`, uid: `instance-uid-${index}` };
  const instance = { metadata, spec: { plan, config: {} } };
  const contract = {
    offering: 'claims-agent',
    version: '1.0.0',
    secrets: [{ name: 'token', source: 'Buyer' as const }],
    connectors: [],
    limits: { runSeconds: 120 },
    plans: [],
  };
  const files = renderInstance({
    organization,
    project,
    instance,
    contract,
    platform: PLATFORM,
    contractDigest: `sha256:${'0'.repeat(64)}`,
    secretVersions: [{ name: 'token', version: 3 }],
  });
  const owns = instanceOwns({ organization, project, instance });
  return { owns, files, subject: `Instance ${metadata.name}`, trailers: { 'Gsv-Instance-Uid': metadata.uid } };
}

async function milliseconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function fill(writer: GitWriter, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, index) => writer.commit(change(index))));
}

/** The floor: the same bytes through one bare `git fast-import`. */
async function fastImport(remote: GitRemote, count: number): Promise<void> {
  const parts = ['commit refs/heads/floor\ncommitter b <b@example.com> 1767225600 +0000\ndata 1\nx\n'];
  for (let index = 0; index < count; index += 1)
    for (const [path, text] of change(index).files)
      parts.push(`M 100644 inline ${path}\ndata ${Buffer.byteLength(text)}\n${text}\n`);
  const args = [`--git-dir=${remote.path}`, 'fast-import', '--quiet'];
  const child = spawn('git', args, { env: childEnvironment(), stdio: ['pipe', 'inherit', 'inherit'] });
  child.stdin.end(parts.join(''));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`git fast-import ended with ${code}`);
}

const middle = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const spread = (values: readonly number[]): string =>
  `${Math.min(...values).toFixed(1)}..${Math.max(...values).toFixed(1)}`;

function row(what: string, ours: readonly number[], other: string, theirs: readonly number[], unit = 'ms'): void {
  const ratio = (middle(ours) / middle(theirs)).toFixed(2);
  const figures = `${middle(ours).toFixed(1)} ${unit} (${spread(ours)}) : ${middle(theirs).toFixed(1)} ${unit} (${spread(theirs)})`;
  process.stdout.write(`${what} / ${other}: ${ratio}x   ${figures}, ${ours.length} rounds\n`);
}

async function bulk(): Promise<void> {
  const ours: number[] = [];
  const floor: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await using remote = await GitRemote.create();
    const writer = await remote.writer();
    ours.push(await milliseconds(() => fill(writer, MANY)));
    await using bare = await GitRemote.create();
    floor.push(await milliseconds(() => fastImport(bare, MANY)));
    const trees = [await remote.git('rev-parse', 'main^{tree}'), await bare.git('rev-parse', 'floor^{tree}')];
    if (trees[0] !== trees[1]) throw new Error('the two trees differ');
  }
  row(`${MANY} new Instances, render to ref`, ours, 'git fast-import of the same bytes', floor);
}

async function oneChange(): Promise<void> {
  await using large = await GitRemote.create();
  await using small = await GitRemote.create();
  // Others' commits cost our next one a second attempt, so porcelain gets a small repository of its own.
  await using other = await GitRemote.create();
  const writers = [await large.writer(), await small.writer()] as const;
  await fill(writers[0], MANY);
  await fill(writers[1], FEW);
  await fill(await other.writer(), FEW);
  const times: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < ROUNDS * 4 + 1; round += 1) {
    // Who comes first changes: the second finds the caches of the machine warmer.
    for (const at of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const))
      times[at].push(await milliseconds(() => writers[at].commit(change(round % FEW, `plan-${round}`))));
    times[2].push(await milliseconds(() => other.foreign({ [`foreign-${round}`]: String(round) })));
  }
  row(`one change among ${MANY}`, times[0], `the same among ${FEW}`, times[1]);
  row(`one change among ${MANY}`, times[0], `porcelain clone, add, commit, push among ${FEW}`, times[2]);
  const files = (await large.files()).length;
  if (files !== MANY * change(0).files.size) throw new Error(`${files} files are on the branch`);
}

async function unchanged(): Promise<void> {
  await using remote = await GitRemote.create();
  await fill(await remote.writer(), MANY);
  const before = await remote.commits();
  const times: number[] = [];
  const cpu: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const writer = await remote.writer();
    const used = process.cpuUsage();
    times.push(await milliseconds(() => fill(writer, MANY)));
    const { user, system } = process.cpuUsage(used);
    cpu.push((user + system) / 1000);
  }
  if ((await remote.commits()) !== before) throw new Error('a restart committed');
  const figures = `${middle(times).toFixed(1)} ms, ${middle(cpu).toFixed(1)} ms of CPU (${spread(cpu)})`;
  process.stdout.write(`${MANY} unchanged Instances after a restart: 0 commits, ${figures}, ${ROUNDS} rounds\n`);
}

async function bytes(): Promise<void> {
  await using remote = await GitRemote.create();
  const writer = await remote.writer();
  await fill(writer, MANY);
  const size = async (): Promise<number> => {
    await remote.git('repack', '-a', '-d', '-q');
    const count = await remote.git('count-objects', '-v');
    return 1024 * Number(/size-pack: (\d+)/.exec(count)?.[1] ?? Number.NaN);
  };
  const before = await size();
  const changed = Math.ceil(MANY / 10);
  const changes = Array.from({ length: changed }, (_, index) => change(index, 'enterprise'));
  await Promise.all(changes.map((each) => writer.commit(each)));
  const each = (await size()) - before;
  const floor = changes.reduce((sum, { files }) => sum + deflateSync([...files.values()].join('')).length, 0);
  const perInstance = `${(each / changed).toFixed(0)} B : ${(floor / changed).toFixed(0)} B`;
  process.stdout.write(
    `repository per changed Instance / its bytes deflated: ${(each / floor).toFixed(2)}x   ${perInstance}\n`,
  );
}

async function memory(): Promise<void> {
  const { ours, informer } = await cacheMemory(MANY, ROUNDS);
  for (const part of ['heap', 'resident'] as const) {
    const [mine, theirs] = [ours, informer].map((taken) => taken.map((each) => each[part] / 1_000_000));
    row(`${part} memory of ${MANY} Instances in our cache`, mine ?? [], "client-node's informer", theirs ?? [], 'MB');
  }
}

async function restart(): Promise<void> {
  const found = await restarts(RESTARTED, ROUNDS);
  const cpu = found.map(({ cpuMilliseconds }) => cpuMilliseconds);
  const times = found.map(({ milliseconds }) => milliseconds);
  const figures = `${middle(times).toFixed(0)} ms, ${middle(cpu).toFixed(0)} ms of CPU (${spread(cpu)})`;
  const what = `restart of the whole operator over ${RESTARTED} Instances`;
  process.stdout.write(`${what}: 0 content commits, 0 API writes except the Lease, ${figures}, ${ROUNDS} rounds\n`);
}

const ROWS = { bulk, 'one-change': oneChange, unchanged, bytes, memory, restart };
const only = process.argv.find((argument) => argument.startsWith('--only='))?.slice('--only='.length);
for (const [name, measure] of Object.entries(ROWS))
  if (only === undefined || only.split(',').includes(name)) await measure();
