import type { Kind } from '../../crds/kinds.ts';
import type { Key, ResourceStore } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import type { Result } from '../runtime/controller.ts';
import type { ControllerMetrics } from '../runtime/metrics.ts';
import { onDesiredChange, onDigestChange, ReferenceIndex, readinessDigest } from '../runtime/source.ts';

/** Adds a key to the controller's queue. */
export type Add = (key: string) => void;

/** One kind's controller: what to do with a key, and what wakes which key. */
export interface Definition {
  kind: Kind;
  /** Keys worked on at once. */
  concurrency: number;
  reconcile: (key: string) => Promise<Result>;
  /** Starts the watches; each returned function ends one. */
  watch: (add: Add) => (() => void)[];
}

export interface ControllerContext {
  ports: Ports;
  metrics: ControllerMetrics;
}

/** Most visits wait for one outside system; a few at once hide its latency without crowding it. */
export const CONCURRENCY = 4;

export function finalizerOf(kind: Kind): string {
  return `store.gsv.dev/${kind.toLowerCase()}`;
}

/** Wakes a key when its own desired state changes. */
export function own(store: ResourceStore, kind: Kind, add: Add): () => void {
  return onDesiredChange(store.watch(kind), add);
}

/** Wakes the keys that `wakes` names when an object of another kind changes its spec or its readiness. */
export function dependency<K extends Kind>(
  store: ResourceStore,
  kind: K,
  add: Add,
  wakes: (key: Key) => readonly string[],
): () => void {
  const cache = store.watch(kind);
  return onDigestChange(cache, readinessDigest, (key) => {
    for (const woken of wakes(key)) add(woken);
  });
}

/** Keys of one kind by their namespace, so that a change of the Organization does not walk through all of them. */
export function byNamespace<K extends Kind>(store: ResourceStore, kind: K): ReferenceIndex<K> {
  return new ReferenceIndex(store.watch(kind), ({ metadata }) => [metadata.namespace ?? '']);
}

/** Calls back with the namespace of each object that has gone: its parents may be waiting for that. */
export function onGone(store: ResourceStore, kind: Kind, gone: (namespace: string) => void): () => void {
  const cache = store.watch(kind);
  return cache.onChange((key) => {
    if (cache.get(key) === undefined) gone(key.namespace ?? '');
  });
}
