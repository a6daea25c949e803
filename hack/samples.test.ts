import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { scanFlow } from '../config/flow-scan.ts';
import { compileContract, validateConfig } from '../crds/contract.ts';
import type { Capability, CreditPack, Kind, Offering, OfferingVersion, Organization, Team } from '../crds/kinds.ts';
import { validateObject } from '../crds/validate.ts';
import { type CatalogDocument, capabilitiesOf, readCatalog } from '../operator/publish/catalog.ts';
import { sampleFlow, sampleOfferings, sampleVersion, sampleVersionFile } from './generate/samples.ts';

const ROOT = join(import.meta.dirname, '..');
const documents = await readCatalog(join(ROOT, 'config/samples'));

function all<T>(kind: Kind): (T & { metadata: { name: string; namespace?: string } })[] {
  return documents.filter((document) => document.kind === kind) as never;
}

const capabilities = all<Capability>('Capability');
const offerings = all<Offering>('Offering');
const versions = all<OfferingVersion>('OfferingVersion');

for (const { path, ...document } of documents as (CatalogDocument & { apiVersion: string })[]) {
  test(`the sample ${document.kind} ${document.metadata.name} is valid`, () => {
    assert.equal(validateObject(document.kind as Kind, document), [], path);
  });
}

test('no two samples have one name', () => {
  const names = documents.map(({ kind, metadata: { namespace, name } }) => `${kind} ${namespace ?? '-'}/${name}`);
  assert.equal([...new Set(names)], names);
});

test('there is one offering of each category, all published', () => {
  assert.equal(offerings.map(({ spec }) => spec.category).sort(), ['Agent', 'App', 'Assistant', 'Automation']);
  assert.ok(offerings.every(({ spec }) => spec.lifecycle === 'Published'));
});

test('there are three capabilities: a buyer secret with an MCP connector, one with knowledge, a plain one', () => {
  assert.is(capabilities.length, 3);
  const traits = capabilities.map(({ spec }) =>
    [
      spec.secrets?.some(({ source }) => source === 'Buyer') ? 'buyer secret' : '',
      spec.connectors?.some(({ protocol }) => protocol === 'MCP') ? 'MCP' : '',
      spec.knowledge ? 'knowledge' : '',
    ]
      .filter(Boolean)
      .join(' + '),
  );
  assert.equal(traits.sort(), ['', 'buyer secret + MCP', 'knowledge']);
});

test('the connector uses the buyer’s secret and its tools are priced and pinned', () => {
  for (const { spec } of capabilities) {
    for (const { auth, tools } of spec.connectors ?? []) {
      assert.ok(spec.secrets?.some(({ name, source }) => name === auth?.secret && source === 'Buyer'));
      for (const { dimension, schemaSha256 } of tools ?? []) {
        assert.match(schemaSha256 ?? '', /^[0-9a-f]{64}$/);
        assert.ok(spec.metering?.dimensions?.some(({ name }) => name === dimension));
      }
    }
  }
});

test('every capability is sold by an offering', () => {
  const sold = new Set(versions.flatMap(({ spec }) => spec.capabilities.map(({ name }) => name)));
  assert.equal(
    capabilities.map(({ metadata }) => metadata.name).filter((name) => !sold.has(name)),
    [],
  );
});

for (const { metadata, spec } of offerings) {
  test(`the offering ${metadata.name} has a version in its channel with two plans, each with a SKU and a price`, () => {
    const sold = versions.find(
      (each) => each.spec.offeringRef.name === metadata.name && each.spec.version === spec.channel,
    );
    const plans = sold?.spec.plans.map(({ name }) => name).sort();
    assert.is(plans?.length, 2);
    assert.equal((spec.skus ?? []).map(({ plan }) => plan).sort(), plans);
    assert.equal((spec.prices ?? []).map(({ plan }) => plan).sort(), plans);
  });
}

test('there are two credit packs, and no SKU stands for two things', () => {
  const packs = all<CreditPack>('CreditPack');
  assert.is(packs.length, 2);
  const skus = [
    ...packs.map(({ spec }) => spec.sku),
    ...offerings.flatMap(({ spec }) => (spec.skus ?? []).map(({ sku }) => sku)),
  ];
  assert.equal([...new Set(skus)], skus);
  const recorded = packs.find(({ spec }) => spec.sku === 'CREDITS-1000');
  assert.is(recorded?.spec.amountMicrocredits, 1_000_000_000);
});

test('the recorded orders find their SKUs in claims-agent, which needs no config and no buyer secret', () => {
  const claims = offerings.find(({ metadata }) => metadata.name === 'claims-agent');
  assert.equal(
    claims?.spec.skus?.map(({ sku, plan }) => `${sku} ${plan}`),
    ['CLAIMS-STARTER starter', 'CLAIMS-PRO pro'],
  );
  const version = versions.find(({ spec }) => spec.offeringRef.name === 'claims-agent');
  const { contract: _contract, contractDigest: _digest, ...terms } = version?.spec ?? ({} as OfferingVersion['spec']);
  const { contract } = compileContract(terms, capabilitiesOf(documents));
  assert.equal(validateConfig(contract, {}), []);
  assert.equal(
    contract.secrets.filter(({ source }) => source === 'Buyer'),
    [],
  );
});

test('the buyer of the recorded orders holds Billing in acme', () => {
  assert.ok(all<Organization>('Organization').some(({ metadata }) => metadata.name === 'acme'));
  const roles = (email: string): string[] =>
    all<Team>('Team')
      .filter(
        ({ metadata, spec }) =>
          metadata.namespace === 'gsv-org-acme' && spec.members.some((each) => each.email === email),
      )
      .flatMap(({ spec }) => spec.grants.map(({ role }) => role));
  assert.ok(roles('buyer@example.com').includes('Billing'));
  assert.equal(roles('viewer@example.com'), ['Viewer']);
  assert.equal(roles('stranger@example.com'), []);
});

test('every sample version is made by publishing, and every version of the samples is such a one', () => {
  const files = globSync('config/samples/offeringversions/*', { cwd: ROOT }).sort();
  assert.equal(files, sampleOfferings().map(sampleVersionFile).sort());
});

for (const offering of sampleOfferings()) {
  test(`the version of ${offering} is what publishing makes of its flow and terms`, async () => {
    assert.is(await sampleVersion(offering), readFileSync(join(ROOT, sampleVersionFile(offering)), 'utf8'));
  });

  test(`the artifact of ${offering} is its flow in config/flows, which carries no secret`, () => {
    const bytes = readFileSync(join(ROOT, sampleFlow(offering)));
    const version = versions.find(({ spec }) => spec.offeringRef.name === offering);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    assert.equal(version?.spec.artifact, {
      uri: `artifact://sha256/${sha256}`,
      sha256,
      sizeBytes: bytes.length,
      format: 'LangflowJson',
    });
    assert.equal(scanFlow(JSON.parse(bytes.toString())), []);
  });
}

test('the quickstart loads every sample: none lies outside the folder that it reads', () => {
  const read = new Set(documents.map(({ path }) => relative(ROOT, path)));
  assert.equal(
    globSync('config/samples/**/*.{yaml,yml,json}', { cwd: ROOT }).filter((file) => !read.has(file)),
    [],
  );
});
