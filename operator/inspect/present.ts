import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import { type Contract, ContractError, contractDigest, parseContract } from '../../crds/contract.ts';
import {
  type Instance,
  type Kind,
  type KindMap,
  type OfferingVersion,
  organizationNamespace,
  organizationOf,
  type Project,
} from '../../crds/kinds.ts';
import type { ResourceStore } from '../../crds/store.ts';
import { validateObject } from '../../crds/validate.ts';
import type { PreviewInput, PreviewState } from '../preview/preview.ts';
import { readCatalog } from '../publish/catalog.ts';
import type { Platform } from '../render/platform.ts';

/** What a preview reads of the present state. */
const KINDS_READ = ['Organization', 'Project', 'Instance', 'Offering', 'OfferingVersion'] as const;
type Read = (typeof KINDS_READ)[number];

export type Present = { [K in Read]: KindMap[K][] };

/** In place of the uid of what does not exist yet; folders and labels show it. */
export const UID_UNKNOWN = 'not-yet-known';

/** Why there is nothing to preview, as a sentence for the person who asked. */
export class PreviewError extends Error {}

/** Every custom resource in the YAML files below a folder. @throws Error naming a file that is no YAML */
export async function presentInFolder(folder: string): Promise<Present> {
  const documents = await readCatalog(folder);
  const ofKind = <K extends Read>(kind: K): KindMap[K][] =>
    documents.filter((each) => each.kind === kind).map((each) => identified(each as unknown as KindMap[K]));
  return collect(ofKind);
}

/** @throws StoreError */
export async function presentInCluster(store: Pick<ResourceStore, 'list'>): Promise<Present> {
  const lists = new Map<Read, unknown[]>();
  for (const kind of KINDS_READ) lists.set(kind, await store.list(kind));
  return collect((kind) => (lists.get(kind) ?? []) as KindMap[typeof kind][]);
}

function collect(ofKind: <K extends Read>(kind: K) => KindMap[K][]): Present {
  return {
    Organization: ofKind('Organization'),
    Project: ofKind('Project'),
    Instance: ofKind('Instance'),
    Offering: ofKind('Offering'),
    OfferingVersion: ofKind('OfferingVersion'),
  };
}

/** The wanted Instance or Project, or both. */
export interface Wanted {
  instance?: Instance;
  project?: Project;
}

/** @throws PreviewError for anything but one Instance, one Project, or one of each */
export async function readWanted(path: string): Promise<Wanted> {
  const wanted: Wanted = {};
  for (const document of parseAllDocuments(await readFile(path, 'utf8'))) {
    const [problem] = document.errors;
    // The parser goes on with a picture of the place, on lines of its own.
    if (problem) throw new PreviewError(`${path}: ${problem.message.split(':\n', 1)[0]}.`);
    const object = document.toJS() as Instance | Project | null;
    if (object === null) continue;
    if (object.kind === 'Instance' && wanted.instance === undefined) wanted.instance = identified(object as Instance);
    else if (object.kind === 'Project' && wanted.project === undefined) wanted.project = identified(object as Project);
    else throw new PreviewError(`${path}: a preview takes one Instance, one Project, or one of each`);
  }
  if (wanted.instance === undefined && wanted.project === undefined)
    throw new PreviewError(`${path}: holds neither an Instance nor a Project`);
  return wanted;
}

/** Objects in files have no uid. */
function identified<T extends KindMap[Kind]>(object: T): T {
  return { ...object, metadata: { ...object.metadata, uid: object.metadata?.uid ?? UID_UNKNOWN } };
}

/**
 * The change from the present state to the wanted one. An Instance brings its Project along; a Project alone is
 * compared with the Instance that `instance` names, if any.
 *
 * @throws PreviewError when something that it names is missing or the API server would refuse it
 */
