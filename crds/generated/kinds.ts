// Generated from crds/*.yaml by `npm run generate`. Do not edit.

/** One aspect of the state of an object, by type. */
export interface Condition {
  /** Name of the aspect, e.g. `Ready`. */
  type: string;
  /** Whether it holds. */
  status: 'True' | 'False' | 'Unknown';
  /** Why, in one CamelCase word for programs. */
  reason: string;
  /** Why, in one sentence for people, naming what blocks. */
  message: string;
  /** Generation of the spec that this condition speaks of. */
  observedGeneration?: number;
  /** When `status` last changed. */
  lastTransitionTime: string;
}

/** Names an object in the same namespace, or one of a cluster-scoped kind. */
export interface Ref {
  /** Its name. */
  name: string;
}

/** Limits of an Instance; absent ones have the documented default. */
export interface Limits {
  /** Runs that may start per minute. Absent: 60. */
  requestsPerMinute?: number;
  /** Runs at the same time. Absent: 4. */
  concurrentRuns?: number;
  /** Longest run, in seconds. Absent: 120. */
  runSeconds?: number;
  /** Longest input of a run, in bytes of UTF-8. Absent: 65536. */
  inputBytes?: number;
}

/** A price: `priceMicrocredits` for each `perUnits` units, rounded up once per receipt line. */
export interface Dimension {
  /** Name of the dimension on receipts. */
  name: string;
  /** What is counted, in the singular, e.g. `run`. */
  unit: string;
  /** Where the count comes from. */
  source: 'Run' | 'RuntimeSecond' | 'InputToken' | 'OutputToken' | 'ToolCall' | 'Retrieval' | 'StoredByteHour';
  /** Microcredits for `perUnits` units. */
  priceMicrocredits: number;
  /** Units that the price is for. */
  perUnits: number;
  /** Units that a run reserves beforehand. */
  reserveUnits: number;
}

/** What a buyer can choose. */
export interface Plan {
  /** Name of the plan. */
  name: string;
  /** Microcredits that come with it. */
  includedMicrocredits: number;
  /** How often they come: once, or for each paid month or year. Absent: None, which is once. */
  period?: 'None' | 'Month' | 'Year';
  /** What can be tried for free. Absent: nothing. */
  trial?: {
    /** Microcredits for the trial. */
    microcredits: number;
    /** Days until they expire. */
    days: number;
  };
  /** Limits that this plan sets in place of those of the Capabilities. */
  limits?: Limits;
}

