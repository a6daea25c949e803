import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { OWN_KINDS, type OwnKind, type Rule, type Schema, schemaOf } from './definitions.ts';
import { validateObject } from './validate.ts';

const FIXTURES = join(import.meta.dirname, 'testdata', 'cel');

/** `object` is what is written; `old`, for rules about changes, what was there before. */
interface Fixture {
  old?: unknown;
  object: unknown;
}

function read(kind: OwnKind, file: string): Fixture {
  return parse(readFileSync(join(FIXTURES, kind.toLowerCase(), file), 'utf8')) as Fixture;
}

function rulesOf(schema: Schema): Rule[] {
  const children = [...Object.values(schema.properties ?? {}), ...(schema.items ? [schema.items] : [])];
  return [...(schema['x-kubernetes-validations'] ?? []), ...children.flatMap(rulesOf)];
}

for (const kind of OWN_KINDS) {
  const rules = rulesOf(schemaOf(kind));
  const files = rules.length === 0 ? [] : readdirSync(join(FIXTURES, kind.toLowerCase())).sort();
  const names = [...new Set(files.map((file) => file.replace(/\.(pass|fail)\.yaml$/, '')))];
  const covered = new Map<string, string>();

  for (const name of names) {
    test(`${kind}: ${name}`, () => {
      const failing = read(kind, `${name}.fail.yaml`);
      const causes = validateObject(kind, failing.object, failing.old);
      assert.is(causes.length, 1, `one rule and no other must break: ${JSON.stringify(causes)}`);
      const message = causes[0]?.message;
      const rule = rules.find((candidate) => candidate.message === message);
      assert.ok(rule, `no rule says: ${message}`);
      if (rule === undefined) return;
      assert.is(covered.get(rule.message), undefined, 'another fixture breaks the same rule');
      covered.set(rule.message, name);
      if (failing.old !== undefined) assert.equal(validateObject(kind, failing.old), [], 'the old object is valid');

      const reached = new Set<string>();
      const passing = read(kind, `${name}.pass.yaml`);
      const broken = validateObject(kind, passing.object, passing.old, ({ message: said }) => reached.add(said));
      assert.equal(broken, []);
      assert.ok(reached.has(rule.message), 'the passing fixture reaches the rule');
    });
  }

  test(`${kind}: each of the ${rules.length} rules has a fixture that breaks it and one that keeps it`, () => {
    const bare = rules.filter((rule) => !covered.has(rule.message)).map((rule) => rule.message);
    assert.equal(bare, []);
    assert.is(names.length, rules.length);
  });
}
