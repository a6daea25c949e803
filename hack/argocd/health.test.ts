/** The health checks that we give Argo CD, run as it runs them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { OWN_KINDS } from '../../crds/definitions.ts';
import { runHealth } from './lua.ts';

const COMPONENT = join(import.meta.dirname, '../../kustomize/components/argocd-health');
const CUSTOMIZATIONS = join(COMPONENT, 'resource_customizations/store.gsv.dev');

interface Tests {
  tests: { healthStatus: { status: string; message: string }; inputPath: string }[];
}

const read = (kind: string, file: string): string => readFileSync(join(CUSTOMIZATIONS, kind, file), 'utf8');
const settings = parse(readFileSync(join(COMPONENT, 'argocd-cm.yaml'), 'utf8')) as { data: Record<string, string> };

test('every kind of ours has a check, and argocd-cm carries it', () => {
  const kinds = [...OWN_KINDS].sort();
  assert.equal(readdirSync(CUSTOMIZATIONS).sort(), kinds);
  assert.equal(
    Object.keys(settings.data).sort(),
    kinds.map((kind) => `resource.customizations.health.store.gsv.dev_${kind}`),
  );
});

for (const kind of OWN_KINDS) {
  const { tests } = parse(read(kind, 'health_test.yaml')) as Tests;
  for (const { healthStatus, inputPath } of tests)
    test(`health of ${kind}: ${inputPath} is ${healthStatus.status}`, () => {
      const script = settings.data[`resource.customizations.health.store.gsv.dev_${kind}`] ?? '';
      const object = parse(read(kind, inputPath)) as { kind: string };
      assert.is(object.kind, kind);
      assert.equal(runHealth(script, object), healthStatus);
    });
  test(`every sample of ${kind} is expected to be something`, () => {
    const expected = tests.map(({ inputPath }) => inputPath).sort();
    assert.equal(
      readdirSync(join(CUSTOMIZATIONS, kind, 'testdata'))
        .map((file) => `testdata/${file}`)
        .sort(),
      expected,
    );
  });
}

for (const missing of ['string.upper("x")', 'math.floor(1)', 'io.open("x")', 'table.unpack({})', 'require("x")'])
  test(`a check that uses ${missing} fails here as it would there`, () => {
    assert.throws(
      () => runHealth(`local x = ${missing}\nreturn { status = "Healthy", message = "" }`, {}),
      /nil value/,
    );
  });
