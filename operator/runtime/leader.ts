import type { Logger } from '../../config/log.ts';
import type { Lease } from '../../crds/kinds.ts';
import { type ResourceStore, StoreError } from '../../crds/store.ts';
import type { Clock } from './clock.ts';
import { type LeaderTimes, type LeaseWish, leaseDocument, leaseEpoch } from './lease.ts';

/** This process may write nothing any more: another leads, or it cannot prove that none does. */
export class Deposed extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'Deposed';
  }
}

/** client-go's times: 5 s lie between the last write of one that hangs and the first of its successor. */
export const LEADER_TIMES: LeaderTimes = { leaseMs: 15_000, renewMs: 10_000, retryMs: 2_000 };
/** Pauses of candidates are up to so much longer, so that they do not all ask at once. Share. */
const JITTER = 0.2;
/** Attempts at a renewal before `renewMs` is over: one that hangs must leave time for another. */
const ATTEMPTS_PER_TERM = 2;

export interface LeaderOptions {
  /** Unguarded: the Lease is what the guard stands on. */
  store: Pick<ResourceStore, 'get' | 'create' | 'apply'>;
  namespace: string;
  name: string;
  /** Unique to this process: a restart is another candidate. */
  identity: string;
  /** Its `now` may jump; then the leader steps down, never the other way round. */
  clock: Clock;
  /** Milliseconds that never go back and go on while the process is stopped, e.g. `performance.now`. */
  monotonic: () => number;
  /** Uniform in [0, 1). */
  random: () => number;
  log: Logger;
  times?: LeaderTimes;
}

export type LeaderState = 'standby' | 'leading' | 'deposed' | 'released';

/** A moment by both clocks. */
interface Stamp {
  monotonic: number;
  wall: number;
}

/**
 * One candidacy of one process for one Lease, as client-go's: at most one term, then the process ends
 * and begins anew. Three things differ: the term is proven at every write and not by a timer alone
 * ({@link assert}), a Lease made from nothing is first sat out, and each term has an epoch that is
 * higher than every one before it. ADR 9.
 */
