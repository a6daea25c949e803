/** One object that the manifests of an Instance declare. */
export interface DeclaredObject {
  /** API group; empty for the core group. */
  group: string;
  kind: string;
  name: string;
  annotations?: Readonly<Record<string, string>>;
}

/** Whose delivery is asked about. Names, not uids. */
export interface DeliveryScope {
  organization: string;
  /** Absent: the Organization itself, i.e. its AppProject. */
  project?: string;
  /** The Project's. Absent or empty where it was never known: then nothing can be left in it. */
  workloadNamespace?: string;
  /** Absent: the Project or the Organization as a whole. */
  instance?: string;
  instanceUid?: string;
  /** The commit that must have been delivered. */
  commit: string;
}

/** One Instance as the delivery sees it. */
export interface DeliveryTarget extends DeliveryScope {
  project: string;
  instance: string;
  instanceUid: string;
  workloadNamespace: string;
  /** What the commit declares for it. Absent: not known, then the label of the live objects decides. */
  objects?: readonly DeclaredObject[];
}

export interface DeliveryState {
  synced: boolean;
  /** CamelCase, for the condition `Synced`. */
  reason: string;
  /** One deterministic sentence that names the blocker. */
  message: string;
  /** The retries for `revision` are used up and it will never be tried again: only a new commit helps, and one is due. */
  exhausted?: true;
  /** The commit that was tried, which contains the target's. Given with `exhausted`. */
  revision?: string;
}

export interface WorkloadState {
  ready: boolean;
  /** CamelCase, for the condition `RuntimeReady`. */
  reason: string;
  /** One deterministic sentence that names the blocker. */
  message: string;
}

/** What is left after a removal. */
export interface Remains {
  /** CamelCase. */
  reason: string;
  /** One deterministic sentence that names what is left and what holds it. */
  message: string;
  /** The commit that was tried and given up, when only a new one helps and it is due. */
  givenUp?: string;
}

/**
 * Something happened to what was delivered of this Project, or of this Instance alone. Of a Project it mostly
 * concerns only the Instances that wait for something; `everybody` when even the others may have lost it.
 */
export type DeliveryEvent = { organization: string; project: string; everybody: boolean } | { instanceUid: string };

/** Who applies commits: Argo CD, or the quickstart's local check. */
export interface Delivery {
  /** Tells the delivery to look now. An idempotent hint: it never storms, whoever calls how often. */
  refresh(scope: DeliveryScope): Promise<void>;
  state(target: DeliveryTarget): Promise<DeliveryState>;
  /** Whether what was applied works: its secrets are there and its own workload, where it has one, is available. */
  workload(target: DeliveryTarget): Promise<WorkloadState>;
  /** What is still there of something whose removal is in `scope.commit`; undefined once nothing is left. */
  remains(scope: DeliveryScope): Promise<Remains | undefined>;
  /** Tells what to look at again. Returns the function that ends it. */
  onChange(listener: (event: DeliveryEvent) => void): () => void;
}
