import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { arch, platform, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { buildFromModules, type Recipe } from '../cluster/build.ts';
import { freePort } from '../cluster/starting.ts';
import type { Progress } from '../cluster/versions.ts';

const ROOT = join(import.meta.dirname, '../..');
const VERSION = 'v1.8.0';
const CACHE = join(ROOT, '.cache', 's3', `${VERSION}-${platform()}-${arch()}`);
const READY_TIMEOUT_MS = 60_000;
const POLL_MS = 100;
const KEPT_OUTPUT = 4_000;

/** Versity S3 Gateway on a folder: a real S3 server that is published as a Go module. */
const RECIPE: Recipe = {
  module: 'github.com/versity/versitygw',
  version: VERSION,
  command: 'github.com/versity/versitygw/cmd/versitygw',
  usually: '2 minutes',
  stamps: [],
};

export interface S3Server {
  endpoint: string;
  accessKey: string;
  secretKey: string;
  /** A bucket that is there. */
  bucket: string;
  close(): Promise<void>;
}

/** Starts a real S3 server on loopback; built once, with Go. @throws Error with its last words */
export async function startS3Server(progress: Progress): Promise<S3Server> {
  const file = join(CACHE, 'versitygw');
  const program = existsSync(file) ? file : await buildFromModules('versitygw', RECIPE, CACHE, progress);
  const folder = await mkdtemp(join(tmpdir(), 'gsv-s3-'));
  const bucket = 'gsv-artifacts';
  await mkdir(join(folder, 'data', bucket), { recursive: true });
  const port = await freePort();
  const keys = { accessKey: `test-${randomBytes(6).toString('hex')}`, secretKey: randomBytes(20).toString('hex') };
  const child = spawn(program, ['--port', `127.0.0.1:${port}`, 'posix', '--nometa', join(folder, 'data')], {
    env: { PATH: process.env.PATH ?? '', ROOT_ACCESS_KEY: keys.accessKey, ROOT_SECRET_KEY: keys.secretKey },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const endpoint = `http://127.0.0.1:${port}`;
  try {
    await untilReady(child, endpoint);
  } catch (error) {
    child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  return {
    endpoint,
    bucket,
    ...keys,
    close: async () => {
      const ended = once(child, 'close');
      child.kill('SIGKILL');
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function untilReady(child: ChildProcess, endpoint: string): Promise<void> {
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-KEPT_OUTPUT);
    });
  const end = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    if (child.exitCode !== null || Date.now() > end) throw new Error(`the S3 server does not start:\n${said}`);
    const answers = await fetch(endpoint).then(
      () => true,
      () => false,
    );
    if (answers) return;
    await delay(POLL_MS);
  }
}
