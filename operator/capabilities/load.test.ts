import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { stringify } from 'yaml';
import { capabilityDigest } from '../../crds/contract.ts';
import type { CapabilitySpec } from '../../crds/generated/kinds.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import { plainCapability } from '../../hack/testing/operator/catalog.ts';
import { GitError } from '../git/errors.ts';
import { applyPlan, problemText } from './apply.ts';
import { readRegistry } from './folder.ts';
import { type Plan, planCapabilities } from './plan.ts';
import { openSource } from './source.ts';

const SAMPLES = join(import.meta.dirname, '../../config/samples');
const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function folder(files: Record<string, string> = {}): string {
  const made = mkdtempSync(join(tmpdir(), 'gsv-load-'));
  folders.push(made);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(made, name, '..'), { recursive: true });
    writeFileSync(join(made, name), text);
  }
  return made;
}

function text(spec: CapabilitySpec, name = 'triage'): string {
  return stringify({ apiVersion: 'store.gsv.dev/v1alpha1', kind: 'Capability', metadata: { name }, spec });
}

async function load(from: string, store: EmbeddedStore): Promise<{ plan: Plan; lines: string[] }> {
  const plan = planCapabilities(await readRegistry(from), await store.list('Capability'));
  const lines: string[] = [];
  if (plan.problems.length === 0) await applyPlan(plan, store, (line) => lines.push(line));
  return { plan, lines };
}

test('the sample registry loads with digests; a second load writes nothing', async () => {
  const store = await EmbeddedStore.open();
  const first = await load(SAMPLES, store);
  assert.equal(first.plan.problems, []);
  assert.ok(first.plan.others > 0, 'other kinds are left alone');
  assert.is(first.lines.length, 3);
  for (const { metadata, spec } of await store.list('Capability'))
    assert.ok(first.lines.includes(`create    ${metadata.name} ${spec.version} ${capabilityDigest(spec)}`));
  const versions = async () => (await store.list('Capability')).map(({ metadata }) => metadata.resourceVersion);
  const before = await versions();
  const again = await load(SAMPLES, store);
  assert.ok(again.lines.every((line) => line.startsWith('unchanged ')));
  assert.equal(await versions(), before);
  await store.close();
});

test('a new version is applied, and the line says from which', async () => {
  const store = await EmbeddedStore.open();
  await load(folder({ 'a.yaml': text(plainCapability()) }), store);
  const next = { ...plainCapability(), version: '1.1.0', display: { title: 'Triage, again' } };
  const { lines } = await load(folder({ 'a.yaml': text(next) }), store);
  assert.equal(lines, [`update    triage 1.0.0 -> 1.1.0 ${capabilityDigest(next)}`]);
  assert.equal((await store.get('Capability', { name: 'triage' }))?.spec, next);
  await store.close();
});

test('a change without a new version is refused with the difference, in every part of the spec', async () => {
  const table: [change: Partial<CapabilitySpec>, removed: string, added: string, reason: string][] = [
    [{ display: { title: 'Other' } }, '-  title: Triage', '+  title: Other', 'what people see'],
    [{ config: { schema: { type: 'object' } } }, '-    properties:', '', 'the free-form schema'],
    [{ limits: { concurrentRuns: 2 } }, '', '+  concurrentRuns: 2', 'a new part'],
  ];
  for (const [change, removed, added, reason] of table) {
    const store = await EmbeddedStore.open();
    await load(folder({ 'a.yaml': text(plainCapability()) }), store);
    const { plan, lines } = await load(folder({ 'a.yaml': text({ ...plainCapability(), ...change }) }), store);
    assert.is(plan.problems.length, 1, reason);
    assert.is(plan.problems[0]?.rule, 'change_needs_new_version');
    const shown = problemText(plan);
    assert.match(shown, 'a.yaml: spec.version (change_needs_new_version)');
    assert.match(shown, '    --- cluster');
    assert.match(shown, removed);
    assert.match(shown, added);
    assert.equal(lines, []);
    await store.close();
  }
});

test('all problems of all files are shown at once, and nothing is written', async () => {
  const store = await EmbeddedStore.open();
  const good = text(plainCapability(), 'good');
  const bad = { ...plainCapability(), version: 'one' } as CapabilitySpec;
  const unpriced = plainCapability();
  const secret = { ...plainCapability(), runtime: { globals: [{ name: 'KEY', fromSecret: 'absent' }] } };
  const from = folder({
    'good.yaml': good,
    'deep/schema.yaml': text({ ...bad, colour: 'red' } as unknown as CapabilitySpec, 'schema'),
    'rule.yml': text(secret, 'rule'),
    'twice.yaml': good,
    'broken.yaml': 'kind: Capability\n  spec: {',
    'meaning.json': JSON.stringify({
      apiVersion: 'store.gsv.dev/v1alpha1',
      kind: 'Capability',
      metadata: { name: 'meaning' },
      spec: { ...unpriced, config: { schema: { type: 'object', $ref: 'https://elsewhere.example.com/s.json' } } },
    }),
  });
  const { plan } = await load(from, store);
  const shown = problemText(plan);
  const expected: [part: string, reason: string][] = [
    ['deep/schema.yaml: spec.version (schema)', 'a malformed version'],
    ['deep/schema.yaml: spec.colour (schema)', 'an unknown field'],
    ['rule.yml: ', 'a broken CEL rule'],
    ['twice.yaml: metadata.name (duplicate_name)', 'one name in two files'],
    ['broken.yaml: line', 'no YAML, with its line'],
    ['meaning.json: /spec/config/schema', 'what the schema cannot say, with its pointer'],
  ];
  for (const [part, reason] of expected) assert.match(shown, part, reason);
  assert.equal(await store.list('Capability'), [], 'the good one neither');
  const failure: unknown = await applyPlan(plan, store, () => undefined).catch((error: unknown) => error);
  assert.instance(failure, TypeError);
  await store.close();
});

test('a registry in Git is cloned without its hooks, links and history, and leaves nothing behind', async () => {
  const work = folder();
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], { cwd: work });
  git('init', '-q', '-b', 'main');
  cpSync(join(SAMPLES, 'capabilities'), join(work, 'capabilities'), { recursive: true });
  symlinkSync('/etc/hostname', join(work, 'capabilities/link.yaml'));
  writeFileSync(join(work, 'extra.yaml'), text(plainCapability()));
  git('add', '.');
  git('commit', '-qm', 'one');
  git('tag', 'v1');
  git('rm', '-q', 'extra.yaml');
  git('commit', '-qm', 'two');
  const counts: Record<string, number> = {};
  for (const address of [`file://${work}`, `file://${work}#main`, `file://${work}#v1`]) {
    const source = await openSource(address);
    const { documents, problems } = await readRegistry(source.folder);
    counts[address.split('#')[1] ?? ''] = documents.length;
    assert.equal(problems, []);
    await source.close();
    const failure = await readRegistry(source.folder).catch((error: NodeJS.ErrnoException) => error);
    assert.is((failure as NodeJS.ErrnoException).code, 'ENOENT');
  }
  assert.equal(counts, { '': 3, main: 3, v1: 4 });
});

test('an address is never an option, and a refusal has the remote’s words without its credentials', async () => {
  const refused = async (address: string): Promise<GitError> =>
    (await openSource(address).catch((error: unknown) => error)) as GitError;
  for (const address of ['file:///nowhere/at-all.git', 'file:///nowhere#--upload-pack=touch', 'file:///nowhere#a..b'])
    assert.instance(await refused(address), GitError, address);
  const { message } = await refused('http://someone:canary@127.0.0.1:9/x.git');
  assert.not.match(message, /canary/);
});
