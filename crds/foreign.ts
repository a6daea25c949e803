/**
 * Shapes of the kinds that others define and that we touch: only the fields we read or write.
 * Everything is optional that a controller of another fills in when it likes.
 */

/** coordination.k8s.io/v1. Times are RFC 3339 with microseconds. */
export interface LeaseSpec {
  /** Empty or absent = nobody holds it. */
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  acquireTime?: string;
  renewTime?: string;
  /** How often the holder has changed. */
  leaseTransitions?: number;
}

/** v1 Event. On the wire these fields stand at the top of the object; the port keeps them in `spec`. */
export interface EventSpec {
  involvedObject: {
    apiVersion: string;
    kind: string;
    namespace?: string;
    name: string;
    uid: string;
    resourceVersion?: string;
  };
  /** CamelCase. */
  reason: string;
  message: string;
  type: 'Normal' | 'Warning';
  source: { component: string };
  /** RFC 3339. */
  firstTimestamp: string;
  lastTimestamp: string;
  /** How often it has happened since `firstTimestamp`. */
  count: number;
  reportingComponent: string;
  reportingInstance: string;
}

/** Names one object in an Application's report. */
export interface ApplicationResource {
  group?: string;
  version?: string;
  kind: string;
  namespace?: string;
  name: string;
}

/** argoproj.io/v1alpha1. */
export interface ApplicationSpec {
  project?: string;
  source?: { repoURL?: string; path?: string; targetRevision?: string };
  destination?: { server?: string; name?: string; namespace?: string };
  syncPolicy?: { automated?: { prune?: boolean; selfHeal?: boolean }; syncOptions?: string[]; retry?: SyncRetry };
}

export interface SyncRetry {
  /** Attempts after the first; negative = without end, absent = none. */
  limit?: number;
}

/** What is to be done to an Application, or was. */
export interface ApplicationOperation {
  sync?: { revision?: string };
  retry?: SyncRetry;
}

export interface ApplicationStatus {
  sync?: { status?: 'Synced' | 'OutOfSync' | 'Unknown'; revision?: string };
  health?: { status?: string; message?: string };
  reconciledAt?: string;
  /** Operations that succeeded, the last one at the end; older ones are dropped. */
  history?: { revision?: string }[];
  operationState?: {
    phase?: 'Running' | 'Failed' | 'Error' | 'Succeeded' | 'Terminating';
    message?: string;
    startedAt?: string;
    finishedAt?: string;
    retryCount?: number;
    operation?: ApplicationOperation;
    syncResult?: {
      revision?: string;
      resources?: (ApplicationResource & {
        status?: string;
        message?: string;
        hookPhase?: string;
        syncPhase?: string;
      })[];
    };
  };
  conditions?: { type: string; message?: string; lastTransitionTime?: string }[];
  resources?: (ApplicationResource & {
    status?: string;
    health?: { status?: string; message?: string };
    requiresPruning?: boolean;
  })[];
}

/** A condition as others write it. */
export interface ForeignCondition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/** apps/v1. */
export interface DeploymentSpec {
  replicas?: number;
  paused?: boolean;
  /** Labels and annotations of the pods tell which revision of secrets they run with. */
  template?: { metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> } };
}

export interface DeploymentStatus {
  observedGeneration?: number;
  replicas?: number;
  updatedReplicas?: number;
  readyReplicas?: number;
  availableReplicas?: number;
  unavailableReplicas?: number;
  conditions?: ForeignCondition[];
}

/** external-secrets.io/v1. */
export interface ExternalSecretSpec {
  refreshInterval?: string;
  target?: { name?: string };
}

export interface ExternalSecretStatus {
  conditions?: ForeignCondition[];
  refreshTime?: string;
  /** `<generation>-<hash of labels and annotations>` of what was last brought in line. */
  syncedResourceVersion?: string;
}
