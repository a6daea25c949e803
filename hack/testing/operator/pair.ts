import { type ResourceStore, StoreError } from '../../../crds/store.ts';
import type { Leader } from '../../../operator/runtime/leader.ts';
import { seeded } from '../faults.ts';
import { Chaos, type ChaosCounts } from './chaos.ts';
import type { Doors } from './crash.ts';
import { type Book, Rival, type StaleCall, settle } from './rivals.ts';
import type { World } from './world.ts';

/** A Lease that is made from nothing is sat out first, 15 s; then there is a leader. Milliseconds. */
const FIRST_TERM_MS = 20_000;
/** Trouble lasts from less than a leader notices to far longer than a Lease. Milliseconds. */
const SHORTEST_MS = 2_000;
const LONGEST_MS = 45_000;
/** A visit makes some ten calls; the stop falls on one of the next so many. */
const CALLS = 12;
/** Share of the moments at which somebody asks for trouble. */
const TROUBLES = 0.6;

export interface PairOptions {
  seed: number;
  /** Share of calls of each process that something happens to, 0 to 1. */
  rate: number;
  /** For the controls. Absent: as in production. */
  guard?: (leader: Leader) => Leader;
  /** False: Git and ledger take every epoch. */
  fences?: boolean;
}

/** How often each of these befell the pair. */
export interface PairCounts {
  /** Stood still before it heard an answer. */
  stoodStill: number;
  /** Stood still with calls that the guard had let out. */
  stoodStillOnTheWire: number;
  cutOff: number;
  killed: number;
  deposed: number;
  takeovers: number;
}

interface Seat {
  name: string;
  rival: Rival;
  chaos: Chaos;
  /** Whether the API server is out of reach. */
  cut: boolean;
}

/**
 * Two operators over one world, each among faults of its own. The one that leads stands still or loses the API
 * server now and then; one that is killed or deposed is followed by a new process, as Kubernetes would do it.
 */
export class Pair {
  readonly fired: PairCounts = {
    stoodStill: 0,
    stoodStillOnTheWire: 0,
    cutOff: 0,
    killed: 0,
    deposed: 0,
    takeovers: 0,
  };
  readonly stale: StaleCall[] = [];
  readonly late: StaleCall[] = [];
  readonly #world: World;
  readonly #options: PairOptions;
  readonly #random: () => number;
  readonly #book: Book = { epoch: 0 };
  readonly #seats: Seat[] = [];
  #settleAlone: World['settle'] | undefined;
  readonly #chaosBefore: ChaosCounts;
  #begun = 0;
  #highest = 0;

  constructor(world: World, options: PairOptions) {
    this.#world = world;
    this.#options = options;
    this.#random = seeded(options.seed + 1);
    this.#chaosBefore = new Chaos({ seed: 0, rate: 0 }).figures();
  }

  async start(): Promise<void> {
    const { store } = this.#world;
    if ((await store.get('Namespace', { name: 'gsv-system' })) === undefined)
      await store.create('Namespace', { metadata: { name: 'gsv-system' }, spec: {} });
    this.#settleAlone = this.#world.settle;
    this.#world.settle = () =>
      settle(
        this.#world,
        this.#seats.map(({ rival }) => rival),
      );
    for (const name of ['one', 'two']) this.#seats.push(this.#sit(name));
    await this.#world.settle();
    await this.#world.advance(FIRST_TERM_MS);
  }

  /** Perhaps the leader gets into trouble, at one of its next calls and for some time. */
  trouble(): void {
    const seat = this.#seats.find(({ rival }) => rival.leader.state === 'leading' && !rival.process.stopped);
    if (seat === undefined || this.#random() >= TROUBLES) return;
    const kind = Math.floor(this.#random() * 3);
    if (kind === 2) {
      seat.cut = true;
      this.fired.cutOff += 1;
    } else this.#stop(seat.rival, kind === 0 ? 'answered' : 'asked');
    const lastsMs = SHORTEST_MS + this.#random() * (LONGEST_MS - SHORTEST_MS);
    this.#world.clock.after(lastsMs, () => {
      seat.cut = false;
      seat.rival.stopAfter(Number.POSITIVE_INFINITY);
      seat.rival.process.goOn();
    });
  }

