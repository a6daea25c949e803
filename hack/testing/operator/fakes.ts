import { createHash } from 'node:crypto';
import type { BlobStore } from '../../../config/artifacts.ts';
import {
  type PolicyRule,
  type RoleBinding,
  type SecretMetadata,
  type SecretNames,
  type SecretsAdmin,
  SecretsError,
  type WriteOptions,
} from '../../../config/secrets.ts';
import type {
  Delivery,
  DeliveryScope,
  DeliveryState,
  DeliveryTarget,
  Remains,
  WorkloadState,
} from '../../../operator/delivery/delivery.ts';
import { GitError } from '../../../operator/git/errors.ts';
import type { Change, Committed } from '../../../operator/git/writer.ts';
import type { GitPort, ProbePort, ProbeReply } from '../../../operator/ports.ts';

/** Git as one map of files, with the writer's promises: owned paths pruned, an equal tree commits nothing. */
export class FakeGit implements GitPort {
  readonly files = new Map<string, string>();
  readonly commits: { commit: string; subject: string; trailers: Readonly<Record<string, string>> }[] = [];
  readonly #touchedBy = new Map<string, string>();
  readonly #forced = new Map<string, string>();
  /** The highest epoch that a leader has claimed. */
  epoch = 0;
  /** Of each commit that a process's own {@link writer} made: the epoch of that process. */
  readonly epochs: number[] = [];
  failure: Error | undefined;
  /** Set: commits even what is there already, as a writer must not. */
  careless = false;
  /** Awaited before a commit is written: lets a test hold one up. */
  gate: (subject: string) => Promise<void> = async () => {};

  async commit(change: Change): Promise<Committed> {
    await this.gate(change.subject);
    return this.#write(change);
  }

  /** Whether `commit` is `revision` or lies behind it: this history is a line. */
  async contains(revision: string, commit: string): Promise<boolean> {
    const at = (id: string) => this.commits.findIndex((each) => each.commit === id);
    return at(commit) >= 0 && at(commit) <= at(revision);
  }

  async remove(removal: Omit<Change, 'files'>): Promise<Committed> {
    return this.#write({ ...removal, files: new Map() });
  }

  async claim(epoch: number): Promise<void> {
    if (this.failure) throw this.failure;
    this.#refuseBelow(epoch);
    if (epoch > this.epoch) this.#append(`Epoch ${epoch} begins`, { 'Gsv-Epoch': String(epoch) });
    this.epoch = epoch;
  }

  /** One process's own writer: it is refused for good once another has claimed a higher epoch, unless it has no fence. */
  writer(fence = true): GitPort {
    let own = 0;
    const write = async (act: () => Promise<Committed>): Promise<Committed> => {
      if (fence) this.#refuseBelow(own);
      const written = await act();
      if (written.changed) this.epochs.push(own);
      return written;
    };
    return {
      claim: async (epoch) => {
        await this.claim(epoch);
        own = epoch;
      },
      commit: (change) => write(() => this.commit(change)),
      remove: (removal) => write(() => this.remove(removal)),
      contains: (revision, commit) => this.contains(revision, commit),
    };
  }

  /** Files whose content names the uid. */
  mentioning(uid: string): string[] {
    return [...this.files].filter(([, content]) => content.includes(uid)).map(([path]) => path);
  }

  #refuseBelow(epoch: number): void {
    if (epoch < this.epoch) throw new GitError('superseded', `epoch ${this.epoch} leads on the branch`);
  }

  #append(subject: string, trailers: Readonly<Record<string, string>>): string {
    const commit = createHash('sha1').update(`${this.commits.length}`).digest('hex');
    this.commits.push({ commit, subject, trailers });
    return commit;
  }

  #write({ owns, files, subject, trailers, force }: Change): Committed {
    if (this.failure) throw this.failure;
    const owned = (path: string) => owns.some((root) => path === root || path.startsWith(`${root}/`));
    for (const path of files.keys()) if (!owned(path)) throw new Error(`${path} is not owned`);
    const stale = [...this.files.keys()].filter((path) => owned(path) && !files.has(path));
    const fresh = [...files].filter(([path, content]) => this.files.get(path) !== content);
    if (stale.length === 0 && fresh.length === 0 && !this.careless) {
      const again = force === undefined ? undefined : this.#force(force, subject, trailers);
      if (again !== undefined) return again;
      const touched = [...files.keys()].map((path) => this.#touchedBy.get(path)).find((each) => each !== undefined);
      return { commit: touched ?? this.#tip(), changed: false };
    }
    const commit = this.#append(subject, trailers);
    if (force !== undefined) this.#forced.set(force, commit);
    for (const path of stale) this.files.delete(path);
    for (const [path, content] of files) this.files.set(path, content);
    for (const path of files.keys()) this.#touchedBy.set(path, commit);
    return { commit, changed: true };
  }

  /** One commit for each id, whoever asks. */
  #force(id: string, subject: string, trailers: Readonly<Record<string, string>>): Committed {
    const made = this.#forced.get(id);
    if (made !== undefined) return { commit: made, changed: false };
    const commit = this.#append(subject, { ...trailers, 'Gsv-Retry-Of': id });
    this.#forced.set(id, commit);
    return { commit, changed: true };
  }

  #tip(): string {
    return this.commits.at(-1)?.commit ?? createHash('sha1').update('root').digest('hex');
  }
}

