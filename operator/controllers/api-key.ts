import { type ApiKey, organizationNamespace } from '../../crds/kinds.ts';
import type { Key } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import { onDesiredChange, ReferenceIndex } from '../runtime/source.ts';
import { reconciler, type Visit } from '../runtime/visit.ts';
import { byNamespace, CONCURRENCY, type ControllerContext, type Definition, dependency, own } from './definition.ts';
import { owningOrganization } from './owner.ts';

/** A watch wakes the key when the Instance appears; this is the safety net. */
const DEPENDENCY_RETRY_MS = 60_000;

/** ApiKey: not expired, and its Instances exist. The edge itself checks hash and expiry on every request. */
export function apiKeyController({ ports, metrics }: ControllerContext): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'ApiKey',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'ApiKey',
      clock,
      log,
      metrics,
      up: async (visit) => {
        owningOrganization(visit.key, ports);
        checkExpiry(visit);
        requireInstances(visit.object, visit.key, ports);
        return undefined;
      },
    }),
    watch: (add) => {
      const index = byNamespace(store, 'ApiKey');
      const users = new ReferenceIndex(store.watch('ApiKey'), ({ metadata, spec }) =>
        (spec.instances ?? []).map((name) => `${metadata.namespace}/${name}`),
      );
      return [
        index.close,
        users.close,
        own(store, 'ApiKey', add),
        dependency(store, 'Organization', add, ({ name }) => index.referring(organizationNamespace(name))),
        onDesiredChange(store.watch('Instance'), (instance) => {
          for (const key of users.referring(instance)) add(key);
        }),
      ];
    },
  };
}

function checkExpiry(visit: Visit<'ApiKey'>): void {
  const { expiresTime } = visit.object.spec;
  if (expiresTime === undefined) return;
  const leftMs = Date.parse(expiresTime) - visit.nowMs;
  if (leftMs <= 0) throw new Terminal('KeyExpired', 'The time in spec.expiresTime has passed.');
  visit.againAfterMs = leftMs;
}

function requireInstances({ spec }: ApiKey, key: Key, { store }: Ports): void {
  const missing = spec.instances?.filter((name) => store.watch('Instance').get({ ...key, name }) === undefined) ?? [];
  if (missing.length > 0)
    throw new Waiting(DEPENDENCY_RETRY_MS, 'InstanceNotFound', `There is no Instance ${missing.join(', ')}.`);
}
