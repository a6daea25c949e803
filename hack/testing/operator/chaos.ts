import { SecretsError } from '../../../config/secrets.ts';
import { StoreError } from '../../../crds/store.ts';
import { LedgerError } from '../../../ledger/client.ts';
import { GitError } from '../../../operator/git/errors.ts';
import { FaultyStore, seeded } from '../faults.ts';
import { aroundCalls, type Doors } from './crash.ts';

/** What can go wrong with a call. */
export const FAULTS = ['refused', 'replyLost', 'conflict', 'diedBefore', 'diedAfter', 'unreadable'] as const;
type Fault = (typeof FAULTS)[number];

/** How often each fault has fired. */
export type ChaosCounts = Record<Fault | 'staleReads' | 'droppedEvents' | 'silentEvents' | 'relists', number>;

export interface ChaosOptions {
  seed: number;
  /** Share of calls that something happens to, 0 to 1. */
  rate: number;
}

/** Reads that answer, whatever happens: without events nothing would be told, and nothing learned. */
const ALWAYS_READABLE = new Set(['ledger.events', 'store.close', 'blobs.get']);

/**
 * One operator process among outside systems that fail now and then, each in its own words: a call refused
 * before it did anything, its reply lost after it did, a write that loses a race, a read that is not answered,
 * a process that dies before or after an effect; and a store whose watches lag, miss events and list again.
 */
export class Chaos {
  readonly fired: ChaosCounts = {
    ...(Object.fromEntries(FAULTS.map((fault) => [fault, 0])) as Record<Fault, number>),
    staleReads: 0,
    droppedEvents: 0,
    silentEvents: 0,
    relists: 0,
  };
  dead = false;
  readonly #random: () => number;
  readonly #options: ChaosOptions;
  #store: FaultyStore | undefined;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#random = seeded(options.seed);
  }

  wrap = (doors: Doors): Doors => {
    const { seed, rate } = this.#options;
    const faults = { staleReads: rate, droppedEvents: rate };
    this.#store = new FaultyStore(doors.store, { seed, ...faults });
    return aroundCalls({ ...doors, store: this.#store }, (effect, run, name) => this.#call(effect, run, name));
  };

  /** Its watches tell nothing any more, until they list again. */
  silence(): void {
    this.#store?.silence();
  }

  /** What a reflector does after a silence, after 410 Gone, or by itself now and then. */
  relist(): void {
    this.fired.relists += 1;
    this.#store?.relist();
  }

  /** What has fired so far, watches included. */
  figures(): ChaosCounts {
    const { staleReads = 0, droppedEvents = 0, silentEvents = 0 } = this.#store?.fired ?? {};
    return { ...this.fired, staleReads, droppedEvents, silentEvents };
  }

  async #call(effect: string | undefined, run: () => unknown, name: string): Promise<unknown> {
    if (this.dead) throw new Error('the process is dead');
    if (ALWAYS_READABLE.has(name) || this.#random() >= this.#options.rate) return run();
    if (effect === undefined) return this.#fail('unreadable', name);
    const choices: Fault[] = ['refused', 'replyLost', 'diedBefore', 'diedAfter'];
    if (name.startsWith('store.')) choices.push('conflict');
    const fault = choices[Math.floor(this.#random() * choices.length)] ?? 'refused';
    if (fault === 'replyLost' || fault === 'diedAfter') await run();
    this.dead = fault === 'diedBefore' || fault === 'diedAfter';
    return this.#fail(fault, name);
  }

  #fail(fault: Fault, name: string): never {
    this.fired[fault] += 1;
    if (this.dead) throw new Error('the process dies here');
    throw errorOf(name.split('.')[0] ?? '', fault);
  }
}

/** As the adapter of that door would say it. */
function errorOf(door: string, fault: Fault): Error {
  if (fault === 'conflict') return new StoreError('Conflict', 'the object has moved on');
  switch (door) {
    case 'store':
      return new StoreError('Unavailable', 'the API server does not answer');
    case 'ledger':
      return new LedgerError(0, 'ledger_unavailable', 'the ledger does not answer', {});
    case 'secrets':
      return new SecretsError('unavailable', 'the secret store does not answer');
    case 'git':
      return new GitError('remote_unreachable', 'the remote does not answer');
    default:
      return new Error(`${door} does not answer`);
  }
}