/** What the Capability is. A change needs a new `version`. */
export interface CapabilitySpec {
  /** Semantic version of this content, in lower case and without build metadata, e.g. `1.2.0`. */
  version: string;
  /** How it is shown to people. */
  display: {
    /** Short title. */
    title: string;
    /** One or two sentences. */
    summary?: string;
  };
  /** Settings that a buyer may give an Instance. */
  config?: {
    /** JSON Schema 2020-12 of the settings, at most 64 KiB, without remote references. Absent: no settings. */
    schema?: Record<string, unknown>;
    /** Hints for a form, by key of the settings. */
    ui?: {
      /** Key of the setting in `schema`. */
      key: string;
      /** Kind of input. Absent: what fits the schema. */
      widget?: 'Text' | 'TextArea' | 'Select' | 'Number' | 'Toggle';
      /** Label of the input. */
      label?: string;
      /** Sentence that helps to fill it in. */
      help?: string;
    }[];
    /** Settings that may change while an Instance lives; the others are fixed by its creation. Absent: none. */
    mutableKeys?: string[];
  };
  /** Secrets that an Instance needs. Their values live in Vault alone. */
  secrets?: {
    /** Name of the secret; also the last part of its path in Vault. */
    name: string;
    /** Who gives the value: the buyer, a generator, or the platform team. */
    source: 'Buyer' | 'Generated' | 'Platform';
    /** What it is and where to get it, for the buyer. */
    description?: string;
    /** How a Generated value is made. Absent: 32 alphanumeric characters. */
    generator?: {
      /** Characters. Absent: 32. */
      length?: number;
      /** Characters to choose from. Absent: Alphanumeric. */
      alphabet?: 'Alphanumeric' | 'Hex' | 'Base64Url';
    };
    /** When the value is replaced. Absent: on request only. */
    rotation?: {
      /** Days between replacements. Absent: on request only. */
      periodDays?: number;
      /** Seconds for which the old value stays valid. Absent: 0. */
      overlapSeconds?: number;
    };
  }[];
  /** Systems outside the store that the flow may call. */
  connectors?: {
    /** Name of the connector. */
    name: string;
    /** How it is spoken to. */
    protocol: 'MCP' | 'HTTP';
    /** Where it answers, without credentials. */
    url: string;
    /** How calls to it are authenticated. Absent: not at all. */
    auth?: {
      /** Form of the credential. */
      kind: 'None' | 'Bearer' | 'Header' | 'Basic';
      /** Header that carries the secret, for kind Header. */
      header?: string;
      /** Name of an entry of `secrets` that holds the credential. */
      secret?: string;
    };
    /** Tools that the flow may use; any other is refused. Absent: none. */
    tools?: {
      /** Name of the tool at the connector. */
      name: string;
      /** SHA-256 of its input schema in canonical JSON, as hex; a tool that changes is refused. */
      schemaSha256: string;
      /** Entry of `metering.dimensions` with source ToolCall that a call is charged to. Absent: free of charge. */
      dimension?: string;
    }[];
    /** Hosts that the connector leads to, besides that of `url`. */
    egressHosts?: string[];
  }[];
  /** Documents of the buyer that the flow searches. */
  knowledge?: {
    /** Model that turns text into vectors. */
    embeddingModel: string;
    /** How much an Instance may store. */
    limits: {
      /** Documents. */
      maxDocuments: number;
      /** Bytes of all documents. */
      maxBytes: number;
      /** Bytes of one document. Absent: maxBytes. */
      maxDocumentBytes?: number;
    };
  };
  /** What is done before an Instance is ready. */
  provisioningSteps?: {
    /** Name of the step. */
    name: string;
    /** What the step does. */
    uses: 'Secrets' | 'Dataset' | 'Manifests' | 'Probe';
    /** Parameters of the step. */
    with?: {
      /** Name of the parameter. */
      name: string;
      /** Its value. Never a secret. */
      value: string;
    }[];
    /** Steps of this Capability that come first. */
    dependsOn?: string[];
  }[];
  /** What the flow is given to run. */
  runtime?: {
    /** Global variables of the flow. */
    globals?: {
      /** Name of the variable in the flow. */
      name: string;
      /** Key of a setting in `config.schema`. */
      fromConfig?: string;
      /** Name of an entry of `secrets`. */
      fromSecret?: string;
      /** A fact about the Instance. */
      fromInstance?: 'Name' | 'Uid' | 'Organization' | 'Project' | 'Plan';
    }[];
  };
  /** Features that the buyer of an Instance has. */
  entitlements?: {
    /** Name of the feature. */
    feature: string;
    /** Boolean: on or off. Static: a fixed value. Metered: counted by the ledger. */
    type: 'Boolean' | 'Static' | 'Metered';
    /** Value of a Static feature; `true` or `false` of a Boolean one. Absent on a Boolean: true. */
    value?: string;
  }[];
  /** Limits of an Instance. With several Capabilities the strictest holds. */
  limits?: Limits;
  /** What is charged. */
  metering?: {
    /** Prices by dimension. */
    dimensions: Dimension[];
  };
}

/** What the operator observed. Users never write it. */
export interface CapabilityStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** Digest of the spec in canonical JSON. */
  digest?: string;
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** The offering as it is to be sold. */
export interface OfferingSpec {
  /** Kind of product. */
  category: 'Agent' | 'App' | 'Assistant' | 'Automation';
  /** How it is shown to people. */
  display: {
    /** Short title. */
    title: string;
    /** One or two sentences. */
    summary?: string;
    /** Long text in Markdown. */
    description?: string;
    /** Pictures and films. */
    media?: {
      /** Name of it. */
      name: string;
      /** Where it lies. */
      url: string;
      /** What it shows, for those who do not see it. */
      alt?: string;
    }[];
  };
  /** Value streams of the business that it serves. */
  valueStreams?: string[];
  /** Languages that it speaks. */
  languages?: string[];
  /** What goes in and comes out, e.g. `text` or `voice`. */
  modalities?: string[];
  /** Where it is in its life: Draft is not on sale; Paused sells nothing for now; EndOfSale keeps Instances running; EndOfLife ends them. */
  lifecycle: 'Draft' | 'Published' | 'Paused' | 'EndOfSale' | 'EndOfLife';
  /** When sales end. */
  endOfSaleTime?: string;
  /** When Instances end. */
  endOfLifeTime?: string;
  /** Offering that takes its place. */
  migrateTo?: Ref;
  /** Version that new Instances get. */
  channel?: string;
  /** What the shop calls the plans. */
  skus?: {
    /** Stock keeping unit in the shop. */
    sku: string;
    /** Plan of the version in `channel`. */
    plan: string;
  }[];
  /** What the shop asks, for display only; the shop charges. */
  prices?: {
    /** Sales channel of the shop. */
    channel: string;
    /** Plan. */
    plan: string;
    /** Currency of ISO 4217. */
    currency: string;
    /** Price in the smallest unit of the currency, e.g. cents. */
    amountMinor: number;
  }[];
}

