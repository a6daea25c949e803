import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';

const MAIN = join(import.meta.dirname, 'main.ts');
const PATIENCE_MS = 20_000;

interface Running {
  /** Value of the KUBECONFIG that it tells to export. */
  kubeconfig: string;
  programs: number[];
  /** @returns its exit code */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** What `npm run cluster` runs, until it has printed its line. */
async function cluster(t: TestContext, dataDir: string): Promise<Running> {
  const child = spawn(process.execPath, [MAIN, '--data-dir', dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  let printed = '';
  for await (const chunk of child.stdout) {
    printed += String(chunk);
    if (printed.includes('\n')) break;
  }
  const kubeconfig = /^export KUBECONFIG=(.+)\n$/.exec(printed)?.[1];
  assert.ok(kubeconfig, printed);
  const { programs } = JSON.parse(readFileSync(join(dataDir, 'processes.json'), 'utf8')) as {
    programs: { pid: number }[];
  };
  return {
    kubeconfig: kubeconfig ?? '',
    programs: programs.map((each) => each.pid),
    async end(signal) {
      child.kill(signal);
      const [code] = (await once(child, 'exit')) as [number | null];
      return code;
    },
  };
}

function kubectl(kubeconfig: string, ...args: string[]): string {
  return execFileSync('kubectl', args, { env: { ...process.env, KUBECONFIG: kubeconfig } }).toString();
}

function runs(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

async function allEnd(pids: number[]): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (pids.some(runs)) {
    if (Date.now() > end) throw new Error(`still there: ${pids.filter(runs).join()}`);
    await delay(20);
  }
}

test('npm run cluster: kubectl works with what it prints, nothing is left, data stays for the next start', async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), 'gsv-npm-cluster-'));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));

  const first = await cluster(t, dataDir);
  assert.is(first.programs.length, 3);
  assert.is(statSync(first.kubeconfig).mode & 0o777, 0o600, 'the kubeconfig is nobody else’s');
  assert.match(kubectl(first.kubeconfig, 'get', 'crds', '-o', 'name'), 'instances.store.gsv.dev');
  assert.match(kubectl(first.kubeconfig, 'auth', 'can-i', '*', '*', '-A'), 'yes');
  const nobody = ['--as=somebody', 'auth', 'can-i', 'get', 'gsvi', '-A'];
  assert.throws(() => kubectl(first.kubeconfig, ...nobody), 'RBAC is on: nobody else may do anything');
  kubectl(first.kubeconfig, 'create', 'namespace', 'kept');
  const second = spawn(process.execPath, [MAIN, '--data-dir', dataDir], { stdio: ['ignore', 'pipe', 'pipe'] });
  const [refused] = (await once(second, 'exit')) as [number];
  assert.is(refused, 1, 'a second one does not take the folder');
  assert.is(await first.end('SIGINT'), 0);
  await allEnd(first.programs);

  const third = await cluster(t, dataDir);
  assert.match(kubectl(third.kubeconfig, 'get', 'namespace', 'kept', '-o', 'name'), 'namespace/kept');
  await third.end('SIGKILL');
  await allEnd(third.programs);

  const fourth = await cluster(t, dataDir);
  assert.match(kubectl(fourth.kubeconfig, 'get', 'namespace', 'kept', '-o', 'name'), 'namespace/kept');
  assert.is(await fourth.end('SIGTERM'), 0);
  await allEnd(fourth.programs);
});
