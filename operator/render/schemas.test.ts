import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { parse, parseAllDocuments } from 'yaml';
import { pointers, schemaProblems } from '../../hack/testing/kubernetes-schemas.ts';
import { manifestsOf, randomTree, renderTree } from '../../hack/testing/rendered.ts';

const TESTDATA = join(import.meta.dirname, 'testdata');
/** Members that hold names of the user's choice: their keys are no fields. */
const MAPS = /\/(labels|annotations|data|matchLabels|hard|requests|limits|default|defaultRequest)$/;

type Tree = { [key: string]: unknown };

const goldens = readdirSync(TESTDATA, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.includes('/out/') && file.endsWith('.yaml'))
  .flatMap((file) =>
    parseAllDocuments(readFileSync(join(TESTDATA, file), 'utf8')).map((each) => ({
      file,
      object: each.toJS() as Tree,
    })),
  );

test('every golden object is valid by the published schema of its kind, which knows each of its fields', () => {
  for (const { file, object } of goldens) assert.equal(schemaProblems(object), [], file);
  const kinds = new Set(goldens.map(({ object }) => object.kind));
  assert.is(kinds.size, 15, 'the goldens show every kind that is rendered');
});

test('so is whatever else is rendered', async (t) => {
  let objects = 0;
  await fc.assert(
    fc.property(randomTree, (tree) => {
      for (const [path, text] of manifestsOf(renderTree(tree))) {
        objects += 1;
        assert.equal(schemaProblems(parse(text, { version: '1.1' })), [], path);
      }
    }),
    { numRuns: 150 },
  );
  t.diagnostic(`${objects} random objects, 0 refused`);
});

function at(object: Tree, pointer: string): Tree {
  let place: unknown = object;
  for (const key of pointer.split('/').slice(1)) {
    place = (place as Tree)[key.replaceAll('~1', '/').replaceAll('~0', '~')];
  }
  return place as Tree;
}

/** Pointers of every mapping whose keys are fields. */
function mappings(object: Tree): string[] {
  const inside = pointers(object, '').filter((pointer) => {
    const value = at(object, pointer);
    const isMap = MAPS.test(pointer) || `${object.kind} ${pointer}` === 'Service /spec/selector';
    return typeof value === 'object' && !Array.isArray(value) && !isMap;
  });
  return ['', ...inside];
}

test('control: an unknown field is caught wherever it stands', (t) => {
  let caught = 0;
  for (const { file, object } of goldens) {
    for (const pointer of mappings(object)) {
      const broken = structuredClone(object);
      (pointer === '' ? broken : at(broken, pointer)).unknownField = 'x';
      const problems = schemaProblems(broken);
      // Under podSelector: {} and emptyDir: {} as well: an empty mapping has a schema, too.
      assert.ok(problems.includes(`${object.kind}: unknown field ${pointer}/unknownField`), `${file} ${pointer}`);
      caught += 1;
    }
  }
  t.diagnostic(`${caught} unknown fields put in, all caught`);
  assert.ok(caught > 500);
});

test('control: a number as text, text as a boolean and a foreign kind are caught', () => {
  const deployment = goldens.find(({ object }) => object.kind === 'Deployment')?.object ?? {};
  const edits: [edit: (object: Tree) => void, message: RegExp][] = [
    [(object) => Object.assign(at(object, '/spec'), { replicas: '1' }), /replicas must be integer/],
    [(object) => Object.assign(at(object, '/metadata'), { labels: { a: true } }), /must be string/],
    [(object) => Object.assign(at(object, '/spec'), { template: undefined }), /template/],
    [(object) => Object.assign(object, { kind: 'DaemonSet' }), /no schema/],
  ];
  for (const [edit, message] of edits) {
    const broken = structuredClone(deployment);
    edit(broken);
    assert.match(schemaProblems(broken).join(), message);
  }
});
