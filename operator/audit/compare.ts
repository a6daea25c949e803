/** What belongs together and is not: pure, over the names that each system has. */
import type { SecretNames } from '../../config/secrets.ts';
import type { Instance, Organization, Project, Wallet } from '../../crds/kinds.ts';
import { organizationOf } from '../../crds/kinds.ts';
import type { Fulfilment } from '../../ledger/client.ts';
import {
  instanceStem,
  platformRoot,
  projectPlatformFolder,
  skeletonFolder,
  workloadNamespace,
} from '../render/paths.ts';

export const AUDITED = [
  'Fulfilment',
  'Wallet',
  'GitPath',
  'VaultTree',
  'VaultPolicy',
  'VaultRole',
  'Application',
] as const;
export type Audited = (typeof AUDITED)[number];

export interface Finding {
  kind: Audited;
  /** `orphan`: it belongs to nothing. `missing`: something that is Ready lacks it. */
  fault: 'orphan' | 'missing';
  name: string;
  /** What a person does about it. */
  next: string;
}

/** Everything at about one time. */
export interface Inventory {
  organizations: readonly Pick<Organization, 'metadata'>[];
  projects: readonly Pick<Project, 'metadata' | 'status'>[];
  wallets: readonly Pick<Wallet, 'metadata' | 'status'>[];
  instances: readonly Pick<Instance, 'metadata' | 'spec' | 'status'>[];
  fulfilments: readonly Fulfilment[];
  /** Open ones. */
  ledgerWallets: readonly { wallet: string; ownerUid?: string }[];
  gitPaths: readonly string[];
  secrets: SecretNames;
  /** Names of our Applications; absent = Argo CD does not deliver here. */
  applications?: readonly string[];
  now: number;
}

type Meta = { namespace?: string; name: string; uid: string };
interface Readable {
  status?: { conditions?: readonly { type: string; status: string }[] };
}

const WAIT = 'If it is still there at the next report, see who removed its owner while the operator was away; then ';

/** Each finding once, sorted. Objects that are being deleted still own what they have. */
export function compare(world: Inventory): Finding[] {
  const findings = [
    ...fulfilments(world),
    ...wallets(world),
    ...gitPaths(world),
    ...vault(world),
    ...applications(world),
  ];
  return findings.sort((a, b) => (identity(a) < identity(b) ? -1 : 1));
}

export function identity({ kind, fault, name }: Finding): string {
  return `${kind} ${fault} ${name}`;
}

function fulfilments({ fulfilments: units, instances, now }: Inventory): Finding[] {
  const uids = new Set(instances.map(({ metadata }) => metadata.uid));
  const name = ({ shop, order, line, ordinal }: Fulfilment) => `${shop} ${order} ${line} ${ordinal}`;
  const orphans = units.flatMap((unit): Finding[] => {
    // A unit of a credit pack is its grants; a plan whose paid time is over may have lost its Instance.
    const over = unit.paidThrough !== undefined && Date.parse(unit.paidThrough) <= now;
    if (unit.plan === undefined || over) return [];
    if (unit.instanceUid !== undefined && uids.has(unit.instanceUid)) return [];
    const why = unit.instanceUid === undefined ? 'No Instance has claimed it' : 'Its Instance is gone';
    return [
      {
        kind: 'Fulfilment',
        fault: 'orphan',
        name: name(unit),
        next: `${why}: see the order’s inbox entry; make an Instance that claims it, or refund the line.`,
      },
    ];
  });
  const known = new Set(units.map(name));
  const missing = instances.flatMap(({ metadata, spec }): Finding[] =>
    spec.fulfilment === undefined || known.has(name(spec.fulfilment as Fulfilment))
      ? []
      : [
          {
            kind: 'Fulfilment',
            fault: 'missing',
            name: `${metadata.namespace}/${metadata.name}`,
            next: 'The Instance claims a paid unit that the ledger does not know: correct its claim, or record the unit.',
          },
        ],
  );
  return [...orphans, ...missing];
}

function wallets({ wallets: objects, ledgerWallets }: Inventory): Finding[] {
  const uids = new Set(objects.map(({ metadata }) => metadata.uid));
  const open = new Set(ledgerWallets.map(({ ownerUid }) => ownerUid));
  const orphans = ledgerWallets.filter(({ ownerUid }) => ownerUid === undefined || !uids.has(ownerUid));
  return [
    ...orphans.map(({ wallet }) =>
      found('Wallet', 'orphan', wallet, `${WAIT}close it in the ledger (forfeit what is in it, or refund it first).`),
    ),
    ...objects
      .filter((each) => ready(each) && !open.has(each.metadata.uid))
      .map(({ metadata }) =>
        found('Wallet', 'missing', text(metadata), 'The ledger has no open wallet of it: was the book restored?'),
      ),
  ];
}

