import { problem } from './errors.ts';

export interface Page<T> {
  items: T[];
  /** Pass as `cursor` for what follows; null at the end. */
  next: string | null;
}

/**
 * One page of a list that is sorted by name. The cursor is the last name given, so that objects that
 * come and go in between neither repeat nor hide others.
 * @throws Problem `cursor_invalid`
 */
export function pageByName<T>(
  sorted: readonly T[],
  nameOf: (item: T) => string,
  query: { cursor?: string; limit: number },
): Page<T> {
  const after = query.cursor === undefined ? '' : decode(query.cursor);
  const rest = sorted.filter((item) => nameOf(item) > after);
  const items = rest.slice(0, query.limit);
  const last = items.at(-1);
  return { items, next: last !== undefined && rest.length > items.length ? encode(nameOf(last)) : null };
}

function encode(name: string): string {
  return Buffer.from(name).toString('base64url');
}

function decode(cursor: string): string {
  const name = Buffer.from(cursor, 'base64url').toString();
  if (name === '' || encode(name) !== cursor) throw problem('cursor_invalid');
  return name;
}