  /** Puts a new process where one has ended. */
  async care(): Promise<void> {
    for (const [at, { name, rival, chaos }] of this.#seats.entries()) {
      const ended = rival.leader.state === 'deposed' || rival.leader.state === 'released';
      if (!chaos.dead && !ended) continue;
      this.fired[chaos.dead ? 'killed' : 'deposed'] += 1;
      await this.#leave(this.#seats[at] as Seat);
      this.#seats[at] = this.#sit(name);
    }
    await this.#world.settle();
  }

  silence(): void {
    for (const { chaos } of this.#seats) chaos.silence();
  }

  relist(): void {
    for (const { chaos } of this.#seats) chaos.relist();
  }

  /** What happened to the calls of all processes so far. */
  chaosFigures(): ChaosCounts {
    const sum = { ...this.#chaosBefore };
    for (const { chaos } of this.#seats) add(sum, chaos.figures());
    return sum;
  }

  /** Whoever stands still goes on, and has time to do harm; then both end. */
  async close(): Promise<void> {
    if (this.#settleAlone === undefined) return;
    for (const { rival } of this.#seats) rival.process.goOn();
    await this.#world.advance(SHORTEST_MS);
    for (const seat of this.#seats.splice(0)) await this.#leave(seat);
    this.#world.settle = this.#settleAlone;
    this.#settleAlone = undefined;
  }

  #sit(name: string): Seat {
    this.#begun += 1;
    const { seed, rate, guard, fences = true } = this.#options;
    const chaos = new Chaos({ seed: seed * 1_000 + this.#begun, rate });
    const seat: { cut: boolean } = { cut: false };
    const line = (store: ResourceStore) =>
      reached(store, () => {
        assertAlive(chaos);
        assertConnected(seat);
      });
    const rival = new Rival(this.#world, `${name}-${this.#begun}`, line);
    rival.leader.elected.then(
      (epoch) => {
        this.#highest = Math.max(this.#highest, epoch);
        this.fired.takeovers += 1;
      },
      () => {},
    );
    rival.watchFor(() => rival.leader.epoch < this.#highest);
    const wrap = (doors: Doors) => chaos.wrap({ ...doors, store: reached(doors.store, () => assertConnected(seat)) });
    const git = this.#world.git.writer(fences);
    rival.start({ git, wrap, ...(guard ? { guard } : {}), ...(fences ? { book: this.#book } : {}) });
    return Object.assign(seat, { name, rival, chaos });
  }

  async #leave({ rival, chaos }: Seat): Promise<void> {
    await rival.close();
    add(this.#chaosBefore, chaos.figures());
    this.stale.push(...rival.stale);
    this.late.push(...rival.late);
  }

  #stop(rival: Rival, at: 'asked' | 'answered'): void {
    rival.onStop = () => {
      this.fired[at === 'asked' ? 'stoodStillOnTheWire' : 'stoodStill'] += 1;
    };
    rival.stopAfter(1 + Math.floor(this.#random() * CALLS), at);
  }
}

function assertAlive({ dead }: Chaos): void {
  if (dead) throw new Error('the process is dead');
}

function assertConnected({ cut }: { cut: boolean }): void {
  if (cut) throw new StoreError('Unavailable', 'the API server does not answer');
}

/** The store, each call of which first has to get there. Watches fall silent by other means. */
function reached(store: ResourceStore, assertReached: () => void): ResourceStore {
  return new Proxy(store, {
    get: (target, property) => {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== 'function') return member;
      if (property === 'watch' || property === 'close') return member.bind(target);
      return async (...args: unknown[]) => {
        assertReached();
        return member.apply(target, args) as unknown;
      };
    },
  });
}

function add(sum: ChaosCounts, more: ChaosCounts): void {
  for (const [fault, times] of Object.entries(more)) sum[fault as keyof ChaosCounts] += times;
}
