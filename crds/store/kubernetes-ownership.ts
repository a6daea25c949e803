import { isDeepStrictEqual } from 'node:util';
import type { Kind } from '../kinds.ts';
import type { Desired } from '../store.ts';
import type { ManagedFields, ServerObject } from './kubernetes-object.ts';

/** The parts of a document that have one writer. */
export type Part = 'spec' | 'status';

type Fields = { [field: string]: Fields };

/** Whether nobody but the manager's own applies owns any field of the part. */
export function ownsAll(object: ServerObject, manager: string, part: Part): boolean {
  return entriesOf(object).every((entry) => isOwn(entry, manager, part) || !(`f:${part}` in fieldsOf(entry)));
}

/**
 * Whether a document says something about everything that is there: then an apply leaves nothing of
 * others behind. Lists that differ are taken to leave something behind.
 */
export function covers(desired: unknown, live: unknown): boolean {
  if (typeof live !== 'object' || live === null) return desired !== undefined;
  if (typeof desired !== 'object' || desired === null) return false;
  if (Array.isArray(live)) return isDeepStrictEqual(desired, live);
  return Object.entries(live).every(([name, value]) => covers((desired as Record<string, unknown>)[name], value));
}

/**
 * `managedFields` in which the part belongs to the manager's applies alone. Server-side apply then
 * removes what the manager's next document does not have. Labels and all else keep their owners.
 */
export function takeOver(
  object: ServerObject,
  { manager, apiVersion, part }: { manager: string; apiVersion: string; part: Part },
): ManagedFields[] {
  const key = `f:${part}`;
  let taken: Fields = {};
  const rest: ManagedFields[] = [];
  for (const entry of entriesOf(object)) {
    const { [key]: owned, ...others } = fieldsOf(entry);
    if (owned !== undefined) taken = union(taken, owned);
    const keepsOthers = Object.keys(others).length > 0;
    if (keepsOthers) rest.push({ ...entry, fieldsV1: others });
  }
  const own = rest.find((entry) => isOwn(entry, manager, part));
  const fieldsV1 = { ...own?.fieldsV1, [key]: taken };
  const subresource = part === 'status' ? { subresource: 'status' } : {};
  const entry = { manager, operation: 'Apply' as const, apiVersion, fieldsType: 'FieldsV1', ...subresource };
  return [...rest.filter((each) => each !== own), { ...entry, ...own, fieldsV1 }];
}

/** Finalizers that the manager has applied and that are still there: to leave them out would take them away. */
export function finalizersOf(object: ServerObject | undefined, manager: string): string[] {
  const present = object?.metadata.finalizers ?? [];
  const owned = (object === undefined ? [] : entriesOf(object))
    .filter((entry) => isOwn(entry, manager, 'spec'))
    .flatMap((entry) => Object.keys(fieldsOf(entry)['f:metadata']?.['f:finalizers'] ?? {}));
  return present.filter((finalizer) => owned.includes(`v:${JSON.stringify(finalizer)}`));
}

/**
 * Whether applying the document would change nothing. The API server itself would store the object
 * anew even so, the first time: only then the defaults of status become part of it.
 */
export function isApplied(object: ServerObject, desired: Desired<Kind>, manager: string): boolean {
  const { metadata, spec } = JSON.parse(JSON.stringify(desired)) as Desired<Kind>;
  if (!isDeepStrictEqual(spec, object.spec ?? {})) return false;
  const own = entriesOf(object).find((entry) => isOwn(entry, manager, 'spec'));
  const owned = own === undefined ? {} : (fieldsOf(own)['f:metadata'] ?? {});
  const same = (['labels', 'annotations'] as const).every((part) => {
    const given = metadata[part] ?? {};
    const held = Object.keys(owned[`f:${part}`] ?? {}).filter((field) => field !== '.');
    const wanted = Object.keys(given).map((name) => `f:${name}`);
    if (!isDeepStrictEqual(held.sort(), wanted.sort())) return false;
    return Object.entries(given).every(([name, value]) => object.metadata[part]?.[name] === value);
  });
  return same && (metadata.finalizers ?? []).every((each) => object.metadata.finalizers?.includes(each));
}

function isOwn({ manager, operation, subresource }: ManagedFields, name: string, part: Part): boolean {
  return manager === name && operation === 'Apply' && (subresource === 'status') === (part === 'status');
}

function entriesOf({ metadata }: ServerObject): ManagedFields[] {
  return metadata.managedFields ?? [];
}

function fieldsOf({ fieldsV1 }: ManagedFields): Fields {
  return (fieldsV1 ?? {}) as Fields;
}

function union(one: Fields, other: Fields): Fields {
  const all = { ...one };
  for (const [field, below] of Object.entries(other)) {
    const present = all[field];
    all[field] = present === undefined ? below : union(present, below);
  }
  return all;
}
