import { OPERATOR_EMAIL } from './identity.ts';
import type { GitProgram } from './program.ts';
import type { GitReader } from './reader.ts';

/** A repeated request for a new commit follows within minutes; this is days of a busy store. Commits. */
const MAX_RETRIES_READ = 4096;
/**
 * Commits that a start reads to find the branch's epoch. It may miss an older marker, which is no danger:
 * a process never keeps an epoch over a restart, it takes a new Lease and with it a higher epoch. The
 * writer that must be stopped is one that runs, and that one reads every commit since the tip it knew.
 */
const MAX_COMMITS_READ = 4096;

/** Others' commits between two of ours; more of them are worth a process. */
const MAX_STEPS = 32;

/** Trailer of every commit of a leader. */
export const EPOCH_TRAILER = 'Gsv-Epoch';
/** Trailer of a commit that was asked for although nothing had changed: what it stands in for. */
export const RETRY_TRAILER = 'Gsv-Retry-Of';

/** A repository and the program that reads it. */
export interface Place {
  program: GitProgram;
  gitDirectory: string;
}

/** What a look at the branch found. */
export interface News {
  tip: string;
  /** True when the tip known before is part of the history still. */
  grown: boolean;
  /** The highest epoch in what is new, or in the newest commits when nothing was known; 0 without any. */
  epoch: number;
}

/**
 * What is new on `ref` since `before`, in one walk. Only commits that the operator made count for the
 * epoch: others' trailers mean nothing.
 */
export async function news(place: Place, ref: string, before: string | undefined): Promise<News> {
  const revisions = before === undefined ? ref : `${ref}...${before}`;
  const options = before === undefined ? [`--max-count=${MAX_COMMITS_READ}`] : ['--left-right', '--topo-order'];
  const lines = await trailersOf(place, EPOCH_TRAILER, revisions, options);
  const here = before === undefined ? lines : lines.filter(({ side }) => side === '<');
  const grown = before !== undefined && here.length === lines.length;
  const values = here.flatMap(({ values }) => values).filter((value) => /^\d{1,15}$/.test(value));
  // Within one side children come before parents. A branch that was only set back has nothing on its side.
  const tip = here[0]?.commit ?? (grown && before !== undefined ? before : await commitAt(place, ref));
  return { tip, grown, epoch: Math.max(0, ...values.map(Number)) };
}

/**
 * The same for the usual case, a few commits in a line, without a process of its own; undefined where
 * there is more to it (a merge, a rewritten branch, a long way).
 */
export async function nearNews(reader: GitReader, tip: string, before: string | undefined): Promise<News | undefined> {
  if (before === undefined) return undefined;
  let epoch = 0;
  let at = tip;
  for (let step = 0; at !== before; step += 1) {
    const commit = step < MAX_STEPS ? await reader.read(at) : undefined;
    const { parents = [], epochs = [] } = commit?.type === 'commit' ? parseCommit(commit.content) : {};
    if (parents.length !== 1) return undefined;
    epoch = Math.max(epoch, ...epochs);
    at = parents[0] ?? '';
  }
  return { tip, grown: true, epoch };
}

function parseCommit(content: Buffer): { parents: string[]; epochs: number[] } {
  const [head = '', ...message] = content.toString('utf8').split('\n\n');
  const parents = [...head.matchAll(/^parent ([0-9a-f]{40})$/gm)].map((match) => match[1] ?? '');
  const ours = new RegExp(`^committer .*<${OPERATOR_EMAIL}> \\d+ [+-]\\d{4}$`, 'm').test(head);
  const trailers = ours ? (message.at(-1) ?? '') : '';
  const epochs = [...trailers.matchAll(new RegExp(`^${EPOCH_TRAILER}: (\\d{1,15})$`, 'gm'))];
  return { parents, epochs: epochs.map((match) => Number(match[1])) };
}

/** The commit that was made in place of `id`, if there is one. */
export async function retryOf(place: Place, tip: string, id: string): Promise<string | undefined> {
  const commits = await trailersOf(place, RETRY_TRAILER, tip, [`--max-count=${MAX_RETRIES_READ}`]);
  return commits.find(({ values }) => values.includes(id))?.commit;
}

async function commitAt({ program, gitDirectory }: Place, ref: string): Promise<string> {
  return (await program.output([`--git-dir=${gitDirectory}`, 'rev-parse', '--verify', `${ref}^{commit}`])).trim();
}

/** Commits in order, with what those of an operator say under one trailer. */
async function trailersOf(
  { program, gitDirectory }: Place,
  key: string,
  revisions: string,
  options: readonly string[],
): Promise<{ side: string; commit: string; values: string[] }[]> {
  const format = `--format=%m%x00%H%x00%ce%x00%(trailers:key=${key},valueonly,separator=%x2C)`;
  const args = [`--git-dir=${gitDirectory}`, 'log', format, ...options, '--stdin'];
  const lines = (await program.output(args, `${revisions}\n`)).split('\n').filter(Boolean);
  return lines.map((line) => {
    const [side = '', commit = '', committer, values = ''] = line.split('\0');
    return { side, commit, values: committer === OPERATOR_EMAIL && values !== '' ? values.split(',') : [] };
  });
}
