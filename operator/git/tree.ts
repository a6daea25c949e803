import { createHash } from 'node:crypto';
import { GitError } from './errors.ts';

/** Deeper than any path of ours. */
const MAX_SEGMENTS = 16;
const MAX_SEGMENT = 255;
/** No leading dot (`.`, `..`, `.git`, `.gitattributes`), no separator, no quoting, no control character. */
const SEGMENT = /^[A-Za-z0-9_][-A-Za-z0-9._]*$/;

/** Mode of a folder's entry. */
export const FOLDER = '040000';

/** What Git has at a path: `undefined` for nothing. */
export interface Entry {
  mode: string;
  oid: string;
}

/** @throws GitError `path_refused` unless every segment is a plain word */
export function checkPath(path: string): void {
  const segments = path.split('/');
  const plain = segments.every((segment) => segment.length <= MAX_SEGMENT && SEGMENT.test(segment));
  if (!plain || segments.length > MAX_SEGMENTS) {
    throw new GitError('path_refused', `the path ${JSON.stringify(path)} is not a plain relative path`);
  }
}

/** True when `path` is `folder` or lies below it. */
export function within(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

/** The folders above a path, outermost first. */
export function parents(path: string): string[] {
  const segments = path.split('/');
  return segments.slice(1).map((_, index) => segments.slice(0, index + 1).join('/'));
}

/**
 * The object ids that Git would give to what lies at and below `root`; equal ids mean equal content, so
 * one comparison tells whether there is anything to commit. SHA-1 repositories only, which ours are.
 */
export function desiredEntry(root: string, files: ReadonlyMap<string, string>): Entry | undefined {
  const direct = files.get(root);
  if (direct !== undefined) return { mode: '100644', oid: objectId('blob', Buffer.from(direct)) };
  const below = [...files].filter(([path]) => within(path, root));
  if (below.length === 0) return undefined;
  const tree: Folder = new Map();
  for (const [path, content] of below) place(tree, path.slice(root.length + 1).split('/'), content, path);
  return { mode: FOLDER, oid: folderId(tree) };
}

type Folder = Map<string, Folder | string>;

function place(folder: Folder, segments: string[], content: string, path: string): void {
  const [name = '', ...rest] = segments;
  const present = folder.get(name);
  if (rest.length === 0) {
    if (present !== undefined) throw new GitError('path_refused', `${path} is both a file and a folder`);
    folder.set(name, content);
    return;
  }
  if (typeof present === 'string') throw new GitError('path_refused', `${path} lies below a file`);
  const next = present ?? new Map();
  folder.set(name, next);
  place(next, rest, content, path);
}

function folderId(folder: Folder): string {
  const entries = [...folder].map(([name, value]) =>
    typeof value === 'string'
      ? { sort: name, mode: '100644', name, oid: objectId('blob', Buffer.from(value)) }
      : { sort: `${name}/`, mode: '40000', name, oid: folderId(value) },
  );
  // Git sorts a folder as if its name ended in a slash. Names are ASCII here, so this is byte order.
  entries.sort((a, b) => (a.sort < b.sort ? -1 : 1));
  const parts = entries.flatMap(({ mode, name, oid }) => [Buffer.from(`${mode} ${name}\0`), Buffer.from(oid, 'hex')]);
  return objectId('tree', Buffer.concat(parts));
}

function objectId(type: 'blob' | 'tree', content: Buffer): string {
  return createHash('sha1').update(`${type} ${content.length}\0`).update(content).digest('hex');
}
