import type { Kind, KindMap } from '../kinds.ts';
import { type Key, keyText, type ListOptions, type ResourceCache } from '../store.ts';

/** True when the object lies in the namespace and carries all labels that are asked for. */
export function matches(object: KindMap[Kind], { namespace, labels }: ListOptions): boolean {
  if (namespace !== undefined && object.metadata.namespace !== namespace) return false;
  return Object.entries(labels ?? {}).every(([name, value]) => object.metadata.labels?.[name] === value);
}

/** By namespace, then name: the order in which etcd keeps them. */
export function inKeyOrder<T extends KindMap[Kind]>(objects: Iterable<T>): T[] {
  return sorted([...objects].map((object) => [keyText(object.metadata), object]));
}

/** The text of a key is made once, not at each comparison. */
function sorted<T>(entries: [text: string, value: T][]): T[] {
  return entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
}

interface Subscription {
  listener: (key: Key) => void;
  /** Keys to tell, first told first; a key stands here once however often it changed. */
  pending: Map<string, Key>;
}

/**
 * The view of one kind that a watch keeps. Changes wait for the next turn of the event loop, so that
 * nobody is called back inside a write, and a reader right after a write may still see what was
 * before, exactly as behind a real API server.
 */
export class WatchCache<K extends Kind> implements ResourceCache<K> {
  readonly synced: Promise<void>;
  #objects = new Map<string, KindMap[K]>();
  #incoming: { key: Key; object: KindMap[K] | undefined }[] = [];
  #subscriptions = new Set<Subscription>();
  #scheduled: NodeJS.Immediate | undefined;
  #markSynced: () => void = () => {};

  /** @param first the first list; deeply frozen, as everything that {@link push} takes. */
  constructor(first: Iterable<KindMap[K]>) {
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
    for (const object of first) this.push(object.metadata, object);
    this.#schedule();
  }

  get(key: Key): KindMap[K] | undefined {
    return this.#objects.get(keyText(key));
  }

  list(options: ListOptions = {}): KindMap[K][] {
    return sorted([...this.#objects].filter(([, object]) => matches(object, options)));
  }

  onChange(listener: (key: Key) => void): () => void {
    const subscription: Subscription = { listener, pending: new Map() };
    for (const { metadata } of this.list()) subscription.pending.set(keyText(metadata), keyOf(metadata));
    this.#subscriptions.add(subscription);
    this.#schedule();
    return () => {
      this.#subscriptions.delete(subscription);
      subscription.pending.clear();
    };
  }

  /** What was pushed is there with the next turn. */
  refresh(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  /** Takes a change; undefined = the object is gone. Returns before anybody hears of it. */
  push(key: Key, object: KindMap[K] | undefined): void {
    this.#incoming.push({ key: keyOf(key), object });
    this.#schedule();
  }

  /** Ends delivery. What was seen so far can still be read. */
  stop(): void {
    clearImmediate(this.#scheduled);
    this.#subscriptions.clear();
    this.#schedule = () => {};
    this.#markSynced();
  }

  #schedule = (): void => {
    this.#scheduled ??= setImmediate(() => {
      this.#scheduled = undefined;
      this.#deliver();
    });
  };

  #deliver(): void {
    for (const { key, object } of this.#incoming.splice(0)) {
      const text = keyText(key);
      if (object === undefined) this.#objects.delete(text);
      else this.#objects.set(text, object);
      for (const { pending } of this.#subscriptions) pending.set(text, key);
    }
    this.#markSynced();
    for (const { listener, pending } of [...this.#subscriptions]) {
      for (const [text, key] of [...pending]) {
        if (!pending.delete(text)) continue;
        callAlone(listener, key);
      }
    }
  }
}

function keyOf({ namespace, name }: Key): Key {
  return namespace === undefined ? { name } : { namespace, name };
}

/** A listener that throws is a bug that must be seen, but the others still hear of the change. */
function callAlone(listener: (key: Key) => void, key: Key): void {
  try {
    listener(key);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
