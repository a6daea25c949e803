import type { Deposed, Leader } from './leader.ts';

/** Codes by which the other side says that a newer leader has been there. */
const SUPERSEDED: ReadonlySet<unknown> = new Set(['stale_leader', 'superseded']);

/** What the guard asks of leadership. */
export type Term = Pick<Leader, 'assert' | 'depose'>;

/** True for an error of the other side that ends the term of whoever gets it. */
export function isSuperseded(error: unknown): boolean {
  return SUPERSEDED.has((error as { code?: unknown } | null)?.code);
}

/**
 * A door that lets nothing but the named reads through unless this process leads at that moment. A
 * call that is not known to be a read counts as a write, so a new one cannot be forgotten.
 * @throws Deposed from every guarded call, as a rejection
 */
export function guarded<T extends object>(door: T, reads: ReadonlySet<PropertyKey>, term: Term): T {
  return new Proxy(door, {
    get: (target, property) => {
      const member: unknown = Reflect.get(target, property, target);
      if (typeof member !== 'function') return member;
      if (reads.has(property)) return member.bind(target);
      return (...args: unknown[]) => pass(term, () => member.apply(target, args) as unknown);
    },
  });
}

async function pass(term: Term, write: () => unknown): Promise<unknown> {
  term.assert();
  try {
    return await write();
  } catch (error) {
    if (isSuperseded(error)) throw superseded(term, error);
    throw error;
  }
}

function superseded(term: Term, error: unknown): Deposed {
  return term.depose(`A newer leader has been there: ${(error as Error).message}`);
}
