import type { Instance } from '../../crds/kinds.ts';
import type { ResourceStore } from '../../crds/store.ts';
import type { Fulfilment, FulfilmentBody, LedgerClient } from '../../ledger/client.ts';
import { NotYet } from './not-yet.ts';
import type { Parked } from './parking.ts';
import type { Unit } from './units.ts';

type Renewal = NonNullable<Unit['renewal']>;

/** What a renewal pays for: where its credits go, and which fulfilment gets one period more. */
export type Renewed = Pick<FulfilmentBody, 'wallet' | 'renews'>;

/**
 * Finds what a renewal line renews. Only an Instance of the order's own Organization, of the offering and plan
 * that the SKU stands for, which was itself bought: its fulfilment is what has a paid time.
 *
 * @throws NotYet while the fulfilment of the Instance is not recorded; LedgerError
 */
export async function renewed(
  { instance: name, offering, plan, period, from }: Renewal,
  line: string,
  namespace: string,
  { store, ledger }: { store: ResourceStore; ledger: Pick<LedgerClient, 'findFulfilments'> },
): Promise<Renewed | Parked> {
  const key = { namespace, name };
  const instance = store.watch('Instance').get(key) ?? (await store.get('Instance', key));
  const claim = instance?.spec.fulfilment;
  if (instance === undefined || claim === undefined) {
    return { reason: 'RenewalUnknown', detail: `${namespace}/${name} is no Instance that was bought`, line };
  }
  if (instance.spec.offeringRef.name !== offering || instance.spec.plan !== plan) {
    return { reason: 'RenewalMismatch', detail: `${namespace}/${name} is not of ${offering}, plan ${plan}`, line };
  }
  const unit = await unitOf(claim, ledger);
  if (unit === undefined) throw new NotYet(`the ledger knows no paid unit of ${namespace}/${name}`);
  return { wallet: unit.wallet, renews: { fulfilment: unit.fulfilment, period, from } };
}

async function unitOf(
  claim: NonNullable<Instance['spec']['fulfilment']>,
  ledger: Pick<LedgerClient, 'findFulfilments'>,
): Promise<Fulfilment | undefined> {
  const found = await ledger.findFulfilments(claim);
  return found.find(({ line, ordinal }) => line === claim.line && ordinal === claim.ordinal);
}
