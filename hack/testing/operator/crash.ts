import type { Ports } from '../../../operator/ports.ts';

type Doors = Pick<Ports, 'store' | 'ledger' | 'secrets' | 'blobs' | 'git' | 'delivery' | 'probe'>;

/** Calls that change something outside the process. */
const EFFECTS: { readonly [D in keyof Doors]: ReadonlySet<string> } = {
  store: new Set(['create', 'apply', 'applyStatus', 'setFinalizers', 'annotate', 'delete']),
  ledger: new Set(['putWallet', 'closeWallet', 'claimFulfilment', 'voidHold']),
  secrets: new Set(['putPolicy', 'deletePolicy', 'putRole', 'deleteRole', 'write', 'destroyVersions', 'destroyTree']),
  blobs: new Set(),
  git: new Set(['commit', 'remove', 'claim']),
  delivery: new Set(['refresh']),
  probe: new Set(),
};

/** Calls that answer at once and change nothing. */
const SUBSCRIPTIONS: ReadonlySet<string> = new Set(['watch', 'onChange']);

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

  wrap = (doors: Doors): Doors => {
    const wrapped: Record<string, unknown> = {};
    for (const [name, door] of Object.entries(doors)) wrapped[name] = this.#wrapDoor(name as keyof Doors, door);
    return wrapped as Doors;
  };

  #wrapDoor(name: keyof Doors, door: object): object {
    return new Proxy(door, {
      get: (target, property) => {
        const member: unknown = Reflect.get(target, property, target);
        if (typeof member !== 'function' || SUBSCRIPTIONS.has(String(property))) return bound(member, target);
        return (...args: unknown[]) => this.#call(name, String(property), () => member.apply(target, args) as unknown);
      },
    });
  }

  async #call(door: keyof Doors, call: string, run: () => unknown): Promise<unknown> {
    if (this.dead) throw new Error('the process is dead');
    if (!EFFECTS[door].has(call)) return run();
    this.effects.push(`${door}.${call}`);
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
