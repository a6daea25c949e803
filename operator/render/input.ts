import type { Instance, Organization, Project } from '../../crds/kinds.ts';
import type { Platform } from './platform.ts';

/** What identifies a tenant object: the renderer reads nothing else of `metadata`. */
export type Named<T extends { metadata: { name: string; uid: string } }> = {
  metadata: Pick<T['metadata'], 'name' | 'uid'>;
};

/** The part of a compiled contract that manifests depend on; a `Contract` of `crds/contract.ts` is one. */
export interface RenderedContract {
  offering: string;
  version: string;
  secrets: readonly { name: string; source: 'Buyer' | 'Generated' | 'Platform' }[];
  connectors: readonly { name: string; url: string; egressHosts?: readonly string[] }[];
  limits: { runSeconds: number };
  /** What holds under each plan. */
  plans: readonly { name: string; limits: { runSeconds: number } }[];
}

export interface OrganizationInput {
  organization: Named<Organization>;
  /**
   * Every Project of the Organization that still exists, those being deleted included: Argo CD needs
   * the destination until the last object of the namespace is gone. Pass a live list, not a cached one.
   */
  projects: readonly Named<Project>[];
  platform: Platform;
}

export interface ProjectInput extends OrganizationInput {
  project: Named<Project> & { spec: Project['spec'] };
}

export interface InstanceInput {
  organization: Named<Organization>;
  project: Named<Project> & { spec: Project['spec'] };
  instance: Named<Instance> & { spec: Pick<Instance['spec'], 'plan' | 'config'> };
  contract: RenderedContract;
  /** `sha256:<hex>` of the contract. */
  contractDigest: string;
  platform: Platform;
  /** Paused: its runtime of profile Namespace has no pod; everything else stays. Absent: Running. */
  effective?: 'Running' | 'Paused';
  /** Present Vault versions, the runtime's key among them; a change of any makes External Secrets read again at once. */
  secretVersions?: readonly { name: string; version: number }[];
}