export class Leader {
  /** Aborted with a {@link Deposed} the moment the term is over. */
  readonly signal: AbortSignal;
  /** Resolves with the epoch once this process leads; rejects with {@link Deposed} when it never will. */
  readonly elected: Promise<number>;
  readonly #options: LeaderOptions;
  readonly #times: LeaderTimes;
  readonly #abort = new AbortController();
  readonly #elected = Promise.withResolvers<number>();
  #state: LeaderState = 'standby';
  #epoch = 0;
  /** The Lease as last written by us; undefined = not ours. */
  #held: Lease | undefined;
  /** The start of the last write that proved the Lease ours. */
  #proof: Stamp = { monotonic: 0, wall: 0 };
  /** Until then another may write who lost a Lease that was deleted. By the monotonic clock. */
  #waitUntil = 0;
  #seen: { version: string; since: number } | undefined;
  #stopped = false;
  #cancelWatchdog: () => void = () => {};
  /** Ends every pause. */
  readonly #wakes = new Set<() => void>();
  #loop: Promise<void> | undefined;

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#times = options.times ?? LEADER_TIMES;
    const { leaseMs, renewMs, retryMs } = this.#times;
    if (!(retryMs < renewMs && renewMs < leaseMs)) throw new RangeError('retryMs < renewMs < leaseMs must hold');
    this.signal = this.#abort.signal;
    this.elected = this.#elected.promise;
    this.elected.catch(() => {});
  }

  get state(): LeaderState {
    return this.#state;
  }

  /** Of this term; 0 before it. */
  get epoch(): number {
    return this.#epoch;
  }

  get identity(): string {
    return this.#options.identity;
  }

  /** The epoch for a call that is about to be made; undefined on a standby. @throws Deposed after the term */
  get fencing(): number | undefined {
    if (this.#state === 'standby') return undefined;
    this.assert();
    return this.#epoch;
  }

  /** Begins the candidacy. */
  start(): this {
    this.#loop ??= this.#run();
    return this;
  }

  /**
   * To be called right before every write: the process may have been stopped since the last timer ran.
   * @throws Deposed
   */
  assert(): void {
    if (this.#state === 'leading') this.#expire();
    if (this.#state !== 'leading') throw this.#reason();
  }

  /** Somebody proved that another leads, e.g. the ledger by `stale_leader`. */
  depose(why: string): Deposed {
    if (this.#state === 'standby' || this.#state === 'leading') {
      const reason = new Deposed(why);
      this.#state = 'deposed';
      this.#abort.abort(reason);
      this.#stop();
      this.#options.log.error({ epoch: this.#epoch, why }, 'this process leads no more and stops');
      this.#elected.reject(reason);
    }
    return this.#reason();
  }

  /** Lets the next term begin above `epoch`: somebody has seen that one, though the Lease has not. Ends this term. */
  async raise(epoch: number): Promise<void> {
    await this.#giveUp(Math.max(epoch, this.#epoch), 'the epoch of the Lease was too low and is raised');
  }

  /**
   * Ends the candidacy or the term. To be called when nothing writes any more: a successor takes over
   * at once. Never rejects.
   */
  async release(): Promise<void> {
    await this.#giveUp(this.#epoch, 'released');
  }

  async #giveUp(epoch: number, why: string): Promise<void> {
    const holds = this.#state === 'standby' || this.#state === 'leading';
    this.#stop();
    if (holds) {
      this.#state = 'released';
      this.#abort.abort(new Deposed(why));
      this.#elected.reject(this.#reason());
    }
    await this.#loop;
    if (!holds || this.#held === undefined) return;
    try {
      await this.#write({ holder: '', epoch, from: this.#held });
    } catch (error) {
      this.#options.log.warn({ err: error }, 'the Lease could not be released; it runs out by itself');
    }
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#bounded(this.#held === undefined ? this.#campaign() : this.#renew());
      } catch (error) {
        this.#options.log.warn({ err: error, state: this.#state }, 'the Lease cannot be read or written');
      }
      const spread = this.#state === 'leading' ? 0 : JITTER * this.#options.random();
      if (!this.#stopped) await this.#sleep(this.#times.retryMs * (1 + spread)).over;
    }
  }

  async #campaign(): Promise<void> {
    const { store } = this.#options;
    const begun = this.#stamp();
    const present = await store.get('Lease', this.#key());
    if (present === undefined) {
      // Perhaps somebody deleted it under a leader, who may write until its own proof is too old.
      this.#waitUntil = begun.monotonic + this.#times.leaseMs;
      this.#take(begun, await this.#write({ holder: this.#options.identity, epoch: 1, from: undefined }));
      return;
    }
    const since = this.#observe(present);
    if (present.spec.holderIdentity === this.#options.identity) return this.#adopt(present);
    const { holderIdentity = '', leaseDurationSeconds = 0 } = present.spec;
    const patience = Math.max(leaseDurationSeconds * 1000, this.#times.leaseMs);
    const free = holderIdentity === '' || begun.monotonic - since >= patience;
    if (!free) return;
    const wish = { holder: this.#options.identity, epoch: leaseEpoch(present) + 1, from: present };
    this.#take(begun, await this.#write(wish));
  }

  /** The reply to our own write was lost: the Lease is ours, which the next renewal proves. */
  #adopt(lease: Lease): Promise<void> {
    this.#held = lease;
    this.#epoch = leaseEpoch(lease);
    return this.#renew();
  }

  #take(begun: Stamp, lease: Lease): void {
    // A late reply: meanwhile it was found, or we have gone.
    if (this.#stopped || this.#held !== undefined) return;
    this.#held = lease;
    this.#proof = begun;
    this.#epoch = leaseEpoch(lease);
    this.#begin();
  }

  #begin(): void {
    if (this.#state !== 'standby' || this.#options.monotonic() < this.#waitUntil) return;
    this.#state = 'leading';
    this.#watchdog();
    if (this.#stopped) return;
    this.#options.log.info({ epoch: this.#epoch, identity: this.#options.identity }, 'this process leads');
    this.#elected.resolve(this.#epoch);
  }

  async #renew(): Promise<void> {
    const begun = this.#stamp();
    const from = this.#held;
    try {
      const lease = await this.#write({ holder: this.#options.identity, epoch: this.#epoch, from });
      // A reply that a younger one has overtaken proves nothing new.
      if (this.#stopped || begun.monotonic < this.#proof.monotonic) return;
      this.#held = lease;
      this.#proof = begun;
      this.#begin();
    } catch (error) {
      if (!(error instanceof StoreError && error.code === 'Conflict')) throw error;
      await this.#reconsider();
    }
  }

  /** The Lease is not as we left it: a reply of ours was lost, somebody annotated it, or it is another's. */
  async #reconsider(): Promise<void> {
    const present = await this.#options.store.get('Lease', this.#key());
    if (this.#stopped) return;
    if (present === undefined) this.depose('The Lease was deleted.');
    else if (present.spec.holderIdentity !== this.#options.identity || leaseEpoch(present) > this.#epoch) {
      this.depose('Another process has taken the Lease.');
    } else this.#held = present;
  }

  /** Ends the term in time even when no renewal ever answers. */
  #watchdog(): void {
    this.#expire();
    if (this.#stopped) return;
    this.#cancelWatchdog = this.#options.clock.after(Math.max(1, this.#times.renewMs - this.#age()), () =>
      this.#watchdog(),
    );
  }

  #expire(): void {
    if (this.#age() < this.#times.renewMs) return;
    this.depose('The Lease could not be renewed in time, or the process stood still.');
  }

  /** By the clock that has moved further: a machine that slept shows it in the wall clock alone. */
  #age(): number {
    const { monotonic, wall } = this.#stamp();
    return Math.max(monotonic - this.#proof.monotonic, wall - this.#proof.wall);
  }

  #stamp(): Stamp {
    return { monotonic: this.#options.monotonic(), wall: this.#options.clock.now() };
  }

  /** Since when the Lease is seen unchanged: the holder's own clock is not asked. */
  #observe({ metadata: { uid, resourceVersion } }: Lease): number {
    const version = `${uid} ${resourceVersion}`;
    if (this.#seen?.version !== version) this.#seen = { version, since: this.#options.monotonic() };
    return this.#seen.since;
  }

  async #write(wish: LeaseWish): Promise<Lease> {
    const { store, clock } = this.#options;
    const desired = leaseDocument(this.#key(), wish, { now: clock.now(), times: this.#times });
    if (wish.from === undefined) return store.create('Lease', desired);
    const { resourceVersion } = wish.from.metadata;
    return store.apply('Lease', desired, { fieldManager: 'gsv-leader', resourceVersion });
  }

  #key() {
    return { namespace: this.#options.namespace, name: this.#options.name };
  }

  /** An attempt that hangs must not keep us from the next; what it still brings about is found by its version. */
  async #bounded(attempt: Promise<void>): Promise<void> {
    const pause = this.#sleep(this.#times.renewMs / ATTEMPTS_PER_TERM);
    try {
      await Promise.race([attempt, pause.over]);
    } finally {
      pause.end();
      attempt.catch(() => {});
    }
  }

  /** `over` resolves after `ms`, at `end`, or when the candidacy ends. */
  #sleep(ms: number): { over: Promise<void>; end: () => void } {
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const cancel = this.#options.clock.after(ms, () => end());
    const end = (): void => {
      cancel();
      this.#wakes.delete(end);
      resolve();
    };
    this.#wakes.add(end);
    return { over, end };
  }

  #stop(): void {
    this.#stopped = true;
    this.#cancelWatchdog();
    for (const wake of [...this.#wakes]) wake();
  }

  #reason(): Deposed {
    if (this.signal.reason instanceof Deposed) return this.signal.reason;
    return new Deposed('This process does not lead.');
  }
}
