/**
 * `npm run capabilities -- load DIR|GIT-URL`: brings a registry of Capabilities into a cluster, all or none.
 */
import { parseArgs } from 'node:util';
import { KubernetesStore } from '../../crds/store/kubernetes.ts';
import { StoreError } from '../../crds/store.ts';
import { GitError } from '../git/errors.ts';
import { applyPlan, problemText } from './apply.ts';
import { readRegistry } from './folder.ts';
import { planCapabilities } from './plan.ts';
import { openSource } from './source.ts';

const USAGE = `usage: npm run capabilities -- load DIR|GIT-URL[#BRANCH-OR-TAG] [--dry-run] [--kubeconfig FILE] [--context NAME]

Checks every Capability of all files, then applies those that are new or have a new version. With any problem
nothing is written, and all problems are shown. A change without a new version is refused with the difference.
`;

class UsageError extends Error {}

function parseArguments() {
  try {
    const text = { type: 'string' } as const;
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { 'dry-run': { type: 'boolean' }, kubeconfig: text, context: text },
    });
    const [command, source, ...more] = positionals;
    if (command !== 'load' || source === undefined || more.length > 0) throw new TypeError('say: load DIR|GIT-URL');
    return { source, dryRun: values['dry-run'] === true, kubeConfig: values.kubeconfig, context: values.context };
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${USAGE}`);
  }
}

async function main(): Promise<number> {
  const { source: from, dryRun, kubeConfig, context } = parseArguments();
  const tell = (line: string): void => void process.stdout.write(`${line}\n`);
  const source = await openSource(from);
  const store = await KubernetesStore.open({
    ...(kubeConfig === undefined ? {} : { kubeConfig }),
    ...(context === undefined ? {} : { context }),
  });
  try {
    const registry = await readRegistry(source.folder);
    tell(`read      ${registry.documents.length} capabilities from ${from}`);
    if (registry.others > 0) tell(`left      ${registry.others} documents of other kinds alone`);
    const plan = planCapabilities(registry, await store.list('Capability'));
    if (plan.problems.length > 0) {
      process.stderr.write(`${problemText(plan)}\nnothing was written: ${plan.problems.length} problems\n`);
      return 1;
    }
    // A dry run tells the same lines and hands the writes to nobody.
    const target = dryRun ? { apply: async () => undefined as never } : store;
    await applyPlan(plan, target, tell);
    if (dryRun) tell('dry run   nothing was written');
    return 0;
  } finally {
    await Promise.all([store.close(), source.close()]);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  const known = error instanceof UsageError || error instanceof StoreError || error instanceof GitError;
  process.stderr.write(`${known ? error.message.trimEnd() : `load failed: ${(error as Error).message}`}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
