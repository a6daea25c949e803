import type { ShopOrder } from '../../config/saleor.ts';
import { type Organization, organizationNamespace } from '../../crds/kinds.ts';
import type { ResourceStore } from '../../crds/store.ts';
import type { Parked } from './parking.ts';

/** Where an order's Instances live; the store creates it when it is missing. */
export const ORDER_PROJECT = 'default';
/** Which roles may spend for an Organization. */
const SPENDING_ROLES = new Set(['Billing', 'Admin']);

export type Tenancy = { organization: Organization } | { parked: Parked };

/**
 * Whom an order is for, and whether its customer may spend there. The customer's email authorises
 * spending for that Organization and is never a login; it is compared case-insensitively with the
 * members of the Organization's Teams (architecture, section 5).
 */
export function tenancy(order: ShopOrder, store: ResourceStore): Tenancy {
  if (order.tenant === undefined) {
    return { parked: { reason: 'TenantMissing', detail: `order ${order.number} names no tenant` } };
  }
  const organization = store.watch('Organization').get({ name: order.tenant });
  if (organization === undefined || organization.metadata.deletionTimestamp !== undefined) {
    return { parked: { reason: 'TenantUnknown', detail: `there is no Organization ${order.tenant}` } };
  }
  if (!maySpend(order.userEmail, order.tenant, store)) {
    const detail = `the customer of order ${order.number} may not spend for ${order.tenant}`;
    return { parked: { reason: 'CustomerNotAllowed', detail } };
  }
  return { organization };
}

function maySpend(email: string, organization: string, store: ResourceStore): boolean {
  const wanted = email.toLowerCase();
  if (wanted === '') return false;
  return store
    .watch('Team')
    .list({ namespace: organizationNamespace(organization) })
    .some(
      ({ metadata, spec }) =>
        metadata.deletionTimestamp === undefined &&
        spec.members.some((member) => member.email?.toLowerCase() === wanted) &&
        spec.grants.some(
          ({ role, projectRef }) =>
            SPENDING_ROLES.has(role) && (projectRef === undefined || projectRef.name === ORDER_PROJECT),
        ),
    );
}
