import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { childEnvironment } from '../../config/settings.ts';
import { credentialSettings, type GitAccess, sshCommand } from './access.ts';
import { GitError } from './errors.ts';
import { quoted } from './quoting.ts';

/** A command that takes this long has a remote that is as good as gone. Milliseconds. */
const COMMAND_TIMEOUT_MS = 120_000;
/** More output than any of our commands has; a guard of our memory. Bytes. */
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

export interface GitProgramOptions {
  /** Name or path of the program; absent: `git` of the PATH. */
  program?: string;
  /** Working directory and home of every command: nothing of the user's home is read. */
  directory: string;
  /** How remotes are opened; absent: nothing of ours is shown to one. */
  access?: GitAccess;
  /** `key=value` for every command, of command scope (`safe.directory` counts only there). */
  config?: readonly (readonly [key: string, value: string])[];
  /** A configuration file of ours, which also the far end of a local remote reads. Absent: none. */
  configFile?: string;
  /** Object folders of other repositories that our commands may read from, too. */
  alternates?: readonly string[];
  /** After this many milliseconds a command is ended. Absent: two minutes. */
  timeoutMs?: number;
}

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
  /** It was ended because it took too long. */
  late: boolean;
}

/**
 * The git program, cut off from everything outside: no system or user configuration, no hooks, no
 * prompts, no pagers, C locale (its words are parsed), only network protocols that make sense here.
 */
export class GitProgram {
  readonly #program: string;
  readonly #directory: string;
  readonly #environment: Record<string, string>;
  /** What the other side of a local remote gets: nothing of ours, so that its own hooks and settings are in force. */
  readonly #farEnvironment: Record<string, string>;
  readonly timeoutMs: number;

  constructor(options: GitProgramOptions) {
    this.#program = options.program ?? 'git';
    this.#directory = options.directory;
    const always = [
      ['core.hooksPath', '/dev/null'],
      ['gc.auto', '0'],
    ] as const;
    const config = [...always, ...credentialSettings(options.access ?? {}), ...(options.config ?? [])];
    this.timeoutMs = options.timeoutMs ?? COMMAND_TIMEOUT_MS;
    this.#farEnvironment = {
      ...childEnvironment(),
      HOME: options.directory,
      LC_ALL: 'C',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: options.configFile ?? '/dev/null',
      GIT_TERMINAL_PROMPT: '0',
      GIT_ASKPASS: '',
      SSH_ASKPASS: '',
      GIT_SSH_COMMAND: sshCommand(options.access ?? {}),
      GIT_ALLOW_PROTOCOL: 'file:git:http:https:ssh',
      GIT_LITERAL_PATHSPECS: '1',
    };
    this.#environment = {
      ...this.#farEnvironment,
      GIT_NO_REPLACE_OBJECTS: '1',
      GIT_ALTERNATE_OBJECT_DIRECTORIES: (options.alternates ?? []).map(quoted).join(':'),
      GIT_CONFIG_COUNT: String(config.length),
    };
    for (const [index, [key, value]] of config.entries()) {
      this.#environment[`GIT_CONFIG_KEY_${index}`] = key;
      this.#environment[`GIT_CONFIG_VALUE_${index}`] = value;
    }
  }

  /** The program that serves a remote on this machine, as our own git would start it. */
  startFarEnd(args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn(this.#program, args, { cwd: this.#directory, env: this.#farEnvironment, stdio: 'pipe' });
  }

  /** A long-lived process. The caller listens to `error` and `exit`. */
  start(args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn(this.#program, args, { cwd: this.#directory, env: this.#environment, stdio: 'pipe' });
  }

  /** Runs to the end, whatever the exit code. @throws GitError `git_missing`, `local_failed` (killed, silent, too much output) */
  async run(args: readonly string[], input = ''): Promise<Outcome> {
    // A group of its own: what hangs is often a grandchild (git-remote-https, ssh) that holds our pipes.
    const options = { cwd: this.#directory, env: this.#environment, stdio: 'pipe', detached: true } as const;
    const child = spawn(this.#program, args, options);
    const name = `git ${args.find((arg) => !arg.startsWith('-')) ?? ''}`;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      killGroup(child);
    }, this.timeoutMs);
    try {
      const ended = once(child, 'close') as Promise<[number | null, string | null]>;
      child.stdin.on('error', () => undefined); // A command that ends early closes its input; the exit code tells.
      child.stdin.end(input);
      const [stdout, stderr, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
      if (code === null && !late) throw new GitError('local_failed', `${name} was ended by ${signal ?? 'a signal'}`);
      return { code: code ?? 1, stdout, stderr, late };
    } catch (error) {
      killGroup(child);
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

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // The group is gone already.
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
