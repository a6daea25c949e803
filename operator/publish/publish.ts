import { type BlobStore, putArtifact } from '../../config/artifacts.ts';
import { describeFindings, scanFlow } from '../../config/flow-scan.ts';
import { ContractError, compileContract, type VersionTerms } from '../../crds/contract.ts';
import type { CapabilitySpec } from '../../crds/generated/kinds.ts';
import { GROUP, type OfferingVersion, VERSION } from '../../crds/kinds.ts';
import { validateObject } from '../../crds/validate.ts';

/** Everything of a version but what publishing adds: artifact, contract and digest. */
export type Terms = Omit<VersionTerms, 'offeringRef' | 'version' | 'artifact'>;

export interface PublishInput {
  /** Raw bytes of the Langflow export; the artifact is exactly these. */
  flow: Uint8Array;
  offering: string;
  version: string;
  terms: Terms;
  /** Capabilities by name, as they are now. */
  capabilities: ReadonlyMap<string, CapabilitySpec>;
  blobs: BlobStore;
}

/** An OfferingVersion as it is written for `kubectl apply` or Git. */
export type PublishedVersion = Pick<OfferingVersion, 'apiVersion' | 'kind' | 'spec'> & { metadata: { name: string } };

export class PublishError extends Error {
  readonly code: 'flow_unreadable' | 'secret_in_flow' | 'contract_invalid' | 'version_invalid';
  constructor(code: PublishError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PublishError';
    this.code = code;
  }
}

/**
 * Makes a version: scan -> compile -> validate -> store the artifact. The artifact is stored last,
 * so that a refused version leaves nothing behind.
 *
 * @throws PublishError naming node and field, or pointer and rule
 */
export async function publishVersion(input: PublishInput): Promise<PublishedVersion> {
  const version = await compileVersion(input);
  await putArtifact(input.blobs, input.flow);
  return version;
}

/** {@link publishVersion} without storing anything. */
export async function compileVersion(input: Omit<PublishInput, 'blobs'>): Promise<PublishedVersion> {
  refuseSecrets(parseFlow(input.flow));
  const artifact = await artifactOf(input.flow);
  const terms = {
    offeringRef: { name: input.offering },
    version: input.version,
    artifact,
    ...input.terms,
  } satisfies VersionTerms;
  const { contract, digest } = compile(terms, input.capabilities);
  const version: PublishedVersion = {
    apiVersion: `${GROUP}/${VERSION}`,
    kind: 'OfferingVersion',
    metadata: { name: `${input.offering}-${input.version}` },
    spec: { ...terms, contract: { ...contract }, contractDigest: digest },
  };
  const problems = validateObject('OfferingVersion', version);
  if (problems.length > 0) {
    throw new PublishError('version_invalid', problems.map(({ field, message }) => `${field}: ${message}`).join('\n'));
  }
  return version;
}

function parseFlow(bytes: Uint8Array): unknown {
  try {
    const flow: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    const data = (flow as { data?: { nodes?: unknown } } | null)?.data;
    if (!Array.isArray(data?.nodes)) throw new TypeError('it has no data.nodes');
    return flow;
  } catch (cause) {
    // The JSON parser's message quotes the text, which may hold a secret.
    const why = cause instanceof SyntaxError ? 'it is not JSON' : (cause as Error).message;
    throw new PublishError('flow_unreadable', `the flow is not a Langflow export in JSON: ${why}`, { cause });
  }
}

function refuseSecrets(flow: unknown): void {
  const findings = scanFlow(flow);
  if (findings.length > 0)
    throw new PublishError('secret_in_flow', `the flow carries a secret:\n${describeFindings(findings)}`);
}

function compile(terms: VersionTerms, capabilities: ReadonlyMap<string, CapabilitySpec>) {
  try {
    return compileContract(terms, new Map(capabilities));
  } catch (error) {
    if (!(error instanceof ContractError)) throw error;
    const text = error.problems
      .map(({ pointer, rule, message }) => `${pointer || '/'} (${rule}): ${message}`)
      .join('\n');
    throw new PublishError('contract_invalid', `the contract does not compile:\n${text}`, { cause: error });
  }
}

/** The reference without storing anything yet. */
async function artifactOf(bytes: Uint8Array): Promise<VersionTerms['artifact']> {
  const nowhere: BlobStore = { put: async () => {}, get: async () => undefined, delete: async () => {} };
  return { ...(await putArtifact(nowhere, bytes)), format: 'LangflowJson' };
}
