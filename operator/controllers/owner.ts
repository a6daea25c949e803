import { type Organization, organizationOf } from '../../crds/kinds.ts';
import type { Key } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import { Waiting } from '../runtime/errors.ts';

/** A watch wakes the object when its Organization appears; this is the safety net. */
const ORGANIZATION_RETRY_MS = 60_000;

/** The Organization whose namespace the object is in. @throws Waiting `OrganizationNotFound` */
export function owningOrganization(key: Key, { store }: Pick<Ports, 'store'>): Organization {
  const name = organizationOf(key.namespace);
  const organization = name === undefined ? undefined : store.watch('Organization').get({ name });
  if (organization !== undefined) return organization;
  throw new Waiting(
    ORGANIZATION_RETRY_MS,
    'OrganizationNotFound',
    `No Organization owns the namespace ${key.namespace}.`,
  );
}
