import type { Reason } from '../../crds/conditions.ts';
import type { Delivery, DeliveryTarget } from '../delivery/delivery.ts';
import type { ProbePort, ProbeReply } from '../ports.ts';
import { Waiting } from '../runtime/errors.ts';
import { isReason } from './sync.ts';

/** A runtime that starts is ready within seconds, and a person waits for it. */
const PROBE_RETRY_MS = 2_000;

/** A workload that starts tells so itself; this is the safety net. */
const WORKLOAD_RETRY_MS = 5_000;

/** The runner reads the contract from our status, which is written at the end of this visit. */
const STALE_RETRY_MS = 250;

/** Who is away; any other refusal speaks of the Instance itself. */
const REFUSALS: Readonly<Record<string, Reason>> = {
  runner_unavailable: 'RunnerUnavailable',
  runtime_unavailable: 'RuntimeNotReady',
};

/** First half of RuntimeReady: the secrets have arrived and the workload, where there is one, is available. */
export async function workload(target: DeliveryTarget, delivery: Delivery): Promise<void> {
  const { ready, reason, message } = await delivery.workload(target);
  if (ready) return;
  throw isReason(reason)
    ? new Waiting(WORKLOAD_RETRY_MS, reason, message)
    : new Waiting(WORKLOAD_RETRY_MS, 'RuntimeNotReady', `${reason}: ${message}`);
}

/** Second half, `probe`: the runner can load the artifact of this contract and resolve every secret. Returns its reply. */
export async function probe(
  organization: string,
  instance: string,
  contractDigest: string,
  port: ProbePort,
): Promise<Extract<ProbeReply, { ok: true }>> {
  const reply = await port.probe(organization, instance);
  if (!reply.ok) {
    throw new Waiting(PROBE_RETRY_MS, REFUSALS[reply.code] ?? 'ProbeFailed', `${reply.code}: ${reply.detail}`);
  }
  if (reply.contractDigest !== contractDigest)
    throw new Waiting(STALE_RETRY_MS, 'ProbeFailed', 'contract_stale: the runner still has another contract.');
  return reply;
}
