import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import { parse, stringify } from 'yaml';
import { compileContract, parseContract } from '../../crds/contract.ts';
import type { OfferingVersion } from '../../crds/kinds.ts';
import { validateObject } from '../../crds/validate.ts';
import { capabilitiesOf, readCatalog } from './catalog.ts';

const ROOT = join(import.meta.dirname, '../..');
const FLOW = join(ROOT, 'config/flows/claims-triage.json');

const folders: string[] = [];
after(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'gsv-publish-'));
  folders.push(made);
  return made;
}

interface Published extends SpawnSyncReturns<string> {
  data: string;
}

/** What a person types behind `npm run publish --`. */
function publish(args: readonly string[], data = folder(), env: Record<string, string> = {}): Published {
  const run = spawnSync(process.execPath, [join(ROOT, 'operator/publish/main.ts'), ...args], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { PATH: process.env.PATH ?? '', GSV_DATA_DIR: data, ...env },
  });
  return { ...run, data };
}

const version = (flow: string, number: string, ...more: string[]): string[] => [
  flow,
  '--offering',
  'claims-agent',
  '--version',
  number,
  ...more,
];

function write(name: string, content: string | Buffer): string {
  const path = join(folder(), name);
  writeFileSync(path, content);
  return path;
}

type Flow = { data: { nodes: { id: string; data: { node: { template: Record<string, unknown> } } }[] } };

/** The sample flow with one field changed. */
function flowWith(edit: (flow: Flow) => void): string {
  const flow = JSON.parse(readFileSync(FLOW, 'utf8')) as Flow;
  edit(flow);
  return write('flow.json', JSON.stringify(flow));
}

const template = (flow: Flow, node: string) =>
  flow.data.nodes.find(({ id }) => id === node)?.data.node.template as Record<string, unknown>;

test('a flow becomes an artifact under its digest and a valid version whose contract digest recomputes', async () => {
  const { status, stdout, stderr, data } = publish(version(FLOW, '1.2.3'));
  assert.equal([status, stderr], [0, '']);
  const path = join(data, 'catalog/claims-agent-1.2.3.yaml');
  assert.match(stdout, `next: kubectl apply -f ${path}`);
  assert.match(stdout, 'set spec.channel of Offering claims-agent to 1.2.3');
  const object = parse(readFileSync(path, 'utf8')) as OfferingVersion;
  assert.equal(validateObject('OfferingVersion', object), []);
  const { contract, contractDigest, ...terms } = object.spec;
  const compiled = compileContract(terms, capabilitiesOf(await readCatalog(join(ROOT, 'config/samples'))));
  assert.is(contractDigest, compiled.digest);
  assert.is(contractDigest, `sha256:${createHash('sha256').update(compiled.canonical).digest('hex')}`);
  assert.equal(parseContract(contract), compiled.contract);
  const bytes = readFileSync(FLOW);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  assert.equal(terms.artifact, {
    uri: `artifact://sha256/${sha256}`,
    sha256,
    sizeBytes: bytes.length,
    format: 'LangflowJson',
  });
  assert.ok(readFileSync(join(data, `artifacts/artifacts/sha256/${sha256.slice(0, 2)}/${sha256}.json`)).equals(bytes));
});

test('the same again is fine; another content under the same version is refused and nothing of it is kept', () => {
  const first = publish(version(FLOW, '1.2.3'));
  assert.is(publish(version(FLOW, '1.2.3'), first.data).status, 0);
  const other = flowWith((flow) => Object.assign(template(flow, 'Model-triage'), { system: { value: 'Sort:' } }));
  const sha256 = createHash('sha256').update(readFileSync(other)).digest('hex');
  const refused = publish(version(other, '1.2.3'), first.data);
  assert.is(refused.status, 1);
  assert.match(refused.stderr, 'a version never changes; choose a new --version');
  assert.not.ok(existsSync(join(first.data, `artifacts/artifacts/sha256/${sha256.slice(0, 2)}/${sha256}.json`)));
  assert.is(publish(version(other, '1.2.4'), first.data).status, 0);
});

test('a version that the catalog holds already is not written anew with another flow', () => {
  const other = flowWith((flow) => Object.assign(template(flow, 'Model-triage'), { system: { value: 'Sort:' } }));
  const refused = publish(version(other, '1.0.0'));
  assert.is(refused.status, 1);
  assert.match(refused.stderr, /claims-agent-1\.0\.0\.yaml exists with another content/);
  assert.equal(existsSync(join(refused.data, 'catalog')), false);
});

const TOKEN = `sk-${'a1B2'.repeat(8)}`;
const SECRETS: [reason: string, field: string, value: unknown, named: string][] = [
  ['a secret field', 'api_key', { password: true, value: 'whatever' }, 'api_key'],
  ['a secret field by its type', 'key', { _input_type: 'SecretStrInput', value: 'whatever' }, 'key'],
  ['a field named like a secret', 'client_secret', { value: 'hunter2hunter2' }, 'client_secret'],
  ['a value where a global’s name belongs', 'api_key', { load_from_db: true, value: '!not a name!' }, 'api_key'],
  ['a known token shape', 'note', { value: `use ${TOKEN}` }, '/data/node/template/note/value'],
  ['credentials in a URL', 'url', { value: 'https://me:hunter2@example.com/x' }, '/data/node/template/url/value'],
];

