import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { FolderTaken, ProcessGroup, sweep } from './processes.ts';

const PATIENCE_MS = 20_000;
const MODULE = new URL('./processes.ts', import.meta.url).href;
/** A program that does nothing for as long as it is left alone; the folder in its words makes it unlike any other. */
const idle = (folder: string): string[] => ['-e', `setInterval(() => {}, 1000) // ${folder}`];

function temporary(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'gsv-processes-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A corpse that nobody has collected does not run.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function ends(pid: number): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (runs(pid)) {
    if (Date.now() > end) throw new Error(`process ${pid} still runs`);
    await delay(20);
  }
}

/** Another Node process that owns the folder and runs one idle program in it. @returns pids of both */
async function owner(t: TestContext, folder: string): Promise<{ parent: number; program: number }> {
  const script = `
    const { ProcessGroup } = await import(${JSON.stringify(MODULE)});
    const group = await ProcessGroup.claim(${JSON.stringify(folder)});
    await group.start('idle', process.execPath, ${JSON.stringify(idle(folder))});
    process.stdout.write('started');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  const { programs } = JSON.parse(readFileSync(join(folder, 'processes.json'), 'utf8')) as {
    programs: { pid: number }[];
  };
  const [program] = programs;
  assert.ok(program && child.pid);
  return { parent: child.pid ?? 0, program: program?.pid ?? 0 };
}

test('programs end with their parent, even when it is killed', async (t) => {
  const { parent, program } = await owner(t, temporary(t));
  assert.ok(runs(program));
  process.kill(parent, 'SIGKILL');
  await ends(program);
});

test('a folder whose owner lives is taken; one whose owner is dead can be had', async (t) => {
  const folder = temporary(t);
  const { parent } = await owner(t, folder);
  const error = await ProcessGroup.claim(folder).catch((reason: unknown) => reason);
  assert.instance(error, FolderTaken);
  assert.is((error as FolderTaken).pid, parent);
  process.kill(parent, 'SIGKILL');
  await ends(parent);
  const group = await ProcessGroup.claim(folder);
  await group.release();
  assert.not.ok(existsSync(join(folder, 'processes.json')));
});

test('a sweep removes the folders of the dead and leaves those of the living', async (t) => {
  const parent = temporary(t);
  const [dead, living] = [mkdtempSync(join(parent, 'gsv-x-')), mkdtempSync(join(parent, 'gsv-x-'))];
  const gone = await owner(t, dead);
  await owner(t, living);
  process.kill(gone.parent, 'SIGKILL');
  await ends(gone.parent);
  await sweep(parent, 'gsv-x-');
  assert.not.ok(existsSync(dead));
  assert.ok(existsSync(living));
});

test('a program ends when it is asked, and at once when it is killed', async (t) => {
  const folder = temporary(t);
  const group = await ProcessGroup.claim(folder);
  const deaf = ['-e', `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000) // ${folder}`];
  const running = await group.start('deaf', process.execPath, deaf);
  await running.stop('kill');
  assert.ok(running.ended());
  const polite = await group.start('polite', process.execPath, idle(folder));
  await polite.stop('ask');
  assert.ok(polite.ended());
});

test('a program that is not there is an error, not a crash', async (t) => {
  const group = await ProcessGroup.claim(temporary(t));
  const error = await group.start('nothing', '/nowhere/program', []).catch((reason: unknown) => reason);
  assert.match((error as Error).message, /nothing cannot be started/);
});
