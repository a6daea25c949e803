import type { Kind, KindMap } from '../../crds/kinds.ts';
import type { ResourceStore } from '../../crds/store.ts';

/**
 * Persists the finalizer and returns the object as stored. To be awaited before the first effect
 * outside the cluster API: from then on the object cannot go without our clean-up.
 */
export async function ensureFinalizer<K extends Kind>(
  store: ResourceStore,
  kind: K,
  object: KindMap[K],
  finalizer: string,
): Promise<KindMap[K]> {
  const present = object.metadata.finalizers ?? [];
  if (present.includes(finalizer)) return object;
  return (await writeFinalizers(store, kind, object, [...present, finalizer])) ?? object;
}

/** Lets the object go, as far as we are concerned; what is left of it when others hold it still. */
export async function dropFinalizer<K extends Kind>(
  store: ResourceStore,
  kind: K,
  object: KindMap[K],
  finalizer: string,
): Promise<KindMap[K] | undefined> {
  const present = object.metadata.finalizers ?? [];
  if (!present.includes(finalizer)) return object;
  return writeFinalizers(
    store,
    kind,
    object,
    present.filter((name) => name !== finalizer),
  );
}

function writeFinalizers<K extends Kind>(
  store: ResourceStore,
  kind: K,
  object: KindMap[K],
  finalizers: string[],
): Promise<KindMap[K] | undefined> {
  const { name, namespace, resourceVersion } = object.metadata;
  return store.setFinalizers(kind, { name, ...(namespace === undefined ? {} : { namespace }) }, finalizers, {
    resourceVersion,
  });
}
