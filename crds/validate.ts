import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import { brokenRules, type Cause, listKey, type Observer } from './cel.ts';
import { isOwnKind, type OwnKind, type Schema, schemaOf } from './definitions.ts';
import { KINDS, type Kind } from './kinds.ts';

export type { Cause } from './cel.ts';

/** Refuses more than this many causes in one answer: a reader fixes the first few anyway. */
const MAX_CAUSES = 32;
/** Namespaces: RFC 1123 label, as the API server checks it. */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/**
 * Checks an object that is to be created or applied against its CRD as the API server would with
 * strict field validation: schema, unknown fields, unique list keys, then the CEL rules. Its
 * `status`, if any, is left out: users do not write it.
 *
 * @param old the object as it stands, for rules about changes; absent on creation
 * @returns the violated rules with the path of the field, e.g. `spec.plans[0].name`; none = valid
 */
export function validateObject(kind: Kind, object: unknown, old?: unknown, observe?: Observer): Cause[] {
  // The schemas of others are theirs to keep; names were checked with the rest of metadata.
  if (!isOwnKind(kind)) return kind === 'Namespace' ? namespaceName(object) : [];
  const schema = schemaOf(kind);
  const broken = shape(checkOf(kind, 'object'), schema, object, '');
  if (broken.length > 0) return broken;
  // Rules see of an object what the API server shows them.
  return brokenRules(schema, visible(object), old === undefined ? undefined : visible(old), '', observe).map((cause) =>
    cause.field === '' ? { ...cause, field: 'metadata.name' } : cause,
  );
}

/** Checks a status against the CRD of its kind, like {@link validateObject}. */
export function validateStatus(kind: Kind, status: unknown, old?: unknown): Cause[] {
  if (!isOwnKind(kind)) return [];
  const schema = partOf(kind, 'status');
  const broken = shape(checkOf(kind, 'status'), schema, status, 'status');
  return broken.length > 0 ? broken : brokenRules(schema, status, old, 'status');
}

const compiled = new Map<string, ValidateFunction>();

/** Compiled when first needed: the whole of it takes as long as a short run. */
function checkOf(kind: OwnKind, part: 'object' | 'status'): ValidateFunction {
  const known = compiled.get(`${kind} ${part}`);
  if (known !== undefined) return known;
  const ajv = new Ajv({ allErrors: true, strict: false, verbose: true, validateSchema: false, meta: false });
  addFormats.default(ajv, ['date-time']);
  const check = ajv.compile(part === 'object' ? objectSchema(kind) : closed(partOf(kind, 'status')));
  compiled.set(`${kind} ${part}`, check);
  return check;
}

function objectSchema(kind: OwnKind): Record<string, unknown> {
  return {
    type: 'object',
    required: ['metadata', 'spec'],
    additionalProperties: false,
    properties: {
      apiVersion: { const: KINDS[kind].apiVersion },
      kind: { const: kind },
      metadata: { ...partOf(kind, 'metadata'), required: ['name'] },
      spec: closed(partOf(kind, 'spec')),
      status: {},
    },
  };
}

function partOf(kind: OwnKind, part: 'metadata' | 'spec' | 'status'): Schema {
  const schema = schemaOf(kind).properties?.[part];
  if (schema === undefined) throw new Error(`the CRD of ${kind} lacks ${part}`);
  return schema;
}

/** The same schema where unknown fields are errors, as under `--validate=strict`. */
function closed(schema: Schema): Record<string, unknown> {
  const { properties, items, format, ...rest } = schema;
  const out: Record<string, unknown> = { ...rest };
  // `int64` says nothing that type and bounds do not say, and would be reported beside them.
  if (format !== undefined && format !== 'int64') out.format = format;
  if (items !== undefined) out.items = closed(items);
  if (schema['x-kubernetes-list-type'] === 'set') out.uniqueItems = true;
  if (properties !== undefined) {
    out.properties = Object.fromEntries(Object.entries(properties).map(([name, child]) => [name, closed(child)]));
  }
  if (schema.type === 'object' && schema['x-kubernetes-preserve-unknown-fields'] !== true) {
    out.additionalProperties = false;
  }
  return out;
}

