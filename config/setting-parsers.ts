/** Readers of settings: each throws a `TypeError` whose message completes the sentence "<ENV> …". */
import { Secret } from './secret-setting.ts';

export const text = (value: string): string => value;

export function port(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 65_535) throw new TypeError('must be a port number from 0 to 65535');
  return Number(value);
}

export function url(value: string): string {
  if (!URL.canParse(value)) throw new TypeError('must be an absolute URL');
  return value.replace(/\/$/, '');
}

export function urlList(value: string): string[] {
  const items = value
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean);
  for (const item of items)
    if (!URL.canParse(item)) throw new TypeError('must be a comma-separated list of absolute URLs');
  return items;
}

export function oneOf<const T extends string>(...choices: T[]): (value: string) => T {
  return (value) => {
    const choice = choices.find((candidate) => candidate === value);
    if (choice === undefined) throw new TypeError(`must be one of ${choices.join(', ')}`);
    return choice;
  };
}

/** A tag can be moved under a running installation; a digest cannot. */
export function imageByDigest(value: string): string {
  if (!/^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$/.test(value))
    throw new TypeError('must be an image by digest: registry/name@sha256:<64 hex digits>');
  return value;
}

export const secret = (value: string): Secret => Secret.of(value);

/** HS256 wants a key as long as its hash: 32 bytes (RFC 7518, section 3.2). */
export function signingKey(value: string): Secret {
  if (Buffer.byteLength(value) < 32) throw new TypeError('must have at least 32 characters');
  return Secret.of(value);
}

/** Text of at most 253 printable characters that names a place to fill in, e.g. `oidc:{sub}`. */
export function placeholder(place: RegExp, rule: string): (value: string) => string {
  return (value) => {
    if (!place.test(value) || !/^[!-~]{1,253}$/.test(value)) throw new TypeError(rule);
    return value;
  };
}

/** A week is the longest that a finding may wait. */
export function minutes(value: string): number {
  if (!/^\d{1,5}$/.test(value) || Number(value) > 10_080) throw new TypeError('must be minutes from 0 to 10080');
  return Number(value);
}

const SECRET_PARSERS: ReadonlySet<unknown> = new Set([secret, signingKey]);

/** Whether a setting may also be given as `X_FILE`. */
export function isSecret({ parse }: { parse: unknown }): boolean {
  return SECRET_PARSERS.has(parse);
}
