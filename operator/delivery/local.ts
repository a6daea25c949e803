import { GitError } from '../git/errors.ts';
import { GitReader, treeEntries } from '../git/reader.ts';
import { instanceFile, organizationFolder, platformFolderOf, skeletonFolder } from '../render/paths.ts';
import type { Delivery, DeliveryScope, DeliveryState, DeliveryTarget, Remains, WorkloadState } from './delivery.ts';
import { checkManifests, firstDouble, type Scope, type Verdict } from './manifests.ts';
import { keepNewest } from './newest.ts';

/** Verdicts are kept by object id, so what is unchanged is never read twice. Enough for a quickstart. */
const MAX_VERDICTS = 2000;
/** Folders below folders; ours have none. */
const MAX_DEPTH = 4;
const COMMIT = /^[0-9a-f]{40}$/;

export interface LocalDeliveryOptions {
  /** The bare repository that the operator pushes to. */
  repository: string;
  branch: string;
  program?: string;
}

/** One folder or file that must be there, and what it must keep to. */
interface Part {
  path: string;
  scope: Scope;
}

/**
 * Delivery without a cluster: reads the committed manifests of an Instance and its Project back out of the
 * repository, checks them, and starts nothing. What Argo CD would refuse is refused here.
 */
export class LocalDelivery implements Delivery {
  readonly #reader: GitReader;
  readonly #branch: string;
  readonly #verdicts = new Map<string, Verdict>();

  constructor(options: LocalDeliveryOptions) {
    this.#reader = new GitReader(options.repository, options.program);
    this.#branch = `refs/heads/${options.branch}`;
  }

  /** Nothing to tell: every question is answered from the repository as it is. */
  async refresh(_scope: DeliveryScope): Promise<void> {}

  /** @throws GitError when the repository cannot be read */
  async state(target: DeliveryTarget): Promise<DeliveryState> {
    const commit = COMMIT.test(target.commit) ? await this.#reader.read(`${target.commit}^{commit}`) : undefined;
    if (commit === undefined) return no('CommitNotFound', 'The commit is not in the repository.');
    const own = instancePath(target);
    if ((await this.#reader.read(`${this.#branch}:${own}`)) === undefined) {
      return no('ManifestsMissing', `${own} is not on the branch.`);
    }
    const identities: string[] = [];
    for (const part of parts(target)) {
      const verdict = await this.#verdict(target.commit, part);
      if (verdict === undefined) return no('ManifestsMissing', `${part.path} is not in the commit.`);
      if (verdict.problem !== undefined) return no('ManifestInvalid', `${verdict.problem}.`);
      identities.push(...verdict.identities);
    }
    const double = firstDouble(identities);
    if (double !== undefined) return no('ManifestInvalid', `${double} is declared twice.`);
    return {
      synced: true,
      reason: 'LocalDelivery',
      message: 'The committed manifests are valid; local delivery starts nothing.',
    };
  }

  /** Nothing was started that could be unready. */
  async workload(_target: DeliveryTarget): Promise<WorkloadState> {
    return { ready: true, reason: 'LocalDelivery', message: 'Local delivery starts nothing.' };
  }

  /**
   * Only the branch can still hold something, and only an Instance's file is asked about: of a Project or an
   * Organization nothing was created.
   *
   * @throws GitError when the repository cannot be read
   */
  async remains({ organization, project, instance, instanceUid }: DeliveryScope): Promise<Remains | undefined> {
    if (project === undefined || instance === undefined || instanceUid === undefined) return undefined;
    const path = instanceFile(organization, project, instance, instanceUid);
    if ((await this.#reader.read(`${this.#branch}:${path}`)) === undefined) return undefined;
    return { reason: 'WorkloadRemains', message: `${path} is still on the branch.` };
  }

  /** Nothing happens behind our back. */
  onChange(): () => void {
    return () => undefined;
  }

  /** Ends the reading process. */
  close(): Promise<void> {
    return this.#reader.close();
  }

  async #verdict(commit: string, { path, scope }: Part): Promise<Verdict | undefined> {
    const found = await this.#reader.read(`${commit}:${path}`);
    if (found?.type !== (path.endsWith('.yaml') ? 'blob' : 'tree')) return undefined;
    const key = `${found.oid} ${path} ${scope.workloadNamespace}`;
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const verdict =
      found.type === 'blob'
        ? checkManifests(new Map([[path, found.content.toString('utf8')]]), scope)
        : await this.#check(found.content, path, scope);
    keepNewest(this.#verdicts, key, verdict, MAX_VERDICTS);
    return verdict;
  }

  async #check(tree: Buffer, path: string, scope: Scope): Promise<Verdict> {
    const files = new Map<string, string>();
    const problem = await this.#collect(tree, path, files, 0);
    return problem === undefined ? checkManifests(files, scope) : { problem, identities: [] };
  }

  async #collect(tree: Buffer, path: string, files: Map<string, string>, depth: number): Promise<string | undefined> {
    if (depth > MAX_DEPTH) return `${path} is nested too deep`;
    for (const { mode, name, oid } of treeEntries(tree)) {
      const full = `${path}/${name}`;
      // A link or a submodule would read from elsewhere.
      if (mode !== '100644' && mode !== '40000') return `${full} is neither a plain file nor a folder`;
      const object = await this.#reader.read(oid);
      if (object === undefined) throw new GitError('local_failed', `the object of ${full} is missing`);
      if (mode === '100644') files.set(full, object.content.toString('utf8'));
      else {
        const problem = await this.#collect(object.content, full, files, depth + 1);
        if (problem !== undefined) return problem;
      }
    }
    return undefined;
  }
}

function no(reason: string, message: string): DeliveryState {
  return { synced: false, reason, message };
}

function instancePath({ organization, project, instance, instanceUid }: DeliveryTarget): string {
  return instanceFile(organization, project, instance, instanceUid);
}

function parts(target: DeliveryTarget): Part[] {
  const { organization, project, workloadNamespace, instanceUid } = target;
  const shared = { organization, project, workloadNamespace };
  return [
    { path: organizationFolder(organization), scope: { root: 'platform', ...shared } },
    { path: platformFolderOf(organization, project, workloadNamespace), scope: { root: 'platform', ...shared } },
    { path: skeletonFolder(organization, project), scope: { root: 'tenants', ...shared } },
    { path: instancePath(target), scope: { root: 'tenants', ...shared, instanceUid } },
  ];
}
