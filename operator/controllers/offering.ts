import { findCondition, isReady } from '../../crds/conditions.ts';
import type { Instance, Offering, OfferingVersion } from '../../crds/kinds.ts';
import { effectiveLifecycle, nextLifecycleChangeMs } from '../../crds/lifecycle.ts';
import { keyText, parseKey } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import { onDesiredChange, onDigestChange, ReferenceIndex, readinessDigest } from '../runtime/source.ts';
import { reconciler, type Visit } from '../runtime/visit.ts';
import { nextRollout } from '../steps/fleet.ts';
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
        const fleet = instancesOf(visit, index, ports);
        visit.status.instances = { total: fleet.length, ready: fleet.filter((each) => isReady(each)).length };
        visit.status.lifecycle = effectiveLifecycle(visit.object.spec, visit.nowMs);
        visit.againAfterMs = nextLifecycleChangeMs(visit.object.spec, visit.nowMs);
        visit.status.publishedVersion = undefined;
        const { metadata, spec } = visit.object;
        refuseSharedSkus(`Offering ${metadata.name}`, spec.skus?.map(({ sku }) => sku) ?? [], store);
        const version = findVersion(visit.object, ports);
        if (version === undefined) return undefined;
        refuseUnknownPlans(visit.object, version);
        visit.status.publishedVersion = version.spec.version;
        rollOut(visit, version.spec.version, fleet);
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

/** What counts and rollout depend on. */
function fleetDigest(instance: Instance): string {
  const { version, upgrade, effective, conditions } = instance.status ?? {};
  const upToDate = findCondition(conditions, 'UpToDate')?.status;
  return JSON.stringify([readinessDigest(instance), version, upgrade?.phase, effective?.state, upToDate]);
}

/** Wakes the Offering of an Instance that came, went or turned ready, a little later and once for many. */
function countWatch({ store, clock }: Ports, add: (key: string) => void): () => void {
  const instances = store.watch('Instance');
  const offeringOf = new Map<string, string>();
  const due = new Map<string, () => void>();
  const end = onDigestChange(instances, fleetDigest, (key) => {
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

function instancesOf(visit: Visit<'Offering'>, index: ReferenceIndex<'Instance'>, { store }: Ports): Instance[] {
  const cache = store.watch('Instance');
  const keys = index.referring(reference.offering(visit.object.metadata.name));
  return keys.flatMap((key) => cache.get(parseKey(key)) ?? []);
}

/** @throws Terminal `RolloutHalted` */
function rollOut(visit: Visit<'Offering'>, version: string, fleet: readonly Instance[]): void {
  const next = nextRollout(visit.object.status?.rollout, version, fleet, visit.nowMs, visit.now);
  if (next === undefined) return;
  const { rollout, againAfterMs } = next;
  visit.status.rollout = rollout;
  if (againAfterMs !== undefined) visit.againAfterMs = Math.min(againAfterMs, visit.againAfterMs ?? againAfterMs);
  const progress = `${rollout.updated} of ${rollout.total} run version ${version}, ${rollout.failed} failed, ${rollout.held} are held`;
  if (rollout.phase === 'Complete') visit.fact('RolledOut', 'True', 'Succeeded', `${progress}.`);
  if (rollout.phase === 'Rolling')
    visit.fact('RolledOut', 'False', 'RolloutProgressing', `${progress}; group ${rollout.group}.`);
  if (rollout.phase !== 'Halted') return;
  visit.fact('RolledOut', 'False', 'RolloutHalted', `${progress}.`);
  throw new Terminal('RolloutHalted', `Version ${version} goes no further: ${progress}.`);
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