export function changeTo(wanted: Wanted, present: Present, platform: Platform, instance?: string): PreviewInput {
  const namespace = (wanted.instance ?? wanted.project)?.metadata.namespace;
  const org = organizationOf(namespace) ?? fail(`metadata.namespace is not that of an Organization (gsv-org-…)`);
  const organization =
    present.Organization.find(({ metadata }) => metadata.name === org) ?? fail(`there is no Organization ${org}`);
  const inside = <T extends Instance | Project>(list: readonly T[], name: string | undefined): T | undefined =>
    list.find(({ metadata }) => metadata.namespace === organizationNamespace(org) && metadata.name === name);
  const old = inside(present.Instance, wanted.instance?.metadata.name ?? instance);
  if (wanted.instance === undefined && instance !== undefined && old === undefined)
    fail(`there is no Instance ${instance}`);
  const next = wanted.instance ? successor(wanted.instance, old) : old;
  const projectName = next?.spec.projectRef.name ?? wanted.project?.metadata.name;
  const oldProject = inside(present.Project, projectName);
  const nextProject = wanted.project
    ? successor(wanted.project, oldProject)
    : (oldProject ?? fail(`there is no Project ${projectName}`));
  if (nextProject.metadata.name !== projectName)
    fail(`the Instance is in Project ${projectName}, not in ${nextProject.metadata.name}`);
  refuse('Instance', wanted.instance && next, old);
  refuse('Project', wanted.project && nextProject, oldProject);
  return {
    organization,
    platform,
    projects: present.Project.filter(({ metadata }) => metadata.namespace === namespace),
    ...(oldProject ? { before: state(oldProject, old, boundVersion(old, present), present) } : {}),
    after: state(nextProject, next, nextVersion(next, old, present), present),
  };
}

function fail(message: string): never {
  throw new PreviewError(message);
}

/** What the wanted object will be once it is applied over the present one. */
function successor<T extends Instance | Project>(wanted: T, present: T | undefined): T {
  return present === undefined ? wanted : { ...wanted, metadata: { ...wanted.metadata, uid: present.metadata.uid } };
}

function refuse<K extends 'Instance' | 'Project'>(
  kind: K,
  wanted: KindMap[K] | undefined,
  present: KindMap[K] | undefined,
): void {
  if (wanted === undefined) return;
  const { apiVersion, metadata, spec } = wanted;
  const causes = validateObject(kind, { apiVersion, kind, metadata, spec } as KindMap[K], present);
  const [first] = causes;
  if (first)
    fail(
      `the API server would refuse ${kind} ${metadata.name}: ${causes.map(({ field, message }) => `${field}: ${message}`).join('; ')}`,
    );
}

function channelOf({ spec }: Instance, present: Present): string | undefined {
  return present.Offering.find(({ metadata }) => metadata.name === spec.offeringRef.name)?.spec.channel;
}

/** The version that runs now; what was never bound takes the one that it will be. */
function boundVersion(instance: Instance | undefined, present: Present): string | undefined {
  return instance && (instance.status?.version ?? instance.spec.version ?? channelOf(instance, present));
}

/** As operator/steps/accept.ts chooses it: the pin, else what is bound unless it follows the channel, else the channel. */
function nextVersion(next: Instance | undefined, old: Instance | undefined, present: Present): string | undefined {
  if (next === undefined) return undefined;
  const bound = next.spec.upgradePolicy === 'Automatic' ? undefined : old?.status?.version;
  return next.spec.version ?? bound ?? channelOf(next, present);
}

function state(
  project: Project,
  instance: Instance | undefined,
  version: string | undefined,
  present: Present,
): PreviewState {
  if (instance === undefined) return { project };
  const name = `${instance.spec.offeringRef.name}-${version}`;
  const found =
    present.OfferingVersion.find(({ metadata }) => metadata.name === name) ??
    fail(`there is no OfferingVersion ${name}`);
  const paused = instance.spec.suspend === true || instance.status?.effective?.state === 'Paused';
  return {
    project,
    instance: {
      instance,
      ...contractOf(found),
      effective: paused ? 'Paused' : 'Running',
      secretVersions: instance.status?.secretVersions ?? [],
    },
  };
}

function contractOf({ metadata, spec }: OfferingVersion): { contract: Contract; contractDigest: string } {
  try {
    const contract = parseContract(spec.contract);
    const digest = contractDigest(contract);
    if (digest === spec.contractDigest) return { contract, contractDigest: digest };
  } catch (error) {
    if (!(error instanceof ContractError)) throw error;
  }
  return fail(`OfferingVersion ${metadata.name} carries no valid contract; compile it with npm run publish`);
}
