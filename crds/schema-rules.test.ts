/** Rules 4, 5, 7, 8 and 14 of `resources.md`, for every CRD; a rule is a test or it is no rule. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { nodes, program, syntaxOf } from './cel.ts';
import { PLATFORM_MAXIMA } from './contract.ts';
import { definitionOf, OWN_KINDS, type Rule, type Schema, schemaOf } from './definitions.ts';
import { GROUP, KINDS, VERSION } from './kinds.ts';

/** The only free-form fields, by kind and path. */
const FREE_FORM = new Set(['Capability spec.config.schema', 'Instance spec.config', 'OfferingVersion spec.contract']);
/** Text for people, which has a length but no form. */
const PROSE = new Set(['title', 'summary', 'description', 'alt', 'help', 'label', 'message', 'value']);
/** What the API server and the JavaScript evaluator compute alike. */
const FUNCTIONS = new Set([
  'has',
  'size',
  'all',
  'exists',
  'exists_one',
  'startsWith',
  'endsWith',
  'contains',
  'matches',
]);
/** Anything else, `$ref` and `oneOf` among it, is no structural schema or no business of ours. */
const KEYWORDS = new Set(
  'type description properties required items enum pattern format minLength maxLength minimum maximum minItems maxItems default x-kubernetes-list-type x-kubernetes-list-map-keys x-kubernetes-preserve-unknown-fields x-kubernetes-validations'.split(
    ' ',
  ),
);
const CAMEL_CASE = /^[A-Z][A-Za-z0-9]*$/;

interface Place {
  kind: string;
  path: string;
  /** Name of the field, or of the list that it is an item of. */
  name: string;
  inSpec: boolean;
  /** Items of sets and atomic lists have no identity, so no rule can compare them with before. */
  matchable: boolean;
}

function lint(schema: Schema, place: Place): string[] {
  const wrong = [...ofKeywords(schema, place), ...ofType(schema, place), ...ofNames(schema, place)];
  for (const rule of schema['x-kubernetes-validations'] ?? []) wrong.push(...ofRule(rule, place));
  const found = wrong.map((what) => `${place.path}: ${what}`);
  for (const [name, child] of Object.entries(schema.properties ?? {})) {
    found.push(...lint(child, { ...place, path: `${place.path}.${name}`, name }));
  }
  if (schema.items !== undefined) {
    const matchable = place.matchable && schema['x-kubernetes-list-type'] === 'map';
    found.push(...lint(schema.items, { ...place, path: `${place.path}[]`, matchable }));
  }
  return found;
}

function ofKeywords(schema: Schema, { path }: Place): string[] {
  const wrong = Object.keys(schema)
    .filter((keyword) => !KEYWORDS.has(keyword))
    .map((keyword) => `${keyword} is not allowed`);
  if (!schema.description) wrong.push('no description');
  const isStatus = path === 'status' && JSON.stringify(schema.default) === '{"observedGeneration":-1}';
  if (schema.default !== undefined && !isStatus) wrong.push('a default');
  for (const name of schema.required ?? []) {
    if (schema.properties?.[name] === undefined) wrong.push(`requires the unknown field ${name}`);
  }
  return wrong;
}

function ofType(schema: Schema, place: Place): string[] {
  switch (schema.type) {
    case 'string':
      return ofString(schema, place);
    case 'integer':
      return schema.minimum === undefined || schema.maximum === undefined || schema.format !== 'int64'
        ? ['a number without bounds or format int64']
        : [];
    case 'boolean':
      return place.inSpec && place.name !== 'suspend' ? ['a boolean other than suspend'] : [];
    case 'array':
      return ofList(schema);
    case 'object':
      return ofObject(schema, place);
    default:
      return [`type ${String(schema.type)}`];
  }
}

function ofString(schema: Schema, { name }: Place): string[] {
  if (schema.enum !== undefined) {
    return schema.enum.filter((word) => !CAMEL_CASE.test(word)).map((word) => `enum value ${word} is not CamelCase`);
  }
  const wrong: string[] = [];
  if (schema.maxLength === undefined) wrong.push('a string without maxLength');
  if (schema.pattern === undefined && schema.format === undefined && !PROSE.has(name))
    wrong.push('a string without pattern or format');
  return wrong;
}

