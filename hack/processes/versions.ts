import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type BlobStore, putArtifact } from '../../config/artifacts.ts';
import { compileContract, type VersionTerms } from '../../crds/contract.ts';
import type { ResourceStore } from '../../crds/store.ts';

const OFFERING = 'crm-followup';
const FLOW = join(import.meta.dirname, `../../config/flows/${OFFERING}.json`);

/** A flow that no runtime takes: it knows nothing of the component. */
const REFUSED = {
  data: { nodes: [{ id: 'X-1', data: { type: 'NoSuchComponent', node: { template: {} } } }], edges: [] },
};

/** Publishes another version of `crm-followup`: with the flow of its first, or with one that no runtime takes. */
export async function publishNext(
  store: ResourceStore,
  blobs: BlobStore,
  version: string,
  flow: 'works' | 'refused',
): Promise<void> {
  const first = await store.get('OfferingVersion', { name: `${OFFERING}-1.0.0` });
  if (first === undefined) throw new Error(`there is no ${OFFERING}-1.0.0`);
  const text = flow === 'works' ? await readFile(FLOW, 'utf8') : JSON.stringify(REFUSED);
  const artifact = await putArtifact(blobs, new TextEncoder().encode(text));
  const { contract: _contract, contractDigest: _digest, ...terms } = first.spec;
  const spec: VersionTerms = { ...terms, version, artifact: { ...artifact, format: 'LangflowJson' } };
  const capabilities = await Promise.all(
    terms.capabilities.map(async ({ name }) => {
      const found = await store.get('Capability', { name });
      if (found === undefined) throw new Error(`there is no Capability ${name}`);
      return [name, found.spec] as const;
    }),
  );
  const { contract, digest } = compileContract(spec, new Map(capabilities));
  const metadata = { name: `${OFFERING}-${version}` };
  const desired = { metadata, spec: { ...spec, contract: { ...contract }, contractDigest: digest } };
  await store.apply('OfferingVersion', desired, { fieldManager: 'test' });
}
