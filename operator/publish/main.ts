/**
 * `npm run publish -- FLOW --offering NAME --version SEMVER`
 *
 * Makes a version of an offering from a Langflow export: refuses secrets, stores the artifact under
 * its digest, compiles the contract and writes the OfferingVersion for `kubectl apply` or Git.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { parse, stringify } from 'yaml';
import { blobStoreOf, putArtifact } from '../../config/artifacts.ts';
import { loadSettings } from '../../config/settings.ts';
import { type CatalogDocument, capabilitiesOf, readCatalog, versionsOf } from './catalog.ts';
import { compileVersion, PublishError, type PublishedVersion, type Terms } from './publish.ts';

const USAGE = `usage: npm run publish -- FLOW --offering NAME --version SEMVER [--terms FILE] [--catalog DIR] [--out DIR]

  FLOW        Langflow export (JSON)
  --terms     YAML with capabilities, plans, exhaustion, onDisconnect, minimumRuntimeProfile, upgradesFrom;
              absent: those of the offering's last version in the catalog
  --catalog   folder of custom resources with the capabilities (config/samples)
  --out       folder for the OfferingVersion (GSV_DATA_DIR/catalog, which the quickstart loads too)

The artifact goes to GSV_ARTIFACTS_URL (absent: the quickstart's store in GSV_DATA_DIR).
`;

const TERM_FIELDS = [
  'capabilities',
  'plans',
  'exhaustion',
  'onDisconnect',
  'minimumRuntimeProfile',
  'upgradesFrom',
] as const;

async function main(): Promise<void> {
  const { values, positionals } = parseArguments();
  const [flowPath] = positionals;
  const { offering, version } = values;
  if (flowPath === undefined || positionals.length > 1 || !offering || !version) throw new UsageError(USAGE);
  const settings = loadSettings(['dataDir', 'artifactsUrl', 's3Endpoint', 's3AccessKey', 's3SecretKey']);
  const catalog = await readCatalog(values.catalog ?? 'config/samples');
  const flow = await readFlow(flowPath);
  const made = await compileVersion({
    flow,
    offering,
    version,
    terms: values.terms ? await readTerms(values.terms) : lastTerms(versionsOf(catalog, offering), offering),
    capabilities: capabilitiesOf(catalog),
  });
  const { name } = made.metadata;
  const path = join(values.out ?? join(settings.dataDir, 'catalog'), `${name}.yaml`);
  refuseChange(catalog, made);
  await refuseOtherContent(path, stringify(made));
  await putArtifact(
    blobStoreOf({ ...settings, artifactsUrl: settings.artifactsUrl ?? defaultArtifacts(settings.dataDir) }),
    flow,
  );
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, stringify(made));
  process.stdout.write(
    `${name}\n  artifact ${made.spec.artifact.uri}\n  contract ${made.spec.contractDigest}\n  written  ${path}\n` +
      `next: kubectl apply -f ${path}; then set spec.channel of Offering ${offering} to ${version} to sell it\n`,
  );
}

function defaultArtifacts(dataDir: string): string {
  return pathToFileURL(resolve(dataDir, 'artifacts')).href;
}

async function readFlow(path: string): Promise<Buffer> {
  return readFile(path).catch((cause: Error) => {
    throw new PublishError('flow_unreadable', `the flow ${path} cannot be read: ${cause.message}`, { cause });
  });
}

class UsageError extends Error {}

function parseArguments() {
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      allowPositionals: true,
      options: { offering: text, version: text, terms: text, catalog: text, out: text },
    });
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${USAGE}`);
  }
}

async function readTerms(path: string): Promise<Terms> {
  const terms: unknown = parse(await readFile(path, 'utf8'));
  return pickTerms(typeof terms === 'object' && terms !== null ? { ...terms } : {}, path);
}

function lastTerms(versions: readonly { version: string }[], offering: string): Terms {
  const last = versions.toSorted((a, b) => a.version.localeCompare(b.version, 'en', { numeric: true })).at(-1);
  if (last === undefined) {
    throw new UsageError(`the catalog has no version of ${offering} to take the terms from; give --terms FILE\n`);
  }
  return pickTerms({ ...last }, offering);
}

function pickTerms(source: Record<string, unknown>, where: string): Terms {
  const terms = Object.fromEntries(
    TERM_FIELDS.flatMap((field) => (source[field] === undefined ? [] : [[field, source[field]]])),
  );
  if (!Array.isArray(terms.capabilities) || !Array.isArray(terms.plans)) {
    throw new UsageError(`${where}: terms need the lists "capabilities" and "plans"\n`);
  }
  return terms as Terms;
}

/** A version is immutable: the same again is fine, another content under its name is refused. */
function refuseChange(catalog: readonly CatalogDocument[], { metadata, spec }: PublishedVersion): void {
  const present = catalog.find((each) => each.kind === 'OfferingVersion' && each.metadata.name === metadata.name);
  if (present && (present.spec as PublishedVersion['spec']).contractDigest !== spec.contractDigest) {
    throw changed(present.path);
  }
}

async function refuseOtherContent(path: string, text: string): Promise<void> {
  const present = await readFile(path, 'utf8').catch(() => undefined);
  if (present !== undefined && present !== text) throw changed(path);
}

function changed(path: string): PublishError {
  return new PublishError(
    'version_invalid',
    `${path} exists with another content, and a version never changes; choose a new --version`,
  );
}

try {
  await main();
} catch (error) {
  const known = error instanceof UsageError || error instanceof PublishError;
  process.stderr.write(`${known ? error.message.trimEnd() : `publish failed: ${(error as Error).message}`}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
