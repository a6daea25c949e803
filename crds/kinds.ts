import type * as f from './foreign.ts';
import type * as g from './generated/kinds.ts';

export const GROUP = 'store.gsv.dev';
export const VERSION = 'v1alpha1';

/** What every object carries. Times are RFC 3339 strings. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  generation: number;
  creationTimestamp: string;
  deletionTimestamp?: string;
  finalizers?: string[];
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

/** `metadata` of an object that is yet to be written. */
export type NewMeta = Pick<ObjectMeta, 'name'> &
  Partial<Pick<ObjectMeta, 'namespace' | 'labels' | 'annotations' | 'finalizers'>>;

export interface Resource<Spec, Status> {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec: Spec;
  status?: Status;
}

export type Capability = Resource<g.CapabilitySpec, g.CapabilityStatus>;
export type Offering = Resource<g.OfferingSpec, g.OfferingStatus>;
export type OfferingVersion = Resource<g.OfferingVersionSpec, g.OfferingVersionStatus>;
export type CreditPack = Resource<g.CreditPackSpec, g.CreditPackStatus>;
export type Organization = Resource<g.OrganizationSpec, g.OrganizationStatus>;
export type Project = Resource<g.ProjectSpec, g.ProjectStatus>;
export type Team = Resource<g.TeamSpec, g.TeamStatus>;
export type Wallet = Resource<g.WalletSpec, g.WalletStatus>;
export type Instance = Resource<g.InstanceSpec, g.InstanceStatus>;
export type ApiKey = Resource<g.ApiKeySpec, g.ApiKeyStatus>;
/** Core kinds that the store carries as they are. */
export type Namespace = Resource<Record<string, unknown>, Record<string, unknown>>;
export type Lease = Resource<f.LeaseSpec, Record<string, never>>;
export type Event = Resource<f.EventSpec, Record<string, never>>;
/** Kinds of others, which we only read; of an Application we also set annotations. */
export type Application = Resource<f.ApplicationSpec, f.ApplicationStatus> & {
  /** A sync that is asked for and has not begun. */
  operation?: f.ApplicationOperation;
};
export type Deployment = Resource<f.DeploymentSpec, f.DeploymentStatus>;
export type ExternalSecret = Resource<f.ExternalSecretSpec, f.ExternalSecretStatus>;

/** Kind name -> object type: the keys of the resource store port. */
export interface KindMap {
  Capability: Capability;
  Offering: Offering;
  OfferingVersion: OfferingVersion;
  CreditPack: CreditPack;
  Organization: Organization;
  Project: Project;
  Team: Team;
  Wallet: Wallet;
  Instance: Instance;
  ApiKey: ApiKey;
  Namespace: Namespace;
  Lease: Lease;
  Event: Event;
  Application: Application;
  Deployment: Deployment;
  ExternalSecret: ExternalSecret;
}
export type Kind = keyof KindMap;
/** Kinds that others define. */
export type ForeignKind = 'Namespace' | 'Lease' | 'Event' | 'Application' | 'Deployment' | 'ExternalSecret';
/** Kinds that our CRDs define. */
export type OwnKind = Exclude<Kind, ForeignKind>;

export interface KindInfo {
  kind: Kind;
  apiVersion: string;
  plural: string;
  namespaced: boolean;
  shortName: string;
  /** On the wire its fields stand beside `metadata`; the port keeps them in `spec`. */
  flat?: true;
}

const ours = (kind: Kind, plural: string, namespaced: boolean, shortName: string): KindInfo => ({
  kind,
  apiVersion: `${GROUP}/${VERSION}`,
  plural,
  namespaced,
  shortName,
});

const foreign = (kind: ForeignKind, apiVersion: string, plural: string, shortName: string): KindInfo => ({
  kind,
  apiVersion,
  plural,
  namespaced: true,
  shortName,
});

/** The registry of kinds that the store knows. */
export const KINDS: { readonly [K in Kind]: KindInfo } = {
  Capability: ours('Capability', 'capabilities', false, 'gsvc'),
  Offering: ours('Offering', 'offerings', false, 'gsvo'),
  OfferingVersion: ours('OfferingVersion', 'offeringversions', false, 'gsvv'),
  CreditPack: ours('CreditPack', 'creditpacks', false, 'gsvcp'),
  Organization: ours('Organization', 'organizations', false, 'gsvg'),
  Project: ours('Project', 'projects', true, 'gsvp'),
  Team: ours('Team', 'teams', true, 'gsvt'),
  Wallet: ours('Wallet', 'wallets', true, 'gsvw'),
  Instance: ours('Instance', 'instances', true, 'gsvi'),
  ApiKey: ours('ApiKey', 'apikeys', true, 'gsvk'),
  Namespace: { kind: 'Namespace', apiVersion: 'v1', plural: 'namespaces', namespaced: false, shortName: 'ns' },
  Lease: foreign('Lease', 'coordination.k8s.io/v1', 'leases', 'lease'),
  Event: { ...foreign('Event', 'v1', 'events', 'ev'), flat: true },
  Application: foreign('Application', 'argoproj.io/v1alpha1', 'applications', 'app'),
  Deployment: foreign('Deployment', 'apps/v1', 'deployments', 'deploy'),
  ExternalSecret: foreign('ExternalSecret', 'external-secrets.io/v1', 'externalsecrets', 'es'),
};

/** The namespace that holds an Organization's objects. */
export function organizationNamespace(organization: string): string {
  return `gsv-org-${organization}`;
}

/** Inverse of {@link organizationNamespace}; undefined for a namespace that is not an Organization's. */
export function organizationOf(namespace: string | undefined): string | undefined {
  return namespace?.startsWith('gsv-org-') ? namespace.slice('gsv-org-'.length) : undefined;
}
