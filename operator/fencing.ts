import type { Logger } from '../config/log.ts';
import type { Kind } from '../crds/kinds.ts';
import type { ResourceCache } from '../crds/store.ts';
import type { OrderLedger } from './orders/worker.ts';
import type { Ports } from './ports.ts';
import { platformRootChange } from './render/render.ts';
import type { Clock } from './runtime/clock.ts';
import { guarded, isSuperseded, type Term } from './runtime/guard.ts';
import type { Leader } from './runtime/leader.ts';

/** Doors through which the operator can change something outside. */
type Doors = Pick<Ports, 'store' | 'ledger' | 'secrets' | 'git' | 'delivery'>;

/** What may be called by one who does not lead; everything else is a write. */
const READS: { readonly [D in keyof Doors]: ReadonlySet<keyof Doors[D] | 'close'> } = {
  store: new Set(['get', 'list', 'watch', 'close']),
  ledger: new Set(['getWallet', 'findFulfilments', 'listHolds', 'events', 'close']),
  secrets: new Set(['metadata', 'names', 'close']),
  git: new Set(['close']),
  delivery: new Set(['state', 'workload', 'remains', 'onChange', 'close']),
};

/** The doors as a leader may use them: once it is deposed every write ends with `Deposed` and reaches nobody. */
export function fenced<D extends Doors>(doors: D, term: Term): D {
  const out: Record<string, unknown> = { ...doors };
  for (const [name, reads] of Object.entries(READS)) {
    out[name] = guarded(doors[name as keyof Doors], reads, term);
  }
  return out as D;
}

/** The same for what the orders worker writes to. */
export function fencedStore<S extends Ports['store']>(store: S, term: Term): S {
  return guarded(store, READS.store, term);
}

export function fencedLedger<L extends OrderLedger>(ledger: L, term: Term): L {
  return guarded(ledger, READS.ledger, term);
}

/** The ledger's ids count from 1. */
const NO_FULFILMENT = 'fulfilment_0';
/** Between two attempts at taking over; the remote or the ledger is away. Milliseconds. */
const RETRY_MS = 2_000;

export interface Takeover {
  leader: Leader;
  /** Unguarded. */
  git: Pick<Ports['git'], 'claim' | 'commit'>;
  ledger: Pick<Ports['ledger'], 'claimFulfilment'>;
  clock: Clock;
  log: Logger;
}

/**
 * Waits until this process leads, then shows the new epoch to those who refuse a lower one, Git first:
 * what the ledger has seen is never higher than what is in Git. Only then may anything else be written.
 * @throws Deposed
 */
export async function takeOver({ leader, git, ledger, clock, log }: Takeover): Promise<void> {
  const epoch = await leader.elected;
  for (const [name, show] of [
    ['git', () => git.claim(epoch)],
    ['ledger', () => announce(ledger)],
    // Not an epoch, but also to be there before the first Organization comes or the last one goes.
    ['git', () => git.commit(platformRootChange())],
  ] as const) {
    for (;;) {
      leader.assert();
      try {
        await show();
        break;
      } catch (error) {
        if (isSuperseded(error)) {
          await leader.raise(higherThan(epoch, error));
          leader.assert();
        }
        log.warn({ err: error, epoch, door: name }, 'taking over: the epoch cannot be shown yet');
        await pause(clock, leader.signal);
      }
    }
  }
  leader.assert();
}

/**
 * Waits until the caches know all that happened before this term: what the predecessor has ended and our watch, fallen
 * silent, has not told would be begun anew. To be called when nobody before us can write any more.
 *
 * @throws Deposed
 */
export async function lookAgain(
  caches: readonly Pick<ResourceCache<Kind>, 'refresh'>[],
  leader: Leader,
): Promise<void> {
  const over = new Promise<void>((resolve) => leader.signal.addEventListener('abort', () => resolve()));
  await Promise.race([Promise.all(caches.map((cache) => cache.refresh())), over]);
  leader.assert();
}

/** Asks for a fulfilment that cannot be: the ledger looks at the epoch of the call, and keeps it, before the 404. */
async function announce(ledger: Takeover['ledger']): Promise<void> {
  try {
    await ledger.claimFulfilment(NO_FULFILMENT, { instanceUid: 'epoch' });
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'fulfilment_not_found') throw error;
  }
}

/** The Lease was lost and made anew: others remember a higher epoch. Where they do not say which, doubling finds it. */
function higherThan(epoch: number, error: unknown): number {
  const { epoch: seen } = error as { epoch?: unknown };
  return typeof seen === 'number' && seen >= epoch ? seen : epoch * 2;
}

function pause(clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const cancel = clock.after(RETRY_MS, done);
    function done(): void {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
