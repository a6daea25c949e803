import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse, parseAllDocuments } from 'yaml';
import { assertGoldenTree, goldenCases } from '../../hack/testing/golden.ts';
import { manifestsOf } from '../../hack/testing/rendered.ts';
import type { AccessTeam } from './access.ts';
import type { InstanceInput, ProjectInput } from './input.ts';
import { accessFolder } from './paths.ts';
import { defaultPlatform, instanceOwns, projectOwns, renderAccess, renderInstance, renderProject } from './render.ts';

const TESTDATA = join(import.meta.dirname, 'testdata');

interface Case extends Pick<ProjectInput, 'organization' | 'project'> {
  siblings?: ProjectInput['projects'];
  runtime?: ProjectInput['platform']['runtime'];
  teams?: AccessTeam[];
  instances?: Omit<InstanceInput, 'organization' | 'project' | 'platform'>[];
}

function render(input: Case): Map<string, string> {
  const { organization, project } = input;
  const platform = {
    ...defaultPlatform('https://git.example.com/gsv/delivery.git', 'main'),
    ...(input.runtime ? { runtime: input.runtime } : {}),
  };
  const projects = [project, ...(input.siblings ?? [])];
  const out = renderProject({ organization, project, projects, platform });
  const owners = [...projectOwns({ organization, project })];
  if (input.teams) {
    for (const [path, text] of renderAccess({ organization, projects, teams: input.teams, platform }))
      out.set(path, text);
    owners.push(accessFolder(organization.metadata.name));
  }
  for (const instance of input.instances ?? []) {
    const owned = instanceOwns({ organization, project, instance: instance.instance });
    for (const [path, text] of renderInstance({ organization, project, platform, ...instance })) {
      assert.ok(owned.includes(path), `${path} is owned by its Instance`);
      assert.not.ok(out.has(path), `${path} is rendered once`);
      out.set(path, text);
    }
    owners.push(...owned);
  }
  assert.is(new Set(owners).size, owners.length, 'nothing is owned twice');
  return out;
}

for (const name of goldenCases(TESTDATA)) {
  const input = parse(readFileSync(join(TESTDATA, name, 'in.yaml'), 'utf8')) as Case;

  test(`golden: ${name}`, () => {
    const actual = render(input);
    // Tenants' output is rendered from what they send: the same input twice gives the same bytes.
    assert.equal([...render(structuredClone(input))], [...actual]);
    assertGoldenTree(join(TESTDATA, name, 'out'), actual);
  });

  test(`YAML 1.1 and 1.2 read ${name} alike, object by object, only strings as labels`, () => {
    for (const [path, text] of manifestsOf(render(input))) {
      const [document, ...rest] = parseAllDocuments(text, { version: '1.1', uniqueKeys: true, strict: true });
      assert.equal(rest, [], path);
      const value = document?.toJS() as { metadata: { labels: object; annotations?: object } };
      assert.equal(document?.errors, [], path);
      assert.equal(value, parse(text, { version: '1.2' }), path);
      const strings = [...Object.values(value.metadata.labels), ...Object.values(value.metadata.annotations ?? {})];
      for (const text of strings) assert.type(text, 'string', path);
    }
  });
}
