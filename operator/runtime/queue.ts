import type { Clock } from './clock.ts';

export interface QueueOptions {
  clock: Clock;
  /** Uniform in [0, 1). */
  random: () => number;
  /** Delay before the first retry. */
  backoffBaseMs?: number;
  /** Longest delay between retries. */
  backoffCapMs?: number;
  /** Most keys that wait at once; see {@link WorkQueue.add}. */
  limit?: number;
  /** True for a key that somebody waits for; it overtakes those that are only looked at again. Asked when it is added. */
  urgent?: (key: string) => boolean;
  /** Called when keys were refused and the queue has since run empty: the owner lists again. */
  onRoom?: () => void;
}

/** 0.2 s: a lost race or a restarted neighbour is back by then. */
const BACKOFF_BASE_MS = 200;
/** 2 min: long outages cost little, and recovery is noticed well within an operator's patience. */
const BACKOFF_CAP_MS = 120_000;
/** Ten times the Instances that one leader is built for; beyond it memory is better protected than served. */
const QUEUE_LIMIT = 100_000;

/** So many urgent keys in a row, then one of the others: nobody who keeps changing an object starves the rest. */
const URGENT_IN_A_ROW = 4;

/**
 * A queue of keys for level-triggered work: a key waits at most once, is handed to one taker at a
 * time, and a key that arrives while it is being worked on comes again afterwards.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #backoffBaseMs: number;
  readonly #backoffCapMs: number;
  readonly #limit: number;
  readonly #onRoom: () => void;
  readonly #isUrgent: (key: string) => boolean;
  readonly #urgent = new Set<string>();
  readonly #ready = new Set<string>();
  readonly #inFlight = new Set<string>();
  readonly #dirty = new Set<string>();
  readonly #delayed = new Map<string, { dueAt: number; cancel: () => void }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #drained: (() => void)[] = [];
  #stopped = false;
  #refused = false;
  #inARow = 0;

  constructor(options: QueueOptions) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#backoffBaseMs = options.backoffBaseMs ?? BACKOFF_BASE_MS;
    this.#backoffCapMs = options.backoffCapMs ?? BACKOFF_CAP_MS;
    this.#limit = options.limit ?? QUEUE_LIMIT;
    this.#onRoom = options.onRoom ?? (() => {});
    this.#isUrgent = options.urgent ?? (() => false);
  }

  /** Keys that wait now, delayed ones not counted. */
  get depth(): number {
    return this.#urgent.size + this.#ready.size + this.#dirty.size;
  }

  /** Keys in the hands of takers. */
  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** False when the queue is full or stopped; what was refused because it is full comes back by `onRoom`. */
  add(key: string): boolean {
    if (this.#stopped) return false;
    if (this.#urgent.has(key) || this.#dirty.has(key)) return true;
    if (this.#ready.has(key)) {
      if (this.#isUrgent(key) && this.#ready.delete(key)) this.#urgent.add(key);
      return true;
    }
    if (this.depth >= this.#limit) {
      this.#refused = true;
      return false;
    }
    if (this.#inFlight.has(key)) this.#dirty.add(key);
    else this.#enqueue(key);
    return true;
  }

  /** Adds the key after `ms`, or earlier if it is already due earlier. Taking the key cancels it. */
  addAfter(key: string, ms: number): void {
    if (this.#stopped) return;
    const dueAt = this.#clock.now() + ms;
    const present = this.#delayed.get(key);
    if (present && present.dueAt <= dueAt) return;
    present?.cancel();
    const cancel = this.#clock.after(ms, () => {
      this.#delayed.delete(key);
      this.add(key);
    });
    this.#delayed.set(key, { dueAt, cancel });
  }

  /** Adds the key after its own exponential delay with jitter (between half and the whole of it); returns the delay. */
  addBackoff(key: string): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const whole = Math.min(this.#backoffCapMs, this.#backoffBaseMs * 2 ** Math.min(failures, 30));
    const ms = Math.round(whole / 2 + (whole / 2) * this.#random());
    this.addAfter(key, ms);
    return ms;
  }

  /** The key's next failure counts as its first. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, or undefined once the queue has stopped. Every key taken must be given back by {@link done}. */
  take(): Promise<string | undefined> {
    if (this.#stopped) return Promise.resolve(undefined);
    const lane = this.#lane();
    const [key] = lane;
    if (key === undefined) return new Promise((resolve) => this.#takers.push(resolve));
    this.#inARow = lane === this.#urgent ? this.#inARow + 1 : 0;
    lane.delete(key);
    this.#start(key);
    return Promise.resolve(key);
  }

  done(key: string): void {
    if (!this.#inFlight.delete(key)) throw new Error(`the queue did not hand out ${key}`);
    if (this.#dirty.delete(key) && !this.#stopped) this.#enqueue(key);
    if (this.#refused && this.depth === 0 && !this.#stopped) {
      this.#refused = false;
      this.#onRoom();
    }
    if (this.#inFlight.size === 0) for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** Hands out nothing more; resolves when every key taken has been given back. */
  stop(): Promise<void> {
    this.#stopped = true;
    for (const { cancel } of this.#delayed.values()) cancel();
    this.#delayed.clear();
    this.#urgent.clear();
    this.#ready.clear();
    this.#dirty.clear();
    for (const resolve of this.#takers.splice(0)) resolve(undefined);
    return this.#inFlight.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#drained.push(resolve));
  }

  #enqueue(key: string): void {
    const taker = this.#takers.shift();
    if (taker === undefined) {
      (this.#isUrgent(key) ? this.#urgent : this.#ready).add(key);
      return;
    }
    this.#start(key);
    taker(key);
  }

  #lane(): Set<string> {
    if (this.#urgent.size === 0) return this.#ready;
    return this.#ready.size > 0 && this.#inARow >= URGENT_IN_A_ROW ? this.#ready : this.#urgent;
  }

  #start(key: string): void {
    this.#delayed.get(key)?.cancel();
    this.#delayed.delete(key);
    this.#inFlight.add(key);
  }
}
