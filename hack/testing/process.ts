import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

/** A process of ours that a test has started and must end. */
export interface OurProcess {
  child: ChildProcess;
  /** Everything it has said so far. */
  text(): string;
  /** Log lines so far. */
  lines(): Record<string, unknown>[];
  /** The first line that holds this message. @throws Error with the last words when the process ends before it */
  says(message: string | RegExp): Promise<Record<string, unknown>>;
  /** Exit code, or the name of the signal. */
  ended: Promise<number | string>;
  /** SIGTERM, then the exit code. */
  stop(): Promise<number | string>;
}

const POLL_MS = 20;

/** Starts a TypeScript entry file with these variables and no others. */
export function startProcess(entry: string, env: Record<string, string>): OurProcess {
  const child = spawn(process.execPath, [entry], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH ?? '', ...env },
  });
  let text = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string);
  const lines = (): Record<string, unknown>[] =>
    text.split('\n').flatMap((line) => {
      try {
        return [JSON.parse(line) as Record<string, unknown>];
      } catch {
        return [];
      }
    });
  return {
    child,
    text: () => text,
    lines,
    ended,
    says: async (message) => {
      for (;;) {
        const over = child.exitCode !== null || child.signalCode !== null;
        const found = lines().find(({ msg }) =>
          typeof message === 'string' ? msg === message : message.test(String(msg)),
        );
        if (found !== undefined) return found;
        if (over) throw new Error(`${entry} ended (${child.exitCode ?? child.signalCode}): ${text.slice(-4000)}`);
        await delay(POLL_MS);
      }
    },
    stop: () => {
      child.kill('SIGTERM');
      return ended;
    },
  };
}
