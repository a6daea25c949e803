import { ArtifactError, getArtifact } from '../../config/artifacts.ts';
import { describeFindings, scanFlow } from '../../config/flow-scan.ts';
import { ContractError, compileContract, contractDigest } from '../../crds/contract.ts';
import type { OfferingVersion } from '../../crds/kinds.ts';
import { keyText } from '../../crds/store.ts';
import type { Ports } from '../ports.ts';
import { Terminal, Waiting } from '../runtime/errors.ts';
import { ReferenceIndex } from '../runtime/source.ts';
import { reconciler } from '../runtime/visit.ts';
import { throughArtifacts } from '../steps/doors.ts';
import { CONCURRENCY, type ControllerContext, type Definition, dependency, own } from './definition.ts';

/** A watch wakes the version when the missing object appears; this is the safety net. */
const DEPENDENCY_RETRY_MS = 60_000;
/** Nobody tells when an artifact is uploaded. */
const ARTIFACT_RETRY_MS = 10_000;

/** OfferingVersion: the contract and the artifact are what was promised, and the artifact holds no secret. */
export function offeringVersionController({ ports, metrics }: ControllerContext): Definition {
  const { store, clock, log } = ports;
  return {
    kind: 'OfferingVersion',
    concurrency: CONCURRENCY,
    reconcile: reconciler({
      store,
      kind: 'OfferingVersion',
      clock,
      log,
      metrics,
      up: async (visit) => {
        const verifiedBefore = visit.object.status?.verified?.contractDigest;
        try {
          requireOffering(visit.object, ports);
          const digest = verifyContract(visit.object, verifiedBefore, ports);
          await verifyArtifact(visit.object, ports);
          visit.status.verified = { contractDigest: digest, artifactSha256: visit.object.spec.artifact.sha256 };
        } catch (error) {
          // What was proven stays proven while a system is away; a refusal takes it back.
          if (error instanceof Terminal || error instanceof Waiting) visit.status.verified = undefined;
          throw error;
        }
        return undefined;
      },
    }),
    watch: (add) => {
      const index = new ReferenceIndex(store.watch('OfferingVersion'), ({ spec }) => [
        `offering/${spec.offeringRef.name}`,
        ...spec.capabilities.map(({ name }) => `capability/${name}`),
      ]);
      return [
        index.close,
        own(store, 'OfferingVersion', add),
        dependency(store, 'Offering', add, (key) => index.referring(`offering/${keyText(key)}`)),
        dependency(store, 'Capability', add, (key) => index.referring(`capability/${keyText(key)}`)),
      ];
    },
  };
}

function requireOffering({ spec }: OfferingVersion, { store }: Ports): void {
  const { name } = spec.offeringRef;
  if (store.watch('Offering').get({ name }) === undefined)
    throw new Waiting(DEPENDENCY_RETRY_MS, 'OfferingNotFound', `There is no Offering "${name}".`);
}

/**
 * Recomputes the contract from its parts. Once proven it stays proven when a Capability moves on to
 * its next version: the contract has the Capability inlined, and what was promised does not change.
 */
function verifyContract({ spec }: OfferingVersion, verifiedBefore: string | undefined, { store }: Ports): string {
  const { contract, contractDigest: promised } = spec;
  if (contract === undefined || promised === undefined)
    throw new Terminal('ContractInvalid', 'The version has no compiled contract; write it with the publish command.');
  if (contractDigest(contract) !== promised) throw mismatch(contractDigest(contract), promised);
  if (verifiedBefore === promised) return promised;
  const capabilities = new Map(
    store
      .watch('Capability')
      .list()
      .map((capability) => [capability.metadata.name, capability.spec]),
  );
  try {
    const { digest } = compileContract(spec, capabilities);
    if (digest !== promised) throw mismatch(digest, promised);
    return digest;
  } catch (error) {
    throw error instanceof ContractError ? refusal(error) : error;
  }
}

function mismatch(found: string, promised: string): Terminal {
  return new Terminal(
    'ContractDigestMismatch',
    `The contract recomputed is ${found}, the version promises ${promised}.`,
  );
}

function refusal(error: ContractError): Error {
  const find = (rule: string) => error.problems.find((problem) => problem.rule === rule);
  const missing = find('capability_missing');
  if (missing) return new Waiting(DEPENDENCY_RETRY_MS, 'CapabilityNotFound', missing.message);
  const moved = find('capability_version_mismatch');
  if (moved) return new Terminal('CapabilityVersionMismatch', moved.message);
  return new Terminal('ContractInvalid', error.message);
}

async function verifyArtifact({ spec }: OfferingVersion, { blobs }: Ports): Promise<void> {
  const { sha256, sizeBytes } = spec.artifact;
  const bytes = await readArtifact(sha256, blobs);
  if (bytes.byteLength !== sizeBytes)
    throw new Terminal('ArtifactCorrupt', `The artifact has ${bytes.byteLength} bytes, the version says ${sizeBytes}.`);
  const findings = scanFlow(parseFlow(bytes));
  if (findings.length > 0) throw new Terminal('SecretInArtifact', describeFindings(findings));
}

async function readArtifact(sha256: string, blobs: Ports['blobs']): Promise<Uint8Array> {
  try {
    return await throughArtifacts(() => getArtifact(blobs, sha256));
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error;
    if (error.code === 'artifact_missing') throw new Waiting(ARTIFACT_RETRY_MS, 'ArtifactMissing', error.message);
    throw new Terminal('ArtifactCorrupt', error.message);
  }
}

function parseFlow(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new Terminal('ArtifactCorrupt', 'The artifact is not JSON.');
  }
}
