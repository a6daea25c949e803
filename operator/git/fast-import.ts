import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { GitError } from './errors.ts';
import type { Place } from './history.ts';
import { OPERATOR } from './identity.ts';
import { type Entry, within } from './tree.ts';

/** The branch inside the local repository that commits are built on; nobody else looks at it. */
export const WORK_REF = 'refs/gsv/work';
/** How much of its last words is kept for an error message. */
const MAX_STDERR = 4000;

export interface NewCommit {
  /** Absent: the first commit of a branch. */
  parent: string | undefined;
  message: string;
  at: Date;
  /** None: a commit that changes nothing. */
  changes: readonly { owns: readonly string[]; files: ReadonlyMap<string, string> }[];
}

/** A commit that is on disk. */
export interface Written {
  id: string;
  /** The file with exactly the objects that this process wrote for it. */
  pack: string | undefined;
}

let opened = 0;

interface Waiter {
  resolve: (line: string) => void;
  reject: (error: GitError) => void;
}

/**
 * One persistent `git fast-import`. It answers each question with one line, in order. A commit becomes
 * visible to other processes at a `checkpoint`; the `progress` line after it proves that it happened.
 */
export class FastImport {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiters: Waiter[] = [];
  #buffer = '';
  #stderr = '';
  #failure: GitError | undefined;
  /** What the process itself holds as the branch: building on it needs no re-reading of trees. */
  #tip: string | undefined;
  #turn = 0;
  /** Where the process notes which pack holds which commit. */
  readonly #edges: string;

  constructor({ program, gitDirectory }: Place) {
    this.#edges = join(gitDirectory, `packs-of-${process.pid}-${++opened}`);
    this.#child = program.start([
      `--git-dir=${gitDirectory}`,
      'fast-import',
      '--quiet',
      '--force', // Only our own branch is meant: it jumps when the remote was rewritten.
      '--date-format=raw',
      `--export-pack-edges=${this.#edges}`,
    ]);
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_STDERR);
    });
    this.#child.stdin.on('error', () => undefined); // The exit that follows carries the reason.
    this.#child.on('error', (error) => this.#fail(program.failure(error, 'git fast-import')));
    this.#child.on('close', (code, signal) => {
      const why = this.#stderr.trim() || `exit ${code ?? signal}`;
      this.#fail(new GitError('local_failed', `git fast-import ended: ${why}`));
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get alive(): boolean {
    return this.#failure === undefined;
  }

  /** What a commit has at a path. */
  async entry(commit: string, path: string): Promise<Entry | undefined> {
    const line = await this.#ask(`ls ${commit} ${path}\n`);
    if (line.startsWith('missing ')) return undefined;
    const [mode, , oid] = line.split(/[ \t]/);
    if (mode === undefined || oid === undefined || !/^[0-9a-f]{40}$/.test(oid)) throw this.#garbled(line);
    return { mode, oid };
  }

  /** Writes a commit; it is on disk then. */
  async commit(commit: NewCommit): Promise<Written> {
    this.#turn += 1;
    const proof = `turn-${this.#turn}`;
    const [id, done] = await Promise.all([
      this.#ask(`${this.#script(commit)}get-mark :1\n`),
      this.#ask(`checkpoint\nprogress ${proof}\n`),
    ]);
    if (!/^[0-9a-f]{40}$/.test(id)) throw this.#garbled(id);
    if (done !== `progress ${proof}`) throw this.#garbled(done);
    this.#tip = id;
    return { id, pack: await this.#packOf(id) };
  }

  /** Ends the process and waits for it. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    const gone = new Promise<void>((resolve) => this.#child.once('close', () => resolve()));
    this.#child.stdin.end();
    await gone;
  }

  /** For a process that must not finish what it was given. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** `<pack>: <commit>` is the last line that it wrote. */
  async #packOf(id: string): Promise<string | undefined> {
    const lines = (await readFile(this.#edges, 'utf8').catch(() => '')).trimEnd().split('\n');
    await truncate(this.#edges).catch(() => undefined);
    const [pack, rest] = lines.at(-1)?.split(': ') ?? [];
    return lines.length === 1 && rest === id ? pack : undefined;
  }

  #script({ parent, message, at, changes }: NewCommit): string {
    const seconds = Math.floor(at.getTime() / 1000);
    const lines = parent === undefined ? [`reset ${WORK_REF}\n\n`] : [];
    lines.push(`commit ${WORK_REF}\nmark :1\ncommitter ${OPERATOR} ${seconds} +0000\n${data(message)}`);
    if (parent !== undefined && parent !== this.#tip) lines.push(`from ${parent}\n`);
    for (const { owns, files } of changes) {
      for (const path of owns) {
        lines.push(`D ${path}\n`);
        for (const [file, content] of files) {
          if (within(file, path)) lines.push(`M 100644 inline ${file}\n${data(content)}`);
        }
      }
    }
    lines.push('\n');
    return lines.join('');
  }

  #ask(command: string): Promise<string> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#write(command);
    });
  }

  /** Questions of one turn of the event loop travel together: each by itself would be a system call. */
  #write(command: string): void {
    const { stdin } = this.#child;
    if (stdin.writableCorked === 0) {
      stdin.cork();
      process.nextTick(() => stdin.uncork());
    }
    stdin.write(command);
  }

  #read(text: string): void {
    const lines = (this.#buffer + text).split('\n');
    this.#buffer = lines.pop() ?? '';
    for (const line of lines) this.#waiters.shift()?.resolve(line);
  }

  #fail(error: GitError): void {
    this.#failure ??= error;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(this.#failure);
  }

  #garbled(line: string): GitError {
    this.kill();
    return new GitError('local_failed', `git fast-import answered ${JSON.stringify(line.slice(0, 200))}`);
  }
}

function data(text: string): string {
  return `data ${Buffer.byteLength(text)}\n${text}\n`;
}
