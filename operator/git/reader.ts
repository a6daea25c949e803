import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { resolve } from 'node:path';
import { GitError } from './errors.ts';
import { GitProgram } from './program.ts';

export interface GitObject {
  oid: string;
  type: string;
  content: Buffer;
}

export interface TreeEntry {
  mode: string;
  name: string;
  oid: string;
}

/** A revision and a path in it, free of anything that `cat-file` would take for syntax of its own. */
const SPEC = /^[A-Za-z0-9_][-A-Za-z0-9._/]*(\^\{(tree|commit)\}|:[-A-Za-z0-9._/]+)?$/;

interface Waiter {
  resolve: (object: GitObject | undefined) => void;
  reject: (error: GitError) => void;
}

/** Reads objects of a bare repository through one persistent `git cat-file --batch`, started when first needed. */
export class GitReader {
  readonly #program: GitProgram;
  readonly #gitDirectory: string;
  #session: Session | undefined;

  constructor(repository: string, program?: string | GitProgram) {
    this.#gitDirectory = resolve(repository);
    this.#program =
      program instanceof GitProgram
        ? program
        : new GitProgram({
            directory: '/',
            config: [['safe.directory', this.#gitDirectory]],
            ...(program === undefined ? {} : { program }),
          });
  }

  /** An object by id or by `revision:path`; undefined when it is not there. @throws GitError */
  read(spec: string): Promise<GitObject | undefined> {
    if (!SPEC.test(spec))
      return Promise.reject(new GitError('path_refused', `${JSON.stringify(spec)} names no object`));
    if (!this.#session?.alive) {
      const args = [`--git-dir=${this.#gitDirectory}`, 'cat-file', '--batch'];
      this.#session = new Session(this.#program, args);
    }
    return this.#session.ask(spec);
  }

  async close(): Promise<void> {
    await this.#session?.close();
  }
}

/** Entries of a tree object. */
export function treeEntries(content: Buffer): TreeEntry[] {
  const entries: TreeEntry[] = [];
  for (let at = 0; at < content.length; ) {
    const space = content.indexOf(0x20, at);
    const end = content.indexOf(0, space);
    if (space < 0 || end < 0 || end + 21 > content.length) throw new GitError('local_failed', 'a tree is cut short');
    entries.push({
      mode: content.toString('latin1', at, space),
      name: content.toString('utf8', space + 1, end),
      oid: content.toString('hex', end + 1, end + 21),
    });
    at = end + 21;
  }
  return entries;
}

class Session {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiters: Waiter[] = [];
  #buffer: Buffer = Buffer.alloc(0);
  #stderr = '';
  #failure: GitError | undefined;

  constructor(program: GitProgram, args: readonly string[]) {
    const child = program.start(args);
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => this.#read(chunk));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-2000);
    });
    child.stdin.on('error', () => undefined);
    child.on('error', (error) => this.#fail(program.failure(error, 'git cat-file')));
    child.on('close', () => this.#fail(new GitError('local_failed', `git cat-file ended: ${this.#stderr.trim()}`)));
  }

  get alive(): boolean {
    return this.#failure === undefined;
  }

  ask(spec: string): Promise<GitObject | undefined> {
    return new Promise((resolvePromise, reject) => {
      this.#waiters.push({ resolve: resolvePromise, reject });
      this.#child.stdin.write(`${spec}\n`);
    });
  }

  async close(): Promise<void> {
    if (!this.alive) return;
    const gone = new Promise<void>((resolvePromise) => this.#child.once('close', () => resolvePromise()));
    this.#child.stdin.end();
    await gone;
  }

  #read(chunk: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    for (;;) {
      const end = this.#buffer.indexOf(0x0a);
      if (end < 0) return;
      const head = this.#buffer.toString('utf8', 0, end);
      const [oid = '', type = '', size] = head.split(' ');
      if (size === undefined || !/^\d+$/.test(size)) {
        // `<spec> missing`, and its rarer kin for specs that match too much.
        this.#buffer = this.#buffer.subarray(end + 1);
        this.#waiters.shift()?.resolve(undefined);
        continue;
      }
      const last = end + 1 + Number(size);
      if (this.#buffer.length < last + 1) return;
      const content = Buffer.from(this.#buffer.subarray(end + 1, last));
      this.#buffer = this.#buffer.subarray(last + 1);
      this.#waiters.shift()?.resolve({ oid, type, content });
    }
  }

  #fail(error: GitError): void {
    this.#failure ??= error;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#failure);
  }
}
