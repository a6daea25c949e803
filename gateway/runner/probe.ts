import type { Logger } from '../../config/log.ts';
import type { SecretsBroker } from '../../config/secrets.ts';
import type { Bindings } from './binding.ts';
import { runProblem } from './execute.ts';
import { readSecrets } from './globals.ts';
import { runnerProblem } from './problems.ts';
import type { Runtime, Runtimes } from './runtimes.ts';

export interface ProbeReply {
  ok: true;
  contractDigest: string;
  /** The versions that the next run will use, by name. */
  secrets: { name: string; version: number }[];
}

export interface ProbeParts {
  bindings: Bindings;
  runtimes: Runtimes;
  secrets: SecretsBroker;
}

/**
 * Whether a run of this Instance could begin now: its contract is found and proven, its artifact is
 * there and the runtime has built it, every declared secret resolves. Runs and charges nothing.
 *
 * @throws Problem
 */
export async function probe(parts: ProbeParts, organization: string, name: string, log: Logger): Promise<ProbeReply> {
  try {
    const binding = await parts.bindings.present(organization, name);
    const declared = binding.contract.secrets.map((secret) => secret.name);
    const found =
      declared.length === 0
        ? new Map()
        : await readSecrets(binding, declared, parts.secrets, await parts.bindings.workloadNamespace(binding));
    await loadedFlow(await parts.runtimes.of(binding, { fresh: true }), binding.contract.artifact.sha256);
    return {
      ok: true,
      contractDigest: binding.contractDigest,
      secrets: declared.map((each) => ({ name: each, version: found.get(each)?.version ?? 0 })).sort(byName),
    };
  } catch (error) {
    throw runProblem(error, log);
  }
}

/** A flow that was loaded before may be gone, or the runtime with it: it is asked, and loaded again if need be. */
async function loadedFlow({ flows, client }: Runtime, sha256: string): Promise<void> {
  const flow = await flows.load(sha256);
  if (await client.knows(flow.id)) return;
  flows.forget(sha256);
  const again = await flows.load(sha256);
  if (!(await client.knows(again.id)))
    throw runnerProblem('runtime_error', 'the runtime accepted the flow but does not keep it');
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}
