import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { byText, canonicalJson, pointerToken } from './canonical.ts';
import type { Violation } from './document.ts';

type Schema = Record<string, unknown>;

const DIALECT = 'https://json-schema.org/draft/2020-12/schema';
/** resources.md: a config schema is at most this many bytes of JSON. */
export const MAX_CONFIG_SCHEMA_BYTES = 65_536;

/** Top-level keywords that describe the properties: merged one by one. The rest is an annotation. */
const MERGED = new Set(['type', 'properties', 'required', 'additionalProperties', '$defs']);
const ANNOTATIONS = new Set(['$schema', '$id', '$comment', 'title', 'description', 'examples', 'default']);
/** Top-level conditions on the whole object: each Capability's become one member of `allOf`. */
const CONDITIONS = new Set([
  ...['allOf', 'anyOf', 'oneOf', 'not', 'if', 'then', 'else'],
  ...['dependentRequired', 'dependentSchemas'],
]);
const SCHEMA_MAPS = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas'];
const SCHEMA_LISTS = ['allOf', 'anyOf', 'oneOf', 'prefixItems'];
const SCHEMAS = [
  ...['items', 'contains', 'not', 'if', 'then', 'else', 'additionalProperties', 'propertyNames'],
  ...['unevaluatedItems', 'unevaluatedProperties', 'contentSchema'],
];

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// Conditions speak of properties that are declared elsewhere, so the three would refuse good schemas.
const lenient = { strictTypes: false, strictTuples: false, strictRequired: false };
const evaluator = new Ajv2020({ allErrors: true, strict: true, ...lenient, logger: false });
formats.default(evaluator);

/**
 * Compiles a JSON Schema 2020-12 that loads nothing from outside and has no unknown keyword. The
 * evaluator is shared, because making one costs more than using it; it forgets each schema at once.
 * @throws Error saying what is wrong with the schema
 */
export function compileSchema({ $id: _, ...schema }: Schema): ValidateFunction {
  try {
    return evaluator.compile(schema);
  } finally {
    evaluator.removeSchema(schema);
  }
}

/** Fills in what an object schema for config means when it is silent: an object without properties. */
export function normalConfigSchema(schema: Schema | undefined): Schema {
  const { required, ...rest } = schema ?? {};
  const names = Array.isArray(required) ? [...new Set(required)].sort() : [];
  const normal: Schema = { $schema: DIALECT, type: 'object', properties: {}, ...rest, additionalProperties: false };
  return names.length === 0 ? normal : { ...normal, required: names };
}

/** Refuses a config schema that is too large, is no valid JSON Schema 2020-12, refers outside, or cannot be merged. */
export function checkConfigSchema(schema: Schema, pointer: string): Violation[] {
  const bytes = Buffer.byteLength(JSON.stringify(schema));
  if (bytes > MAX_CONFIG_SCHEMA_BYTES) {
    const message = `The config schema has ${bytes} bytes; at most ${MAX_CONFIG_SCHEMA_BYTES} are allowed.`;
    return [{ pointer, rule: 'config_schema_too_large', message }];
  }
  const problems = [...checkTopLevel(schema, pointer), ...checkReferences(schema, pointer)];
  if (problems.length > 0) return problems;
  try {
    compileSchema(schema);
    return [];
  } catch (error) {
    const message = `The config schema is no valid JSON Schema 2020-12: ${(error as Error).message}.`;
    return [{ pointer, rule: 'config_schema_invalid', message }];
  }
}

function checkTopLevel(schema: Schema, pointer: string): Violation[] {
  const problems: Violation[] = [];
  const refuse = (key: string, message: string) =>
    problems.push({ pointer: `${pointer}/${pointerToken(key)}`, rule: 'config_schema_not_mergeable', message });
  if (schema.$schema !== undefined && schema.$schema !== DIALECT) {
    const message = `The config schema must be JSON Schema 2020-12: write "${DIALECT}" or leave $schema out.`;
    problems.push({ pointer: `${pointer}/$schema`, rule: 'config_schema_invalid', message });
  }
  if (schema.type !== undefined && schema.type !== 'object') refuse('type', 'A config schema must have type "object".');
  if (schema.properties !== undefined && !isObject(schema.properties)) refuse('properties', 'Must be an object.');
  if (schema.additionalProperties !== undefined && schema.additionalProperties !== false) {
    refuse('additionalProperties', 'Config has no keys beyond its schema: write false or leave it out.');
  }
  const required: readonly unknown[] = Array.isArray(schema.required) ? schema.required : [];
  for (const [index, name] of required.entries()) {
    if (typeof name !== 'string' || Object.hasOwn(schema.properties ?? {}, name)) continue;
    const message = `"${name}" is required but not declared: nobody could ever give it.`;
    problems.push({ pointer: `${pointer}/required/${index}`, rule: 'config_schema_invalid', message });
  }
  for (const key of Object.keys(schema)) {
    if (MERGED.has(key) || ANNOTATIONS.has(key) || CONDITIONS.has(key)) continue;
    refuse(key, `"${key}" cannot stand at the top of a config schema: the schemas of Capabilities are merged.`);
  }
  return problems;
}

