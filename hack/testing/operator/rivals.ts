import { createLogger } from '../../../config/log.ts';
import { LedgerError } from '../../../ledger/client.ts';
import { type Operator, startOperator } from '../../../operator/operator.ts';
import type { GitPort, LedgerPort } from '../../../operator/ports.ts';
import { defaultPlatform } from '../../../operator/render/platform.ts';
import type { Leader } from '../../../operator/runtime/leader.ts';
import { candidate, StoppableProcess } from './candidate.ts';
import { type Doors, EFFECTS } from './crash.ts';
import type { World } from './world.ts';

/** A call that wanted to change something after another had become the leader. */
export interface StaleCall {
  call: string;
  /** False = the other side refused it. */
  tookEffect: boolean;
}

/** The epoch that the ledger of the tests has seen last: its fence. */
export interface Book {
  epoch: number;
}

/**
 * One of two operators over the same world: a process of its own that can stand still after any of its
 * calls. What it tries to change while another leads is noted where it would reach the others.
 */
export class Rival {
  readonly process: StoppableProcess;
  readonly leader: Leader;
  readonly stale: StaleCall[] = [];
  readonly #world: World;
  #operator: Operator | undefined;
  #runs = false;
  #calls = 0;
  #stopAt = Number.POSITIVE_INFINITY;
  #superseded = () => false;

  constructor(world: World, name: string) {
    this.#world = world;
    this.process = new StoppableProcess(world.clock);
    this.leader = candidate(world.store, this.process, name);
  }

  /** @param guard the broken control passes a term that never ends */
  start(git: GitPort, book: Book, guard: (leader: Leader) => Leader = (leader) => leader): void {
    const { store, secrets, blobs, delivery, probe, ledger } = this.#world;
    const doors: Doors = { store, secrets, blobs, delivery, probe, git, ledger: this.#fencedLedger(ledger, book) };
    const through: Record<string, unknown> = {};
    for (const [name, door] of Object.entries(doors)) through[name] = this.#door(name as keyof Doors, door);
    this.#operator = startOperator({
      ...(through as unknown as Doors),
      leader: guard(this.leader),
      settings: {
        publicUrl: 'https://store.example.com',
        platform: defaultPlatform('https://git.example.com/gsv.git', 'main'),
      },
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

  /** Stands still after the n-th call from now, whatever that is. */
  stopAfter(calls: number): void {
    this.#calls = 0;
    this.#stopAt = calls;
  }

  /** From now on what this one changes is stale as long as `leads` says so. */
  watchFor(leads: () => boolean): void {
    this.#superseded = leads;
  }

  get idle(): boolean {
    if (this.process.stopped) return true;
    const takesOver = this.leader.state === 'leading' && !this.#runs;
    return !takesOver && (this.#operator?.idle() ?? true);
  }

  async close(): Promise<void> {
    this.process.goOn();
    await this.#operator?.close();
  }

  #door(name: keyof Doors, door: object): object {
    const counted = new Proxy(door, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target);
        if (typeof member !== 'function') return member;
        if (!EFFECTS[name].has(String(property))) return member.bind(target);
        return async (...args: unknown[]) => {
          const stale = this.#superseded() && args[0] !== 'Lease';
          const noted: StaleCall = { call: `${name}.${String(property)}`, tookEffect: false };
          if (stale) this.stale.push(noted);
          const result = await (member.apply(target, args) as unknown);
          noted.tookEffect = true;
          return result;
        };
      },
    });
    return this.process.door(counted, () => {
      this.#calls += 1;
      if (this.#calls === this.#stopAt) this.process.stop();
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
