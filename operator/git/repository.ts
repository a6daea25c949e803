import { mkdir, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { GitAccess } from './access.ts';
import { GitError } from './errors.ts';
import { GitProgram } from './program.ts';
import { quoted } from './quoting.ts';
import { remoteAddress } from './remote.ts';

/** An HTTP remote that sends nothing for this long is given up. Seconds. */
const SILENCE_S = 60;

export interface RepositoryOptions extends GitAccess {
  directory: string;
  remote: string;
  program?: string;
  timeoutMs?: number;
}

/** The writer's local bare repository: a cache of objects, rebuilt from the remote whenever it is lost. */
export class Repository {
  readonly program: GitProgram;
  readonly gitDirectory: string;
  /** Where the remote is on this machine; undefined for one that is not. */
  readonly localPath: string | undefined;

  readonly #remote: string;
  readonly #credentialsFile: string | undefined;

  private constructor(program: GitProgram, gitDirectory: string, { remote, credentialsFile }: RepositoryOptions) {
    this.program = program;
    this.gitDirectory = gitDirectory;
    this.#remote = remote;
    this.#credentialsFile = credentialsFile;
    this.localPath = remoteAddress(remote).localPath;
  }

  /** @throws GitError `git_missing`, `local_failed` */
  static async open(options: RepositoryOptions): Promise<Repository> {
    const gitDirectory = join(resolve(options.directory), 'repository.git');
    const repository = new Repository(isolatedProgram(options, gitDirectory), gitDirectory, options);
    await repository.repair();
    return repository;
  }

  /** Reuses what is there and takes away the locks and half packs that a killed git leaves behind. */
  async repair(): Promise<void> {
    await mkdir(dirname(this.gitDirectory), { recursive: true, mode: 0o700 });
    await writeFile(configFile(this.gitDirectory), await safeDirectories(this.gitDirectory, this.#remote), {
      mode: 0o600,
    });
    const probe = await this.program.run([`--git-dir=${this.gitDirectory}`, 'rev-parse', '--is-bare-repository']);
    if (probe.code !== 0 || probe.stdout.trim() !== 'true') {
      await this.rebuild();
      return;
    }
    for (const entry of await readdir(this.gitDirectory, { recursive: true })) {
      if (/\.lock$|(^|\/)tmp_(pack|idx|obj)_[^/]*$|^fast_import_crash_|^packs-of-/.test(entry)) {
        await rm(join(this.gitDirectory, entry), { force: true });
      }
    }
  }

  /** Starts from nothing. */
  async rebuild(): Promise<void> {
    await rm(this.gitDirectory, { recursive: true, force: true });
    const init = ['init', '--bare', '--quiet', '--object-format=sha1', '--template='];
    await this.program.output([...init, '--end-of-options', this.gitDirectory]);
  }

  /** A remote may repeat what it was given: passwords of the credentials file leave its words. */
  async withoutSecrets(error: unknown): Promise<unknown> {
    if (!(error instanceof GitError) || this.#credentialsFile === undefined) return error;
    const text = await readFile(this.#credentialsFile, 'utf8').catch(() => '');
    const secrets = [...text.matchAll(/:\/\/[^\s:/@]*:([^\s@]+)@/g)].flatMap(([, raw = '']) => [raw, decoded(raw)]);
    const clean = (words: string): string =>
      secrets.reduce((rest, secret) => (secret === '' ? rest : rest.replaceAll(secret, '[redacted]')), words);
    return new GitError(error.code, clean(error.message), { words: clean(error.words), cause: error.cause });
  }

  /** Merges small packs and loose objects. A failed one costs space, not correctness. */
  async repack(): Promise<void> {
    await this.program.run([`--git-dir=${this.gitDirectory}`, 'repack', '--quiet', '-d', '--geometric=2']);
  }
}

/**
 * Two places of configuration, because a local remote's own git runs below ours: it reads the file, so the
 * file holds only `safe.directory` (a volume often belongs to another user than the process); our hooks
 * and credentials settings travel with each command and end there, so the remote's hooks stay in force.
 */
function isolatedProgram(options: RepositoryOptions, gitDirectory: string): GitProgram {
  const { url, localPath } = remoteAddress(options.remote);
  return new GitProgram({
    directory: dirname(gitDirectory),
    configFile: configFile(gitDirectory),
    access: options,
    // What a remote on this machine has need not be copied to be read.
    alternates: localPath === undefined ? [] : [join(localPath, 'objects')],
    ...(options.program === undefined ? {} : { program: options.program }),
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    config: [
      ['remote.gsv.url', url],
      // Each commit stays one pack, as it is sent; small ones are merged by the repack.
      ['fastimport.unpackLimit', '0'],
      ['http.lowSpeedLimit', '1'],
      ['http.lowSpeedTime', String(SILENCE_S)],
      // Everything here can be fetched again; waiting for the disk would buy nothing.
      ['core.fsync', 'none'],
    ],
  });
}

function configFile(gitDirectory: string): string {
  return join(dirname(gitDirectory), 'gitconfig');
}

async function safeDirectories(gitDirectory: string, remote: string): Promise<string> {
  const { localPath } = remoteAddress(remote);
  const safe = [gitDirectory];
  if (localPath !== undefined) safe.push(localPath, await realpath(localPath).catch(() => localPath));
  return `[safe]\n${safe.map((path) => `\tdirectory = ${quoted(path)}\n`).join('')}`;
}

function decoded(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}
