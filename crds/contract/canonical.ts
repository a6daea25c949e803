import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';

/** The one text of a JSON value: RFC 8785 (JSON Canonicalization Scheme). @throws TypeError when it is no JSON value */
export function canonicalJson(value: unknown): string {
  const text = canonicalize(value);
  if (text === undefined) throw new TypeError('not a JSON value');
  return text;
}

/** `sha256:<hex>` of the RFC 8785 form in UTF-8. */
export function canonicalDigest(value: unknown): string {
  return digestText(canonicalJson(value));
}

export function digestText(text: string): string {
  return `sha256:${createHash('sha256').update(text, 'utf8').digest('hex')}`;
}

/** Orders by UTF-16 code units, as RFC 8785 orders keys: never by locale, which differs between machines. */
export function byText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** A copy ordered by a text of each item. */
export function sortedBy<T>(items: readonly T[] | undefined, text: (item: T) => string): T[] {
  return [...(items ?? [])].sort((a, b) => byText(text(a), text(b)));
}

/** One token of an RFC 6901 pointer. */
export function pointerToken(token: string | number): string {
  return String(token).replaceAll('~', '~0').replaceAll('/', '~1');
}