/** What the operator observed. Users never write it. */
export interface OfferingStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** Where it is in its life now, the times of the spec included. */
  lifecycle?: 'Draft' | 'Published' | 'Paused' | 'EndOfSale' | 'EndOfLife';
  /** How the version of `channel` reaches the Instances that upgrade by themselves. */
  rollout?: {
    /** Version that is rolled out. */
    version: string;
    /** Rolling lets group after group upgrade; Halted lets no more; Complete has reached all it can. */
    phase: 'Rolling' | 'Halted' | 'Complete';
    /** Running Instances that follow the channel by themselves. */
    total: number;
    /** Those that run the version and are Ready. */
    updated: number;
    /** Those that went back to their version. */
    failed: number;
    /** Those that cannot take the version, or not now. */
    held: number;
    /** Groups that were let begin. */
    group: number;
    /** Instances whose place in the order is not above this one may upgrade; hexadecimal. */
    admittedThrough?: string;
    /** When it began. */
    startedTime: string;
    /** Since when the present group is as it should be. */
    soakingSince?: string;
  };
  /** Version in `channel`, once it is verified. */
  publishedVersion?: string;
  /** How many Instances there are. */
  instances?: {
    /** All of them. */
    total: number;
    /** Those that are Ready. */
    ready: number;
  };
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** The version as it was published. It never changes. */
export interface OfferingVersionSpec {
  /** Offering that this is a version of. */
  offeringRef: Ref;
  /** Semantic version, in lower case and without build metadata. */
  version: string;
  /** The flow. */
  artifact: {
    /** Where it lies: `artifact://sha256/` and the digest. */
    uri: string;
    /** SHA-256 of its bytes, as hex. */
    sha256: string;
    /** Its bytes. */
    sizeBytes: number;
    /** What it is. */
    format: 'LangflowJson';
  };
  /** Capabilities that it is made of, each at a fixed version. */
  capabilities: {
    /** Name of the Capability. */
    name: string;
    /** Version of it. */
    version: string;
  }[];
  /** What a buyer can choose from. */
  plans: Plan[];
  /** What happens when credits are used up, in rising order. Absent: Pause at once. */
  exhaustion?: {
    /** What is done. */
    action: 'Notify' | 'Pause' | 'Terminate';
    /** Seconds after the credits were used up. */
    afterSeconds: number;
  }[];
  /** What becomes of a run whose caller has gone: finish it, or end it. Absent: Drain. */
  onDisconnect?: 'Drain' | 'Abort';
  /** Least isolation of the Project. Absent: Shared. */
  minimumRuntimeProfile?: 'Shared' | 'Namespace';
  /** Semantic version range of the versions that can be upgraded to this one, e.g. `>=1.0.0 <2.0.0`. Absent: all lower ones of the same major version. */
  upgradesFrom?: string;
  /** The compiled contract; written by `npm run publish`. */
  contract?: Record<string, unknown>;
  /** Digest of the compiled contract in canonical JSON. */
  contractDigest?: string;
}

/** What the operator observed. Users never write it. */
export interface OfferingVersionStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** What the operator recomputed and found right. */
  verified?: {
    /** Digest of the contract. */
    contractDigest: string;
    /** SHA-256 of the artifact, as hex. */
    artifactSha256: string;
  };
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** What a paid unit of this pack grants. */
export interface CreditPackSpec {
  /** Stock keeping unit in the shop. */
  sku: string;
  /** How it is shown to people. */
  display?: {
    /** Short title. */
    title: string;
  };
  /** Microcredits that one unit grants. */
  amountMicrocredits: number;
  /** What the credits are in the ledger. */
  kind: 'Purchased' | 'Promotional';
  /** Days after the order when they expire. Absent: never. */
  expiresAfterDays?: number;
  /** What they can be spent on. Absent: everything. */
  scope?: {
    /** Offerings. Absent: all. */
    offerings?: string[];
  };
  /** Units that one order may hold; more are parked. Absent: any number. */
  maxPerOrder?: number;
}

