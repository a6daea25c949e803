import { compile, type JSONSchema } from 'json-schema-to-typescript';
import { definitionOf, OWN_KINDS, type OwnKind, type Schema, schemaOf } from '../../crds/definitions.ts';

const HEADER = '// Generated from crds/*.yaml by `npm run generate`. Do not edit.\n';

/** Shapes that get a name of their own: where each stands, so that equal ones elsewhere share it. */
const SHAPES: readonly { name: string; about: string; at: () => Schema }[] = [
  {
    name: 'Condition',
    about: 'One aspect of the state of an object, by type.',
    at: () => place('Capability', 'status', 'conditions', '[]'),
  },
  {
    name: 'Ref',
    about: 'Names an object in the same namespace, or one of a cluster-scoped kind.',
    at: () => ({
      type: 'object',
      required: ['name'],
      properties: { name: { type: 'string', description: 'Its name.' } },
    }),
  },
  {
    name: 'Limits',
    about: 'Limits of an Instance; absent ones have the documented default.',
    at: () => place('Capability', 'spec', 'limits'),
  },
  {
    name: 'Dimension',
    about: 'A price: `priceMicrocredits` for each `perUnits` units, rounded up once per receipt line.',
    at: () => place('Capability', 'spec', 'metering', 'dimensions', '[]'),
  },
  {
    name: 'Plan',
    about: 'What a buyer can choose.',
    at: () => place('OfferingVersion', 'spec', 'plans', '[]'),
  },
];

/** The TypeScript of `crds/generated/kinds.ts`: one type for spec and status of each kind. */
export async function typesFile(): Promise<string> {
  const shapes = SHAPES.map(({ name, about, at }) => ({ name, schema: { ...at(), description: about } }));
  const names = new Map(shapes.map(({ name, schema }) => [outline(schema), name]));
  const definitions: Record<string, JSONSchema> = {};
  for (const { name, schema } of shapes) definitions[name] = toJsonSchema(schema, names, true);
  for (const kind of OWN_KINDS) {
    const { spec, status } = schemaOf(kind).properties ?? {};
    if (spec === undefined || status === undefined)
      throw new Error(`${definitionOf(kind).metadata.name} is incomplete`);
    definitions[`${kind}Spec`] = toJsonSchema(spec, names, true);
    definitions[`${kind}Status`] = toJsonSchema(status, names, true);
  }
  const root: JSONSchema = { title: 'Root', type: 'object', additionalProperties: false, definitions };
  const text = await compile(root, 'Root', {
    bannerComment: '',
    ignoreMinAndMaxItems: true,
    unreachableDefinitions: true,
    style: { singleQuote: true, printWidth: 120 },
  });
  return `${HEADER}\n${tidy(text)}`;
}

/** Takes out what the library adds of its own, and puts short comments on one line. */
function tidy(text: string): string {
  return text
    .replace(/export interface Root \{\}\n/, '')
    .replaceAll(/ \*\n \* This interface was referenced by[^\n]*\n \* via the `definition` "\w+"\.\n/g, '')
    .replaceAll(/\/\*\*\n *\* (.*)\n *\*\//g, '/** $1 */')
    .replaceAll(/\n(?=\/\*\* .*\nexport )/g, '\n\n')
    .trimStart();
}

function toJsonSchema(schema: Schema, names: ReadonlyMap<string, string>, top = false): JSONSchema {
  const description = schema.description === undefined ? {} : { description: schema.description };
  const name = names.get(outline(schema));
  if (name !== undefined && !top) return { ...description, tsType: name };
  if (schema.type === 'array' && schema.items !== undefined) {
    return { ...description, type: 'array', items: toJsonSchema(withoutDescription(schema.items), names) };
  }
  if (schema.type !== 'object')
    return { ...description, type: schema.type, ...(schema.enum ? { enum: schema.enum } : {}) };
  if (schema.properties === undefined) return { ...description, tsType: 'Record<string, unknown>' };
  return {
    ...description,
    type: 'object',
    required: schema.required ?? [],
    additionalProperties: false,
    properties: Object.fromEntries(
      Object.entries(schema.properties).map(([key, child]) => [key, toJsonSchema(child, names)]),
    ),
  };
}

/** What two schemas must share to be the same type: names and types, not prose, bounds or rules. */
function outline(schema: Schema): string {
  const { type, enum: values, required, properties, items } = schema;
  const children = Object.entries(properties ?? {}).map(([name, child]) => [name, outline(child)]);
  return JSON.stringify([type, values, required, children, items && outline(items)]);
}

/** The text of an item would stand between `(` and `)[]`; the list has one already. */
function withoutDescription(schema: Schema): Schema {
  const { description: _, ...rest } = schema;
  return rest;
}

function place(kind: OwnKind, ...path: string[]): Schema {
  let schema: Schema | undefined = schemaOf(kind);
  for (const part of path) schema = part === '[]' ? schema?.items : schema?.properties?.[part];
  if (schema === undefined) throw new Error(`${kind} has no ${path.join('.')}`);
  return schema;
}
