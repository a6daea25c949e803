/**
 * A process that holds all Instances of an API server in memory, the way that its argument says, and prints what
 * that takes: `cache-holder.ts ours|informer|KUBECONFIG`. A process for each, because heaps remember.
 */
import { CustomObjectsApi, KubeConfig, type KubernetesListObject, makeInformer } from '@kubernetes/client-node';
import { KINDS } from '../../crds/kinds.ts';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';

/** What a process has taken. Bytes. */
export interface Taken {
  objects: number;
  /** Alive after a collection: what holding them takes. */
  heap: number;
  /** Of the operating system, what the list itself had needed included. */
  resident: number;
}

const PLURAL = 'instances';
const [group = '', version = ''] = KINDS.Instance.apiVersion.split('/');

/** Our reflector with its cache. */
async function ours(kubeConfig: string): Promise<() => number> {
  const store = await KubernetesStore.open({ kubeConfig });
  const cache = store.watch('Instance');
  await cache.synced;
  return () => cache.list().length;
}

/** The informer of client-node with its cache. */
async function informer(file: string): Promise<() => number> {
  const config = new KubeConfig();
  config.loadFromFile(file);
  const api = config.makeApiClient(CustomObjectsApi);
  const list = (): Promise<KubernetesListObject<object>> =>
    api.listClusterCustomObject({ group, version, plural: PLURAL });
  const held = makeInformer(config, `/apis/${group}/${version}/${PLURAL}`, list);
  held.on('error', (error: unknown) => {
    throw error;
  });
  await held.start();
  return () => held.list().length;
}

function taken(): Omit<Taken, 'objects'> {
  // Twice: what the first one finalizes is free only after the second.
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, resident: rss };
}

const [how, kubeConfig = ''] = process.argv.slice(2);
const before = taken();
const count = await (how === 'ours' ? ours : informer)(kubeConfig);
await new Promise((resolve) => setTimeout(resolve, 500)); // The connection's buffers go.
const after = taken();
const report: Taken = {
  objects: count(),
  heap: after.heap - before.heap,
  resident: after.resident - before.resident,
};
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
