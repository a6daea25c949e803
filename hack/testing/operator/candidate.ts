import { createLogger } from '../../../config/log.ts';
import type { ResourceStore } from '../../../crds/store.ts';
import type { Clock } from '../../../operator/runtime/clock.ts';
import { Leader, type LeaderOptions } from '../../../operator/runtime/leader.ts';

/**
 * A process that can stand still, as after SIGSTOP: time passes, but its timers do not run and it does
 * not hear the answers to its calls, until it goes on. Then all of that comes at once.
 */
export class StoppableProcess {
  readonly clock: Clock;
  readonly #held: (() => void)[] = [];
  #stopped = false;

  constructor(clock: Clock) {
    this.clock = {
      now: () => clock.now(),
      after: (ms, run) => {
        let cancelled = false;
        const cancel = clock.after(ms, () => this.#soon(() => !cancelled && run()));
        return () => {
          cancelled = true;
          cancel();
        };
      },
    };
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  stop(): void {
    this.#stopped = true;
  }

  goOn(): void {
    this.#stopped = false;
    for (const run of this.#held.splice(0)) run();
  }

  /** Resolves once the process runs. */
  running(): Promise<void> {
    return this.#stopped ? new Promise((resolve) => this.#held.push(resolve)) : Promise.resolve();
  }

  /** The door, with answers that are heard only while the process runs. `heard` is told of each call after its effect. */
  door<T extends object>(door: T, heard: (call: string) => void = () => {}): T {
    return new Proxy(door, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target);
        if (typeof member !== 'function') return member;
        if (property === 'watch' || property === 'onChange') return member.bind(target);
        return async (...args: unknown[]) => {
          try {
            return await (member.apply(target, args) as unknown);
          } finally {
            heard(String(property));
            await this.running();
          }
        };
      },
    });
  }

  #soon(run: () => void): void {
    if (this.#stopped) this.#held.push(run);
    else run();
  }
}

/** A candidate for the Lease `gsv-system/gsv-operator` in a process of its own. */
export function candidate(
  store: ResourceStore,
  process: StoppableProcess,
  identity: string,
  more: Partial<LeaderOptions> = {},
): Leader {
  return new Leader({
    store: process.door(store),
    namespace: 'gsv-system',
    name: 'gsv-operator',
    identity,
    clock: process.clock,
    monotonic: () => process.clock.now(),
    random: () => 0.5,
    log: createLogger({ part: 'operator', level: 'silent' }),
    ...more,
  });
}

/** Lets promises and immediates run out; nothing here needs real time. */
export async function turns(count = 12): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