function shape(check: ValidateFunction, schema: Schema, value: unknown, path: string): Cause[] {
  if (!check(value)) return unique((check.errors ?? []).map((error) => cause(error, path))).slice(0, MAX_CAUSES);
  const repeated: Cause[] = [];
  repeatedKeys(schema, value, path, repeated);
  return repeated.slice(0, MAX_CAUSES);
}

function cause(error: ErrorObject, root: string): Cause {
  const field = fieldPath(error.instancePath, root);
  const inside = (name: string): string => (field === '' ? name : `${field}.${name}`);
  if (error.keyword === 'required') return { field: inside(error.params.missingProperty), message: 'is required' };
  if (error.keyword === 'additionalProperties') {
    const known = Object.keys((error.parentSchema?.properties as object | undefined) ?? {}).sort();
    const hint = known.length > 0 ? `; known here: ${known.join(', ')}` : '';
    return { field: inside(error.params.additionalProperty), message: `unknown field${hint}` };
  }
  return { field: field === '' ? '(root)' : field, message: sentence(error) };
}

function sentence({ keyword, params, message }: ErrorObject): string {
  switch (keyword) {
    case 'enum':
      return `must be one of ${(params.allowedValues as string[]).join(', ')}`;
    case 'const':
      return `must be ${String(params.allowedValue)}`;
    case 'pattern':
      return `must match ${String(params.pattern)}`;
    case 'uniqueItems':
      return `items ${Math.min(params.i, params.j)} and ${Math.max(params.i, params.j)} are the same; name each once`;
    default:
      return message ?? `violates ${keyword}`;
  }
}

/** `/spec/plans/0/name` to `spec.plans[0].name`. */
function fieldPath(pointer: string, root: string): string {
  const parts = pointer.split('/').slice(1);
  return parts.reduce((path, part) => {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (/^\d+$/.test(name)) return `${path}[${name}]`;
    return path === '' ? name : `${path}.${name}`;
  }, root);
}

function repeatedKeys(schema: Schema, value: unknown, path: string, causes: Cause[]): void {
  if (Array.isArray(value) && schema.items !== undefined) {
    const seen = new Set<string>();
    for (const [index, item] of value.entries()) {
      const at = `${path}[${index}]`;
      if (schema['x-kubernetes-list-type'] === 'map') {
        const key = listKey(schema, item);
        const names = (schema['x-kubernetes-list-map-keys'] ?? []).join(', ');
        if (seen.has(key))
          causes.push({ field: at, message: `${key.slice(1, -1)} is there twice; ${names} must be unique` });
        seen.add(key);
      }
      repeatedKeys(schema.items, item, at, causes);
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const [name, child] of Object.entries(schema.properties ?? {})) {
      const next = (value as Record<string, unknown>)[name];
      if (name !== 'metadata' && next !== undefined && path + name !== 'status') {
        repeatedKeys(child, next, path === '' ? name : `${path}.${name}`, causes);
      }
    }
  }
}

function visible(object: unknown): unknown {
  const { metadata, spec } = object as { metadata: { name: string }; spec: unknown };
  return { metadata: { name: metadata.name }, spec };
}

function namespaceName(object: unknown): Cause[] {
  const name = (object as { metadata?: { name?: unknown } } | null)?.metadata?.name;
  if (typeof name === 'string' && LABEL.test(name)) return [];
  return [{ field: 'metadata.name', message: `the name of a Namespace must match ${LABEL.source}` }];
}

function unique(causes: Cause[]): Cause[] {
  return [...new Map(causes.map((one) => [`${one.field}\n${one.message}`, one])).values()];
}
