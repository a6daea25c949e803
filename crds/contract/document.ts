import type { CapabilitySpec, Dimension, OfferingVersionSpec, Plan } from '../generated/kinds.ts';

/** One broken rule: where (RFC 6901 JSON pointer), which rule (stable snake_case), and a sentence for a person. */
export interface Violation {
  pointer: string;
  rule: string;
  message: string;
}

/** A contract that cannot be compiled or read. `problems` names every broken rule, not only the first. */
export class ContractError extends Error {
  readonly problems: readonly Violation[];
  constructor(problems: readonly Violation[], options?: ErrorOptions) {
    super(problems.map((problem) => `${problem.pointer || '/'}: ${problem.message}`).join('; '), options);
    this.name = 'ContractError';
    this.problems = problems;
  }
}

/** What the compiler reads of an OfferingVersion. `contract` and `contractDigest` are its results. */
export type VersionTerms = Pick<
  OfferingVersionSpec,
  | 'offeringRef'
  | 'version'
  | 'artifact'
  | 'capabilities'
  | 'plans'
  | 'exhaustion'
  | 'onDisconnect'
  | 'minimumRuntimeProfile'
  | 'upgradesFrom'
>;

export type UsageSource = Dimension['source'];

/** All four limits, none absent. Time in seconds, size in bytes. */
export interface ResolvedLimits {
  requestsPerMinute: number;
  concurrentRuns: number;
  runSeconds: number;
  inputBytes: number;
}

type SecretSpec = NonNullable<CapabilitySpec['secrets']>[number];
type ConnectorSpec = NonNullable<CapabilitySpec['connectors']>[number];
type StepSpec = NonNullable<CapabilitySpec['provisioningSteps']>[number];
type GlobalSpec = NonNullable<NonNullable<CapabilitySpec['runtime']>['globals']>[number];
type ToolSpec = NonNullable<ConnectorSpec['tools']>[number];

export interface ContractSecret {
  name: string;
  /** The Capability that declares it. */
  capability: string;
  source: SecretSpec['source'];
  description?: string;
  /** Present exactly when `source` is Generated. `length` counts characters. */
  generator?: { length: number; alphabet: 'Alphanumeric' | 'Hex' | 'Base64Url' };
  /** `periodDays` absent: rotated on request only. */
  rotation: { periodDays?: number; overlapSeconds: number };
}

export interface ContractConnector {
  name: string;
  capability: string;
  protocol: ConnectorSpec['protocol'];
  url: string;
  auth: { kind: 'None' | 'Bearer' | 'Header' | 'Basic'; header?: string; secret?: string };
  tools: ToolSpec[];
  egressHosts: string[];
}

export interface ContractKnowledge {
  capability: string;
  embeddingModel: string;
  limits: { maxDocuments: number; maxBytes: number; maxDocumentBytes: number };
}

export interface ContractStep {
  name: string;
  capability: string;
  uses: StepSpec['uses'];
  with: { name: string; value: string }[];
  dependsOn: string[];
}

/** A runtime variable; exactly one of the `from…` members is there. */
export type ContractGlobal = GlobalSpec & { capability: string };

export interface ContractEntitlement {
  feature: string;
  type: 'Boolean' | 'Static' | 'Metered';
  value?: string;
}

export interface ContractPlan {
  name: string;
  includedMicrocredits: number;
  period: NonNullable<Plan['period']>;
  trial?: { microcredits: number; days: number };
  /** What holds under this plan: the plan's own values over the contract's. */
  limits: ResolvedLimits;
}

/**
 * What was promised, in one JSON document: every Capability inlined, every default resolved, every
 * list in its canonical order. Its RFC 8785 form is hashed to the `contractDigest`.
 */
export interface Contract {
  schema: 'gsv.contract/v1';
  /** Name of the Offering. */
  offering: string;
  version: string;
  artifact: { sha256: string; sizeBytes: number; format: 'LangflowJson' };
  /** `spec` is the normal form of the Capability and `digest` the hash of exactly that. */
  capabilities: { name: string; version: string; digest: string; spec: Record<string, unknown> }[];
  config: { schema: Record<string, unknown>; mutableKeys: string[] };
  secrets: ContractSecret[];
  connectors: ContractConnector[];
  knowledge?: ContractKnowledge;
  /** In the order of execution. */
  steps: ContractStep[];
  globals: ContractGlobal[];
  entitlements: ContractEntitlement[];
  limits: ResolvedLimits;
  dimensions: Dimension[];
  plans: ContractPlan[];
  exhaustion: { action: 'Notify' | 'Pause' | 'Terminate'; afterSeconds: number }[];
  onDisconnect: 'Drain' | 'Abort';
  minimumRuntimeProfile: 'Shared' | 'Namespace';
  upgradesFrom?: string;
}

/** What a run used. `dimension` addresses one dimension (a tool with its own price). */
export interface Usage {
  source: UsageSource;
  /** Whole units, >= 0. */
  units: number;
  dimension?: string;
}

/** One line of a receipt; `amount` in microcredits. */
export interface PricedLine {
  dimension: string;
  units: number;
  amount: number;
}