/** Walks schemas only (never `const`, `enum`, `default`): each reference stays inside the document. */
function checkReferences(schema: unknown, pointer: string, top = true): Violation[] {
  if (!isObject(schema)) return [];
  const problems: Violation[] = [];
  for (const key of ['$ref', '$dynamicRef']) {
    const target = schema[key];
    if (typeof target !== 'string' || target.startsWith('#')) continue;
    const message = 'A config schema refers only to itself: copy the schema under $defs and write "#/$defs/…".';
    problems.push({ pointer: `${pointer}/${key}`, rule: 'config_schema_remote_ref', message });
  }
  if (!top && schema.$id !== undefined) {
    const message = 'An inner $id would change where references lead: leave it out.';
    problems.push({ pointer: `${pointer}/$id`, rule: 'config_schema_remote_ref', message });
  }
  for (const [path, child] of subschemas(schema)) problems.push(...checkReferences(child, `${pointer}${path}`, false));
  return problems;
}

function* subschemas(schema: Schema): Generator<[path: string, child: unknown]> {
  for (const key of SCHEMAS) if (key in schema) yield [`/${key}`, schema[key]];
  for (const key of SCHEMA_LISTS) {
    const list = schema[key];
    if (Array.isArray(list)) for (const [index, child] of list.entries()) yield [`/${key}/${index}`, child];
  }
  for (const key of SCHEMA_MAPS) {
    const map = schema[key];
    if (!isObject(map)) continue;
    for (const [name, child] of Object.entries(map)) yield [`/${key}/${pointerToken(name)}`, child];
  }
}

export interface CapabilitySchema {
  capability: string;
  /** Where the schema stands in the document that is compiled. */
  pointer: string;
  schema: Schema;
}

/**
 * One object schema for the whole config: properties and $defs side by side (the same name twice is
 * refused unless both say the same for $defs), required united, further conditions under `allOf`,
 * nothing beyond. Order of the parts does not matter: they are taken by Capability name.
 */
export function mergeConfigSchemas(parts: readonly CapabilitySchema[]): { schema: Schema; problems: Violation[] } {
  const ordered = [...parts].sort((a, b) => byText(a.capability, b.capability));
  const problems: Violation[] = [];
  const properties = new Map<string, { owner: string; value: unknown }>();
  const definitions = new Map<string, { owner: string; value: unknown }>();
  const required = new Set<string>();
  const conditions: Schema[] = [];
  for (const part of ordered) {
    const { capability, schema, pointer } = part;
    problems.push(...addAll(properties, schema.properties, capability, `${pointer}/properties`, false));
    problems.push(...addAll(definitions, schema.$defs, capability, `${pointer}/$defs`, true));
    if (Array.isArray(schema.required)) for (const name of schema.required) required.add(String(name));
    const own = Object.entries(schema).filter(([key]) => CONDITIONS.has(key));
    if (own.length > 0) conditions.push(Object.fromEntries(own));
  }
  const values = (map: Map<string, { value: unknown }>) =>
    Object.fromEntries([...map].map(([name, entry]) => [name, entry.value]));
  const schema: Schema = {
    $schema: DIALECT,
    type: 'object',
    properties: values(properties),
    ...(required.size > 0 ? { required: [...required].sort(byText) } : {}),
    ...(definitions.size > 0 ? { $defs: values(definitions) } : {}),
    ...(conditions.length > 0 ? { allOf: conditions } : {}),
    additionalProperties: false,
  };
  return { schema, problems };
}

function addAll(
  into: Map<string, { owner: string; value: unknown }>,
  from: unknown,
  owner: string,
  pointer: string,
  equalIsFine: boolean,
): Violation[] {
  const problems: Violation[] = [];
  for (const [name, value] of Object.entries(isObject(from) ? from : {})) {
    const before = into.get(name);
    if (before === undefined) into.set(name, { owner, value });
    else if (!equalIsFine || canonicalJson(before.value) !== canonicalJson(value)) {
      problems.push({
        pointer: `${pointer}/${pointerToken(name)}`,
        rule: 'config_property_collision',
        message: `"${name}" is declared by Capability "${before.owner}" too: rename one of them.`,
      });
    }
  }
  return problems;
}
