import type { Cluster } from '../cluster/cluster.ts';
import { type RunningExternalSecrets, startExternalSecrets } from './launch.ts';

/**
 * A real External Secrets for the tests of one file, awaited at the top of it; the file closes it. Without one the
 * file cannot be loaded, which counts as failed, and says why.
 */
export function testExternalSecrets(cluster: Cluster): Promise<RunningExternalSecrets> {
  return startExternalSecrets({ cluster, log: (line) => void process.stderr.write(`# ${line}\n`) });
}
