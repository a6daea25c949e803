import { isReady } from '../../crds/conditions.ts';
import type { Offering, OfferingVersion } from '../../crds/kinds.ts';
import { keyText } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import { onDesiredChange, onDigestChange, ReferenceIndex, readinessDigest } from '../runtime/source.ts';
import { reconciler, type Visit } from '../runtime/visit.ts';
import { CONCURRENCY, type ControllerContext, type Definition, dependency, own } from './definition.ts';
import { reference, referencesOf } from './references.ts';
import { refuseSharedSkus } from './skus.ts';

/** A watch wakes the Offering when the version appears; this is the safety net. */
const DEPENDENCY_RETRY_MS = 60_000;
/** Instances of an Offering come and go in swarms; their count may lag so that each is not a write. */
const COUNT_DELAY_MS = 5_000;

/** Offering: the version that new Instances get is there and verified, its SKUs mean one plan of it each. */
export function offeringController({ ports, metrics }: ControllerContext): Definition {
  const { store, clock, log } = ports;
  const instances = store.watch('Instance');
  const index = new ReferenceIndex(instances, referencesOf);
  return {
    kind: 'Offering',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'Offering',
      clock,
      log,
      metrics,
      up: async (visit) => {
        visit.status.instances = countInstances(visit, index, ports);
        visit.status.publishedVersion = undefined;
        const { metadata, spec } = visit.object;
        refuseSharedSkus(`Offering ${metadata.name}`, spec.skus?.map(({ sku }) => sku) ?? [], store);
        const version = findVersion(visit.object, ports);
        if (version === undefined) return undefined;
        refuseUnknownPlans(visit.object, version);
        visit.status.publishedVersion = version.spec.version;
        return undefined;
      },
    }),
    watch: (add) => {
      const all = () => {
        for (const { metadata } of store.watch('Offering').list()) add(keyText(metadata));
      };
      return [
        index.close,
        own(store, 'Offering', add),
        onDesiredChange(store.watch('CreditPack'), all),
        dependency(store, 'OfferingVersion', add, (key) => {
          const offering = store.watch('OfferingVersion').get(key)?.spec.offeringRef.name;
          return offering === undefined
            ? store
                .watch('Offering')
                .list()
                .map(({ metadata }) => metadata.name)
            : [offering];
        }),
        countWatch(ports, add),
      ];
    },
  };
}

/** Wakes the Offering of an Instance that came, went or turned ready, a little later and once for many. */
function countWatch({ store, clock }: Ports, add: (key: string) => void): () => void {
  const instances = store.watch('Instance');
  const offeringOf = new Map<string, string>();
  const due = new Map<string, () => void>();
  const end = onDigestChange(instances, readinessDigest, (key) => {
    const text = keyText(key);
    const offering = instances.get(key)?.spec.offeringRef.name ?? offeringOf.get(text);
    if (offering === undefined) return;
    if (instances.get(key) === undefined) offeringOf.delete(text);
    else offeringOf.set(text, offering);
    if (due.has(offering)) return;
    const cancel = clock.after(COUNT_DELAY_MS, () => {
      due.delete(offering);
      add(offering);
    });
    due.set(offering, cancel);
  });
  return () => {
    end();
    for (const cancel of due.values()) cancel();
  };
}

function countInstances(visit: Visit<'Offering'>, index: ReferenceIndex<'Instance'>, { store }: Ports) {
  const cache = store.watch('Instance');
  const keys = index.referring(reference.offering(visit.object.metadata.name));
  const found = keys.flatMap((key) => {
    const slash = key.indexOf('/');
    return cache.get({ namespace: key.slice(0, slash), name: key.slice(slash + 1) }) ?? [];
  });
  return { total: found.length, ready: found.filter((instance) => isReady(instance)).length };
}

/** Undefined only for a draft without a channel: that is not sold yet and lacks nothing. */
function findVersion({ metadata, spec }: Offering, { store }: Ports): OfferingVersion | undefined {
  if (spec.channel === undefined) {
    if (spec.lifecycle === 'Draft') return undefined;
    throw new Terminal('ChannelMissing', 'The Offering is not a draft but names no version for new Instances.');
  }
  const name = `${metadata.name}-${spec.channel}`;
  const version = store.watch('OfferingVersion').get({ name });
  if (version === undefined || version.spec.offeringRef.name !== metadata.name)
    throw new Waiting(DEPENDENCY_RETRY_MS, 'VersionNotFound', `There is no OfferingVersion "${name}".`);
  const verified = version.status?.verified?.contractDigest;
  if (verified === undefined || verified !== version.spec.contractDigest)
    throw new Waiting(DEPENDENCY_RETRY_MS, 'VersionNotVerified', `OfferingVersion "${name}" is not verified.`);
  return version;
}

function refuseUnknownPlans({ spec }: Offering, version: OfferingVersion): void {
  const unknown = spec.skus?.find(({ plan }) => !version.spec.plans.some(({ name }) => name === plan));
  if (unknown)
    throw new Terminal(
      'PlanNotFound',
      `SKU "${unknown.sku}" sells plan "${unknown.plan}", which version ${version.spec.version} does not have.`,
    );
}
