import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { OWN_KINDS } from '../../crds/definitions.ts';
import { LEDGER_ERRORS } from '../../ledger/errors.ts';
import { conditionsFile } from './conditions.ts';
import { errorsFile, problemsIn } from './errors.ts';
import { annotate, exampleFile } from './examples.ts';
import { typesFile } from './kinds.ts';
import { generate } from './main.ts';
import { table } from './markdown.ts';
import { settingsFile } from './settings.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const committed = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

test('the committed types are those of the CRDs', async () => {
  assert.is(await typesFile(), committed('crds/generated/kinds.ts'));
});

test('a type is named once and shared: conditions, references, limits', async () => {
  const text = await typesFile();
  for (const name of ['Condition', 'Ref', 'Limits', 'Dimension', 'Plan']) {
    assert.is(text.split(`export interface ${name} {`).length, 2, name);
  }
  assert.is(text.split('conditions?: Condition[]').length - 1, OWN_KINDS.length);
  assert.match(text, 'projectRef: Ref;');
  assert.match(text, 'contract?: Record<string, unknown>;');
  assert.not.match(text, '[k: string]');
});

for (const kind of OWN_KINDS) {
  test(`the example of ${kind} is annotated as its CRD says`, () => {
    const text = committed(exampleFile(kind));
    assert.is(annotate(text), text);
  });
}

test('a comment that somebody changed in an example is put right', () => {
  const text = committed(exampleFile('Wallet'));
  const damaged = text.replace('# Credits of an Organization', '# Debits of an Organization');
  assert.is.not(damaged, text);
  assert.is(annotate(damaged), text);
});

test('--check names what would change and writes nothing; without it the files are written', async () => {
  const root = mkdtempSync(join(tmpdir(), 'gsv-generate-'));
  try {
    const generators = [
      { file: 'docs/a.md', produce: () => 'new' },
      { file: 'b.md', produce: (present: string) => present.toUpperCase() },
    ];
    writeFileSync(join(root, 'b.md'), 'B');
    assert.equal(await generate(root, { check: true, generators }), ['docs/a.md']);
    assert.throws(() => readFileSync(join(root, 'docs/a.md')), /ENOENT/);
    assert.equal(await generate(root, { check: false, generators }), ['docs/a.md']);
    assert.is(readFileSync(join(root, 'docs/a.md'), 'utf8'), 'new');
    assert.equal(await generate(root, { check: true, generators }), []);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('settings show their default, whether they are secret, and the form they must have', () => {
  const text = settingsFile();
  assert.match(text, /\| `GSV_GATEWAY_PORT` +\| gateway, quickstart +\| `7100` +\|/);
  assert.match(text, '`GSV_TICKET_KEY` or `GSV_TICKET_KEY_FILE`');
  assert.match(text, 'It must be one of all, run, api.');
});

test('conditions list types and reasons with their kinds', () => {
  const text = conditionsFile();
  assert.match(text, /\| `Funded` +\| Instance +\|/);
  assert.match(text, /\| `Succeeded` +\| all +\| Info +\|/);
});

test('errors list every code of the ledger', () => {
  const text = errorsFile();
  const missing = Object.entries(LEDGER_ERRORS).filter(
    ([name, { status }]) => !new RegExp(`\\| \`${name}\` +\\| ${status} `).test(text),
  );
  assert.equal(missing, []);
});

test('errors that stand where they are thrown are found, with what is computed left out', () => {
  const texts = [
    `throw new Problem({ status: 401, code: 'shop_unknown', detail: 'no \\'shop\\'' });`,
    `new Problem({\n  status: 503,\n  code: 'away',\n  detail: \`\${name} is away\`,\n});`,
    `new Problem({ status: 502, code: 'computed', detail: text });`,
    `new Problem({ status: 502, code: 'computed', detail: 'once said' });`,
    `f('forged', 'it does not verify');
function f(code: string, detail: string): Problem {
  return new Problem({ status: 401, code, detail });
}`,
  ];
  assert.equal(problemsIn(texts), [
    { code: 'shop_unknown', status: 401, meaning: "no 'shop'" },
    { code: 'away', status: 503, meaning: '… is away' },
    { code: 'computed', status: 502, meaning: 'once said' },
    { code: 'forged', status: 401, meaning: 'it does not verify' },
  ]);
});

test('a table survives bars and line breaks', () => {
  assert.is(table(['a', 'b'], [['1|2', 'x\n y']]), '| a    | b   |\n| ---- | --- |\n| 1\\|2 | x y |');
});
