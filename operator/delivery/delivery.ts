/** One Instance as the delivery sees it. */
export interface DeliveryTarget {
  /** Names, not uids. */
  organization: string;
  project: string;
  instance: string;
  instanceUid: string;
  workloadNamespace: string;
  /** The commit that must have been delivered. */
  commit: string;
}

export interface DeliveryState {
  synced: boolean;
  /** CamelCase, for the condition `Synced`. */
  reason: string;
  /** One deterministic sentence that names the blocker. */
  message: string;
}

/** Who applies commits: Argo CD, or the quickstart's local check. */
export interface Delivery {
  /** Tells the delivery to look now. Idempotent. */
  refresh(target: DeliveryTarget): Promise<void>;
  state(target: DeliveryTarget): Promise<DeliveryState>;
  /** True once nothing of the Instance is left on the branch or in the cluster; `commit` is not looked at. */
  gone(target: DeliveryTarget): Promise<boolean>;
}
