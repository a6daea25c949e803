/**
 * `npm run cluster`: a real API server on this machine, with our CRDs, until Ctrl-C.
 *
 *   node hack/cluster/main.ts [--data-dir DIR]   default: .data/cluster; kept for the next start
 *   node hack/cluster/main.ts --build            only finds, fetches or builds the programs
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findBinaries } from './binaries.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { installDefinitions } from './definitions.ts';
import { FolderTaken } from './processes.ts';

const ROOT = join(import.meta.dirname, '../..');
/** How often we look whether all programs still run. Milliseconds. */
const LOOK_MS = 1_000;
const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { 'data-dir': { type: 'string' }, build: { type: 'boolean' } } });
  const stopped = stopSignal();
  let serving = false;
  // Before there is anything to stop in order; programs and builds go with this process.
  void stopped.then(() => serving || process.exit(1));
  if (values.build) {
    for (const file of Object.values(await findBinaries(say))) process.stdout.write(`${file}\n`);
    return 0;
  }
  const dataDir = values['data-dir'] ?? join(ROOT, '.data', 'cluster');
  const cluster = await startCluster({ dataDir, log: say }).catch((error: unknown) => taken(error, dataDir));
  if (cluster === undefined) return 1;
  serving = true;
  try {
    const installed = await installDefinitions(cluster.kubeconfig);
    say(`${installed.length} kinds of store.gsv.dev are served`);
    say(cluster.controllers ? '' : 'without a controller manager: deleted Namespaces stay as they are\n');
    // The one line on standard output, so that `eval "$(…)"` is no surprise.
    process.stdout.write(`export KUBECONFIG=${cluster.kubeconfig}\n`);
    say('\nThen, for example: kubectl get crds; kubectl explain gsvi.spec; kubectl get gsv -A\nCtrl-C stops it.');
    const why = await Promise.race([stopped, programEnds(cluster)]);
    say(why ?? 'stopping …');
    if (why !== undefined) return 1;
  } finally {
    await cluster.close();
  }
  return 0;
}

function taken(error: unknown, dataDir: string): undefined {
  if (!(error instanceof FolderTaken)) throw error;
  say(`${error.message}. To use it:`);
  const kubeconfig = join(dataDir, 'kubeconfig');
  if (existsSync(kubeconfig)) process.stdout.write(`export KUBECONFIG=${kubeconfig}\n`);
  return undefined;
}

function stopSignal(): Promise<undefined> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve(undefined));
  });
}

/** Also what keeps this process alive: neither signals nor programs do. */
function programEnds(cluster: Cluster): Promise<string> {
  return new Promise((resolve) => {
    const look = setInterval(() => {
      const [ended] = cluster.ended();
      if (ended === undefined) return;
      clearInterval(look);
      resolve(`${ended} has ended; its log is in ${join(cluster.folder, 'logs')}`);
    }, LOOK_MS).ref();
  });
}

try {
  process.exit(await main());
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
