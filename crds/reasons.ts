import type { Kind } from './kinds.ts';

/**
 * How the controller loop treats a reason. `Waiting` is visited again after a fixed delay,
 * `Transient` with exponential backoff, `Terminal` only when something it depends on changes; `Info`
 * says why things are as they should be and never holds anything up.
 */
export type Treatment = 'Waiting' | 'Transient' | 'Terminal' | 'Info';

export interface ReasonInfo {
  treatment: Treatment;
  /** Kinds on which it appears; `all` = every kind of ours. */
  kinds: readonly Kind[] | 'all';
  meaning: string;
  /** What the reader of `kubectl get` does next. */
  next: string;
}

type Row = (kinds: ReasonInfo['kinds'], meaning: string, next: string) => ReasonInfo;
const row =
  (treatment: Treatment): Row =>
  (kinds, meaning, next) => ({ treatment, kinds, meaning, next });
const info = row('Info');
const waiting = row('Waiting');
const transient = row('Transient');
const terminal = row('Terminal');

const NOTHING = 'Nothing.';
const RETRIED = 'Nothing: it is retried. If it lasts, look at that system and at the operator’s log.';

/** Every reason that a condition of ours can carry: declared once, documented from here. */
export const REASONS = {
  // Any kind
  Succeeded: info('all', 'The present generation is in effect.', NOTHING),
  Progressing: info('all', 'The operator is working on the present generation.', NOTHING),
  ProgressingWithRetry: info('all', 'The last attempt failed for a passing reason; another follows.', NOTHING),
  Suspended: info(['Organization', 'Instance'], '`spec.suspend` is true.', 'Set it to false to go on.'),
  ReconcileFailed: transient('all', 'An attempt failed for a reason without a name.', RETRIED),
  WriteConflict: transient('all', 'Somebody else wrote the object at the same time.', NOTHING),
  LedgerUnavailable: transient(['Wallet', 'Instance'], 'The ledger does not answer.', RETRIED),
  SecretsUnavailable: transient(['Project', 'Instance'], 'The secret store does not answer.', RETRIED),
  GitUnavailable: transient(
    ['Organization', 'Project', 'Instance'],
    'The Git remote does not take the commit.',
    RETRIED,
  ),
  GitUnauthorized: transient(
    ['Organization', 'Project', 'Instance'],
    'The Git remote refuses the operator’s credentials; the message has its words.',
    'Renew the credentials in the operator’s credentials file; no restart is needed.',
  ),
  GitRejected: transient(
    ['Organization', 'Project', 'Instance'],
    'The Git remote answers and refuses the push (hook, protected branch, lock, size); the message has its words.',
    'Do what they say; it is tried again by itself.',
  ),
  GitPathConflict: waiting(
    ['Organization', 'Project', 'Instance'],
    'A file that is not ours stands where our folder must be.',
    'Remove that file from the branch.',
  ),
  RenderRefused: terminal(
    ['Organization', 'Project', 'Instance'],
    'No manifest can be written for it; the message names the value.',
    'Correct that value.',
  ),
  ArtifactStoreUnavailable: transient(['OfferingVersion'], 'The artifact store does not answer.', RETRIED),

  // Organization, Project, Team, ApiKey
  NamespaceConflict: terminal(
    ['Organization'],
    'A namespace of the Organization’s name exists without our uid label; it is never adopted.',
    'Delete that namespace or choose another name for the Organization.',
  ),
  NamespaceTerminating: waiting(
    ['Organization'],
    'The namespace of an earlier Organization of this name is still being removed.',
    'Nothing: it goes on when the namespace is gone.',
  ),
  OrganizationSuspended: terminal(['Instance'], 'The Organization is suspended.', 'Resume the Organization.'),
  ChildrenRemain: waiting(
    ['Organization', 'Project'],
    'Objects that belong to it still exist.',
    'Delete the objects that the message names.',
  ),
  OrganizationNotFound: waiting(
    ['Project', 'Team', 'Wallet', 'Instance', 'ApiKey'],
    'No Organization owns this namespace.',
    'Create the Organization, or the object in the right namespace.',
  ),
  ProfileNotOffered: terminal(
    ['Project'],
    'This build does not offer the runtime profile.',
    'Use the runtime profile that the message names.',
  ),
  ProjectNotFound: waiting(['Instance', 'Team'], 'The referenced Project does not exist.', 'Create it.'),
  ProjectNotReady: waiting(['Instance'], 'The referenced Project is not ready.', 'See the Project’s conditions.'),
  InstanceNotFound: waiting(['ApiKey'], 'A referenced Instance does not exist.', 'Create it or drop the reference.'),
  KeyExpired: terminal(['ApiKey'], '`spec.expiresTime` has passed; the edge refuses the key.', 'Issue a new key.'),

  // Wallet, CreditPack
  WalletOwnerMismatch: terminal(
    ['Wallet'],
    'The ledger holds an open wallet of this name that belongs to an earlier object.',
    'Close the old wallet in the ledger, or use another name.',
  ),
  WalletInvalid: terminal(['Wallet'], 'The ledger refuses the wallet’s policy.', 'Correct the field that it names.'),
  WalletNotEmpty: waiting(
    ['Wallet'],
    'The wallet is being deleted but holds money or open holds.',
    'Spend or forfeit the credits in the ledger; deletion goes on by itself.',
  ),
  WalletNotFound: waiting(['Instance'], 'The referenced Wallet does not exist.', 'Create it.'),
  WalletNotReady: waiting(['Instance'], 'The referenced Wallet is not ready.', 'See the Wallet’s conditions.'),
  WalletNotAllowed: terminal(
    ['Instance'],
    'The Wallet does not allow this Project.',
    'Add the Project to the Wallet’s `allowedProjects`, or use another Wallet.',
  ),
  SkuConflict: terminal(
    ['CreditPack', 'Offering'],
    'Another object sells the same SKU, so an order line would be ambiguous.',
    'Give one of them another SKU.',
  ),

  // Capability, Offering, OfferingVersion
  CapabilityInvalid: terminal(['Capability'], 'The capability contradicts itself.', 'Correct what the message names.'),
  CapabilityNotFound: waiting(
    ['OfferingVersion'],
    'A capability of the version does not exist.',
    'Create the capability.',
  ),
  CapabilityVersionMismatch: terminal(
    ['OfferingVersion'],
    'A capability exists in another version than the contract was compiled with.',
    'Publish a version of the offering for the present capability.',
  ),
  ContractInvalid: terminal(
    ['OfferingVersion'],
    'No contract follows from the version.',
    'Publish a corrected version.',
  ),
  ContractDigestMismatch: terminal(
    ['OfferingVersion', 'Instance'],
    'The contract recomputed from its parts is not the one that was promised.',
    'Publish the version again with the publish command.',
  ),
  ArtifactMissing: waiting(['OfferingVersion'], 'The artifact store does not have the artifact.', 'Upload it again.'),
  ArtifactCorrupt: terminal(
    ['OfferingVersion'],
    'The stored artifact has another digest or size, or is no flow.',
    'Publish the version again.',
  ),
  SecretInArtifact: terminal(
    ['OfferingVersion'],
    'The flow carries a secret in the node and field that the message names.',
    'Take the secret out of the flow, revoke it, and publish a new version.',
  ),
  OfferingNotFound: waiting(
    ['OfferingVersion', 'Instance', 'CreditPack'],
    'A referenced Offering does not exist.',
    'Create it.',
  ),
  VersionNotFound: waiting(['Offering', 'Instance'], 'The version does not exist.', 'Publish it or correct the name.'),
  VersionNotVerified: waiting(
    ['Offering', 'Instance'],
    'The version exists but is not verified.',
    'See the OfferingVersion’s conditions.',
  ),
  ChannelMissing: terminal(
    ['Offering', 'Instance'],
    'The Offering names no version for new Instances and the Instance pins none.',
    'Set `spec.channel` of the Offering or `spec.version` of the Instance.',
  ),

  RolloutProgressing: info(
    ['Offering'],
    'Instances that upgrade by themselves take the version group after group; the message counts them.',
    NOTHING,
  ),
  RolloutHalted: terminal(
    ['Offering'],
    'Too many Instances did not become ready with the version; they went back, and no more take it.',
    'See `status.upgrade` of those Instances; publish a corrected version and move the channel to it.',
  ),

  // Instance: accept
  OfferingNotPublished: waiting(['Instance'], 'The Offering is a draft.', 'Publish the Offering.'),
  OfferingPaused: waiting(['Instance'], 'The Offering takes no new Instances at present.', 'Wait or ask the store.'),
  OfferingEndOfSale: terminal(['Instance'], 'The Offering is not sold any more.', 'Choose its successor.'),
  OfferingEndOfLife: terminal(['Instance'], 'The Offering has ended.', 'Move to its successor.'),
  PlanNotFound: terminal(['Offering', 'Instance'], 'The version has no such plan.', 'Use a plan that it has.'),
  ConfigInvalid: terminal(
    ['Instance'],
    '`spec.config` breaks a rule of the contract; the message names pointer and rule.',
    'Correct that value.',
  ),
  RuntimeProfileTooLow: terminal(
    ['Instance'],
    'The version asks for more isolation than the Project’s runtime profile gives.',
    'Use a Project with that runtime profile.',
  ),
  QuotaExceeded: waiting(
    ['Instance'],
    'The Project already has as many Instances as its quota allows.',
    'Delete an Instance or raise `spec.quota.maxInstances` of the Project.',
  ),

  // Instance: upgrade. What runs goes on running.
  UpgradeProving: waiting(['Instance'], 'The new version was switched to and has not answered yet.', NOTHING),
  RollingBack: waiting(
    ['Instance'],
    'The new version did not become ready; the previous one is being brought back.',
    NOTHING,
  ),
  UpgradeRolledBack: terminal(
    ['Instance'],
    'The new version did not become ready within 5 minutes; the previous one runs again.',
    'Ask for another version, or set `store.gsv.dev/upgrade-requested-at` to try again.',
  ),
  UpgradeRefused: terminal(
    ['Instance'],
    'The version does not take over from the one that runs (`upgradesFrom`).',
    'Take a version in between.',
  ),
  DowngradeRefused: terminal(
    ['Instance'],
    'The version is older than the one that runs and does not say that it takes over from it.',
    'Pin the version that runs or a newer one.',
  ),

  // Instance: fund
  FulfilmentNotFound: waiting(['Instance'], 'The ledger knows no such paid unit.', 'Pay the order; correct the claim.'),
  FulfilmentMismatch: terminal(
    ['Instance'],
    'The paid unit is for another offering, plan or wallet.',
    'Claim the unit that was paid for this offering and plan.',
  ),
  FulfilmentAlreadyClaimed: terminal(
    ['Instance'],
    'Another Instance has used the paid unit.',
    'Claim another unit, or fund the Instance from its Wallet.',
  ),
  FulfilmentExpired: waiting(['Instance'], 'The paid time is over.', 'Renew the plan.'),
  CreditsExhausted: waiting(['Instance'], 'The Wallet does not cover one run.', 'Buy credits.'),

  // Instance: secrets to probe
  BuyerSecretMissing: waiting(
    ['Instance'],
    'Secrets that the buyer has to give are not set; the message names them.',
    'Set them: PUT /api/orgs/{org}/instances/{name}/secrets/{secret}.',
  ),
  PlatformSecretMissing: waiting(
    ['Instance'],
    'Secrets that the platform team has to give are not set; the message names them.',
    'Write them to the secret store under the Instance’s path.',
  ),
  KnowledgeNotOffered: info(
    ['Instance'],
    'The contract has knowledge, which this build does not offer yet; all else works.',
    NOTHING,
  ),
  SyncPending: waiting(['Instance'], 'The commit is not applied yet.', NOTHING),
  LocalDelivery: info(
    ['Instance'],
    'The commit was checked out and its manifests validated; nothing was started, as there is no cluster.',
    NOTHING,
  ),
  CommitNotFound: waiting(['Instance'], 'The branch does not contain the commit.', 'See who rewrote the branch.'),
  ManifestsMissing: waiting(['Instance'], 'The commit lacks manifests of the Instance.', 'See who removed them.'),
  ManifestInvalid: waiting(['Instance'], 'A manifest of the commit may not be applied.', 'See the message for which.'),
  ArgoCdSynced: info(['Instance'], 'Argo CD has applied the commit and the objects are as it says.', NOTHING),
  ArgoCdMissing: waiting(['Instance'], 'The cluster has no Argo CD.', 'Install it, or set GSV_DELIVERY.'),
  RootApplicationMissing: waiting(
    ['Instance'],
    'The root Application of the Organization does not exist, so nothing creates the Project’s.',
    'Apply kustomize/components/argocd.',
  ),
  ApplicationMissing: waiting(
    ['Instance'],
    'The root Application has not created the Project’s Application yet.',
    'Nothing; if it lasts, look at the root Application.',
  ),
  ApplicationTerminating: waiting(
    ['Instance'],
    'The Project’s Application is being deleted, though the Project is there.',
    'See who deleted it; the root creates it anew.',
  ),
  AppProjectMissing: waiting(
    ['Instance'],
    'The Application names an AppProject that does not exist.',
    'Nothing: the root creates it, and a refresh is asked for.',
  ),
  ComparisonError: waiting(
    ['Instance', 'Project'],
    'Argo CD cannot read the manifests; the message has its words. Nothing of the Project is applied meanwhile.',
    'Correct or remove the file that the message names; a foreign commit put it there.',
  ),
  InvalidSpecError: waiting(
    ['Instance', 'Project'],
    'Argo CD refuses the Application itself.',
    'See the message; the root Application restores what was changed by hand.',
  ),
  DeletionError: waiting(
    ['Instance', 'Project'],
    'Argo CD cannot delete an Application; the message has its words.',
    'Cure what it names. Last resort: docs/delivery.md, break glass.',
  ),
  ApplicationError: waiting(
    ['Instance', 'Project'],
    'Argo CD reports another error of the Application.',
    'See the message.',
  ),
  SyncError: waiting(['Instance', 'Project', 'Organization'], 'Argo CD could not apply an object.', 'See the message.'),
  KindMissing: waiting(
    ['Instance', 'Project', 'Organization'],
    'The cluster does not know a kind of the manifests.',
    'Install the operator that brings the CRD, e.g. External Secrets.',
  ),
  SecretStoreNotReady: waiting(
    ['Instance'],
    'The Project’s SecretStore does not work, so nothing after it is applied.',
    'See the SecretStore in the workload namespace: address, role, certificate of Vault.',
  ),
  RetriesExhausted: waiting(
    ['Instance'],
    'The delivery has given the commit up; the same manifests are committed anew, each time after a longer pause.',
    'Cure the cause that the message names.',
  ),
  SyncStalled: waiting(['Instance'], 'Argo CD waits for an object that is gone; it is ended.', 'See who deletes it.'),
  WorkloadMissing: waiting(['Instance'], 'An object that was applied is not there.', 'See who deletes it.'),
  SecretSyncPending: waiting(
    ['Instance'],
    'External Secrets has not brought the present secret versions yet.',
    'Nothing; if it lasts, look at the ExternalSecret.',
  ),
  SecretSyncedError: waiting(
    ['Instance'],
    'External Secrets cannot read a secret.',
    'kubectl describe the ExternalSecret: its events have Vault’s own words.',
  ),
  RolloutPending: waiting(['Instance'], 'The pods of the runtime are starting.', NOTHING),
  ScaledToZero: waiting(['Instance'], 'The Deployment has 0 replicas.', 'See who scaled it.'),
  ReplicaFailure: waiting(
    ['Instance'],
    'Kubernetes refuses the pods: quota, Pod Security or admission; the message has its words.',
    'Raise `spec.quota` of the Project, or correct what is refused.',
  ),
  ProgressDeadlineExceeded: waiting(
    ['Instance'],
    'The pods did not become ready in time.',
    'See the pods in the workload namespace.',
  ),
  RuntimeNotReady: waiting(['Instance'], 'The runtime does not answer or is starting.', 'See the runner’s log.'),
  RunnerUnavailable: waiting(['Instance'], 'The runner does not answer.', 'See the runner.'),
  RotationUnproven: waiting(
    ['Instance'],
    'A secret has a new version, but a run would still use an earlier one; the earlier one stays valid.',
    'Nothing: it is looked at again. If it lasts, see External Secrets and the runner.',
  ),
  ProbeFailed: waiting(['Instance'], 'The runner cannot run the Instance; the message says why.', 'See the message.'),

  // Instance: the way down
  RunsDraining: waiting(
    ['Instance'],
    'Runs that had begun before the removal are still going; after 10 minutes it goes on without them.',
    NOTHING,
  ),
  Terminated: terminal(
    ['Instance'],
    'The exhaustion ladder of the contract has ended it: its workload is gone, its secrets too unless they are retained.',
    'Delete it, and write a new Instance to go on.',
  ),
  Terminating: waiting(['Instance', 'Organization', 'Project', 'Wallet'], 'The removal is under way.', NOTHING),
  ApplicationRemains: waiting(
    ['Project'],
    'The Project’s Application is not gone yet; it first removes what it has applied.',
    'See what its finalizer waits for. Last resort: docs/delivery.md, break glass.',
  ),
  NamespaceRemains: waiting(
    ['Project'],
    'The workload namespace is not gone yet; the message has the words of Kubernetes.',
    'Remove what holds it.',
  ),
  RemovalForced: waiting(
    ['Organization', 'Project', 'Instance'],
    'By an annotation a step of the removal is not waited for: what it watches may be left behind.',
    'Look for what was left behind and remove it by hand.',
  ),
  WorkloadRemains: waiting(
    ['Organization', 'Instance', 'Project'],
    'Objects of the workload still exist after the removal was committed.',
    'See what keeps them; the removal goes on by itself.',
  ),
} as const satisfies Record<string, ReasonInfo>;

export type Reason = keyof typeof REASONS;
