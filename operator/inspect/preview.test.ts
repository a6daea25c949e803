import { execFile } from 'node:child_process';
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { PLATFORM } from '../../hack/testing/rendered.ts';
import type { Preview } from '../preview/preview.ts';
import { changeTo, PreviewError, presentInFolder, readWanted } from './present.ts';

const ROOT = join(import.meta.dirname, '../..');

const PROJECT = `apiVersion: store.gsv.dev/v1alpha1
kind: Project
metadata: { namespace: gsv-org-acme, name: default, uid: 0a8f6f5e-0002-4000-8000-000000000002 }
spec: { runtimeProfile: Shared }
`;
const instance = (spec: string): string => `apiVersion: store.gsv.dev/v1alpha1
kind: Instance
metadata: { namespace: gsv-org-acme, name: claims }
spec:
  projectRef: { name: default }
  offeringRef: { name: claims-agent }
  walletRef: { name: main }
  ${spec}
`;

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gsv-preview-'));
  await cp(join(ROOT, 'config/samples'), join(folder, 'catalog'), { recursive: true });
  await writeFile(join(folder, 'catalog/project.yaml'), PROJECT);
});
after(() => rm(folder, { recursive: true, force: true }));

interface Ended {
  code: number;
  out: string;
  err: string;
}

function cli(args: string[], env: Record<string, string> = {}): Promise<Ended> {
  const { PATH = '' } = process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['operator/inspect/preview.ts', ...args],
      { cwd: ROOT, env: { PATH, ...env } },
      (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    );
  });
}

async function previewOf(text: string, more: string[] = [], env: Record<string, string> = {}): Promise<Ended> {
  const file = join(folder, 'wanted.yaml');
  await writeFile(file, text);
  return cli(['-f', file, '--catalog', join(folder, 'catalog'), ...more], env);
}

test('a new Instance from the sample catalog, for people and as JSON', async () => {
  const text = await previewOf(instance('plan: starter'));
  assert.is(text.code, 0, text.err);
  assert.match(text.out, /plan: - -> starter/);
  assert.match(text.out, /added tenants\/82\/acme\/default\/instances\/claims-\w+\.yaml/);
  const json = await previewOf(instance('plan: starter'), ['--json']);
  const result = JSON.parse(json.out) as Preview;
  assert.is(result.credits.includedMicrocredits.after, 500_000_000);
  assert.equal(
    result.files.map(({ action }) => action),
    result.files.map(() => 'Added'),
  );
});

test('another plan of a present Instance changes its terms and one file', async () => {
  await writeFile(join(folder, 'catalog/present.yaml'), instance('plan: starter'));
  const { out } = await previewOf(instance('plan: pro'), ['--json']);
  const { files, entitlements } = JSON.parse(out) as Preview;
  assert.equal(entitlements.plan, { before: 'starter', after: 'pro' });
  assert.equal(
    files.map(({ action, path }) => [action, path.replace(/-\w+\.yaml$/, '')]),
    [['Changed', 'tenants/82/acme/default/instances/claims']],
  );
  await rm(join(folder, 'catalog/present.yaml'));
});

test('a Project that wants runtimes of its own, with and without an image for them', async () => {
  await writeFile(join(folder, 'catalog/present.yaml'), instance('plan: starter'));
  const wanted = PROJECT.replace('Shared', 'Namespace');
  const refused = await previewOf(wanted, ['--instance', 'claims']);
  assert.is(refused.code, 1);
  assert.match(refused.err, /GSV_RUNTIME_IMAGE/);
  const env = { GSV_RUNTIME_IMAGE: `mirror.example.com/lfx@sha256:${'5'.repeat(64)}` };
  const { out, err } = await previewOf(wanted, ['--instance', 'claims', '--json'], env);
  assert.is(err, '');
  const { files, access } = JSON.parse(out) as Preview;
  assert.ok(files.some(({ diff }) => diff.includes('+kind: Deployment')));
  assert.equal(access.network.added, ['i-claims-runtime: from gsv-system/gsv-runner TCP 7860']);
  await rm(join(folder, 'catalog/present.yaml'));
});

test('what the operator would not accept is shown, and the exit code says so', async () => {
  const { code, out } = await previewOf(instance('plan: gold'));
  assert.is(code, 1);
  assert.match(out, /Would be refused\n {2}\/spec\/plan: Version 1\.0\.0 of claims-agent has no plan "gold"/);
});

test('everything that is missing or malformed is one sentence', async () => {
  const cases: [text: string, message: RegExp, reason: string][] = [
    [
      instance('plan: starter').replace('gsv-org-acme', 'default'),
      /not that of an Organization/,
      'no Organization’s namespace',
    ],
    [
      instance('plan: starter').replace('gsv-org-acme', 'gsv-org-nobody'),
      /no Organization nobody/,
      'an unknown Organization',
    ],
    [
      instance('plan: starter').replace('{ name: default }', '{ name: other }'),
      /no Project other/,
      'an unknown Project',
    ],
    [instance('plan: starter\n  version: 9.9.9'), /no OfferingVersion claims-agent-9\.9\.9/, 'an unknown version'],
    [instance('plan: starter\n  colour: red'), /would refuse Instance claims: .*colour/, 'an unknown field'],
    [`${PROJECT}---\n${PROJECT}`, /one Instance, one Project, or one of each/, 'two Projects'],
    ['# nothing\n', /neither an Instance nor a Project/, 'an empty file'],
    ['a: [', /wanted\.yaml: /, 'no YAML'],
  ];
  const present = await presentInFolder(join(folder, 'catalog'));
  const file = join(folder, 'wanted.yaml');
  for (const [text, message, reason] of cases) {
    await writeFile(file, text);
    const error = await readWanted(file)
      .then((wanted) => changeTo(wanted, present, PLATFORM))
      .then(
        () => assert.unreachable(reason),
        (caught: unknown) => caught,
      );
    assert.instance(error, PreviewError, reason);
    assert.match((error as Error).message, message, reason);
    assert.not.match((error as Error).message, /\n/, `${reason}: one line`);
  }
});

test('without a file, or with two sources, it explains itself', async () => {
  for (const args of [[], ['--catalog', 'a', '--kubeconfig', 'b', '-f', 'c'], ['--colour']]) {
    const { code, err } = await cli(args);
    assert.is(code, 2);
    assert.match(err, /usage: npm run preview/);
  }
});