function ofList(schema: Schema): string[] {
  const wrong: string[] = [];
  if (schema.maxItems === undefined) wrong.push('a list without maxItems');
  const type = schema['x-kubernetes-list-type'];
  if (type === undefined) wrong.push('a list without x-kubernetes-list-type');
  if (schema.items === undefined) return [...wrong, 'a list without items'];
  if (type === 'set' && schema.items.type === 'object') wrong.push('a set of objects');
  const keys = schema['x-kubernetes-list-map-keys'] ?? [];
  if ((type === 'map') !== keys.length > 0) wrong.push('keys belong to lists of type map');
  for (const key of keys) if (!schema.items.required?.includes(key)) wrong.push(`the list key ${key} is not required`);
  return wrong;
}

function ofObject(schema: Schema, { kind, path }: Place): string[] {
  const free = schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (free) return FREE_FORM.has(`${kind} ${path}`) ? [] : ['free-form'];
  return schema.properties === undefined ? ['an object without properties'] : [];
}

function ofNames(schema: Schema, { name, path }: Place): string[] {
  const wrong: string[] = [];
  const text = schema.description ?? '';
  const isNumber = schema.type === 'integer';
  if (isNumber && /microcredits/i.test(text) && !/microcredits$/i.test(name))
    wrong.push('money without Microcredits in its name');
  const unit = /^(Seconds|Days)\b/.exec(text)?.[1];
  if (isNumber && unit !== undefined && !name.endsWith(unit) && name !== unit.toLowerCase())
    wrong.push(`a duration without ${unit} in its name`);
  const isReference = name.endsWith('Ref') || name === 'migrateTo';
  if (
    isReference &&
    schema.type === 'object' &&
    !path.endsWith('[]') &&
    Object.keys(schema.properties ?? {}).join() !== 'name'
  ) {
    wrong.push('a reference is {name}');
  }
  return wrong;
}

function ofRule({ rule, message }: Rule, { matchable }: Place): string[] {
  const wrong: string[] = [];
  if (!/\b(write|remove|add)\b/.test(message) || message.includes('\n'))
    wrong.push(`"${message}" does not say what to write`);
  try {
    for (const node of nodes(syntaxOf(rule))) {
      const called = node.op === 'call' || node.op === 'rcall' ? node.args[0] : undefined;
      if (called !== undefined && !FUNCTIONS.has(called)) wrong.push(`"${rule}" calls ${called}`);
      if (node.op === '[]') wrong.push(`"${rule}" takes an item by its place, and lists of type map and set have none`);
    }
    if (program(rule).transition && !matchable) wrong.push(`"${rule}" compares items that cannot be matched`);
  } catch {
    wrong.push(`"${rule}" is not CEL`);
  }
  return wrong;
}

function lintKind(kind: string, schema: Schema): string[] {
  return ['spec', 'status'].flatMap((name) => {
    const part = schema.properties?.[name];
    if (part === undefined) return [`no ${name}`];
    return lint(part, { kind, path: name, name, inSpec: name === 'spec', matchable: true });
  });
}

function at(schema: Schema, jsonPath: string): Schema | undefined {
  return jsonPath
    .split('.')
    .slice(1)
    .reduce<Schema | undefined>((place, name) => place?.properties?.[name], schema);
}

