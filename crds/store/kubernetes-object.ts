import { KINDS, type Kind, type KindMap, type ObjectMeta } from '../kinds.ts';

/** Longer texts are rarely the same twice. Characters. */
const SHARED_TEXT_MAX = 128;
/** Then the pool starts anew: it must not keep the texts of objects that are gone. Entries. */
const POOL_MAX = 20_000;

/** One entry of `metadata.managedFields`. */
export interface ManagedFields {
  manager: string;
  operation: 'Apply' | 'Update';
  subresource?: string;
  fieldsV1?: Record<string, unknown>;
  [field: string]: unknown;
}

/** An object as the API server sends it. */
export interface ServerObject {
  metadata: Omit<ObjectMeta, 'generation'> & { generation?: number; managedFields?: ManagedFields[] };
  spec?: unknown;
  status?: unknown;
}

/**
 * The object as the port knows it: without `managedFields`, which are most of its bytes, with a kind
 * (lists leave it out) and a generation (core kinds do not count theirs).
 */
export function fromServer<K extends Kind>(kind: K, given: unknown): KindMap[K] {
  const { metadata, spec, status } = given as ServerObject;
  const { managedFields: _, generation = 1, ...rest } = metadata;
  const { apiVersion } = KINDS[kind];
  const object = { apiVersion, kind, metadata: { ...rest, generation }, spec: spec ?? {} };
  return (status === undefined ? object : { ...object, status }) as unknown as KindMap[K];
}

/** Freezes objects for a cache, and lets them share the texts that they have in common. */
export class Compactor {
  #pool = new Map<string, string>();

  compact<T>(value: T): T {
    if (typeof value !== 'object' || value === null) return value;
    const fields = value as Record<string, unknown>;
    for (const [name, child] of Object.entries(fields)) {
      if (typeof child === 'string') fields[name] = this.#shared(child);
      else this.compact(child);
    }
    return Object.freeze(value);
  }

  #shared(text: string): string {
    if (text.length > SHARED_TEXT_MAX) return text;
    const known = this.#pool.get(text);
    if (known !== undefined) return known;
    if (this.#pool.size >= POOL_MAX) this.#pool.clear();
    this.#pool.set(text, text);
    return text;
  }
}
