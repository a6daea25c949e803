import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parseAllDocuments } from 'yaml';
import { OWN_KINDS, type OwnKind, type Schema, schemaOf } from './definitions.ts';
import { type Cause, validateObject, validateStatus } from './validate.ts';

type Doc = Record<string, unknown> & { metadata: Record<string, unknown>; spec: Record<string, unknown> };

function examples(kind: OwnKind): Doc[] {
  const file = join(import.meta.dirname, 'testdata', 'examples', `${kind.toLowerCase()}.yaml`);
  return parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS() as Doc);
}

function example(kind: OwnKind): Doc {
  const [first] = examples(kind);
  if (first === undefined) throw new Error(`no example of ${kind}`);
  return first;
}

/** The first example of a kind with one field of its spec put in another value; undefined removes it. */
function changed(kind: OwnKind, path: string, value: unknown): Doc {
  const doc = example(kind);
  const parts = path.split('.');
  const last = parts.pop() ?? '';
  const place = parts.reduce((node, part) => node[part] as Record<string, unknown>, doc as Record<string, unknown>);
  if (value === undefined) delete place[last];
  else place[last] = value;
  return doc;
}

/** Every field of a schema, as paths without indexes. */
function fields(schema: Schema, path: string): string[] {
  if (schema.items !== undefined) return fields(schema.items, path);
  return Object.entries(schema.properties ?? {}).flatMap(([name, child]) => {
    const own = `${path}.${name}`;
    return [own, ...fields(child, own)];
  });
}

function used(value: unknown, path: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => used(item, path));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, child]) => [`${path}.${name}`, ...used(child, `${path}.${name}`)]);
}

for (const kind of OWN_KINDS) {
  test(`${kind}: its examples are valid`, () => {
    for (const doc of examples(kind)) {
      assert.equal(validateObject(kind, doc), []);
      assert.equal(validateObject(kind, doc, doc), [], 'writing it again is no change');
      if (doc.status !== undefined) assert.equal(validateStatus(kind, doc.status), []);
    }
  });

  test(`${kind}: its examples show every field`, () => {
    const { spec, status } = schemaOf(kind).properties ?? {};
    if (spec === undefined || status === undefined) throw new Error('incomplete');
    const shown = new Set(examples(kind).flatMap((doc) => [...used(doc.spec, 'spec'), ...used(doc.status, 'status')]));
    const missing = [...fields(spec, 'spec'), ...fields(status, 'status')].filter((path) => !shown.has(path));
    assert.equal(missing, []);
  });

  test(`${kind}: an unknown field is refused wherever it stands`, () => {
    assert.is(validateObject(kind, changed(kind, 'spec.surprise', 1))[0]?.field, 'spec.surprise');
    assert.is(validateObject(kind, changed(kind, 'surprise', 1))[0]?.field, 'surprise');
    assert.is(validateStatus(kind, { surprise: 1 })[0]?.field, 'status.surprise');
  });
}

interface Case {
  reason: string;
  kind: OwnKind;
  path: string;
  value: unknown;
  expected: Cause;
}

const LABEL = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$';
const CASES: Case[] = [
  {
    reason: 'a required field is missing',
    kind: 'Instance',
    path: 'spec.plan',
    value: undefined,
    expected: { field: 'spec.plan', message: 'is required' },
  },
  {
    reason: 'null is no value',
    kind: 'Instance',
    path: 'spec.suspend',
    value: null,
    expected: { field: 'spec.suspend', message: 'must be boolean' },
  },
  {
    reason: 'a word that is not in the list',
    kind: 'Offering',
    path: 'spec.lifecycle',
    value: 'draft',
    expected: { field: 'spec.lifecycle', message: 'must be one of Draft, Published, Paused, EndOfSale, EndOfLife' },
  },
  {
    reason: 'a name that would leave its path',
    kind: 'Instance',
    path: 'spec.projectRef.name',
    value: '../other',
    expected: { field: 'spec.projectRef.name', message: `must match ${LABEL}` },
  },
  {
    reason: 'the name of the object is checked as well',
    kind: 'Instance',
    path: 'metadata.name',
    value: 'Claims',
    expected: { field: 'metadata.name', message: `must match ${LABEL}` },
  },
  {
    reason: 'an Organization whose namespace would be too long',
    kind: 'Organization',
    path: 'metadata.name',
    value: 'a'.repeat(56),
    expected: { field: 'metadata.name', message: 'must NOT have more than 55 characters' },
  },
  {
    reason: 'more microcredits than a double counts exactly',
    kind: 'CreditPack',
    path: 'spec.amountMicrocredits',
    value: 2 ** 53,
    expected: { field: 'spec.amountMicrocredits', message: 'must be <= 9007199254740991' },
  },
  {
    reason: 'a fraction of a microcredit',
    kind: 'CreditPack',
    path: 'spec.amountMicrocredits',
    value: 1.5,
    expected: { field: 'spec.amountMicrocredits', message: 'must be integer' },
  },
  {
    reason: 'a day that is not in the calendar',
    kind: 'ApiKey',
    path: 'spec.expiresTime',
    value: '2027-02-30T00:00:00Z',
    expected: { field: 'spec.expiresTime', message: 'must match format "date-time"' },
  },
  {
    reason: 'credentials in an address',
    kind: 'Capability',
    path: 'spec.connectors',
    value: [{ name: 'crm', protocol: 'MCP', url: 'https://user:pass@crm.example.com' }],
    expected: { field: 'spec.connectors[0].url', message: 'must match ^https?://[^\\s/?#@]+([/?#][^\\s]*)?$' },
  },
  {
    reason: 'a range of versions that says nothing',
    kind: 'OfferingVersion',
    path: 'spec.upgradesFrom',
    value: ' ',
    expected: { field: 'spec.upgradesFrom', message: 'must match ^[-0-9A-Za-z.<>=~^|*][-0-9A-Za-z.<>=~^|* ]*$' },
  },
  {
    reason: 'two entries of one name',
    kind: 'Team',
    path: 'spec.grants',
    value: [
      { name: 'a', role: 'Viewer' },
      { name: 'a', role: 'Admin' },
    ],
    expected: { field: 'spec.grants[1]', message: '"a" is there twice; name must be unique' },
  },
  {
    reason: 'an entry of a set twice',
    kind: 'Wallet',
    path: 'spec.lowBalanceThresholdsMicrocredits',
    value: [5, 6, 5],
    expected: { field: 'spec.lowBalanceThresholdsMicrocredits', message: 'items 0 and 2 are the same; name each once' },
  },
  {
    reason: 'a document of another kind',
    kind: 'Wallet',
    path: 'kind',
    value: 'Team',
    expected: { field: 'kind', message: 'must be Wallet' },
  },
];

