import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { freePort } from '../cluster/starting.ts';
import { startProcess } from './process.ts';

const POLL_MS = 50;

/**
 * Starts a process with a kubeconfig whose server does not answer: it must be alive, not ready with a
 * reason, name no secret, and end with 0 when it is told to.
 */
export async function waitsForItsApiServer(entry: string, env: Record<string, string>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-lonely-'));
  const [nobody, ops] = [await freePort(), await freePort()];
  const kubeconfig = join(folder, 'kubeconfig');
  await writeFile(kubeconfig, stringify(configOf(`http://127.0.0.1:${nobody}`)));
  const running = startProcess(entry, {
    ...env,
    KUBECONFIG: kubeconfig,
    GSV_OPS_PORT: String(ops),
  });
  try {
    const base = `http://127.0.0.1:${ops}`;
    const live = await eventually(() => fetch(`${base}/livez`));
    assert.is(live.status, 200);
    const ready = await fetch(`${base}/readyz`);
    const { reasons } = (await ready.json()) as { reasons: string[] };
    assert.is(ready.status, 503);
    assert.ok(reasons.length > 0);
    assert.match(await (await fetch(`${base}/metrics`)).text(), /gsv_process_cpu/);
    assert.is(await running.stop(), 0);
    assert.not.match(JSON.stringify(running.lines()), /canary/);
  } finally {
    running.child.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
}

async function eventually<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = 200; ; left -= 1) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await delay(POLL_MS);
    }
  }
}

function configOf(server: string): Record<string, unknown> {
  const name = 'gsv';
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server } }],
    users: [{ name, user: { token: 'kubernetes-token-canary' } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
}