for (const kind of OWN_KINDS) {
  const schema = schemaOf(kind);
  const { metadata, spec } = definitionOf(kind);
  const info = KINDS[kind];

  test(`${kind}: every field keeps the rules of the house`, () => assert.equal(lintKind(kind, schema), []));

  test(`${kind}: the root is described, restricts no metadata but the name, and its rules see the name alone`, () => {
    assert.ok(schema.description);
    assert.equal(Object.keys(schema.properties ?? {}), ['metadata', 'spec', 'status']);
    assert.equal(schema.required, ['spec']);
    const meta = schema.properties?.metadata;
    // The API server refuses anything else here, a description included.
    assert.equal(Object.keys(meta ?? {}).sort(), ['properties', 'type']);
    assert.equal(Object.keys(meta?.properties ?? {}), ['name']);
    const name = meta?.properties?.name;
    assert.ok(name?.description && name.maxLength && name.pattern);
    const place = { kind, path: '(root)', name: '', inSpec: false, matchable: true };
    for (const rule of schema['x-kubernetes-validations'] ?? []) {
      assert.equal(ofRule(rule, place), []);
      assert.not.match(rule.rule, /metadata\.(?!name\b)/);
    }
  });

  test(`${kind}: names, scope and version are those of the registry`, () => {
    assert.is(metadata.name, `${info.plural}.${GROUP}`);
    assert.is(spec.group, GROUP);
    assert.is(spec.scope, info.namespaced ? 'Namespaced' : 'Cluster');
    const { kind: own, plural, singular, shortNames, categories } = spec.names;
    assert.equal([own, plural, singular], [kind, info.plural, kind.toLowerCase()]);
    assert.equal([shortNames, categories], [[info.shortName], ['gsv']]);
    assert.ok(info.shortName.length >= 4);
    assert.equal(
      spec.versions.map((version) => version.name),
      [VERSION],
    );
    assert.equal(spec.versions[0]?.subresources, { status: {} });
  });

  test(`${kind}: columns end with READY, STATUS and AGE, and each column and selectable field is there`, () => {
    const columns = spec.versions[0]?.additionalPrinterColumns ?? [];
    assert.equal(
      columns.slice(-3).map((column) => column.name),
      ['Ready', 'Status', 'Age'],
    );
    const message = columns.find((column) => column.name === 'Message');
    assert.is(message?.priority, 1);
    for (const { jsonPath } of columns.filter((column) => /^\.(spec|status)\.[.\w]+$/.test(column.jsonPath))) {
      assert.ok(['string', 'integer'].includes(at(schema, jsonPath)?.type ?? ''), jsonPath);
    }
    for (const { jsonPath } of spec.versions[0]?.selectableFields ?? []) {
      assert.is(at(schema, jsonPath)?.type, 'string', jsonPath);
    }
  });
}

test('conditions have the same shape in every kind', () => {
  const shapes = new Set(OWN_KINDS.map((kind) => JSON.stringify(at(schemaOf(kind), '.status.conditions'))));
  assert.is(shapes.size, 1);
});

test('the bounds of limits are those that the contract compiler enforces', () => {
  const plan = at(schemaOf('OfferingVersion'), '.spec.plans')?.items;
  for (const limits of [at(schemaOf('Capability'), '.spec.limits'), plan?.properties?.limits]) {
    const bounds = Object.entries(limits?.properties ?? {}).map(([name, field]) => [name, field.maximum]);
    assert.equal(Object.fromEntries(bounds), { ...PLATFORM_MAXIMA });
  }
});

test('control: each violation is caught, with its path', () => {
  const bad = parse(readFileSync(join(import.meta.dirname, 'testdata', 'lint', 'bad.yaml'), 'utf8')) as {
    spec: Schema;
  };
  const found = lint(bad.spec, { kind: 'Bad', path: 'spec', name: 'spec', inSpec: true, matchable: true });
  assert.equal(found, [
    'spec: requires the unknown field absent',
    'spec.noDescription: no description',
    'spec.unbounded: a string without maxLength',
    'spec.shapeless: a string without pattern or format',
    'spec.lowerCaseEnum: enum value yes please is not CamelCase',
    'spec.boundless: a number without bounds or format int64',
    'spec.fraction: type number',
    'spec.enabled: a boolean other than suspend',
    'spec.price: money without Microcredits in its name',
    'spec.timeout: a duration without Seconds in its name',
    'spec.openList: a list without maxItems',
    'spec.openList: a list without x-kubernetes-list-type',
    'spec.keyless: the list key id is not required',
    'spec.objectSet: a set of objects',
    'spec.free: free-form',
    'spec.dictionary: additionalProperties is not allowed',
    'spec.dictionary: an object without properties',
    'spec.defaulted: a default',
    'spec.otherRef: a reference is {name}',
    'spec.items[]: "self == oldSelf" compares items that cannot be matched',
    "spec.items[]: \"self.find('a') == ''\" calls find",
    'spec.items[]: "wrong" does not say what to write',
    'spec.items[]: "self[0] == \'a\'" takes an item by its place, and lists of type map and set have none',
    'spec.items[]: "self ==" is not CEL',
  ]);
});