/** A delivery that has applied every commit, unless a test holds it. */
export class FakeDelivery implements Delivery {
  readonly #git: FakeGit;
  refreshed = 0;
  /** Set: not synced, for this reason. */
  obstacle: Omit<DeliveryState, 'synced'> | undefined;
  /** Set: applied, but not working, for this reason. */
  unready: { reason: string; message: string } | undefined;
  /** Set: objects stay after their removal. */
  stuck = false;
  /** Set: it is away. */
  failure: Error | undefined;

  constructor(git: FakeGit) {
    this.#git = git;
  }

  async refresh(): Promise<void> {
    this.refreshed += 1;
  }

  async state({ commit, instanceUid }: DeliveryTarget): Promise<DeliveryState> {
    if (this.failure) throw this.failure;
    if (this.obstacle) return { synced: false, ...this.obstacle };
    if (!this.#git.commits.some((each) => each.commit === commit))
      return { synced: false, reason: 'CommitNotFound', message: 'The commit is not there.' };
    if (this.#git.mentioning(instanceUid).length === 0)
      return { synced: false, reason: 'ManifestsMissing', message: 'Nothing of it is on the branch.' };
    return { synced: true, reason: 'LocalDelivery', message: 'Checked out and valid; nothing was started.' };
  }

  async workload(): Promise<WorkloadState> {
    if (this.failure) throw this.failure;
    return this.unready
      ? { ready: false, ...this.unready }
      : { ready: true, reason: 'Succeeded', message: 'It works.' };
  }

  async remains({ instanceUid }: DeliveryScope): Promise<Remains | undefined> {
    if (this.failure) throw this.failure;
    const there = instanceUid !== undefined && this.#git.mentioning(instanceUid).length > 0;
    if (!this.stuck && !there) return undefined;
    return { reason: 'WorkloadRemains', message: 'Objects of the workload are still there.' };
  }

  onChange(): () => void {
    return () => undefined;
  }
}

/** A runner that is content with every Instance, unless a test says otherwise. */
export class FakeProbe implements ProbePort {
  calls = 0;
  reply: (organization: string, instance: string) => ProbeReply;
  readonly #content: (organization: string, instance: string) => ProbeReply;

  constructor(content: (organization: string, instance: string) => ProbeReply) {
    this.#content = content;
    this.reply = content;
  }

  /** Content again. */
  restore(): void {
    this.reply = this.#content;
  }

  async probe(organization: string, instance: string): Promise<ProbeReply> {
    this.calls += 1;
    return this.reply(organization, instance);
  }
}

/** Secrets in memory, with versions and check-and-set as in Vault. */
export class FakeSecrets implements SecretsAdmin {
  readonly policies = new Map<string, PolicyRule[]>();
  readonly values = new Map<string, { version: number; data: Record<string, string> }>();
  readonly roles = new Map<string, RoleBinding>();
  /** `path@version` of each destroyed version, in order. */
  readonly destroyed: string[] = [];
  readonly #times = new Map<string, string>();
  unavailable = false;
  /** RFC 3339 time that writes are stamped with. */
  now = () => '2026-01-01T00:00:00Z';

  async putRole(name: string, binding: RoleBinding): Promise<void> {
    this.#require();
    this.roles.set(name, binding);
  }

  async deleteRole(name: string): Promise<void> {
    this.#require();
    this.roles.delete(name);
  }

  async names(): Promise<SecretNames> {
    this.#require();
    const trees = [...this.values.keys()].map((path) => path.split('/').slice(0, 3).join('/'));
    return { policies: [...this.policies.keys()], roles: [...this.roles.keys()], trees: [...new Set(trees)] };
  }

  async putPolicy(name: string, rules: PolicyRule[]): Promise<void> {
    this.#require();
    this.policies.set(name, rules);
  }

  async deletePolicy(name: string): Promise<void> {
    this.#require();
    this.policies.delete(name);
  }

  async write(path: string, data: Record<string, string>, { cas }: WriteOptions = {}): Promise<SecretMetadata> {
    this.#require();
    const version = this.values.get(path)?.version ?? 0;
    if (cas !== undefined && cas !== version) throw new SecretsError('cas_mismatch', `${path} has version ${version}`);
    this.values.set(path, { version: version + 1, data });
    this.#times.set(path, this.now());
    return { version: version + 1, updatedTime: this.now() };
  }

  async metadata(path: string): Promise<SecretMetadata | undefined> {
    this.#require();
    const present = this.values.get(path);
    return present && { version: present.version, updatedTime: this.#times.get(path) ?? this.now() };
  }

  async destroyVersions(path: string, versions: readonly number[]): Promise<void> {
    this.#require();
    for (const version of versions) {
      if (version >= (this.values.get(path)?.version ?? 0)) throw new Error(`${path} is still at ${version}`);
      if (!this.destroyed.includes(`${path}@${version}`)) this.destroyed.push(`${path}@${version}`);
    }
  }

  async destroyTree(prefix: string): Promise<void> {
    this.#require();
    for (const path of [...this.values.keys()])
      if (path === prefix || path.startsWith(`${prefix}/`)) this.values.delete(path);
  }

  #require(): void {
    if (this.unavailable) throw new SecretsError('unavailable', 'the store is away');
  }
}

/** Blobs in memory. */
export class FakeBlobs implements BlobStore {
  readonly blobs = new Map<string, Uint8Array>();

  async put(key: string, bytes: Uint8Array): Promise<void> {
    this.blobs.set(key, bytes);
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.blobs.get(key);
  }

  async delete(key: string): Promise<void> {
    this.blobs.delete(key);
  }
}
