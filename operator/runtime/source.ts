import type { Condition } from '../../crds/conditions.ts';
import type { Kind, KindMap, ObjectMeta } from '../../crds/kinds.ts';
import { type Key, keyText, type ResourceCache } from '../../crds/store.ts';

interface Watched {
  metadata: ObjectMeta;
  status?: unknown;
}

/**
 * Calls `add` with the key of each object whose desired state changed. Changes of status alone are
 * left out: they are our own, and answering them would turn every retry into a hot loop.
 */
export function onDesiredChange<K extends Kind>(cache: ResourceCache<K>, add: (key: string) => void): () => void {
  return onDigestChange(cache, desiredDigest, (key) => add(keyText(key)));
}

/** Calls back when an object appears, goes, or changes what `digest` makes of it. */
export function onDigestChange<K extends Kind>(
  cache: ResourceCache<K>,
  digest: (object: KindMap[K]) => string,
  changed: (key: Key) => void,
): () => void {
  const seen = new Map<string, string>();
  return cache.onChange((key) => {
    const text = keyText(key);
    const object = cache.get(key);
    if (object === undefined) seen.delete(text);
    else {
      const present = digest(object);
      if (seen.get(text) === present) return;
      seen.set(text, present);
    }
    changed(key);
  });
}

/** Everything that a user or another controller can ask for: spec, deletion, annotations, labels. */
export function desiredDigest({ metadata }: Watched): string {
  const { uid, generation, deletionTimestamp, annotations, labels } = metadata;
  return JSON.stringify([uid, generation, deletionTimestamp, annotations, labels]);
}

/** True while somebody waits for it: its present generation is not in effect yet, or it is to go. */
export function isUnsettled({ metadata, status }: Watched): boolean {
  const { observedGeneration } = (status ?? {}) as { observedGeneration?: number };
  return metadata.deletionTimestamp !== undefined || observedGeneration !== metadata.generation;
}

/** What a dependent cares about: the desired state, and whether it is in effect. */
export function readinessDigest(object: Watched): string {
  const { observedGeneration, conditions } = (object.status ?? {}) as {
    observedGeneration?: number;
    conditions?: Condition[];
  };
  const ready = conditions?.find((condition) => condition.type === 'Ready');
  return JSON.stringify([desiredDigest(object), observedGeneration, ready?.status]);
}

/** Keys of one kind by a value that they refer to, kept current from its cache: who is to be woken? */
export class ReferenceIndex<K extends Kind> {
  readonly #keys = new Map<string, Set<string>>();
  readonly #values = new Map<string, readonly string[]>();
  readonly close: () => void;

  /** `valuesOf` names what an object refers to, e.g. `["acme/main"]`. */
  constructor(cache: ResourceCache<K>, valuesOf: (object: KindMap[K]) => readonly string[]) {
    this.close = cache.onChange((key) => {
      const object = cache.get(key);
      this.#set(keyText(key), object === undefined ? [] : valuesOf(object));
    });
  }

  /** Keys of the objects that refer to `value`. */
  referring(value: string): readonly string[] {
    return [...(this.#keys.get(value) ?? [])];
  }

  #set(key: string, values: readonly string[]): void {
    for (const value of this.#values.get(key) ?? []) {
      const keys = this.#keys.get(value);
      keys?.delete(key);
      if (keys?.size === 0) this.#keys.delete(value);
    }
    if (values.length === 0) this.#values.delete(key);
    else this.#values.set(key, values);
    for (const value of values) {
      const keys = this.#keys.get(value);
      if (keys) keys.add(key);
      else this.#keys.set(value, new Set([key]));
    }
  }
}
