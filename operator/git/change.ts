import { GitError } from './errors.ts';
import { EPOCH_TRAILER, RETRY_TRAILER } from './history.ts';
import { checkPath, desiredEntry, type Entry, parents, within } from './tree.ts';

/** One desired state of some paths. */
export interface Change {
  /**
   * Paths (a file, or a folder and all below it; no trailing slash) that this change owns completely:
   * what is there and not in `files` is pruned; nothing else is ever touched.
   */
  owns: readonly string[];
  /** Path -> content; every path equals or lies below one of `owns`. */
  files: ReadonlyMap<string, string>;
  /** First line of the commit. */
  subject: string;
  /** E.g. `Gsv-Instance-Uid`, `Gsv-Generation`, `Gsv-Effect`. */
  trailers: Readonly<Record<string, string>>;
  /**
   * Asks for a new commit even when nothing differs, once for each value; e.g. the id of a commit that
   * Argo CD will not try again. The commit carries it as `Gsv-Retry-Of`.
   */
  force?: string;
}

/** A checked change with the object ids that it wants. */
export interface Prepared extends Change {
  desired: readonly { path: string; entry: Entry | undefined }[];
  /** Equal for equal content at equal paths. */
  signature: string;
}

const MAX_SUBJECT = 120;
const TRAILER = /^[A-Z][A-Za-z0-9-]*$/;
/** What the writer itself says; nobody else may. */
const RESERVED: ReadonlySet<string> = new Set([EPOCH_TRAILER, RETRY_TRAILER]);
/** An id of somebody, e.g. of a commit. */
const FORCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Whatever starts a new line somewhere, and all other control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g;

/** Checks a change before anything is done. @throws GitError `path_refused` */
export function prepare(change: Change): Prepared {
  const owns = [...new Set(change.owns)];
  for (const path of [...owns, ...change.files.keys()]) checkPath(path);
  if (change.force !== undefined && !FORCE.test(change.force))
    throw new GitError('path_refused', `${JSON.stringify(change.force)} is no id to force a commit by`);
  for (const path of owns) {
    const outer = owns.find((other) => other !== path && within(path, other));
    if (outer !== undefined) throw new GitError('path_refused', `${path} is owned twice: it lies below ${outer}`);
  }
  for (const path of change.files.keys()) {
    if (!owns.some((own) => within(path, own))) {
      throw new GitError('path_refused', `${path} lies outside of what the change owns`);
    }
  }
  const desired = owns.map((path) => ({ path, entry: desiredEntry(path, change.files) }));
  const signature = desired.map(({ path, entry }) => `${path} ${entry?.oid ?? '-'}`).join('\n');
  return { ...change, owns, desired, signature };
}

/**
 * One commit carries a whole batch: each change has a line, then its trailers, in the same order, then
 * what holds for the commit. Values are reduced to one line, so none can pose as a trailer.
 */
export function commitMessage(
  changes: readonly Pick<Change, 'subject' | 'trailers' | 'force'>[],
  epoch: number | undefined,
): string {
  const subjects = changes.map(({ subject }) => oneLine(subject).slice(0, MAX_SUBJECT) || 'change');
  const trailers = [
    ...changes.flatMap((change) => Object.entries(change.trailers).map(trailer)),
    ...new Set(changes.flatMap(({ force }) => (force === undefined ? [] : [`${RETRY_TRAILER}: ${force}`]))),
    ...(epoch === undefined ? [] : [`${EPOCH_TRAILER}: ${epoch}`]),
  ];
  const [only = ''] = subjects;
  const head =
    subjects.length === 1 ? only : `${subjects.length} changes\n\n${subjects.map((s) => `- ${s}`).join('\n')}`;
  return trailers.length === 0 ? `${head}\n` : `${head}\n\n${trailers.join('\n')}\n`;
}

function trailer([key, value]: [string, string]): string {
  if (!TRAILER.test(key) || RESERVED.has(key))
    throw new GitError('path_refused', `${JSON.stringify(key)} is not a trailer of a change`);
  return `${key}: ${oneLine(value)}`;
}

function oneLine(text: string): string {
  return text.toWellFormed().replace(CONTROL, ' ').trim();
}

/**
 * Takes from the queue, in order, what may share a commit: at most `limit` changes none of which touches
 * a path of another. The rest stays in the queue.
 */
export function takeBatch<T extends { change: Pick<Change, 'owns'> }>(queue: T[], limit: number): T[] {
  const owned = new Set<string>();
  const above = new Set<string>();
  const batch: T[] = [];
  const rest: T[] = [];
  const items = queue.splice(0);
  for (const [index, item] of items.entries()) {
    if (batch.length >= limit) {
      rest.push(...items.slice(index));
      break;
    }
    const ancestors = item.change.owns.map(parents);
    const clash = item.change.owns.some(
      (path, index) => owned.has(path) || above.has(path) || ancestors[index]?.some((parent) => owned.has(parent)),
    );
    // What clashes, or follows something that had to wait, waits: two changes of one path keep their order.
    (clash ? rest : batch).push(item);
    for (const path of item.change.owns) owned.add(path);
    for (const parent of ancestors.flat()) above.add(parent);
  }
  queue.push(...rest);
  return batch;
}