function gitPaths(world: Inventory): Finding[] {
  const present = new Set(world.gitPaths.flatMap(placeOf));
  const owned = new Set<string>();
  const needed: string[] = [];
  for (const { metadata } of world.organizations) owned.add(platformRoot(metadata.name));
  for (const project of world.projects) {
    const org = organizationOf(project.metadata.namespace) ?? '';
    const { name, uid } = project.metadata;
    const folders = [projectPlatformFolder(org, name, uid), skeletonFolder(org, name)];
    for (const folder of folders) owned.add(folder);
    if (ready(project)) needed.push(...folders);
  }
  for (const instance of world.instances) {
    const { metadata, spec } = instance;
    const folder = instanceStem(
      organizationOf(metadata.namespace) ?? '',
      spec.projectRef.name,
      metadata.name,
      metadata.uid,
    );
    owned.add(folder);
    if (ready(instance)) needed.push(folder);
  }
  const orphan = 'remove it from the branch in a commit of your own.';
  return [
    ...[...present]
      .filter((folder) => !owned.has(folder))
      .map((folder) => found('GitPath', 'orphan', folder, WAIT + orphan)),
    ...needed
      .filter((folder) => !present.has(folder))
      .map((folder) =>
        found('GitPath', 'missing', folder, 'See who removed it from the branch; the next visit commits it again.'),
      ),
  ];
}

/**
 * What one owner has of the branch, of which a path is part; files of others are none of ours. An Instance's file goes
 * without its ending, so that the folder of earlier releases counts as well.
 */
function placeOf(path: string): string[] {
  const parts = path.split('/');
  const [root, , , fourth, fifth] = parts;
  if (root === 'platform' && fourth === 'projects' && parts.length > 5) return [parts.slice(0, 5).join('/')];
  if (root === 'platform' && parts.length > 3) return [parts.slice(0, 3).join('/')];
  if (root === 'tenants' && fifth === 'instances' && parts.length > 6) return [parts.slice(0, 6).join('/')];
  if (root === 'tenants' && fifth === 'instances' && path.endsWith('.yaml')) return [path.slice(0, -'.yaml'.length)];
  if (root === 'tenants' && fifth === 'project' && fourth !== undefined) return [parts.slice(0, 5).join('/')];
  return [];
}

function vault({ instances, projects, secrets }: Inventory): Finding[] {
  const uids = new Set(instances.map(({ metadata }) => metadata.uid));
  const namespaces = new Set(projects.map(namespaceOf));
  const policies = new Set(secrets.policies);
  const roles = new Set(secrets.roles);
  return [
    ...secrets.policies
      .filter((name) => !uids.has(name.slice('gsv-i-'.length)))
      .map((name) => found('VaultPolicy', 'orphan', name, `${WAIT}delete the policy.`)),
    ...secrets.trees
      .filter((path) => !uids.has(path.split('/')[2] ?? ''))
      .map((path) =>
        found(
          'VaultTree',
          'orphan',
          path,
          'Kept by `deletionPolicy: Retain`, or left over: destroy it when nobody needs it.',
        ),
      ),
    ...secrets.roles
      .filter((name) => !namespaces.has(name))
      .map((name) => found('VaultRole', 'orphan', name, `${WAIT}delete the role.`)),
    ...instances
      .filter((each) => ready(each) && !policies.has(`gsv-i-${each.metadata.uid}`))
      .map(({ metadata }) =>
        found(
          'VaultPolicy',
          'missing',
          text(metadata),
          'Its runs cannot read secrets; the next visit writes it again.',
        ),
      ),
    ...projects
      .filter((each) => ready(each) && !roles.has(namespaceOf(each)))
      .map((each) =>
        found('VaultRole', 'missing', namespaceOf(each), 'Its secrets are not synced; the next visit writes it again.'),
      ),
  ];
}

function applications({ applications: names, projects }: Inventory): Finding[] {
  if (names === undefined) return [];
  const wanted = new Set(projects.map(namespaceOf));
  const present = new Set(names);
  return [
    ...names
      .filter((name) => !wanted.has(name))
      .map((name) => found('Application', 'orphan', name, `${WAIT}see why Argo CD does not prune it.`)),
    ...projects
      .filter((each) => ready(each) && !present.has(namespaceOf(each)))
      .map((each) =>
        found('Application', 'missing', namespaceOf(each), 'Argo CD has not made it: see the root Applications.'),
      ),
  ];
}

function found(kind: Audited, fault: Finding['fault'], name: string, next: string): Finding {
  return { kind, fault, name, next };
}

function namespaceOf({ metadata }: { metadata: Meta }): string {
  return workloadNamespace(organizationOf(metadata.namespace) ?? '', metadata.name, metadata.uid);
}

function text({ namespace, name }: Meta): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** Only of what claims to be in order, and is not going, something can be missing. */
function ready({ metadata, status }: Readable & { metadata: { deletionTimestamp?: string } }): boolean {
  const is = status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
  return is && metadata.deletionTimestamp === undefined;
}
