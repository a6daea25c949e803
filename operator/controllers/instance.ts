import { isReady } from '../../crds/conditions.ts';
import { type Instance, type Offering, organizationNamespace } from '../../crds/kinds.ts';
import { parseKey } from '../../crds/store.ts';
import type { DeliveryEvent } from '../delivery/delivery.ts';
import type { Ports } from '../ports.ts';
import { onDigestChange, ReferenceIndex } from '../runtime/source.ts';
import { reconciler } from '../runtime/visit.ts';
import type { InstanceVisit } from '../steps/accept.ts';
import { climb } from '../steps/ladder.ts';
import { remove } from '../steps/remove.ts';
import { mayUpgrade } from '../steps/rollout.ts';
import { type ControllerContext, type Definition, dependency, finalizerOf, own } from './definition.ts';
import type { LedgerFeed } from './ledger-feed.ts';
import { reference, referencesOf } from './references.ts';

/** Instances are many and each waits for several systems in turn. */
const CONCURRENCY = 16;

/** Instance: up the ladder of `steps/ladder.ts`, and down again by `steps/remove.ts`. */
export function instanceController({ ports, metrics }: ControllerContext, feed: LedgerFeed): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'Instance',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'Instance',
      finalizer: finalizerOf('Instance'),
      announce: ({ object, status }) => {
        status.lifecycle ??= 'Requested';
        return !object.spec.suspend;
      },
      clock,
      log,
      metrics,
      up: (visit) => {
        noteFirstResult(visit, feed);
        return climb(visit, ports);
      },
      down: (visit) => remove(visit, ports),
    }),
    watch: (add) => {
      const index = new ReferenceIndex(store.watch('Instance'), referencesOf);
      const wake = (name: string) => index.referring(name);
      const versions = store.watch('OfferingVersion');
      return [
        index.close,
        own(store, 'Instance', add),
        dependency(store, 'Organization', add, ({ name }) => wake(reference.organization(name))),
        dependency(store, 'Project', add, (key) => wake(reference.project(key))),
        dependency(store, 'Wallet', add, (key) => wake(reference.wallet(key))),
        dependency(store, 'Offering', add, ({ name }) => wake(reference.offering(name))),
        dependency(store, 'OfferingVersion', add, (key) => {
          const offering = versions.get(key)?.spec.offeringRef.name;
          return offering === undefined ? [] : wake(reference.offering(offering));
        }),
        onDigestChange(
          store.watch('Offering'),
          ({ status }) => `${status?.lifecycle}`,
          ({ name }) => wake(reference.offering(name)).forEach(add),
        ),
        onDigestChange(
          store.watch('Offering'),
          ({ status }) =>
            JSON.stringify(
              status?.rollout && [status.rollout.version, status.rollout.phase, status.rollout.admittedThrough],
            ),
          ({ name }) => {
            const offering = store.watch('Offering').get({ name });
            for (const key of wake(reference.offering(name)))
              if (isLetBegin(offering, store.watch('Instance').get(parseKey(key)))) add(key);
          },
        ),
        ports.delivery.onChange((event) => {
          for (const key of wokenBy(event, index, store)) add(key);
        }),
        feed.onFirstReceipt((uid) => wake(reference.uid(uid)).forEach(add)),
        feed.onWallet((key) => wake(reference.wallet(key)).forEach(add)),
      ];
    },
  };
}

/** A rollout moves often, and in a large fleet each move concerns few. */
function isLetBegin(offering: Offering | undefined, instance: Instance | undefined): boolean {
  const { rollout } = offering?.status ?? {};
  if (instance?.spec.upgradePolicy !== 'Automatic' || instance.status?.version === rollout?.version) return false;
  return mayUpgrade(rollout, offering?.spec.channel, instance.metadata.uid);
}

/** Whom a change of what was delivered concerns: of a whole Project mostly those that wait for something. */
function wokenBy(event: DeliveryEvent, index: ReferenceIndex<'Instance'>, store: Ports['store']): readonly string[] {
  if ('instanceUid' in event) return index.referring(reference.uid(event.instanceUid));
  const { organization, project, everybody } = event;
  const keys = index.referring(reference.project({ namespace: organizationNamespace(organization), name: project }));
  if (everybody) return keys;
  const cache = store.watch('Instance');
  return keys.filter((key) => {
    const instance = cache.get(parseKey(key));
    return instance === undefined || !isReady(instance);
  });
}

function noteFirstResult(visit: InstanceVisit, feed: LedgerFeed): void {
  const at = feed.firstReceiptOf(visit.object.metadata.uid);
  const timeline = visit.status.timeline;
  if (at !== undefined && timeline?.firstResult === undefined) visit.status.timeline = { ...timeline, firstResult: at };
}