for (const { reason, kind, path, value, expected } of CASES) {
  test(`refused: ${reason}`, () => {
    assert.equal(validateObject(kind, changed(kind, path, value)), [expected]);
  });
}

const VERSIONS: [text: string, valid: boolean][] = [
  ['1.0.0', true],
  ['0.10.200', true],
  ['1.0.0-rc.1', true],
  ['1.0.0-alpha-2', true],
  ['1.0.0-0', true],
  ['1.0', false],
  ['01.0.0', false],
  ['1.0.0-01', false],
  ['1.0.0-rc-', false],
  ['1.0.0-RC', false],
  ['1.0.0+build', false],
  ['1.0.0\n', false],
];
for (const [version, valid] of VERSIONS) {
  test(`the version ${JSON.stringify(version)} is ${valid ? 'accepted' : 'refused'}`, () => {
    assert.is(validateObject('Instance', { ...examples('Instance')[1], metadata: { name: 'x' } }).length, 0);
    const doc = { ...examples('Instance')[1] } as Doc;
    doc.spec = { ...doc.spec, version };
    assert.is(validateObject('Instance', doc).length === 0, valid);
  });
}

test('free-form fields take anything, other objects take nothing unknown', () => {
  const config = { deep: [{ er: null }], number: 1.5 };
  assert.equal(validateObject('Instance', changed('Instance', 'spec.config', config)), []);
  assert.is(validateObject('Capability', changed('Capability', 'spec.config', config)).length, 2);
});

test('a rule inside a list names the item that breaks it', () => {
  const members = [{ name: 'a', email: 'a@example.com' }, { name: 'b' }];
  const causes = validateObject('Team', changed('Team', 'spec.members', members));
  assert.equal(
    causes.map((cause) => cause.field),
    ['spec.members[1]'],
  );
});

test('a rule about the whole object blames the name', () => {
  const causes = validateObject('OfferingVersion', changed('OfferingVersion', 'metadata.name', 'other-1.0.0'));
  assert.equal(
    causes.map((cause) => cause.field),
    ['metadata.name'],
  );
});

test('a rule about a change is silent on creation and on a field that was not there before', () => {
  const now = changed('Instance', 'spec.walletRef.name', 'other');
  assert.equal(validateObject('Instance', now), []);
  assert.equal(
    validateObject('Instance', now, example('Instance')).map((cause) => cause.field),
    ['spec.walletRef'],
  );
});

test('lists of type map and set do not change by another order, as on the API server', () => {
  const old = example('OfferingVersion');
  const exhaustion = old.spec.exhaustion as unknown[];
  assert.equal(
    validateObject('OfferingVersion', changed('OfferingVersion', 'spec.exhaustion', exhaustion.toReversed()), old),
    [],
  );
  const shorter = changed('OfferingVersion', 'spec.exhaustion', exhaustion.slice(0, 2));
  assert.equal(
    validateObject('OfferingVersion', shorter, old).map((cause) => cause.field),
    ['spec'],
  );
});

test('a rule is not computed for an object that its schema refuses', () => {
  const doc = changed('Instance', 'spec.version', 'latest');
  doc.spec.channel = 'Stable';
  assert.equal(
    validateObject('Instance', doc).map((cause) => cause.field),
    ['spec.version'],
  );
});

test('what is no object at all is refused and does not throw', () => {
  for (const value of [undefined, null, 1, 'x', [], {}]) assert.ok(validateObject('Wallet', value).length > 0);
  for (const value of [null, 1, []]) assert.ok(validateStatus('Wallet', value).length > 0);
});

test('a flood of mistakes is answered with a bounded list', () => {
  const members = Array.from({ length: 400 }, (_, index) => ({ name: `M${index}` }));
  assert.is(validateObject('Team', changed('Team', 'spec.members', members)).length, 32);
});

test('the name of a core kind is checked', () => {
  assert.equal(validateObject('Namespace', { metadata: { name: 'gsv-org-acme' } }), []);
  assert.is(validateObject('Namespace', { metadata: { name: 'a/b' } }).length, 1);
  assert.is(validateObject('Namespace', null).length, 1);
  assert.equal(validateStatus('Namespace', { phase: 'Active' }), []);
});
