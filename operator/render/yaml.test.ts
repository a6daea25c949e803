import { test } from 'node:test';
import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { parse, parseAllDocuments } from 'yaml';
import { HOSTILE } from '../../hack/testing/hostile.ts';
import { RenderError } from './errors.ts';
import { toYaml } from './yaml.ts';

/** Longer ones are refused as a key; see below. */
const MAX_KEY = 400;

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof RenderError) return error.code;
    throw error;
  }
  throw new Error('nothing was thrown');
}

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
  for (const text of HOSTILE) if (text.length <= MAX_KEY) readsBack(text);
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
