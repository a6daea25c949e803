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
  [member: string]: unknown;
}

/** Members at the top of an object that the port keeps beside spec and status. */
const MORE_MEMBERS: { readonly [K in Kind]?: readonly string[] } = { Application: ['operation'] };

/**
 * The object as the port knows it: without `managedFields`, which are most of its bytes, with a kind
 * (lists leave it out), a generation (core kinds do not count theirs) and a spec.
 */
export function fromServer<K extends Kind>(kind: K, given: unknown): KindMap[K] {
  const { apiVersion: _a, kind: _k, metadata, spec, status, ...top } = given as ServerObject;
  const { managedFields: _, generation = 1, ...rest } = metadata;
  const { apiVersion, flat } = KINDS[kind];
  const more = (MORE_MEMBERS[kind] ?? []).filter((member) => top[member] !== undefined);
  return {
    apiVersion,
    kind,
    metadata: { ...rest, generation },
    spec: flat ? top : (spec ?? {}),
    ...(status === undefined ? {} : { status }),
    ...Object.fromEntries(more.map((member) => [member, top[member]])),
  } as unknown as KindMap[K];
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
