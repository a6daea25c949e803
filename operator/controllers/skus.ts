import type { ResourceStore } from '../../crds/store.ts';
import { Terminal } from '../runtime/errors.ts';

/** Who sells which SKU, as `Kind name`: an order line must mean one thing. */
function sellersOf(sku: string, store: ResourceStore): string[] {
  const packs = store.watch('CreditPack').list();
  const offerings = store.watch('Offering').list();
  return [
    ...packs.filter(({ spec }) => spec.sku === sku).map(({ metadata }) => `CreditPack ${metadata.name}`),
    ...offerings
      .filter(({ spec }) => spec.skus?.some((each) => each.sku === sku))
      .map(({ metadata }) => `Offering ${metadata.name}`),
  ];
}

/** @throws Terminal `SkuConflict` */
export function refuseSharedSkus(self: string, skus: readonly string[], store: ResourceStore): void {
  for (const sku of skus) {
    const other = sellersOf(sku, store).find((seller) => seller !== self);
    if (other !== undefined) throw new Terminal('SkuConflict', `SKU "${sku}" is also sold by ${other}.`);
  }
}
