import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from 'node:fs';
import { StoreError } from '../store.ts';

/** Locks of this process: a process id in a lock file cannot tell two stores of one process apart. */
const held = new Set<string>();

/**
 * Claims a file for this process by creating it with the process id inside. A lock left behind by a
 * process that is gone is taken over. Returns a function that gives it back.
 * @throws StoreError Unavailable when another living process holds it
 */
export function acquireLock(file: string): () => void {
  for (let attempt = 0; attempt < 3; attempt += 1) {
    if (create(file)) {
      held.add(file);
      return () => {
        if (held.delete(file)) unlinkSync(file);
      };
    }
    const owner = ownerOf(file);
    if (owner !== undefined && (owner === process.pid ? held.has(file) : isAlive(owner))) {
      throw new StoreError(
        'Unavailable',
        `The store's journal is in use by process ${owner}: stop that process first. If it is no store, delete ${file}.`,
      );
    }
    remove(file);
  }
  throw new StoreError('Unavailable', `The lock ${file} keeps changing hands: start one process only.`);
}

function create(file: string): boolean {
  try {
    const descriptor = openSync(file, 'wx', 0o600);
    writeSync(descriptor, `${process.pid}\n`);
    closeSync(descriptor);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Undefined when the file is gone or was left behind before its owner wrote into it. */
function ownerOf(file: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(file, 'utf8'), 10);
    return pid > 0 ? pid : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    // EPERM: it lives and belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * A killed process answers signals until its parent has asked for its exit code, and in a container whose
 * first process asks for none it does so for ever. Its state stands after the name, which may hold anything.
 * Systems without `/proc` say nothing, and then the signal's answer counts.
 */
function isZombie(pid: number): boolean {
  try {
    return /\) [ZX] [^)]*$/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
