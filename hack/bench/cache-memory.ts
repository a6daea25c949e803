import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { childEnvironment } from '../../config/settings.ts';
import { KINDS } from '../../crds/kinds.ts';
import { page, ScriptedServer } from '../cluster/scripted-server.ts';
import { World } from '../testing/operator/world.ts';
import type { Taken } from './cache-holder.ts';

const run = promisify(execFile);

const DEPLOYMENT = join(import.meta.dirname, '../../kustomize/base/operator.yaml');
/** Lists that one process may ask for: pages of 500, or all at once. */
const REPLIES = 1_000;

/** Memory of our reflector and of client-node's informer over the same Instances, round after round. */
export async function cacheMemory(count: number, rounds: number): Promise<{ ours: Taken[]; informer: Taken[] }> {
  const instances = await readyInstances(count);
  const found = { ours: [] as Taken[], informer: [] as Taken[] };
  for (let round = 0; round < rounds; round += 1)
    for (const how of ['ours', 'informer'] as const) found[how].push(await measure(how, instances));
  return found;
}

async function measure(how: 'ours' | 'informer', instances: readonly object[]): Promise<Taken> {
  const server = await ScriptedServer.start();
  try {
    for (let reply = 0; reply < REPLIES; reply += 1)
      server.calls.push((response, seen) => {
        const from = Number(seen.query.continue ?? 0);
        const to = from + Number(seen.query.limit ?? instances.length);
        page(instances.slice(from, to), '7', to < instances.length ? String(to) : undefined)(response, seen);
      });
    const child = join(import.meta.dirname, 'cache-holder.ts');
    const args = ['--expose-gc', ...(await shippedFlags()), child, how, server.kubeconfig];
    const { stdout } = await run(process.execPath, args, { env: childEnvironment() });
    const taken = JSON.parse(stdout) as Taken;
    if (taken.objects !== instances.length) throw new Error(`${how} holds ${taken.objects} objects`);
    return taken;
  } finally {
    await server.close();
  }
}

/** The flags of node that the shipped Deployment has: both sides get them. */
async function shippedFlags(): Promise<string[]> {
  const [deployment] = parseAllDocuments(await readFile(DEPLOYMENT, 'utf8')).map((each) => each.toJS() as Deployment);
  const [container] = deployment?.spec.template.spec.containers ?? [];
  return container?.command.filter((argument) => argument.startsWith('--')) ?? [];
}

interface Deployment {
  spec: { template: { spec: { containers: { command: string[] }[] } } };
}

/** A ready Instance as the operator leaves it, as often as asked for, in the form of an API server. */
async function readyInstances(count: number): Promise<object[]> {
  const world = await World.open();
  try {
    await world.start();
    await world.catalog();
    await world.order('claims', { fulfilment: world.pay() });
    const { apiVersion, kind } = KINDS.Instance;
    const { metadata, spec, status } = await world.instance();
    const managedFields = [
      manager('gsv-gateway', { 'f:spec': fields(spec) }),
      manager('gsv-store', { 'f:metadata': { 'f:finalizers': { '.': {} } } }),
      { ...manager('gsv-operator', { 'f:status': fields(status) }), subresource: 'status' },
    ];
    const text = JSON.stringify({ apiVersion, kind, metadata: { ...metadata, managedFields }, spec, status });
    return Array.from({ length: count }, (_, index) => {
      const uid = metadata.uid.slice(0, -5) + String(index).padStart(5, '0');
      const own = JSON.parse(text.replaceAll(metadata.uid, uid).replaceAll(`"claims"`, `"claims-${index}"`));
      own.metadata.resourceVersion = String(1_000_000 + index);
      return own as object;
    });
  } finally {
    await world.close();
  }
}

function manager(name: string, owned: object): object {
  const version = KINDS.Instance.apiVersion;
  const time = '2026-03-01T12:00:00Z';
  return { manager: name, operation: 'Apply', apiVersion: version, time, fieldsType: 'FieldsV1', fieldsV1: owned };
}

/** The set of fields as server-side apply notes it; lists of objects are keyed by their `type`, as conditions are. */
function fields(value: unknown): object {
  if (Array.isArray(value))
    return Object.fromEntries(
      value.map((each) => [`k:${JSON.stringify({ type: each?.type })}`, { '.': {}, ...fields(each) }]),
    );
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [`f:${name}`, fields(child)]));
}
