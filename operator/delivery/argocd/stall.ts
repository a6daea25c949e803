import type { ApplicationResource } from '../../../crds/foreign.ts';
import type { Application } from '../../../crds/kinds.ts';
import { type ResourceStore, StoreError } from '../../../crds/store.ts';
import { keepNewest } from '../newest.ts';

/** Far longer than Argo CD takes to see what it has just applied itself. Milliseconds. */
const STALLED_AFTER_MS = 60_000;
/** Argo CD sees within a second what it has applied; before, nothing is said. Milliseconds. */
const SHOWN_AFTER_MS = 5_000;
/** Applications that may be in it at once; forgetting one lets it wait for another minute. */
const MAX_REMEMBERED = 10_000;

interface Wait {
  /** Operation, attempt and object. */
  of: string;
  object: ApplicationResource;
  sinceMs: number;
  /** The API server was asked, and does not have the object. */
  gone: boolean;
}

/**
 * Operations of Argo CD that never end. Between two waves it waits for what it has applied to become healthy, and it
 * asks only what is there: an object that somebody removes in this moment is waited for without end, and while an
 * operation runs there is no other, of any commit (seen in Argo CD 3.2.11, `refusals.real.ts`; gitops-engine's
 * `sync_context.go` looks at running tasks "with a live resource" only).
 */
export class Stalls {
  readonly #store: Pick<ResourceStore, 'get' | 'list' | 'terminateOperation'>;
  readonly #now: () => number;
  readonly #waits = new Map<string, Wait>();

  constructor(store: Pick<ResourceStore, 'get' | 'list' | 'terminateOperation'>, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /**
   * Ends the operation once it has waited for something that is gone for {@link STALLED_AFTER_MS}. The commit
   * counts as given up then, and is made anew.
   *
   * @returns whether it was asked to end
   * @throws StoreError when the API server refuses; an Application that has changed meanwhile is looked at again later
   */
  async end({ metadata, status, operation }: Application): Promise<boolean> {
    const { name } = metadata;
    const missing = operation === undefined ? undefined : waitedFor(status);
    if (missing === undefined) {
      this.#waits.delete(name);
      return false;
    }
    const { startedAt, retryCount } = status?.operationState ?? {};
    const of = [startedAt, retryCount, missing.kind, missing.name].join(' ');
    const wait = this.#waitOf(name, of, missing);
    const waitedMs = this.#now() - wait.sinceMs;
    if (waitedMs < SHOWN_AFTER_MS) return false;
    wait.gone = !(await this.#isThere(missing));
    if (!wait.gone || waitedMs < STALLED_AFTER_MS) return false;
    try {
      await this.#store.terminateOperation('Application', metadata, metadata);
    } catch (error) {
      if (!(error instanceof StoreError) || !['Conflict', 'NotFound'].includes(error.code)) throw error;
    }
    return true;
  }

  /** What the operation of this Application waits for in vain, once that is sure. */
  on(name: string): ApplicationResource | undefined {
    const wait = this.#waits.get(name);
    return wait?.gone ? wait.object : undefined;
  }

  #waitOf(name: string, of: string, object: ApplicationResource): Wait {
    const known = this.#waits.get(name);
    if (known?.of === of) return known;
    const wait: Wait = { of, object, sinceMs: this.#now(), gone: false };
    keepNewest(this.#waits, name, wait, MAX_REMEMBERED);
    return wait;
  }

  /**
   * These may be there, out of sync and not healthy yet for as long as they like; of others Argo CD asks no health, so
   * they are gone. Those of a namespace are listed, because the operator has the right to that alone.
   */
  async #isThere({ kind, name, namespace = '' }: ApplicationResource): Promise<boolean> {
    if (kind === 'Application') return (await this.#store.get(kind, { namespace, name })) !== undefined;
    if (kind !== 'Deployment' && kind !== 'ExternalSecret') return false;
    const live = await this.#store.list<'Deployment' | 'ExternalSecret'>(kind, { namespace });
    return live.some(({ metadata }) => metadata.name === name);
  }
}

/** What the running operation has applied and waits for, while the comparison says that it is not so. */
function waitedFor(status: Application['status']): ApplicationResource | undefined {
  const operation = status?.operationState;
  if (operation?.phase !== 'Running' || operation.finishedAt !== undefined) return undefined;
  const applied = (operation.syncResult?.resources ?? []).filter(
    ({ hookPhase, status: result }) => hookPhase === 'Running' && result === 'Synced',
  );
  const differing = (status?.resources ?? []).filter((entry) => entry.status === 'OutOfSync');
  return applied.find((one) => differing.some((other) => isSame(one, other)));
}

function isSame(one: ApplicationResource, other: ApplicationResource): boolean {
  const namesOf = ({ group = '', kind, namespace = '', name }: ApplicationResource) => [group, kind, namespace, name];
  return String(namesOf(one)) === String(namesOf(other));
}
