import { keyText } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import { Waiting } from '../runtime/errors.ts';
import { onDesiredChange } from '../runtime/source.ts';
import { reconciler } from '../runtime/visit.ts';
import { CONCURRENCY, type ControllerContext, type Definition } from './definition.ts';
import { refuseSharedSkus } from './skus.ts';

/** A watch wakes the pack when the Offering appears; this is the safety net. */
const DEPENDENCY_RETRY_MS = 60_000;

/** CreditPack: its SKU is its own, and what it may be spent on exists. */
export function creditPackController({ ports, metrics }: ControllerContext): Definition {
  const { store, clock, log } = ports;
  const packs = store.watch('CreditPack');
  return {
    kind: 'CreditPack',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'CreditPack',
      clock,
      log,
      metrics,
      up: async ({ object }) => {
        refuseSharedSkus(`CreditPack ${object.metadata.name}`, [object.spec.sku], store);
        requireOfferings(object.spec.scope?.offerings ?? [], ports);
        return undefined;
      },
    }),
    watch: (add) => {
      const all = () => {
        for (const { metadata } of packs.list()) add(keyText(metadata));
      };
      return [onDesiredChange(packs, all), onDesiredChange(store.watch('Offering'), all)];
    },
  };
}

function requireOfferings(names: readonly string[], { store }: Ports): void {
  const missing = names.filter((name) => store.watch('Offering').get({ name }) === undefined);
  if (missing.length > 0)
    throw new Waiting(DEPENDENCY_RETRY_MS, 'OfferingNotFound', `There is no Offering ${missing.join(', ')}.`);
}
