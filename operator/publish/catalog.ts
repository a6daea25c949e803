import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { CapabilitySpec } from '../../crds/generated/kinds.ts';
import type { OfferingVersion } from '../../crds/kinds.ts';

/** One document of a catalog folder, as it stands in the file. */
export interface CatalogDocument {
  path: string;
  kind: string;
  metadata: { name: string; namespace?: string };
  spec: unknown;
}

/**
 * Reads every `*.yaml` below a folder, in the order of their paths.
 *
 * @throws Error naming the file that cannot be read as YAML
 */
export async function readCatalog(folder: string): Promise<CatalogDocument[]> {
  const paths = (await readdir(folder, { recursive: true })).filter((path) => path.endsWith('.yaml')).sort();
  const documents: CatalogDocument[] = [];
  for (const path of paths) documents.push(...(await readDocuments(join(folder, path))));
  return documents;
}

async function readDocuments(path: string): Promise<CatalogDocument[]> {
  const text = await readFile(path, 'utf8');
  return parseAllDocuments(text).flatMap((document) => {
    const [problem] = document.errors;
    if (problem) throw new Error(`${path}: ${problem.message}`, { cause: problem });
    const value = document.toJS() as Omit<CatalogDocument, 'path'> | null;
    return value?.kind ? [{ ...value, path }] : [];
  });
}

/** Capabilities by name. */
export function capabilitiesOf(documents: readonly CatalogDocument[]): Map<string, CapabilitySpec> {
  return new Map(
    documents
      .filter(({ kind }) => kind === 'Capability')
      .map(({ metadata, spec }) => [metadata.name, spec as CapabilitySpec]),
  );
}

/** The versions of an offering that the catalog holds, in the order of its files. */
export function versionsOf(documents: readonly CatalogDocument[], offering: string): OfferingVersion['spec'][] {
  return documents
    .filter(({ kind }) => kind === 'OfferingVersion')
    .map(({ spec }) => spec as OfferingVersion['spec'])
    .filter(({ offeringRef }) => offeringRef.name === offering);
}
