import { after } from 'node:test';
import { type Cluster, type ClusterOptions, startCluster } from './cluster.ts';
import { installDefinitions } from './definitions.ts';

/**
 * A cluster with our CRDs for the tests of one file, awaited at the top of it. Without an API server
 * the file cannot be loaded, which counts as failed, and says why.
 */
export async function testCluster(options: Omit<ClusterOptions, 'log'> = {}): Promise<Cluster> {
  const log = (line: string): void => void process.stderr.write(`# ${line}\n`);
  const cluster = await startCluster({ ...options, log });
  after(() => cluster.close());
  await installDefinitions(cluster.kubeconfig);
  return cluster;
}
