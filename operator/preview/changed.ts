/** What a change adds, takes away and leaves of a set of things with names. */
export interface SetChange {
  added: string[];
  removed: string[];
  /** What is there before and after. */
  kept: string[];
}

/** A value before and after; a side is absent when the thing is. */
export interface ValueChange<T> {
  before?: T;
  after?: T;
}

export function setChange(before: readonly string[], after: readonly string[]): SetChange {
  const [old, fresh] = [new Set(before), new Set(after)];
  return {
    added: [...fresh].filter((each) => !old.has(each)).sort(),
    removed: [...old].filter((each) => !fresh.has(each)).sort(),
    kept: [...fresh].filter((each) => old.has(each)).sort(),
  };
}

export function valueChange<T>(before: T | undefined, after: T | undefined): ValueChange<T> {
  return { ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) };
}

/** One entry for each name on either side whose value differs, by name. */
export function changedByName<T>(
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
): ({ name: string } & ValueChange<T>)[] {
  return [...new Set([...before.keys(), ...after.keys()])]
    .filter((name) => JSON.stringify(before.get(name)) !== JSON.stringify(after.get(name)))
    .sort()
    .map((name) => ({ name, ...valueChange(before.get(name), after.get(name)) }));
}
