import type { ProbePort } from '../ports.ts';
import { Waiting } from '../runtime/errors.ts';

/** A runtime that starts is ready within seconds, and a person waits for it. */
const PROBE_RETRY_MS = 2_000;

/** The runner reads the contract from our status, which is written at the end of this visit. */
const STALE_RETRY_MS = 250;

/** `probe`: the runner can load the artifact of this contract and resolve every secret. */
export async function probe(
  organization: string,
  instance: string,
  contractDigest: string,
  port: ProbePort,
): Promise<void> {
  const reply = await port.probe(organization, instance);
  if (!reply.ok) {
    const away = reply.code === 'runtime_unavailable' || reply.code === 'runner_unavailable';
    throw new Waiting(PROBE_RETRY_MS, away ? 'RuntimeNotReady' : 'ProbeFailed', `${reply.code}: ${reply.detail}`);
  }
  if (reply.contractDigest !== contractDigest)
    throw new Waiting(STALE_RETRY_MS, 'ProbeFailed', 'contract_stale: the runner still has another contract.');
}
