import { type Contract, ContractError, effectiveLimits, type ResolvedLimits } from '../../crds/contract.ts';
import type { Instance } from '../../crds/kinds.ts';
import type { Edge, InstancePath } from '../edge.ts';
import { problem } from '../errors.ts';
import type { Caller } from '../identity/caller.ts';
import type { RunTicket } from '../ticket.ts';
import type { Trace } from './trace.ts';

/** An Instance that this caller may run now, with the terms that hold. */
export interface Admitted {
  organization: string;
  instance: Instance;
  contract: Contract;
  limits: ResolvedLimits;
}

/**
 * Everything between knowing the caller and taking credits, in the order of architecture.md section 7.
 * @throws Problem
 */
export async function admitRun(edge: Edge, caller: Caller, path: InstancePath): Promise<Admitted> {
  const found = await edge.instances.find(caller, path.org, path.instance);
  found.membership.require('run', found.instance.spec.projectRef.name);
  const instance = await edge.instances.ready(found.instance);
  const contract = await edge.contracts.ofInstance(instance);
  const limits = limitsOf(contract, instance);
  edge.rates.take(instance.metadata.uid, limits.requestsPerMinute);
  return { organization: path.org, instance, contract, limits };
}

function limitsOf(contract: Contract, instance: Instance): ResolvedLimits {
  try {
    return effectiveLimits(contract, instance.spec.plan);
  } catch (error) {
    if (!(error instanceof ContractError)) throw error;
    throw problem('instance_not_ready', {
      detail: 'the plan of this Instance is not in its contract',
      extra: { reason: 'PlanUnknown' },
      cause: error,
    });
  }
}

/** What the receipt will say about where the money went and why. */
export function runContext(admitted: Admitted, caller: Caller, trace: Trace): Record<string, unknown> {
  const { instance, organization } = admitted;
  const { fulfilment } = instance.spec;
  return {
    instance: `${organization}/${instance.metadata.name}`,
    contractDigest: instance.status?.contractDigest,
    ...(fulfilment ? { shop: fulfilment.shop, order: fulfilment.order, line: fulfilment.line } : {}),
    ...(instance.status?.commit === undefined ? {} : { commit: instance.status.commit }),
    traceId: trace.traceId,
    subject: caller.subject,
  };
}

/** The ticket to read a run back or to cancel it. */
export function readTicket(organization: string, instance: Instance, runId: string, trace: Trace): RunTicket {
  const { name, uid } = instance.metadata;
  return { purpose: 'read', runId, instance: { organization, name, uid }, traceparent: trace.traceparent };
}

/** The ticket to carry a run out within its hold. */
export function runTicket(
  admitted: Admitted,
  claim: { runId: string; hold: string; amount: number },
  wallet: string,
  trace: Trace,
): RunTicket {
  const { organization, instance, contract, limits } = admitted;
  const digest = instance.status?.contractDigest;
  return {
    ...readTicket(organization, instance, claim.runId, trace),
    purpose: 'run',
    hold: claim.hold,
    holdMicrocredits: claim.amount,
    wallet,
    ...(digest === undefined ? {} : { contractDigest: digest }),
    limits: { runSeconds: limits.runSeconds, inputBytes: limits.inputBytes },
    onDisconnect: contract.onDisconnect,
  };
}
