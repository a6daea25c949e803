import { isDeepStrictEqual } from 'node:util';
import type { NewMeta, ObjectMeta } from '../kinds.ts';

export interface FieldCause {
  field: string;
  message: string;
}

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;
/** Kubernetes: all annotations of an object together. Bytes. */
const MAX_ANNOTATION_BYTES = 262_144;

/** What the API server checks of metadata of every kind: name, label and annotation grammar. */
export function checkMetadata(meta: NewMeta): FieldCause[] {
  const causes: FieldCause[] = [];
  if (meta.name.length > 253 || !SUBDOMAIN.test(meta.name)) {
    causes.push({
      field: 'metadata.name',
      message: 'must be a lowercase RFC 1123 subdomain of at most 253 characters',
    });
  }
  for (const [key, value] of Object.entries(meta.labels ?? {})) {
    if (QUALIFIED.test(key) && LABEL_VALUE.test(value)) continue;
    causes.push({ field: `metadata.labels[${key}]`, message: 'is no valid label (63 characters, [A-Za-z0-9._-])' });
  }
  let bytes = 0;
  for (const [key, value] of Object.entries(meta.annotations ?? {})) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    if (QUALIFIED.test(key)) continue;
    causes.push({ field: `metadata.annotations[${key}]`, message: 'is no valid annotation key' });
  }
  if (bytes > MAX_ANNOTATION_BYTES) {
    causes.push({ field: 'metadata.annotations', message: `may have at most ${MAX_ANNOTATION_BYTES} bytes together` });
  }
  return causes;
}

/** Which writer applied which labels and annotations: `labels/<key>` and `annotations/<key>` by field manager. */
export type Managers = Record<string, string[]>;

/**
 * Labels and annotations after one writer applied its whole document: what it applied before and no
 * longer lists goes, unless another writer applied it too; what others wrote stays. Finalizers are
 * only ever added this way.
 */
export function applyMetadata(
  present: ObjectMeta,
  managers: Managers,
  desired: NewMeta,
  manager: string,
): { meta: ObjectMeta; managers: Managers } {
  const owned = ownedKeys(desired);
  const dropped = (managers[manager] ?? []).filter((key) => !owned.includes(key));
  const others = new Set(Object.entries(managers).flatMap(([name, keys]) => (name === manager ? [] : keys)));
  const gone = new Set(dropped.filter((key) => !others.has(key)));
  const meta: ObjectMeta = { ...present };
  for (const part of ['labels', 'annotations'] as const) {
    const kept = Object.entries(present[part] ?? {}).filter(([key]) => !gone.has(`${part}/${key}`));
    const merged = { ...Object.fromEntries(kept), ...desired[part] };
    if (Object.keys(merged).length > 0) meta[part] = merged;
    else delete meta[part];
  }
  const finalizers = [...new Set([...(present.finalizers ?? []), ...(desired.finalizers ?? [])])];
  if (finalizers.length > 0) meta.finalizers = finalizers;
  return { meta, managers: withOwned(managers, manager, owned) };
}

export function ownedKeys(desired: NewMeta): string[] {
  const keys = (part: 'labels' | 'annotations') => Object.keys(desired[part] ?? {}).map((key) => `${part}/${key}`);
  return [...keys('labels'), ...keys('annotations')].sort();
}

function withOwned(managers: Managers, manager: string, owned: string[]): Managers {
  const { [manager]: before, ...others } = managers;
  if (isDeepStrictEqual(before ?? [], owned)) return managers;
  return owned.length > 0 ? { ...others, [manager]: owned } : others;
}