for (const [reason, field, value, named] of SECRETS) {
  test(`a flow that carries a secret is refused, naming node and field and not the value: ${reason}`, () => {
    const flow = flowWith((each) => Object.assign(template(each, 'Model-triage'), { [field]: value }));
    const { status, stdout, stderr, data } = publish(version(flow, '2.0.0'));
    assert.equal([status, stdout], [1, '']);
    assert.match(stderr, 'the flow carries a secret');
    assert.match(stderr, `node Model-triage, field ${named}:`);
    for (const secret of [TOKEN, 'hunter2', 'whatever', '!not a name!']) assert.not.match(stderr, secret);
    assert.not.ok(existsSync(join(data, 'artifacts')), 'no artifact');
    assert.not.ok(existsSync(join(data, 'catalog')), 'no version');
  });
}

const terms = (edit: object = {}): string =>
  write(
    'terms.yaml',
    stringify({
      capabilities: [{ name: 'document-intake', version: '1.0.0' }],
      plans: [{ name: 'one', includedMicrocredits: 1 }],
      ...edit,
    }),
  );

/** A catalog with one Capability, priced as given. */
function catalogWith(dimensions: object[]): string {
  const capability = parse(readFileSync(join(ROOT, 'config/samples/capabilities/document-intake.yaml'), 'utf8'));
  capability.spec.metering.dimensions = dimensions;
  return join(write('capability.yaml', stringify(capability)), '..');
}

const tokens = {
  name: 'input',
  unit: 'token',
  source: 'InputToken',
  priceMicrocredits: 3,
  perUnits: 1,
  reserveUnits: 1,
};

const REFUSED: [reason: string, args: () => string[], says: string | RegExp][] = [
  [
    'a flow that is not there',
    () => version('no/such/flow.json', '2.0.0'),
    'the flow no/such/flow.json cannot be read',
  ],
  ['no JSON', () => version(write('x.json', '{'), '2.0.0'), 'not a Langflow export in JSON'],
  [
    'no UTF-8',
    () => version(write('x.json', Buffer.from([0x7b, 0xff, 0x7d])), '2.0.0'),
    'not a Langflow export in JSON',
  ],
  ['JSON that is no flow', () => version(write('x.json', '{"data":{}}'), '2.0.0'), 'it has no data.nodes'],
  [
    'a capability that nobody knows',
    () => version(FLOW, '2.0.0', '--terms', terms({ capabilities: [{ name: 'telepathy', version: '1.0.0' }] })),
    /telepathy/,
  ],
  [
    'a version of a capability that is not there',
    () => version(FLOW, '2.0.0', '--terms', terms({ capabilities: [{ name: 'document-intake', version: '9.0.0' }] })),
    /\/capabilities\/0/,
  ],
  [
    'prices for tokens without a price for a run',
    () => version(FLOW, '2.0.0', '--terms', terms(), '--catalog', catalogWith([tokens])),
    /Run dimension/,
  ],
  ['a version that is no semver', () => version(FLOW, '2', '--terms', terms()), /version/],
  [
    'an offering that is no name',
    () => [FLOW, '--offering', '../../etc', '--version', '1.0.0', '--terms', terms()],
    /name/,
  ],
  [
    'a plan without a name',
    () => version(FLOW, '2.0.0', '--terms', terms({ plans: [{ includedMicrocredits: 1 }] })),
    /plan/,
  ],
];

for (const [reason, args, says] of REFUSED) {
  test(`publishing is refused with a sentence and leaves nothing behind: ${reason}`, () => {
    const { status, stdout, stderr, data } = publish(args());
    assert.equal([status, stdout], [1, ''], stderr);
    assert.match(stderr, says);
    assert.not.match(stderr, /\n {4}at |TypeError/);
    assert.not.ok(existsSync(join(data, 'artifacts')), 'no artifact');
    assert.not.ok(existsSync(join(data, 'catalog')), 'no version');
  });
}

const MISUSED: [reason: string, args: () => string[], says: string][] = [
  ['nothing', () => [], 'usage: npm run publish'],
  ['no offering', () => [FLOW, '--version', '1.0.0'], 'usage: npm run publish'],
  ['no version', () => [FLOW, '--offering', 'claims-agent'], 'usage: npm run publish'],
  ['two flows', () => version(FLOW, '2.0.0', FLOW), 'usage: npm run publish'],
  ['an option that is none', () => version(FLOW, '2.0.0', '--force'), '--force'],
  [
    'terms of an offering that has no version',
    () => [FLOW, '--offering', 'new', '--version', '1.0.0'],
    'give --terms FILE',
  ],
  ['terms that are no terms', () => version(FLOW, '2.0.0', '--terms', write('t.yaml', 'hello')), 'capabilities'],
  ['terms that are empty', () => version(FLOW, '2.0.0', '--terms', write('t.yaml', '')), 'capabilities'],
];

for (const [reason, args, says] of MISUSED) {
  test(`a wrong call says what is right and exits with 2: ${reason}`, () => {
    const { status, stdout, stderr } = publish(args());
    assert.equal([status, stdout], [2, '']);
    assert.match(stderr, says);
  });
}

test('the artifact goes where GSV_ARTIFACTS_URL says', () => {
  const elsewhere = folder();
  const { status, data } = publish(version(FLOW, '1.2.3'), folder(), { GSV_ARTIFACTS_URL: `file://${elsewhere}` });
  assert.is(status, 0);
  assert.ok(existsSync(join(elsewhere, 'artifacts')));
  assert.not.ok(existsSync(join(data, 'artifacts')));
});
