import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import { holds, type Installed } from '../cluster/definitions.ts';
import { kubectl } from '../processes/kubectl.ts';

/** A CRD is served within seconds. Milliseconds. */
const ESTABLISHED_TIMEOUT_MS = 60_000;
const POLL_MS = 100;

/** Applies manifests, one document each, as a person would, by server-side apply. @throws Error with kubectl's own words */
export async function kubectlApply(kubeconfig: string, manifests: readonly string[]): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gsv-apply-'));
  try {
    const file = join(folder, 'manifests.json');
    const items = manifests.map((text) => parse(text) as unknown);
    await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    await kubectl(kubeconfig, 'apply', '--server-side', '--force-conflicts', '-f', file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Waits until CRDs are served. @throws Error that names the first that is not */
export async function kubectlEstablished(kubeconfig: string, names: readonly string[]): Promise<void> {
  const end = Date.now() + ESTABLISHED_TIMEOUT_MS;
  for (const name of names)
    for (;;) {
      const text = await kubectl(kubeconfig, 'get', `crd/${name}`, '-o', 'json');
      // A CRD of this moment has no conditions, which `kubectl wait` takes for an error.
      if (holds(JSON.parse(text) as Installed, 'Established')) break;
      if (Date.now() > end) throw new Error(`the CRD ${name} is not established`);
      await delay(POLL_MS);
    }
}
