import type { Offering, Organization } from '../../crds/kinds.ts';
import { organizationOf } from '../../crds/kinds.ts';
import { effectiveLifecycle } from '../../crds/lifecycle.ts';
import type { Ports } from '../ports.ts';
import { Terminal } from '../runtime/errors.ts';
import type { InstanceVisit } from './accept.ts';

/** Who wants the Instance to rest, whatever else is wrong with it. */
export interface Standing {
  /** The owner. */
  suspend: boolean;
  organizationSuspended: boolean;
  offeringEnded: boolean;
  /** The refusal that goes with the last two: nothing but their end helps. */
  refusal?: Terminal;
}

/** From the caches alone, so that a pause waits for no other rung. */
export function standingOf(visit: InstanceVisit, { store }: Pick<Ports, 'store'>): Standing {
  const { spec } = visit.object;
  const name = organizationOf(visit.key.namespace) ?? '';
  const suspended = suspensionOf(store.watch('Organization').get({ name }));
  const ended = endOf(store.watch('Offering').get({ name: spec.offeringRef.name }), visit.nowMs);
  const refusal = suspended ?? ended;
  return {
    suspend: spec.suspend === true,
    organizationSuspended: suspended !== undefined,
    offeringEnded: ended !== undefined,
    ...(refusal === undefined ? {} : { refusal }),
  };
}

function suspensionOf(organization: Organization | undefined): Terminal | undefined {
  if (!organization?.spec.suspend) return undefined;
  return new Terminal('OrganizationSuspended', `Organization ${organization.metadata.name} is suspended.`);
}

function endOf(offering: Offering | undefined, nowMs: number): Terminal | undefined {
  if (offering === undefined || effectiveLifecycle(offering.spec, nowMs) !== 'EndOfLife') return undefined;
  return new Terminal('OfferingEndOfLife', `Offering "${offering.metadata.name}" has ended${successorOf(offering)}.`);
}

/** What a buyer can move to, as the end of a sentence. */
export function successorOf({ spec }: Offering): string {
  return spec.migrateTo ? `; its successor is "${spec.migrateTo.name}"` : '';
}