/** What the operator observed. Users never write it. */
export interface CreditPackStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** Who the tenant is. */
export interface OrganizationSpec {
  /** How it is shown to people. */
  display: {
    /** Short title. */
    title: string;
  };
  /** Id of the organization at the identity provider. Absent: it has none there. */
  identityProviderOrganizationId?: string;
  /** Ids or addresses of its customers in the shop. */
  commerceCustomers?: string[];
  /** True pauses everything of this tenant. Absent: false. */
  suspend?: boolean;
}

/** What the operator observed. Users never write it. */
export interface OrganizationStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** Namespace of its objects. */
  namespace?: string;
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** How the Project is to be run. */
export interface ProjectSpec {
  /** How it is shown to people. */
  display?: {
    /** Short title. */
    title: string;
  };
  /** Isolation of its Instances. VCluster and Cluster are reserved and answered with "not offered yet". Absent: Shared. */
  runtimeProfile?: 'Shared' | 'Namespace' | 'VCluster' | 'Cluster';
  /** Most that it may use. Absent: what the platform sets. */
  quota?: {
    /** Instances. */
    maxInstances?: number;
    /** Thousandths of a CPU. */
    cpuMillis?: number;
    /** Mebibytes of memory. */
    memoryMebibytes?: number;
  };
  /** Hosts that its workloads may reach, besides those of the connectors. */
  egressAllowList?: string[];
}

/** What the operator observed. Users never write it. */
export interface ProjectStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** Namespace of its workloads. */
  workloadNamespace?: string;
  /** Git commit that holds its present manifests. */
  commit?: string;
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** Who is in it and what they may do. */
export interface TeamSpec {
  /** Who is in it. */
  members: {
    /** Name of the entry. */
    name: string;
    /** Issuer and subject of a login, as `<iss>|<sub>`. */
    subject?: string;
    /** Verified address; pinned to its subject at the first login. */
    email?: string;
    /** Group in the claims of a login. */
    group?: string;
  }[];
  /** What its members may do. */
  grants: {
    /** Name of the entry. */
    name: string;
    /** Project that it is for. Absent: all Projects. */
    projectRef?: Ref;
    /** Viewer reads; Operator also runs, pauses and sets secrets; Admin does everything; Billing spends. */
    role: 'Viewer' | 'Operator' | 'Admin' | 'Billing';
  }[];
}

/** What the operator observed. Users never write it. */
export interface TeamStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** Members and the logins that they were found to be. */
  members?: {
    /** Name of the entry in spec. */
    name: string;
    /** Issuer and subject of the login, as `<iss>|<sub>`. */
    subject?: string;
  }[];
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** How the wallet is to be kept. */
export interface WalletSpec {
  /** How it is shown to people. */
  display?: {
    /** Short title. */
    title: string;
  };
  /** Projects that may spend from it. Absent: all of the Organization. */
  allowedProjects?: string[];
  /** Balances in microcredits below which the owner is told. */
  lowBalanceThresholdsMicrocredits?: number[];
  /** Debt that overruns and refunds may leave. Absent: none. */
  debtPolicy?: {
    /** Lowest balance, 0 or negative. */
    floorMicrocredits: number;
    /** What new credits do while there is debt: pay it first, or stay available. Absent: RepayDebt. */
    newCredits?: 'RepayDebt' | 'StayAvailable';
  };
  /** Most that a Project may spend in a calendar month (UTC). */
  monthlyCaps?: {
    /** Name of the Project. */
    project: string;
    /** Microcredits per month. */
    capMicrocredits: number;
  }[];
}

/** What the operator observed. Users never write it. */
export interface WalletStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** Coarse copy of the balance, at most once a minute. */
  balance?: {
    /** What can be spent. */
    availableMicrocredits: number;
    /** What runs have reserved. */
    heldMicrocredits: number;
    /** What is owed. */
    debtMicrocredits: number;
    /** When the ledger said so. */
    observedTime: string;
  };
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** The Instance as it is to be. */
export interface InstanceSpec {
  /** Project that it belongs to. */
  projectRef: Ref;
  /** Offering that it is a copy of. */
  offeringRef: Ref;
  /** Plan of the version. */
  plan: string;
  /** Version that it is pinned to. Absent: the channel of the Offering. */
  version?: string;
  /** Follow the versions that the Offering names. Absent: Stable, unless `version` is there. */
  channel?: 'Stable';
  /** Whether it takes a new version of the channel by itself. Absent: Manual. */
  upgradePolicy?: 'Manual' | 'Automatic';
  /** Settings, as the contract’s schema asks. Never a secret. */
  config?: Record<string, unknown>;
  /** Wallet that pays. */
  walletRef: Ref;
  /** True pauses it. Absent: false. */
  suspend?: boolean;
  /** What becomes of its data when it is deleted. Absent: Delete. */
  deletionPolicy?: 'Delete' | 'Retain';
  /** The paid unit that it claims; the operator checks it in the ledger. It grants nothing by itself. */
  fulfilment?: {
    /** API URL of the shop, or `trial`. */
    shop: string;
    /** Id of the order. */
    order: string;
    /** Id of the order line. */
    line: string;
    /** Which unit of the line, from 0. */
    ordinal: number;
  };
}

