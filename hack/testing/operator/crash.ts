import type { Ports } from '../../../operator/ports.ts';

export type Doors = Pick<Ports, 'store' | 'ledger' | 'secrets' | 'blobs' | 'git' | 'delivery' | 'probe'>;

/** Calls that change something outside the process. */
export const EFFECTS: { readonly [D in keyof Doors]: ReadonlySet<string> } = {
  store: new Set(['create', 'apply', 'applyStatus', 'setFinalizers', 'annotate', 'terminateOperation', 'delete']),
  ledger: new Set(['putWallet', 'closeWallet', 'claimFulfilment', 'voidHold']),
  secrets: new Set(['putPolicy', 'deletePolicy', 'putRole', 'deleteRole', 'write', 'destroyVersions', 'destroyTree']),
  blobs: new Set(),
  git: new Set(['commit', 'remove', 'claim']),
  delivery: new Set(['refresh']),
  probe: new Set(),
};

/** Calls that answer at once and change nothing. */
const SUBSCRIPTIONS: ReadonlySet<string> = new Set(['watch', 'onChange']);

/** Runs one call, `name` = `door.call`; `effect` is the same when it changes something outside. */
export type Around = (effect: string | undefined, run: () => unknown, name: string) => Promise<unknown>;

/** The doors, with something around every call that goes through them. */
export function aroundCalls(doors: Doors, around: Around): Doors {
  const wrap = (name: keyof Doors, door: object): object =>
    new Proxy(door, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target);
        const call = String(property);
        if (typeof member !== 'function' || SUBSCRIPTIONS.has(call)) return bound(member, target);
        const effect = EFFECTS[name].has(call) ? `${name}.${call}` : undefined;
        return (...args: unknown[]) => around(effect, () => member.apply(target, args) as unknown, `${name}.${call}`);
      },
    });
  const wrapped = Object.entries(doors).map(([name, door]) => [name, wrap(name as keyof Doors, door)] as const);
  return Object.fromEntries(wrapped) as unknown as Doors;
}

/** Ends a process at one of its effects: from then on nothing it does reaches anybody. */
export class CrashPlan {
  /** Effects so far, as `door.call`. */
  readonly effects: string[] = [];
  dead = false;
  #at: number | undefined;
  #when: 'before' | 'after' = 'before';

  /** The `at`-th effect from now (1 = the next) is the last: it happens (`after`) or just not (`before`). */
  arm(at: number, when: 'before' | 'after'): void {
    this.effects.length = 0;
    this.#at = at;
    this.#when = when;
  }

  wrap = (doors: Doors): Doors => aroundCalls(doors, (effect, run) => this.#call(effect, run));

  async #call(effect: string | undefined, run: () => unknown): Promise<unknown> {
    if (this.dead) throw new Error('the process is dead');
    if (effect === undefined) return run();
    this.effects.push(effect);
    const last = this.effects.length === this.#at;
    if (last && this.#when === 'before') return this.#die();
    const result = await run();
    return last ? this.#die() : result;
  }

  #die(): never {
    this.dead = true;
    throw new Error('the process dies here');
  }
}

function bound(member: unknown, target: object): unknown {
  return typeof member === 'function' ? member.bind(target) : member;
}
