import { createHash } from 'node:crypto';
import { existsSync, globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BlobStore, putArtifact } from '../../config/artifacts.ts';
import type { Kind, NewMeta } from '../../crds/kinds.ts';
import { type Desired, type ResourceStore, StoreError } from '../../crds/store.ts';
import { type CatalogDocument, capabilitiesOf, readCatalog, versionsOf } from '../../operator/publish/catalog.ts';
import { PublishError, publishVersion } from '../../operator/publish/publish.ts';
import { PhaseError } from './phases.ts';

const ROOT = join(import.meta.dirname, '../..');
const FIELD_MANAGER = 'quickstart';
/** The offering whose flow `--flow` replaces: the one that the recorded orders buy. */
const FLOW_OFFERING = 'claims-agent';
/** The Organization controller makes a namespace within a reconcile. */
const NAMESPACE_WAIT_MS = 10_000;

export interface CatalogOptions {
  store: ResourceStore;
  blobs: BlobStore;
  dataDir: string;
  /** A Langflow export, see `--flow`. */
  flow?: Flow;
}

export interface Flow {
  path: string;
  bytes: Buffer;
  sha256: string;
}

/** @throws PhaseError start/flow_unreadable */
export async function readFlow(path: string): Promise<Flow> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new PhaseError('start', 'flow_unreadable', `${path} cannot be read; --flow takes a Langflow export`, {
      cause,
    });
  });
  return { path, bytes, sha256: createHash('sha256').update(bytes).digest('hex') };
}

/** The version of `claims-agent` that carries the flow. The letter keeps digits alone from being a number of semver. */
export function flowVersion({ sha256 }: Flow): string {
  return `1.0.1-flow.h${sha256.slice(0, 8)}`;
}

/** Loads `config/samples`, and what `npm run publish` left in the data folder, as `kubectl apply` would. */
export async function loadCatalog(options: CatalogOptions): Promise<void> {
  for (const path of globSync('config/flows/*.json', { cwd: ROOT })) {
    await putArtifact(options.blobs, await readFile(join(ROOT, path)));
  }
  const documents = await readCatalog(join(ROOT, 'config/samples'));
  const published = join(options.dataDir, 'catalog');
  if (existsSync(published)) documents.push(...(await readCatalog(published)));
  if (options.flow !== undefined) await publishFlow(options.flow, documents, options.blobs);
  const namespaced = documents.filter(({ metadata }) => metadata.namespace !== undefined);
  for (const document of documents) if (document.metadata.namespace === undefined) await apply(options.store, document);
  for (const document of namespaced) {
    await namespaceExists(options.store, String(document.metadata.namespace));
    await apply(options.store, document);
  }
  await cached(options.store, documents);
}

async function apply(store: ResourceStore, { path, kind, metadata, spec }: CatalogDocument): Promise<void> {
  try {
    await store.apply(kind as Kind, { metadata, spec } as Desired<Kind>, { fieldManager: FIELD_MANAGER });
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const causes = error.causes.map(({ field, message }) => `${field}: ${message}`).join('; ');
    throw new PhaseError('start', 'sample_refused', `${path}: ${kind} ${metadata.name}: ${causes || error.message}`, {
      cause: error,
    });
  }
}

/** A version of its own for the flow, named by the flow's digest, and the channel moved to it. */
async function publishFlow(flow: Flow, documents: CatalogDocument[], blobs: BlobStore): Promise<void> {
  const version = flowVersion(flow);
  const [terms] = versionsOf(documents, FLOW_OFFERING);
  if (terms === undefined)
    throw new PhaseError('start', 'sample_missing', `the samples have no version of ${FLOW_OFFERING}`);
  const {
    offeringRef: _ref,
    version: _version,
    artifact: _artifact,
    contract: _contract,
    contractDigest: _digest,
    ...rest
  } = terms;
  const capabilities = capabilitiesOf(documents);
  try {
    const published = await publishVersion({
      flow: flow.bytes,
      offering: FLOW_OFFERING,
      version,
      terms: rest,
      capabilities,
      blobs,
    });
    documents.push({ ...published, path: flow.path });
  } catch (error) {
    if (error instanceof PublishError) throw new PhaseError('start', error.code, error.message, { cause: error });
    throw error;
  }
  const offering = documents.find(({ kind, metadata }) => kind === 'Offering' && metadata.name === FLOW_OFFERING);
  if (offering) offering.spec = { ...(offering.spec as object), channel: version };
}

async function namespaceExists(store: ResourceStore, name: string): Promise<void> {
  const namespaces = store.watch('Namespace');
  await until(
    () => namespaces.get({ name }) !== undefined,
    (listener) => namespaces.onChange(listener),
    NAMESPACE_WAIT_MS,
    () => new PhaseError('start', 'namespace_missing', `the operator did not make the namespace ${name}; see its log`),
  );
}

/** The caches that orders are judged by must have seen everything before the first order comes. */
async function cached(store: ResourceStore, documents: readonly CatalogDocument[]): Promise<void> {
  for (const { kind, metadata } of documents) {
    const cache = store.watch(kind as Kind);
    const key: Pick<NewMeta, 'name' | 'namespace'> = metadata;
    await until(
      () => cache.get(key) !== undefined,
      (listener) => cache.onChange(listener),
      NAMESPACE_WAIT_MS,
      () => new PhaseError('start', 'cache_stale', `${kind} ${metadata.name} does not show in the cache`),
    );
  }
}

/** Resolves as soon as the condition holds; it is looked at on every change. */
export async function until(
  holds: () => boolean,
  subscribe: (listener: () => void) => () => void,
  timeoutMs: number,
  late: () => Error,
): Promise<void> {
  if (holds()) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const look = (): void => {
    try {
      if (holds()) resolve();
    } catch (error) {
      reject(error);
    }
  };
  const stop = subscribe(look);
  const timer = setTimeout(() => reject(late()), timeoutMs);
  try {
    look();
    await promise;
  } finally {
    clearTimeout(timer);
    stop();
  }
}
