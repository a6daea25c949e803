import {
  closeSync,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Kind, KindMap } from '../kinds.ts';
import { type Key, keyText, StoreError } from '../store.ts';
import { acquireLock } from './lock.ts';
import type { Managers } from './metadata.ts';

/** An object as the store keeps it. */
export interface Stored<K extends Kind = Kind> {
  object: KindMap[K];
  managers: Managers;
}

/** One line of the journal: the whole object after a change, or its removal. */
export type Change =
  | { resourceVersion: number; kind: Kind; put: Stored }
  | { resourceVersion: number; kind: Kind; remove: Key };

interface Header {
  journal: 'gsv-resource-store';
  version: 1;
  /** The last resourceVersion given out before the file was compacted: it never goes back. */
  resourceVersion: number;
}

/** What a journal holds after reading it: the last resourceVersion and the objects that are left. */
export interface Recovered {
  resourceVersion: number;
  objects: { kind: Kind; stored: Stored }[];
}

/** Written data reaches the disk at most this long after the answer. Milliseconds. */
const SYNC_INTERVAL_MS = 200;

/**
 * The embedded store's memory: an append-only file of lines `<crc32> <json>`, compacted when it is
 * opened. A change is written before it is answered, so it survives the death of the process; it is
 * forced to disk a moment later and on close, so a power cut can cost the last moment. That is right
 * for a quickstart: its orders are replayable and its money lies in PostgreSQL.
 */
export class Journal {
  readonly #file: string;
  readonly #unlock: () => void;
  readonly #descriptor: number;
  #size: number;
  #timer: NodeJS.Timeout | undefined;
  #failure: unknown;

  private constructor(file: string, unlock: () => void, descriptor: number) {
    this.#file = file;
    this.#unlock = unlock;
    this.#descriptor = descriptor;
    this.#size = fstatSync(descriptor).size;
  }

  /**
   * Locks, reads and compacts the file; a missing one is made.
   * @throws StoreError Unavailable when another process has it, or when it is damaged
   */
  static open(file: string): { journal: Journal; recovered: Recovered } {
    mkdirSync(dirname(file), { recursive: true });
    const unlock = acquireLock(`${file}.lock`);
    try {
      const recovered = existsSync(file) ? replay(file) : { resourceVersion: 0, objects: [] };
      compact(file, recovered);
      return { journal: new Journal(file, unlock, openSync(file, 'a', 0o600)), recovered };
    } catch (error) {
      unlock();
      throw error;
    }
  }

  /** Appends one change. @throws StoreError Unavailable when it cannot be written; then nothing is */
  append(change: Change): void {
    if (this.#failure !== undefined) throw this.#unavailable(this.#failure);
    const bytes = Buffer.from(line(change));
    try {
      let written = 0;
      while (written < bytes.length) written += writeSync(this.#descriptor, bytes, written);
      this.#size += bytes.length;
    } catch (error) {
      this.#undo();
      throw this.#unavailable(error);
    }
    this.#syncSoon();
  }

  /** Forces everything to disk and gives the file free. */
  close(): void {
    clearTimeout(this.#timer);
    try {
      fdatasyncSync(this.#descriptor);
    } finally {
      closeSync(this.#descriptor);
      this.#unlock();
    }
  }

  /** Half a line in the middle would make the file unreadable: take it back, or write nothing more. */
  #undo(): void {
    try {
      ftruncateSync(this.#descriptor, this.#size);
    } catch (error) {
      this.#failure = error;
    }
  }

  #syncSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      fdatasync(this.#descriptor, (error) => {
        // EBADF: closed meanwhile, and close has synced.
        if (error && error.code !== 'EBADF') this.#failure = error;
      });
    }, SYNC_INTERVAL_MS).unref();
  }

  #unavailable(cause: unknown): StoreError {
    const message = `The journal ${this.#file} cannot be written (${(cause as Error).message}): nothing was changed.`;
    return new StoreError('Unavailable', message, [], { cause });
  }
}

function line(value: Header | Change): string {
  const json = JSON.stringify(value);
  return `${crc32(json).toString(16).padStart(8, '0')} ${json}\n`;
}

function parseLine(text: string): unknown {
  const json = text.slice(9);
  if (text[8] !== ' ' || crc32(json) !== Number.parseInt(text.slice(0, 8), 16)) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

/** Every line that was ended must be whole. A last one without its end was cut off by a crash: nobody had an answer. */
function replay(file: string): Recovered {
  const lines = readFileSync(file, 'utf8').split('\n');
  const torn = lines.pop() ?? '';
  if (lines.length === 0 && torn !== '') throw damaged(file, 1);
  const [first, ...rest] = lines;
  const header = first === undefined ? undefined : (parseLine(first) as Header | undefined);
  if (first !== undefined && (header?.journal !== 'gsv-resource-store' || header.version !== 1)) throw damaged(file, 1);
  let resourceVersion = header?.resourceVersion ?? 0;
  const objects = new Map<string, { kind: Kind; stored: Stored }>();
  for (const [index, text] of rest.entries()) {
    const change = parseLine(text) as Change | undefined;
    if (change === undefined) throw damaged(file, index + 2);
    resourceVersion = Math.max(resourceVersion, change.resourceVersion);
    if ('put' in change) {
      const { kind, put } = change;
      objects.set(`${kind} ${keyText(put.object.metadata)}`, { kind, stored: put });
    } else objects.delete(`${change.kind} ${keyText(change.remove)}`);
  }
  return { resourceVersion, objects: [...objects.values()] };
}

function damaged(file: string, number: number): StoreError {
  return new StoreError(
    'Unavailable',
    `The store's journal ${file} is damaged in line ${number}: restore it from a copy, or delete it to start with an empty store.`,
  );
}

/** Writes what is left into a new file and puts it in place in one step. */
function compact(file: string, { resourceVersion, objects }: Recovered): void {
  const next = `${file}.next`;
  const descriptor = openSync(next, 'w', 0o600);
  try {
    const header: Header = { journal: 'gsv-resource-store', version: 1, resourceVersion };
    const lines = objects.map(({ kind, stored }) =>
      line({ resourceVersion: Number(stored.object.metadata.resourceVersion), kind, put: stored }),
    );
    const bytes = Buffer.from(line(header) + lines.join(''));
    let written = 0;
    while (written < bytes.length) written += writeSync(descriptor, bytes, written);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(next, file);
  const directory = openSync(dirname(file), 'r');
  fsyncSync(directory);
  closeSync(directory);
}
