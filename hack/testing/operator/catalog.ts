import { type BlobStore, putArtifact } from '../../../config/artifacts.ts';
import { compileContract, type VersionTerms } from '../../../crds/contract.ts';
import type { CapabilitySpec, OfferingVersionSpec } from '../../../crds/generated/kinds.ts';

/** A flow without secrets. */
export const FLOW = { data: { nodes: [{ id: 'ChatInput-1', data: { type: 'ChatInput', node: { template: {} } } }] } };

export const RUN_PRICE = 12_000;

/** A plain capability: one config key, a price per run. */
export function plainCapability(): CapabilitySpec {
  return {
    version: '1.0.0',
    display: { title: 'Triage' },
    config: {
      schema: {
        type: 'object',
        properties: { tone: { type: 'string', enum: ['calm', 'brisk'] } },
        additionalProperties: false,
      },
    },
    metering: {
      dimensions: [
        { name: 'run', unit: 'run', source: 'Run', priceMicrocredits: RUN_PRICE, perUnits: 1, reserveUnits: 1 },
      ],
    },
  };
}

/** The plain one with a secret that the buyer brings and one that is generated. */
export function secretCapability(): CapabilitySpec {
  return {
    ...plainCapability(),
    secrets: [
      { name: 'crm-token', source: 'Buyer' },
      { name: 'signing-key', source: 'Generated', generator: { length: 24, alphabet: 'Hex' } },
    ],
  };
}

/** A published version as the publish command writes it, its artifact in `blobs`. */
export async function publishedVersion(
  blobs: BlobStore,
  offering: string,
  version: string,
  capabilities: Record<string, CapabilitySpec>,
  overrides: Partial<VersionTerms> & { flow?: unknown } = {},
): Promise<OfferingVersionSpec> {
  const { flow = FLOW, ...terms } = overrides;
  const artifact = await putArtifact(blobs, new TextEncoder().encode(JSON.stringify(flow)));
  const spec: VersionTerms = {
    offeringRef: { name: offering },
    version,
    artifact: { ...artifact, format: 'LangflowJson' },
    capabilities: Object.entries(capabilities).map(([name, each]) => ({ name, version: each.version })),
    plans: [
      { name: 'starter', includedMicrocredits: 1_000_000 },
      { name: 'pro', includedMicrocredits: 9_000_000 },
    ],
    ...terms,
  };
  const { contract, digest } = compileContract(spec, new Map(Object.entries(capabilities)));
  return { ...spec, contract: { ...contract }, contractDigest: digest };
}
