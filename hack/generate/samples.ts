import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { capabilitiesOf, readCatalog } from '../../operator/publish/catalog.ts';
import { compileVersion, type Terms } from '../../operator/publish/publish.ts';

const ROOT = join(import.meta.dirname, '../..');
const SAMPLES = 'config/samples';
const TERMS = 'config/terms';

/** Every sample offering has one version. */
export const SAMPLE_VERSION = '1.0.0';

/** Offerings whose flow is not named like them: `claims-triage` also exists as a script for the real runtime. */
const FLOWS: Readonly<Record<string, string>> = { 'claims-agent': 'claims-triage' };

/** Offerings that have terms, by name. */
export function sampleOfferings(): string[] {
  return readdirSync(join(ROOT, TERMS))
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
}

/** The flow of a sample offering, from the root of the repository. */
export function sampleFlow(offering: string): string {
  return `config/flows/${FLOWS[offering] ?? offering}.json`;
}

/** Where its version stands, from the root of the repository. */
export function sampleVersionFile(offering: string): string {
  return `${SAMPLES}/offeringversions/${offering}-${SAMPLE_VERSION}.yaml`;
}

/** What `npm run publish` makes of flow, terms and capabilities: the text of that file. */
export async function sampleVersion(offering: string): Promise<string> {
  const published = await compileVersion({
    flow: readFileSync(join(ROOT, sampleFlow(offering))),
    offering,
    version: SAMPLE_VERSION,
    terms: parse(readFileSync(join(ROOT, TERMS, `${offering}.yaml`), 'utf8')) as Terms,
    capabilities: capabilitiesOf(await readCatalog(join(ROOT, SAMPLES))),
  });
  return stringify(published);
}