/** What the operator observed. Users never write it. */
export interface InstanceStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** Where it is in its life. */
  lifecycle?: 'Requested' | 'Provisioning' | 'Active' | 'Paused' | 'Terminating' | 'Terminated';
  /** What edge and renderer obey. It follows from the spec, the Organization, the Offering and the credits. */
  effective?: {
    /** Running serves; Paused keeps everything but the workload; Terminated keeps nothing. */
    state: 'Running' | 'Paused' | 'Terminated';
    /** Why it is not Running. */
    cause?: 'Suspended' | 'OrganizationSuspended' | 'OfferingEndOfLife' | 'CreditsExhausted' | 'FulfilmentExpired';
    /** Since when it is so. */
    sinceTime: string;
  };
  /** Version that runs. */
  version?: string;
  /** Version that ran before the present one; a failed upgrade goes back to it. */
  previousVersion?: string;
  /** The upgrade that is under way, or the last one that was taken back. */
  upgrade?: {
    /** Version that ran before. */
    from: string;
    /** Version that is to run. */
    to: string;
    /** Proving waits for the new version to answer; RolledBack went back to the old one. */
    phase: 'Proving' | 'RolledBack';
    /** When the new version was switched to. */
    startedTime: string;
    /** Reason for which it was taken back. */
    cause?: string;
  };
  /** The `store.gsv.dev/upgrade-requested-at` that was acted on last. */
  upgradeRequestedAt?: string;
  /** Digest of the contract that holds. */
  contractDigest?: string;
  /** Where it answers. */
  url?: string;
  /** Git commit that holds its present manifests. */
  commit?: string;
  /** Namespace of its workload. */
  workloadNamespace?: string;
  /** Id of its fulfilment in the ledger. */
  fulfilment?: string;
  /** Versions of its secrets in use. */
  secretVersions?: {
    /** Name of the secret. */
    name: string;
    /** Version of it in Vault. */
    version: number;
  }[];
  /** The rotation of secrets that is under way, or the last one. */
  rotation?: {
    /** The `store.gsv.dev/rotate-requested-at` that was acted on last. */
    requestedAt?: string;
    /** Proving waits until a run would use the new versions; Overlap leaves the old ones valid; Done has destroyed them. */
    phase: 'Proving' | 'Overlap' | 'Done';
    /** When the new versions were seen first. */
    startedAt: string;
    /** When a run would have used the new versions. */
    provenAt?: string;
    /** What is rotated. */
    secrets?: {
      /** Name of the secret. */
      name: string;
      /** Oldest version that is not destroyed yet. */
      from: number;
      /** Version that takes its place. */
      to: number;
    }[];
  };
  /** When each phase was reached first. */
  timeline?: {
    /** The order line was paid. */
    ordered?: string;
    /** The Instance was found right. */
    accepted?: string;
    /** It was found paid for. */
    funded?: string;
    /** Its secrets were there. */
    secretsReady?: string;
    /** Its manifests were in Git. */
    committed?: string;
    /** Its manifests were applied. */
    synced?: string;
    /** It answered. */
    ready?: string;
    /** Its first run was charged. */
    firstResult?: string;
  };
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}

/** What the key opens and for how long. */
export interface ApiKeySpec {
  /** SHA-256 of the key, as `sha256:` and hex. */
  hash: string;
  /** How it is shown to people. */
  display?: {
    /** Short title. */
    title: string;
  };
  /** Instances that it opens. Absent: all that its owner may run. */
  instances?: string[];
  /** When it ends. Absent: when it is deleted. */
  expiresTime?: string;
  /** Login that it acts for, as `<iss>|<sub>`. */
  owner: string;
}

/** What the operator observed. Users never write it. */
export interface ApiKeyStatus {
  /** Generation of the spec that this status speaks of; -1 until the first visit. */
  observedGeneration?: number;
  /** What holds for this object; `Ready` is always among them. */
  conditions?: Condition[];
}
