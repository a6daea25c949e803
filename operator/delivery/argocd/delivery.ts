import type { Application } from '../../../crds/kinds.ts';
import { type ResourceCache, type ResourceStore, StoreError } from '../../../crds/store.ts';
import { rootApplicationName } from '../../render/render.ts';
import type {
  Delivery,
  DeliveryEvent,
  DeliveryScope,
  DeliveryState,
  DeliveryTarget,
  Remains,
  WorkloadState,
} from '../delivery.ts';
import { applicationState, comparedRevision, givenUp, revisionsOf } from './application-state.ts';
import { errorCondition } from './cause.ts';
import { DeliveryEvents } from './events.ts';
import { Exhaustion } from './exhaustion.ts';
import { Refresher } from './refresher.ts';
import { type ApplicationOfCommit, platformRemains, workloadRemains } from './remains.ts';
import { Stalls } from './stall.ts';
import { workloadState } from './workload-state.ts';

/** Pairs of a revision and a commit that it contains: history does not change, so each is asked once. */
const MAX_KNOWN = 50_000;
/** Of an Application in error Argo CD knows all that a hint could tell it, but some errors only go with one. Milliseconds. */
const ERROR_AGAIN_AFTER_MS = 30_000;
/** What every object of ours carries; clusters hold many Deployments of others. */
const OURS = { 'app.kubernetes.io/part-of': 'gsv-agent-store' };
const UID_LABEL = 'store.gsv.dev/instance-uid';
const COMMIT = /^[0-9a-f]{40}$/;

/** Which commits lie behind which, asked of our own repository. */
export interface History {
  /** Whether `commit` is `revision` or lies behind it; false for a revision that was not fetched yet. */
  contains(revision: string, commit: string): Promise<boolean>;
}

export interface ArgoDeliveryOptions {
  store: ResourceStore;
  history: History;
  /** Where Applications live. */
  namespace: string;
  /** Milliseconds since the epoch. */
  now: () => number;
}

/**
 * Delivery by Argo CD. All that we write of others are hints, by the refresh annotation, and the end of operations that
 * would never end; answers are read from the Application and from the live objects that carry the Instance's uid. The
 * rules are in docs/delivery.md.
 */
export class ArgoDelivery implements Delivery {
  readonly #store: ResourceStore;
  readonly #history: History;
  readonly #namespace: string;
  readonly #refresher: Refresher;
  readonly #exhaustion: Exhaustion;
  readonly #stalls: Stalls;
  readonly #applications: ResourceCache<'Application'>;
  readonly #events: DeliveryEvents;
  readonly #contained = new Set<string>();
  #installed = false;

