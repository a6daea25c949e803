// Generated from crds/*.yaml by `npm run generate`. Do not edit.
// (Sketch until the generator replaces it: the YAML must yield these names and shapes.)

export interface Condition { type: string; status: 'True' | 'False' | 'Unknown'; reason: string; message: string; observedGeneration?: number; lastTransitionTime: string }
export interface Ref { name: string }

export interface CapabilitySpec {
  version: string;
  display: { title: string; summary?: string };
  config?: { schema?: Record<string, unknown>; ui?: { key: string; widget?: 'Text' | 'TextArea' | 'Select' | 'Number' | 'Toggle'; label?: string; help?: string }[]; mutableKeys?: string[] };
  secrets?: { name: string; source: 'Buyer' | 'Generated' | 'Platform'; description?: string; generator?: { length?: number; alphabet?: 'Alphanumeric' | 'Hex' | 'Base64Url' }; rotation?: { periodDays?: number; overlapSeconds?: number } }[];
  connectors?: { name: string; protocol: 'MCP' | 'HTTP'; url: string; auth?: { kind: 'None' | 'Bearer' | 'Header' | 'Basic'; header?: string; secret?: string }; tools?: { name: string; schemaSha256: string; dimension?: string }[]; egressHosts?: string[] }[];
  knowledge?: { embeddingModel: string; limits: { maxDocuments: number; maxBytes: number; maxDocumentBytes?: number } };
  provisioningSteps?: { name: string; uses: 'Secrets' | 'Dataset' | 'Manifests' | 'Probe'; with?: { name: string; value: string }[]; dependsOn?: string[] }[];
  runtime?: { globals?: { name: string; fromConfig?: string; fromSecret?: string; fromInstance?: 'Name' | 'Uid' | 'Organization' | 'Project' | 'Plan' }[] };
  entitlements?: { feature: string; type: 'Boolean' | 'Static' | 'Metered'; value?: string }[];
  limits?: Limits;
  metering?: { dimensions: Dimension[] };
}
export interface Limits { requestsPerMinute?: number; concurrentRuns?: number; runSeconds?: number; inputBytes?: number }
export interface Dimension { name: string; unit: string; source: 'Run' | 'RuntimeSecond' | 'InputToken' | 'OutputToken' | 'ToolCall' | 'Retrieval' | 'StoredByteHour'; priceMicrocredits: number; perUnits: number; reserveUnits: number }
export interface CapabilityStatus { observedGeneration?: number; digest?: string; conditions?: Condition[] }

export interface OfferingSpec {
  category: 'Agent' | 'App' | 'Assistant' | 'Automation';
  display: { title: string; summary?: string; description?: string; media?: { name: string; url: string; alt?: string }[] };
  valueStreams?: string[];
  languages?: string[];
  modalities?: string[];
  lifecycle: 'Draft' | 'Published' | 'Paused' | 'EndOfSale' | 'EndOfLife';
  endOfSaleTime?: string;
  endOfLifeTime?: string;
  migrateTo?: Ref;
  /** Version that new Instances get. */
  channel?: string;
  skus?: { sku: string; plan: string }[];
  prices?: { channel: string; plan: string; currency: string; amountMinor: number }[];
}
export interface OfferingStatus { observedGeneration?: number; publishedVersion?: string; instances?: { total: number; ready: number }; conditions?: Condition[] }

export interface OfferingVersionSpec {
  offeringRef: Ref;
  version: string;
  artifact: { uri: string; sha256: string; sizeBytes: number; format: 'LangflowJson' };
  capabilities: { name: string; version: string }[];
  plans: Plan[];
  exhaustion?: { action: 'Notify' | 'Pause' | 'Terminate'; afterSeconds: number }[];
  onDisconnect?: 'Drain' | 'Abort';
  minimumRuntimeProfile?: 'Shared' | 'Namespace';
  upgradesFrom?: string;
  contract?: Record<string, unknown>;
  contractDigest?: string;
}
export interface Plan { name: string; includedMicrocredits: number; period?: 'None' | 'Month' | 'Year'; trial?: { microcredits: number; days: number }; limits?: Limits }
export interface OfferingVersionStatus { observedGeneration?: number; verified?: { contractDigest: string; artifactSha256: string }; conditions?: Condition[] }

export interface CreditPackSpec { sku: string; display?: { title: string }; amountMicrocredits: number; kind: 'Purchased' | 'Promotional'; expiresAfterDays?: number; scope?: { offerings?: string[] }; maxPerOrder?: number }
export interface CreditPackStatus { observedGeneration?: number; conditions?: Condition[] }

export interface OrganizationSpec { display: { title: string }; identityProviderOrganizationId?: string; commerceCustomers?: string[]; suspend?: boolean }
export interface OrganizationStatus { observedGeneration?: number; namespace?: string; conditions?: Condition[] }

export interface ProjectSpec { display?: { title: string }; runtimeProfile?: 'Shared' | 'Namespace' | 'VCluster' | 'Cluster'; quota?: { maxInstances?: number; cpuMillis?: number; memoryMebibytes?: number }; egressAllowList?: string[] }
export interface ProjectStatus { observedGeneration?: number; workloadNamespace?: string; commit?: string; conditions?: Condition[] }

export interface TeamSpec { members: { name: string; subject?: string; email?: string; group?: string }[]; grants: { name: string; projectRef?: Ref; role: 'Viewer' | 'Operator' | 'Admin' | 'Billing' }[] }
export interface TeamStatus { observedGeneration?: number; members?: { name: string; subject?: string }[]; conditions?: Condition[] }

export interface WalletSpec { display?: { title: string }; allowedProjects?: string[]; lowBalanceThresholdsMicrocredits?: number[]; debtPolicy?: { floorMicrocredits: number; repayFirst?: boolean }; monthlyCaps?: { project: string; capMicrocredits: number }[] }
export interface WalletStatus { observedGeneration?: number; balance?: { availableMicrocredits: number; heldMicrocredits: number; debtMicrocredits: number; observedTime: string }; conditions?: Condition[] }

export interface InstanceSpec {
  projectRef: Ref;
  offeringRef: Ref;
  plan: string;
  /** Pin; absent: the Offering's channel. */
  version?: string;
  channel?: 'Stable';
  upgradePolicy?: 'Manual' | 'Automatic';
  config?: Record<string, unknown>;
  walletRef: Ref;
  suspend?: boolean;
  deletionPolicy?: 'Delete' | 'Retain';
  fulfilment?: { shop: string; order: string; line: string; ordinal: number };
}
export interface InstanceStatus {
  observedGeneration?: number;
  lifecycle?: 'Requested' | 'Provisioning' | 'Active' | 'Paused' | 'Terminating' | 'Terminated';
  version?: string;
  contractDigest?: string;
  url?: string;
  commit?: string;
  workloadNamespace?: string;
  fulfilment?: string;
  secretVersions?: { name: string; version: number }[];
  timeline?: { ordered?: string; accepted?: string; funded?: string; secretsReady?: string; committed?: string; synced?: string; ready?: string; firstResult?: string };
  conditions?: Condition[];
}

export interface ApiKeySpec { hash: string; display?: { title: string }; instances?: string[]; expiresTime?: string; owner: string }
export interface ApiKeyStatus { observedGeneration?: number; conditions?: Condition[] }
