import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { childEnvironment } from '../../config/settings.ts';
import { GitError } from './errors.ts';

/** A remote that is silent for this long is as good as gone. Milliseconds. */
const COMMAND_TIMEOUT_MS = 120_000;
/** More output than any of our commands has; a guard of our memory. Bytes. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export interface GitProgramOptions {
  /** Name or path of the program; absent: `git` of the PATH. */
  program?: string;
  /** Working directory and home of every command: nothing of the user's home is read. */
  directory: string;
  /** `key=value` for every command, of command scope (`safe.directory` counts only there). */
  config?: readonly (readonly [key: string, value: string])[];
  /** A configuration file of ours, which also the far end of a local remote reads. Absent: none. */
  configFile?: string;
}

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/**
 * The git program, cut off from everything outside: no system or user configuration, no hooks, no
 * prompts, no pagers, C locale (its words are parsed), only network protocols that make sense here.
 */
export class GitProgram {
  readonly #program: string;
  readonly #directory: string;
  readonly #environment: Record<string, string>;

  constructor(options: GitProgramOptions) {
    this.#program = options.program ?? 'git';
    this.#directory = options.directory;
    const config = [['core.hooksPath', '/dev/null'], ['gc.auto', '0'], ...(options.config ?? [])] as const;
    this.#environment = {
      ...childEnvironment(),
      HOME: options.directory,
      LC_ALL: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: options.configFile ?? '/dev/null',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: '',
      SSH_ASKPASS: '',
      GIT_SSH_COMMAND: 'ssh -o BatchMode=yes',
      GIT_ALLOW_PROTOCOL: 'file:git:http:https:ssh',
      GIT_LITERAL_PATHSPECS: '1',
      GIT_NO_REPLACE_OBJECTS: '1',
      GIT_CONFIG_COUNT: String(config.length),
    };
    for (const [index, [key, value]] of config.entries()) {
      this.#environment[`GIT_CONFIG_KEY_${index}`] = key;
      this.#environment[`GIT_CONFIG_VALUE_${index}`] = value;
    }
  }

  /** A long-lived process. The caller listens to `error` and `exit`. */
  start(args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn(this.#program, args, { cwd: this.#directory, env: this.#environment, stdio: 'pipe' });
  }

  /** Runs to the end, whatever the exit code. @throws GitError `git_missing`, `local_failed` (killed, silent, too much output) */
  async run(args: readonly string[], input = ''): Promise<Outcome> {
    const child = this.start(args);
    const name = `git ${args.find((arg) => !arg.startsWith('-')) ?? ''}`;
    const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_TIMEOUT_MS);
    try {
      const ended = once(child, 'close') as Promise<[number | null, string | null]>;
      child.stdin.on('error', () => undefined); // A command that ends early closes its input; the exit code tells.
      child.stdin.end(input);
      const [stdout, stderr, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
      if (code === null) throw new GitError('local_failed', `${name} was ended by ${signal ?? 'a signal'}`);
      return { code, stdout, stderr };
    } catch (error) {
      child.kill('SIGKILL');
      throw this.failure(error, name);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What a failed start means: a program that is not there gets the one sentence that helps. */
  failure(error: unknown, what: string): GitError {
    if (error instanceof GitError) return error;
    // A working directory that is gone looks like a missing program.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(this.#directory)) {
      return new GitError(
        'git_missing',
        'git cannot be started: install git 2.32 or newer (apt-get install git, brew install git) and put it on the PATH',
      );
    }
    return new GitError('local_failed', `${what}: ${(error as Error).message}`, { cause: error });
  }

  /** Runs and returns its output. @throws GitError `local_failed` when it fails */
  async output(args: readonly string[], input = ''): Promise<string> {
    const outcome = await this.run(args, input);
    if (outcome.code !== 0) {
      throw new GitError('local_failed', `git ${args.join(' ')}: ${outcome.stderr.trim() || `exit ${outcome.code}`}`);
    }
    return outcome.stdout;
  }
}

async function text(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += (chunk as Buffer).length;
    if (size > MAX_OUTPUT_BYTES) throw new GitError('local_failed', `git wrote more than ${MAX_OUTPUT_BYTES} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}