  constructor({ store, history, namespace, now }: ArgoDeliveryOptions) {
    this.#store = store;
    this.#history = history;
    this.#namespace = namespace;
    this.#refresher = new Refresher(store, now);
    this.#exhaustion = new Exhaustion(now);
    this.#stalls = new Stalls(store, now);
    this.#applications = store.watch('Application', { namespace });
    this.#events = new DeliveryEvents(
      this.#applications,
      store.watch('ExternalSecret', { labels: OURS }),
      store.watch('Deployment', { labels: OURS }),
    );
    this.#applications.synced.then(
      () => {
        this.#installed = true;
      },
      () => undefined,
    );
  }

  /** The Project's Application where it is there, else the root that has to create it; both for a Project as a whole. */
  async refresh(scope: DeliveryScope): Promise<void> {
    for (const application of await this.#concerned(scope)) {
      const { status } = application;
      if (await this.#stalls.end(application)) continue;
      const told = await this.#hasCompared(application, scope.commit);
      if (told && errorCondition(status?.conditions) === undefined) continue;
      await this.#refresher.ask(application, scope.commit, told ? ERROR_AGAIN_AFTER_MS : undefined);
    }
  }

  async state(target: DeliveryTarget): Promise<DeliveryState> {
    const application = await this.#application(target.workloadNamespace);
    if (application === undefined) return this.#missing(target);
    const view = await this.#view(application, target.commit);
    const state = applicationState(application, {
      ...target,
      contains: (revision) => view?.contains(revision) ?? false,
    });
    const { name } = application.metadata;
    const operation = application.status?.operationState;
    if (operation?.phase === 'Succeeded') this.#exhaustion.over(name);
    const missing = operation?.phase === 'Running' && !state.synced ? this.#stalls.on(name) : undefined;
    if (missing !== undefined)
      return no(
        'SyncStalled',
        `Argo CD waits for ${missing.kind} ${missing.name}, which is not there any more; its operation will be ended.`,
      );
    if (state.exhausted && !this.#exhaustion.isDue(name, state.revision ?? target.commit)) {
      const { exhausted: _, revision: __, ...waiting } = state;
      return waiting;
    }
    return state;
  }

  async workload({ workloadNamespace, instanceUid, objects }: DeliveryTarget): Promise<WorkloadState> {
    const declares = (kind: string) => objects === undefined || objects.some((object) => object.kind === kind);
    // Read live: what was applied a moment ago is not in a cache yet.
    const [deployments, externalSecrets] = await Promise.all([
      declares('Deployment') ? this.#own('Deployment', workloadNamespace, instanceUid) : [],
      declares('ExternalSecret') ? this.#own('ExternalSecret', workloadNamespace, instanceUid) : [],
    ]);
    return workloadState({ ...(objects === undefined ? {} : { objects }), externalSecrets, deployments });
  }

  async remains(scope: DeliveryScope): Promise<Remains | undefined> {
    const { instance, instanceUid, workloadNamespace = '' } = scope;
    const application = await this.#application(workloadNamespace);
    if (instance === undefined || instanceUid === undefined) {
      const root = await this.#root(scope);
      const namespace =
        workloadNamespace === '' ? undefined : await this.#store.get('Namespace', { name: workloadNamespace });
      const view = await this.#view(root, scope.commit);
      return this.#withGivenUp(platformRemains({ scope, root: view, application, namespace }), view);
    }
    if (workloadNamespace === '') return undefined;
    const live = [
      ...(await this.#own('Deployment', workloadNamespace, instanceUid)),
      ...(await this.#own('ExternalSecret', workloadNamespace, instanceUid)),
    ];
    const view = await this.#view(application, scope.commit);
    return this.#withGivenUp(workloadRemains({ instance, workloadNamespace, live, view }), view);
  }

  /** A removal that was refused until the retries were used up is not tried again, as any other commit. */
  #withGivenUp(left: Remains | undefined, view: ApplicationOfCommit | undefined): Remains | undefined {
    if (left === undefined || view === undefined) return left;
    const { metadata, status } = view.application;
    if (status?.operationState?.phase === 'Succeeded') this.#exhaustion.over(metadata.name);
    const revision = givenUp(view.application, view.contains);
    return revision !== undefined && this.#exhaustion.isDue(metadata.name, revision)
      ? { ...left, givenUp: revision }
      : left;
  }

  onChange(listener: (event: DeliveryEvent) => void): () => void {
    return this.#events.onChange(listener);
  }

  /** The store that it reads is closed by its owner. */
  async close(): Promise<void> {}

  async #concerned(scope: DeliveryScope): Promise<Application[]> {
    const own = scope.project === undefined ? undefined : await this.#application(scope.workloadNamespace);
    const root = scope.instance === undefined || own === undefined ? await this.#root(scope) : undefined;
    return [root, own].filter((application) => application !== undefined);
  }

  /** Why there is no Application for the target. */
  async #missing({ organization, workloadNamespace }: DeliveryTarget): Promise<DeliveryState> {
    if (!this.#installed && (await this.#isUnknownKind()))
      return no('ArgoCdMissing', 'The API server does not know Applications: Argo CD is not installed.');
    const name = rootApplicationName(organization);
    const root = await this.#application(name);
    if (root === undefined)
      return no('RootApplicationMissing', `There is no Application ${name}, which has to create the Project’s.`);
    const error = errorCondition(root.status?.conditions);
    if (error !== undefined) return no(error.reason, `Application ${name}: ${error.message}`);
    return no('ApplicationMissing', `Application ${name} has not created ${workloadNamespace} yet.`);
  }

  async #isUnknownKind(): Promise<boolean> {
    return this.#store.list('Application', { namespace: this.#namespace }).then(
      () => false,
      (error: unknown) => isUnavailable(error),
    );
  }

  #root({ organization }: DeliveryScope): Promise<Application | undefined> {
    return this.#application(rootApplicationName(organization));
  }

  /** From the cache, which knows what is there; that something is not there is asked live. */
  async #application(name: string | undefined): Promise<Application | undefined> {
    if (name === undefined || name === '') return undefined;
    const key = { namespace: this.#namespace, name };
    const cached = this.#applications.get(key);
    if (cached !== undefined) return cached;
    return this.#store.get('Application', key).catch((error: unknown) => {
      // Before the first list has come, this is also what a cluster without Argo CD answers.
      if (!this.#installed && isUnavailable(error)) return undefined;
      throw error;
    });
  }

  /** Live objects of a kind with the Instance's uid. */
  async #own<K extends 'Deployment' | 'ExternalSecret'>(kind: K, namespace: string, uid: string) {
    const selection = { namespace, labels: { [UID_LABEL]: uid } };
    return this.#store.list(kind, selection).catch(async (error: unknown) => {
      // A cluster without External Secrets has none; asking for another kind tells it from a cluster that is away.
      if (kind !== 'ExternalSecret' || !isUnavailable(error)) throw error;
      await this.#store.list('Deployment', selection);
      return [];
    });
  }

  async #hasCompared(application: Application, commit: string): Promise<boolean> {
    const revision = comparedRevision(application.status);
    return revision !== undefined && (await this.#contains(revision, commit));
  }

  /** An Application together with which of its revisions contain the commit. */
  async #view(application: Application | undefined, commit: string): Promise<ApplicationOfCommit | undefined> {
    if (application === undefined) return undefined;
    const containing = new Set<string>();
    for (const revision of revisionsOf(application))
      if (await this.#contains(revision, commit)) containing.add(revision);
    return { application, contains: (revision) => revision !== undefined && containing.has(revision) };
  }

  async #contains(revision: string, commit: string): Promise<boolean> {
    if (revision === commit) return true;
    if (!COMMIT.test(revision) || !COMMIT.test(commit)) return false;
    const pair = `${revision} ${commit}`;
    if (this.#contained.has(pair)) return true;
    if (!(await this.#history.contains(revision, commit))) return false;
    if (this.#contained.size >= MAX_KNOWN) this.#contained.clear();
    this.#contained.add(pair);
    return true;
  }
}

function isUnavailable(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'Unavailable';
}

function no(reason: string, message: string): DeliveryState {
  return { synced: false, reason, message };
}
