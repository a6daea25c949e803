import { isOwnKind } from '../../../crds/definitions.ts';
import type { Kind, KindMap } from '../../../crds/kinds.ts';
import { type Key, keyText, type ResourceStore } from '../../../crds/store.ts';
import { violations, writeViolations } from './conformance.ts';

/** Watches over every object of ours that passes through a store: see {@link violations}. */
export class Watch {
  /** Versions that were looked at; a watch that saw nothing has shown nothing. */
  seen = 0;
  readonly #secrets: () => Iterable<string>;
  readonly #found: string[] = [];

  /** @param secrets values that may stand nowhere */
  constructor(secrets: () => Iterable<string>) {
    this.#secrets = secrets;
  }

  /** A store whose writes are looked at. */
  over(store: ResourceStore): ResourceStore {
    const applyStatus: ResourceStore['applyStatus'] = async (kind, key, status, options) => {
      const before = await store.get(kind, key);
      const after = await store.applyStatus(kind, key, status, options);
      this.#look(kind, after, before, true);
      return after;
    };
    const setFinalizers: ResourceStore['setFinalizers'] = async (kind, key, finalizers, options) => {
      const after = await store.setFinalizers(kind, key, finalizers, options);
      if (after !== undefined) this.#look(kind, after, after, false);
      return after;
    };
    return new Proxy(store, {
      get: (target, property) => {
        if (property === 'applyStatus') return applyStatus;
        if (property === 'setFinalizers') return setFinalizers;
        const member: unknown = Reflect.get(target, property, target);
        return typeof member === 'function' ? member.bind(target) : member;
      },
    });
  }

  /** What a user has just written: its old status must not pass for the new spec. */
  applied<K extends Kind>(kind: K, object: KindMap[K]): void {
    this.#look(kind, object, object, false);
  }

  /** @throws Error that names every rule that was broken since the last call */
  assertConforms(): void {
    const found = this.#found.splice(0);
    if (found.length > 0) throw new Error(`status breaks the rules of custom resources:\n  ${found.join('\n  ')}`);
  }

  #look(kind: Kind, after: KindMap[Kind], before: KindMap[Kind] | undefined, written: boolean): void {
    if (!isOwnKind(kind)) return;
    this.seen += 1;
    const broken = (written ? writeViolations : violations)(kind, after, before, this.#secrets());
    this.#found.push(...broken.map((each) => `${kind} ${keyText(after.metadata as Key)}: ${each}`));
  }
}
