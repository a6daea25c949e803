/** The loader and plain `kubectl apply` on a real API server: both refuse a change without a new version. */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { parse, stringify } from 'yaml';
import { capabilityDigest } from '../../crds/contract.ts';
import type { Capability } from '../../crds/kinds.ts';
import { testCluster } from '../../hack/cluster/testing.ts';

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, 'main.ts');
const cluster = await testCluster({ controllers: false });
const folder = await mkdtemp(join(tmpdir(), 'gsv-registry-'));
await cp(join(import.meta.dirname, '../../config/samples/capabilities'), folder, { recursive: true });
after(() => rm(folder, { recursive: true }));

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}

async function ended(program: string, args: readonly string[]): Promise<Ended> {
  try {
    return { code: 0, ...(await run(program, args, { encoding: 'utf8' })) };
  } catch (error) {
    return error as Ended;
  }
}

const load = (...args: string[]) =>
  ended(process.execPath, [MAIN, 'load', folder, '--kubeconfig', cluster.kubeconfig, ...args]);
const kubectl = (...args: string[]) => ended('kubectl', ['--kubeconfig', cluster.kubeconfig, ...args]);

async function edit(change: (spec: Capability['spec']) => void): Promise<string> {
  const file = join(folder, 'policy-knowledge.yaml');
  const object = parse(await readFile(file, 'utf8')) as Capability;
  change(object.spec);
  await writeFile(file, stringify(object));
  return file;
}

async function present(name: string): Promise<Capability> {
  return JSON.parse((await kubectl('get', 'gsvc', name, '-o', 'json', '--show-managed-fields')).stdout) as Capability;
}

test('a dry run writes nothing, a load all of it, under a manager of its own', async () => {
  const dry = await load('--dry-run');
  assert.is(dry.code, 0, dry.stderr);
  assert.match(dry.stdout, 'create    policy-knowledge');
  assert.is((await kubectl('get', 'gsvc', '-o', 'name')).stdout, '');
  const loaded = await load();
  assert.is(loaded.code, 0, loaded.stderr);
  assert.is((await kubectl('get', 'gsvc', '-o', 'name')).stdout.trim().split('\n').length, 3);
  const { metadata, spec } = await present('policy-knowledge');
  assert.match(loaded.stdout, `create    policy-knowledge ${spec.version} ${capabilityDigest(spec)}`);
  const managers = (metadata as unknown as { managedFields: { manager: string; operation: string }[] }).managedFields;
  assert.ok(managers.some(({ manager, operation }) => manager === 'gsv-capabilities' && operation === 'Apply'));
  const again = await load();
  assert.not.match(again.stdout, /create|update/);
  assert.is((await present('policy-knowledge')).metadata.resourceVersion, metadata.resourceVersion);
});

test('a change without a new version is refused by loader and kubectl; with one it goes through', async () => {
  const changes: ((spec: Capability['spec']) => void)[] = [
    (spec) => {
      spec.display.title = 'Something else';
    },
    // Free-form: what a rule of the CRD could not see, were it not declared.
    (spec) => {
      spec.config = { ...spec.config, schema: { type: 'object', properties: { other: { type: 'string' } } } };
    },
  ];
  const original = await readFile(join(folder, 'policy-knowledge.yaml'), 'utf8');
  for (const change of changes) {
    const file = await edit(change);
    const before = await present('policy-knowledge');
    const loaded = await load();
    assert.is(loaded.code, 1);
    assert.match(loaded.stderr, 'policy-knowledge.yaml: spec.version (change_needs_new_version)');
    assert.match(loaded.stderr, /^ {4}[-+] /m);
    const applied = await kubectl('apply', '--server-side', '--force-conflicts', '-f', file);
    assert.is(applied.code, 1, applied.stdout);
    assert.match(applied.stderr, 'write a new version with the change');
    assert.is((await present('policy-knowledge')).metadata.resourceVersion, before.metadata.resourceVersion);
    await writeFile(file, original);
  }
  const file = await edit((spec) => {
    spec.version = '9.0.0';
    spec.display.title = 'Something else';
  });
  assert.match((await load()).stdout, '-> 9.0.0');
  assert.is((await kubectl('apply', '--server-side', '--force-conflicts', '-f', file)).code, 0);
});

test('a context that is not there is named', async () => {
  const { code, stderr } = await load('--context', 'nowhere');
  assert.is(code, 1);
  assert.match(stderr, 'no context "nowhere"');
});
