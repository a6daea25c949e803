import { isMap, isSeq, type Pair, parseAllDocuments, type Scalar, type YAMLMap } from 'yaml';
import { OWN_KINDS, type OwnKind, type Schema, schemaOf } from '../../crds/definitions.ts';

/** File of the annotated example of a kind. */
export function exampleFile(kind: OwnKind): string {
  return `crds/testdata/examples/${kind.toLowerCase()}.yaml`;
}

/**
 * The example with every field explained by a comment from its schema. The values are written by
 * hand; the comments are not, so a change of a CRD shows in the example when it is reviewed.
 *
 * @param text the documents of the file, with or without comments
 */
export function annotate(text: string): string {
  return parseAllDocuments(text)
    .map((document) => {
      const root = document.contents;
      if (!isMap(root)) throw new Error('an example is a mapping');
      const kind = OWN_KINDS.find((candidate) => candidate === document.get('kind'));
      if (kind === undefined) throw new Error(`${String(document.get('kind'))} is no kind of ours`);
      const schema = schemaOf(kind);
      plain(root);
      comment(root, schema, true);
      document.commentBefore = ` ${schema.description ?? ''}`;
      // The separators are ours: a document that was not the first would bring one more.
      if (document.directives) document.directives.docStart = null;
      return document.toString({ lineWidth: 0 });
    })
    .join('---\n');
}

/** Drops what a former run has written, and inline form. */
function plain(node: unknown): void {
  if (!isMap(node) && !isSeq(node)) return;
  node.flow = false;
  node.commentBefore = null;
  for (const item of node.items) {
    const pair = item as Pair<Scalar, unknown>;
    if (isMap(node)) {
      pair.key.commentBefore = null;
      plain(pair.value);
    } else plain(item);
  }
}

/** Explains each field where it stands first. */
function comment(map: YAMLMap, schema: Schema, top = false): void {
  for (const item of map.items) {
    const { key, value } = item as Pair<Scalar<string>, unknown>;
    const field = schema.properties?.[key.value];
    if (field === undefined || (top && key.value === 'metadata')) continue;
    key.commentBefore = ` ${[field.description ?? '', facts(field, schema.required?.includes(key.value) ?? false)].filter(Boolean).join(' ')}`;
    if (isMap(value)) comment(value, field);
    else if (isSeq(value) && field.items !== undefined) {
      const seen = new Set<string>();
      for (const one of value.items) if (isMap(one)) commentOnce(one, field.items, seen);
    }
  }
}

/** Further items of a list repeat only what the first ones did not show. */
function commentOnce(map: YAMLMap, schema: Schema, seen: Set<string>): void {
  comment(map, schema);
  for (const item of map.items) {
    const { key } = item as Pair<Scalar<string>, unknown>;
    if (seen.has(key.value)) key.commentBefore = null;
    seen.add(key.value);
  }
}

function facts(field: Schema, required: boolean): string {
  const out = [required ? 'required' : 'optional'];
  if (field.enum !== undefined) out.push(field.enum.join(' | '));
  if (field.minimum !== undefined) out.push(`${field.minimum} to ${field.maximum}`);
  if (field.maxLength !== undefined) out.push(`at most ${field.maxLength} characters`);
  if (field.maxItems !== undefined) out.push(`at most ${field.maxItems} items`);
  const keys = field['x-kubernetes-list-map-keys'];
  if (keys !== undefined) out.push(`unique by ${keys.join(', ')}`);
  if (field.type === 'object' && field.properties === undefined) out.push('free-form');
  return `(${out.join('; ')})`;
}
