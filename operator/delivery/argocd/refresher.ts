import type { Application } from '../../../crds/kinds.ts';
import { type Key, keyText, type ResourceStore, StoreError } from '../../../crds/store.ts';
import { keepNewest } from '../newest.ts';

/** Argo CD takes the annotation off when it begins to look; it reads the branch after that. */
export const REFRESH_ANNOTATION = 'argocd.argoproj.io/refresh';

/** Argo CD answers a hint within half a second; one that was lost is repeated this much later. Milliseconds. */
const AGAIN_AFTER_MS = 5_000;
/** Applications whose last hint is remembered: more than one Argo CD serves. */
const MAX_REMEMBERED = 20_000;

/** Commits of one Application that are remembered as asked for; then all are asked for once more. */
const MAX_COMMITS = 1_000;

interface Asked {
  /** Of the last hint, for whichever commit. */
  atMs: number;
  commits: Set<string>;
}

/**
 * Tells Argo CD to look at an Application now, and never storms: a commit that it was not told of is told at
 * once; beyond that an Application gets one hint in {@link AGAIN_AFTER_MS}, however many Instances wait for it,
 * and none while the last one is still unread. Callers at the same time share one.
 */
export class Refresher {
  readonly #store: Pick<ResourceStore, 'annotate'>;
  readonly #now: () => number;
  readonly #asked = new Map<string, Asked>();
  readonly #asking = new Map<string, Promise<void>>();

  constructor(store: Pick<ResourceStore, 'annotate'>, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /**
   * @param againAfterMs how long a hint for a commit that was told already has to wait
   * @throws StoreError when the API server refuses; an Application that has gone is none
   */
  async ask(application: Application, commit: string, againAfterMs = AGAIN_AFTER_MS): Promise<void> {
    const { metadata } = application;
    if (metadata.annotations?.[REFRESH_ANNOTATION] !== undefined) return;
    const key = keyOf(application);
    const name = keyText(key);
    const last = this.#asked.get(name);
    if (last?.commits.has(commit) && this.#now() - last.atMs < againAfterMs) return;
    const running = this.#asking.get(name);
    // A hint that is on its way is read after it has arrived, and the commit is on the branch already.
    if (running !== undefined) return running;
    const asking = this.#annotate(key).finally(() => this.#asking.delete(name));
    this.#asking.set(name, asking);
    await asking;
    this.#remember(name, commit);
  }

  async #annotate(key: Key): Promise<void> {
    try {
      await this.#store.annotate('Application', key, { [REFRESH_ANNOTATION]: 'normal' });
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== 'NotFound') throw error;
    }
  }

  #remember(name: string, commit: string): void {
    const commits = this.#asked.get(name)?.commits ?? new Set();
    if (commits.size >= MAX_COMMITS) commits.clear();
    keepNewest(this.#asked, name, { atMs: this.#now(), commits: commits.add(commit) }, MAX_REMEMBERED);
  }
}

function keyOf({ metadata: { namespace, name } }: Application): Key {
  return namespace === undefined ? { name } : { namespace, name };
}
