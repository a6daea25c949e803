import type { CapabilitySpec } from '../generated/kinds.ts';
import { byText, canonicalDigest, canonicalJson, sortedBy } from './canonical.ts';
import { normalConfigSchema } from './config-schema.ts';
import type { ContractConnector, ContractEntitlement, ContractKnowledge, ContractSecret } from './document.ts';

type Declared<T> = Omit<T, 'capability'>;

const sortedSet = (items: readonly string[] | undefined): string[] => [...new Set(items ?? [])].sort(byText);

/** A secret with its documented defaults. Rotation absent: on request, without an overlap. */
export function normalSecret(secret: NonNullable<CapabilitySpec['secrets']>[number]): Declared<ContractSecret> {
  const { name, source, description, generator, rotation } = secret;
  return {
    name,
    source,
    ...(description === undefined ? {} : { description }),
    ...(source === 'Generated'
      ? { generator: { length: generator?.length ?? 32, alphabet: generator?.alphabet ?? 'Alphanumeric' } }
      : {}),
    rotation: {
      ...(rotation?.periodDays === undefined ? {} : { periodDays: rotation.periodDays }),
      overlapSeconds: rotation?.overlapSeconds ?? 0,
    },
  };
}

/** A connector with its documented defaults: no authentication, no tools (default-deny), no further hosts. */
export function normalConnector(
  connector: NonNullable<CapabilitySpec['connectors']>[number],
): Declared<ContractConnector> {
  return {
    name: connector.name,
    protocol: connector.protocol,
    url: connector.url,
    auth: { ...(connector.auth ?? { kind: 'None' }) },
    tools: sortedBy(connector.tools, (tool) => tool.name),
    egressHosts: sortedSet(connector.egressHosts),
  };
}

/** Knowledge with its documented default: one document may be as large as all of them together. */
export function normalKnowledge(knowledge: NonNullable<CapabilitySpec['knowledge']>): Declared<ContractKnowledge> {
  const { maxDocuments, maxBytes, maxDocumentBytes } = knowledge.limits;
  return {
    embeddingModel: knowledge.embeddingModel,
    limits: { maxDocuments, maxBytes, maxDocumentBytes: maxDocumentBytes ?? maxBytes },
  };
}

/** A Boolean entitlement that is listed without a value is granted. */
export function normalEntitlement(entitlement: ContractEntitlement): ContractEntitlement {
  const { feature, type } = entitlement;
  const value = entitlement.value ?? (type === 'Boolean' ? 'true' : undefined);
  return { feature, type, ...(value === undefined ? {} : { value }) };
}

function normalStep(step: NonNullable<CapabilitySpec['provisioningSteps']>[number]) {
  return {
    name: step.name,
    uses: step.uses,
    with: sortedBy(step.with, (argument) => argument.name),
    dependsOn: sortedSet(step.dependsOn),
  };
}

/**
 * The normal form of a Capability: every default written out, every list of named things ordered by
 * name, every set sorted. Two specs that mean the same have the same normal form. `limits` is left
 * out: silence there means "no opinion", which only the whole contract can resolve, and the contract
 * carries the resolved values.
 */
export function normalCapability(spec: CapabilitySpec) {
  return {
    version: spec.version,
    display: { ...spec.display },
    config: {
      schema: normalConfigSchema(spec.config?.schema),
      ui: sortedBy(spec.config?.ui, (hint) => hint.key),
      mutableKeys: sortedSet(spec.config?.mutableKeys),
    },
    secrets: sortedBy(spec.secrets, (secret) => secret.name).map(normalSecret),
    connectors: sortedBy(spec.connectors, (connector) => connector.name).map(normalConnector),
    ...(spec.knowledge === undefined ? {} : { knowledge: normalKnowledge(spec.knowledge) }),
    provisioningSteps: sortedBy(spec.provisioningSteps, (step) => step.name).map(normalStep),
    runtime: { globals: sortedBy(spec.runtime?.globals, (global) => global.name) },
    entitlements: sortedBy(spec.entitlements, (entitlement) => entitlement.feature).map(normalEntitlement),
    metering: { dimensions: sortedBy(spec.metering?.dimensions, (dimension) => dimension.name) },
  };
}

export type NormalCapability = ReturnType<typeof normalCapability>;

/** A Capability in its normal form, with the digest that a contract carries for it. */
export function inlineCapability(spec: CapabilitySpec): { digest: string; spec: NormalCapability } {
  const normal = normalCapability(spec);
  return { digest: canonicalDigest(normal), spec: JSON.parse(canonicalJson(normal)) as NormalCapability };
}

/** A Capability that a version names, with where it stands in the version's list. */
export interface NamedCapability {
  name: string;
  pointer: string;
  spec: CapabilitySpec;
  normal: NormalCapability;
  digest: string;
}
