import { test } from 'node:test';
import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { parse, parseAllDocuments } from 'yaml';
import { RenderError } from './errors.ts';
import { toYaml } from './yaml.ts';

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof RenderError) return error.code;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Strings that some YAML reader takes for something else, and such that try to leave their place. */
const NASTY = [
  'on',
  'Off',
  'yes',
  'NO',
  'y',
  'n',
  'true',
  'False',
  'null',
  'Null',
  '~',
  '',
  '.inf',
  '-.INF',
  '.nan',
  'NaN',
  'e0',
  'E1',
  'e-5',
  '1',
  '-1',
  '+1',
  '1.0',
  '1e3',
  '1E+3',
  '0o7',
  '007',
  '0x1F',
  '0b1',
  '1_000',
  '12:30:45',
  '190:20:30',
  '2026-03-01',
  '2026-03-01T12:00:00Z',
  '<<',
  '=',
  '-',
  '- a',
  '?',
  ':',
  'a: b',
  'a #b',
  '#',
  '&a',
  '*a',
  '!!str a',
  '|',
  '>',
  '%YAML 1.1',
  '@a',
  '`a',
  '{}',
  '[]',
  '{{ a }}',
  "'",
  '"',
  '\\',
  '\n',
  'a\nb',
  'a\r\nb',
  '---',
  '...',
  '\n---\nkind: Secret\n',
  '\t',
  ' a',
  'a ',
  '\u0000',
  '\u0007',
  '\u001b[0m',
  '\u007f',
  '\u0085',
  '\u00a0',
  '\u2028',
  '\u2029',
  '\u202e',
  '\ufeff',
  '\ufffe',
  '\uffff',
  '\ud800',
  'a\udc00b',
  '😀',
  'ключ',

  '../..',
  '$\u007bx}',
  '$(x)',
  '__proto__',
  'constructor',
];

const manifest = (text: string): Parameters<typeof toYaml>[0] => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: text, labels: { a: text } },
  data: Object.fromEntries([[text, text]]),
  list: [text, { [`k${text}`]: text, nested: [{ deep: text }] }],
});

function readsBack(text: string): void {
  const yaml = toYaml(manifest(text));
  const expected = JSON.parse(JSON.stringify(manifest(text.toWellFormed()))) as unknown;
  for (const version of ['1.1', '1.2'] as const) {
    const documents = parseAllDocuments(yaml, { version, merge: version === '1.1', uniqueKeys: true });
    assert.is(documents.length, 1, JSON.stringify(text));
    assert.equal(documents[0]?.errors, [], JSON.stringify(text));
    assert.equal(JSON.parse(JSON.stringify(documents[0]?.toJS())), expected, `${version} ${JSON.stringify(text)}`);
  }
}

test('every nasty string is read back as itself by YAML 1.1 and 1.2, as value and as key', () => {
  for (const text of NASTY) readsBack(text);
});

test('any string at all is read back as itself', async () => {
  await fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => readsBack(text)),
    { numRuns: 400 },
  );
});

test('a long value is kept and a key beyond what YAML allows is refused', () => {
  const long = 'a: b'.repeat(5000);
  const yaml = toYaml({ apiVersion: 'v1', kind: 'X', metadata: {}, data: { a: long } });
  assert.is((parse(yaml) as { data: { a: string } }).data.a, long);
  assert.is(
    refusal(() => toYaml({ apiVersion: 'v1', kind: 'X', metadata: {}, data: { [long]: '' } })),
    'invalid_value',
  );
});

test('numbers that a manifest cannot carry exactly are refused', () => {
  for (const number of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    assert.is(
      refusal(() => toYaml({ ...manifest('a'), number })),
      'invalid_value',
    );
  }
});
