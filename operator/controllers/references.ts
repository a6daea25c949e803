import { type Instance, organizationOf } from '../../crds/kinds.ts';
import type { Key } from '../../crds/store.ts';

/** Names of what an Instance stands on, as the keys of its reference index. */
export const reference = {
  organization: (name: string) => `organization/${name}`,
  project: (key: Key) => `project/${key.namespace}/${key.name}`,
  wallet: (key: Key) => `wallet/${key.namespace}/${key.name}`,
  offering: (name: string) => `offering/${name}`,
  uid: (uid: string) => `uid/${uid}`,
};

/** Everything whose change can change what becomes of the Instance. A version changes with its Offering. */
export function referencesOf({ metadata, spec }: Instance): string[] {
  const beside = (name: string): Key => ({ ...metadataNamespace(metadata), name });
  return [
    reference.organization(organizationOf(metadata.namespace) ?? ''),
    reference.project(beside(spec.projectRef.name)),
    reference.wallet(beside(spec.walletRef.name)),
    reference.offering(spec.offeringRef.name),
    reference.uid(metadata.uid),
  ];
}

function metadataNamespace({ namespace }: Instance['metadata']): { namespace?: string } {
  return namespace === undefined ? {} : { namespace };
}
