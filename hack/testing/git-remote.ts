/** A real remote in a temporary folder, with somebody else who also pushes to it. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { GitProgram } from '../../operator/git/program.ts';
import { ensureBareRemote } from '../../operator/git/remote.ts';
import { GitWriter, type GitWriterOptions } from '../../operator/git/writer.ts';

export class GitRemote {
  readonly folder: string;
  readonly path: string;
  readonly #program: GitProgram;
  readonly #writers: GitWriter[] = [];
  #count = 0;

  private constructor(folder: string) {
    this.folder = folder;
    this.path = join(folder, 'remote.git');
    const who = ['user.name', 'user.email'].map((key) => [key, 'somebody@example.com'] as const);
    this.#program = new GitProgram({ directory: folder, config: [...who, ['safe.directory', '*']] });
  }

  static async create(): Promise<GitRemote> {
    const remote = new GitRemote(await mkdtemp(join(tmpdir(), 'gsv-git-')));
    await ensureBareRemote(remote.path);
    return remote;
  }

  /** A writer with a local repository of its own; the same `name` opens the same one again. */
  async writer(name = `writer-${++this.#count}`, options: Partial<GitWriterOptions> = {}): Promise<GitWriter> {
    const writer = await GitWriter.open({
      directory: join(this.folder, name),
      remote: this.path,
      branch: 'main',
      clock: () => new Date('2026-03-01T12:00:00Z'),
      ...options,
    });
    this.#writers.push(writer);
    return writer;
  }

  /** Runs git inside the remote. */
  async git(...args: string[]): Promise<string> {
    return (await this.#program.output([`--git-dir=${this.path}`, ...args])).trimEnd();
  }

  async files(commit = 'main'): Promise<string[]> {
    return (await this.git('ls-tree', '-r', '--name-only', commit)).split('\n').filter(Boolean);
  }

  read(path: string, commit = 'main'): Promise<string> {
    return this.git('cat-file', 'blob', `${commit}:${path}`);
  }

  async commits(): Promise<number> {
    return Number(await this.git('rev-list', '--count', 'main'));
  }

  /** Somebody else's commit: clone, write, push. `amend` rewrites the tip instead and forces it. */
  async foreign(files: Record<string, string>, options: { amend?: boolean } = {}): Promise<void> {
    const clone = join(this.folder, `clone-${++this.#count}`);
    await this.#program.output(['clone', '--quiet', this.path, clone]);
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(clone, path)), { recursive: true });
      await writeFile(join(clone, path), content);
    }
    const inside = (...args: string[]): Promise<string> => this.#program.output(['-C', clone, ...args]);
    await inside('checkout', '--quiet', '-B', 'main');
    await inside('add', '--all');
    await inside('commit', '--quiet', '--message=foreign', ...(options.amend ? ['--amend'] : []));
    await inside('push', '--quiet', ...(options.amend ? ['--force'] : []), 'origin', 'main');
    await rm(clone, { recursive: true });
  }

  /** Installs a server-side hook. */
  async hook(name: string, script: string): Promise<void> {
    const file = join(this.path, 'hooks', name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, `#!/bin/sh\n${script}\n`);
    await chmod(file, 0o755);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#writers.map((writer) => writer.close()));
    await rm(this.folder, { recursive: true, force: true });
  }
}
