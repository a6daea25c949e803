import { createLogger } from '../../../config/log.ts';
import type { ResourceStore } from '../../../crds/store.ts';
import { LedgerError } from '../../../ledger/client.ts';
import { type Operator, startOperator } from '../../../operator/operator.ts';
import type { GitPort, LedgerPort } from '../../../operator/ports.ts';
import type { Leader } from '../../../operator/runtime/leader.ts';
import { candidate, StoppableProcess } from './candidate.ts';
import { type Doors, EFFECTS } from './crash.ts';
import { SETTINGS, type World } from './world.ts';

/** Turns of the event loop with nothing to do before the operators count as settled. */
const QUIET_TURNS = 6;
/** Far more than any visit needs; a loop that never ends is a failure, not a hang. */
const MAX_TURNS = 30_000;

/** A call that reached the others after another had become the leader. */
export interface StaleCall {
  call: string;
  /** False = the other side refused it. */
  tookEffect: boolean;
}

/** The epoch that the ledger of the tests has seen last: its fence. */
export interface Book {
  epoch: number;
}

/** What an operator is started with. */
export interface RivalOptions {
  git: GitPort;
  /** Absent: this ledger looks at no epoch. */
  book?: Book;
  /** The broken control passes a term that never ends. */
  guard?: (leader: Leader) => Leader;
  /** Faults of this process's lines to the others. */
  wrap?: (doors: Doors) => Doors;
}

/** Where a process can stand still: with a call that it was about to make, or before it hears the answer to one. */
export type Stop = 'asked' | 'answered';

/**
 * One of two operators over the same world: a process of its own that can stand still at any of its calls.
 * What it tries to change while another leads is noted where it would reach the others.
 */
export class Rival {
  readonly process: StoppableProcess;
  readonly leader: Leader;
  /** Let out by the guard while another led. */
  readonly stale: StaleCall[] = [];
  /** Let out before another led, and on the wire until after: only the other side can still refuse it. */
  readonly late: StaleCall[] = [];
  /** Told when it stands still. */
  onStop: () => void = () => {};
  readonly #world: World;
  #operator: Operator | undefined;
  #runs = false;
  #late = false;
  #left = Number.POSITIVE_INFINITY;
  #at: Stop = 'answered';
  #superseded = () => false;

  /** @param line the process's own line to the Lease */
  constructor(world: World, name: string, line: (store: ResourceStore) => ResourceStore = (store) => store) {
    this.#world = world;
    this.process = new StoppableProcess(world.clock);
    this.leader = candidate(line(world.store), this.process, name);
  }

  start({ git, book, guard = (leader) => leader, wrap = (doors) => doors }: RivalOptions): void {
    const { secrets, blobs, delivery, probe, watch } = this.#world;
    const ledger = book === undefined ? this.#world.ledger : this.#fencedLedger(this.#world.ledger, book);
    const doors: Doors = { store: watch.over(this.#world.store), secrets, blobs, delivery, probe, git, ledger };
    const lines = wrap(eachDoor(doors, (name, door) => this.#noted(name, door)));
    const through = eachDoor(lines, (name, door) => this.#stoppable(name, door));
    this.#operator = startOperator({
      ...through,
      leader: guard(this.leader),
      settings: SETTINGS,
      log: createLogger({ part: 'operator', level: 'silent' }),
      clock: this.process.clock,
      random: () => 0.5,
    });
    this.#operator.ready.then(
      () => {
        this.#runs = true;
      },
      () => {},
    );
  }

  /** Stands still at the n-th call from now, whatever that is; on the way to the others (`asked`) it is one that changes something. */
  stopAfter(calls: number, at: Stop = 'answered'): void {
    this.#left = calls;
    this.#at = at;
  }

  /** From now on what this one changes is stale as long as `leads` says so. */
  watchFor(leads: () => boolean): void {
    this.#superseded = leads;
  }

  get idle(): boolean {
    return this.process.stopped || (this.#operator?.idle() ?? true);
  }

  /** Shows its epoch to Git and the ledger, or waits for its next attempt at that. */
  get takesOver(): boolean {
    return !this.process.stopped && this.leader.state === 'leading' && !this.#runs;
  }

  async close(): Promise<void> {
    this.#left = Number.POSITIVE_INFINITY;
    this.process.goOn();
    await this.#operator?.close();
  }

  #step(at: Stop): void {
    if (at !== this.#at) return;
    this.#left -= 1;
    if (this.#left !== 0) return;
    this.onStop();
    this.process.stop();
  }

  /** A call that the guard has let out waits here while the process stands still. */
  #stoppable<T extends object>(name: keyof Doors, door: T): T {
    const heard = this.process.door(door, () => this.#step('answered'));
    return new Proxy(heard, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target);
        if (typeof member !== 'function' || !EFFECTS[name].has(String(property))) return member;
        return async (...args: unknown[]) => {
          const known = this.#superseded();
          this.#step('asked');
          await this.process.running();
          // Up to where it is noted everything runs without giving way.
          this.#late = !known && this.#superseded();
          const answer = member.apply(target, args) as unknown;
          this.#late = false;
          return answer;
        };
      },
    });
  }

  #noted<T extends object>(name: keyof Doors, door: T): T {
    return new Proxy(door, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target);
        if (typeof member !== 'function') return member;
        if (!EFFECTS[name].has(String(property))) return member.bind(target);
        return async (...args: unknown[]) => {
          const noted: StaleCall = { call: `${name}.${String(property)}`, tookEffect: false };
          if (this.#superseded()) (this.#late ? this.late : this.stale).push(noted);
          const result = await (member.apply(target, args) as unknown);
          noted.tookEffect = true;
          return result;
        };
      },
    });
  }

  /** What `ledger/client.ts` and the ledger do with `Gsv-Fencing-Epoch`. */
  #fencedLedger(ledger: LedgerPort, book: Book): LedgerPort {
    const fenced = new Proxy(ledger, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target);
        if (typeof member !== 'function') return member;
        if (!EFFECTS.ledger.has(String(property))) return member.bind(target);
        return async (...args: unknown[]) => {
          if (this.leader.epoch < book.epoch) throw new LedgerError(409, 'stale_leader', 'stop', {});
          book.epoch = this.leader.epoch;
          return member.apply(target, args) as unknown;
        };
      },
    });
    return fenced;
  }
}

/** Lets everything happen that happens without time passing, as `World.settle` for one operator. */
export async function settle(world: World, rivals: readonly Rival[]): Promise<void> {
  let quiet = 0;
  for (let turn = 0; quiet < QUIET_TURNS; turn += 1) {
    if (turn > MAX_TURNS) throw new Error('the operators do not come to rest');
    await new Promise((resolve) => setImmediate(resolve));
    quiet = rivals.every((rival) => rival.idle) ? quiet + 1 : 0;
    if (world.clock.step(0)) quiet = 0;
  }
  world.watch.assertConforms();
}

function eachDoor(doors: Doors, change: <T extends object>(name: keyof Doors, door: T) => T): Doors {
  const changed = Object.entries(doors).map(([name, door]) => [name, change(name as keyof Doors, door)] as const);
  return Object.fromEntries(changed) as unknown as Doors;
}
