import { checkCapability } from '../../crds/contract/check.ts';
import { inlineCapability } from '../../crds/contract/normalize.ts';
import { capabilityDigest } from '../../crds/contract.ts';
import type { Capability } from '../../crds/kinds.ts';
import { Terminal } from '../runtime/errors.ts';
import { reconciler } from '../runtime/visit.ts';
import { CONCURRENCY, type ControllerContext, type Definition, own } from './definition.ts';

/** Capability: consistent in itself; its digest is what contracts carry. */
export function capabilityController({ ports, metrics }: ControllerContext): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'Capability',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'Capability',
      clock,
      log,
      metrics,
      up: async (visit) => {
        visit.status.digest = undefined;
        refuseInvalid(visit.object);
        visit.status.digest = capabilityDigest(visit.object.spec);
        return undefined;
      },
    }),
    watch: (add) => [own(store, 'Capability', add)],
  };
}

function refuseInvalid({ metadata, spec }: Capability): void {
  const { digest, spec: normal } = inlineCapability(spec);
  const problems = checkCapability({ name: metadata.name, pointer: '', spec, normal, digest });
  if (problems.length === 0) return;
  throw new Terminal('CapabilityInvalid', problems.map(({ pointer, message }) => `${pointer}: ${message}`).join(' '));
}
