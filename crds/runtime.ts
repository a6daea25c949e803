/**
 * How an Instance's own runtime (profile Namespace) is found. The operator renders it and the runner calls
 * it: both read names, port and key from here, so neither has to be told by the other.
 */
import { createHash } from 'node:crypto';

/** Port that `lfx serve` listens on by default, in the pod and on its Service. */
export const RUNTIME_PORT = 7860;

/** Name of the generated secret that is the runtime's API key: `t/<workload namespace>/<instance uid>/runtime-key`. */
export const RUNTIME_KEY = 'runtime-key';

/** A Service's name is a DNS label. Characters. */
const MAX_SERVICE_NAME = 63;

/** Name of the Service in front of an Instance's runtime: `i-<instance>`, a long one cut and told apart by a hash. */
export function runtimeServiceName(instance: string): string {
  const name = `i-${instance}`;
  if (name.length <= MAX_SERVICE_NAME) return name;
  const hash = createHash('sha256').update(instance).digest('hex').slice(0, 8);
  return `${name.slice(0, MAX_SERVICE_NAME - hash.length - 1).replace(/-+$/, '')}-${hash}`;
}

/** Where the runtime of an Instance answers, inside the cluster alone. */
export function runtimeUrl(instance: string, workloadNamespace: string): string {
  return `http://${runtimeServiceName(instance)}.${workloadNamespace}.svc:${RUNTIME_PORT}`;
}
