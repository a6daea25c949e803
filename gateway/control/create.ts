import type { Violation } from '../../config/problem.ts';
import { type Contract, ContractError, effectiveLimits } from '../../crds/contract.ts';
import { type Instance, organizationNamespace } from '../../crds/kinds.ts';
import { effectiveLifecycle } from '../../crds/lifecycle.ts';
import type { Edge } from '../edge.ts';
import { problem } from '../errors.ts';
import { checkConfig, storeCall } from './edit.ts';

export interface NewInstance {
  name: string;
  project: string;
  offering: string;
  plan: string;
  wallet: string;
  /** Pin; absent: the Offering's channel. */
  version?: string;
  config?: Record<string, unknown>;
}

/**
 * Creates an Instance from a buyer's wish. It checks what the buyer can mend at once; whether it is
 * paid for is the operator's question (condition Funded).
 * @throws Problem `offering_not_found`, `offering_not_sellable`, `reference_invalid`, `config_invalid`, `instance_exists`
 */
export async function createInstance(edge: Edge, organization: string, wish: NewInstance): Promise<Instance> {
  const contract = await contractToBuy(edge, wish);
  checkReferences(edge, organization, wish, contract);
  checkConfig(contract, wish.config ?? {});
  return storeCall(
    edge.store.create('Instance', {
      metadata: { name: wish.name, namespace: organizationNamespace(organization) },
      spec: {
        projectRef: { name: wish.project },
        offeringRef: { name: wish.offering },
        plan: wish.plan,
        walletRef: { name: wish.wallet },
        ...(wish.version === undefined ? {} : { version: wish.version }),
        ...(wish.config === undefined ? {} : { config: wish.config }),
      },
    }),
  );
}

async function contractToBuy(edge: Edge, wish: NewInstance): Promise<Contract> {
  const offering = edge.store.watch('Offering').get({ name: wish.offering });
  // A draft is nobody's business yet.
  if (!offering || offering.spec.lifecycle === 'Draft') throw problem('offering_not_found');
  const lifecycle = effectiveLifecycle(offering.spec, edge.clock());
  if (lifecycle !== 'Published') throw problem('offering_not_sellable', { extra: { lifecycle } });
  const wanted = wish.version ?? offering.spec.channel;
  const version = wanted === undefined ? undefined : await edge.contracts.version(wish.offering, wanted);
  const contract = version && edge.contracts.parse(version);
  if (contract) return contract;
  if (wish.version !== undefined)
    throw problem('reference_invalid', { errors: [unknown('/version', 'this Offering has no such version')] });
  throw problem('offering_not_sellable', { detail: 'this Offering has no version to sell yet' });
}

function checkReferences(edge: Edge, organization: string, wish: NewInstance, contract: Contract): void {
  const namespace = organizationNamespace(organization);
  const errors: Violation[] = [];
  if (!hasPlan(contract, wish.plan)) errors.push(unknown('/plan', 'the contract has no such plan'));
  if (!edge.store.watch('Project').get({ namespace, name: wish.project }))
    errors.push(unknown('/project', 'there is no such Project'));
  const wallet = edge.store.watch('Wallet').get({ namespace, name: wish.wallet });
  if (!wallet) errors.push(unknown('/wallet', 'there is no such Wallet'));
  else if (wallet.spec.allowedProjects && !wallet.spec.allowedProjects.includes(wish.project))
    errors.push({ pointer: '/wallet', rule: 'not_allowed', message: 'this Wallet does not pay for that Project' });
  const [first] = errors;
  if (first) throw problem('reference_invalid', { detail: `${first.pointer}: ${first.message}`, errors });
}

function hasPlan(contract: Contract, plan: string): boolean {
  try {
    effectiveLimits(contract, plan);
    return true;
  } catch (error) {
    if (error instanceof ContractError) return false;
    throw error;
  }
}

function unknown(pointer: string, message: string): Violation {
  return { pointer, rule: 'unknown', message };
}
