import { createHash, timingSafeEqual } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Logger } from '../config/log.ts';
import { Problem } from '../config/problem.ts';
import type { Secret } from '../config/settings.ts';

/** What a service token may be allowed; a route names the one it needs. */
export const SCOPES = [
  'wallets',
  'fulfilments',
  'grants',
  'settle',
  'holds',
  'capture',
  'void',
  'extend',
  'debits',
  'inbox:write',
  'inbox:work',
  'events',
  'read',
  'audit',
] as const;
export type Scope = (typeof SCOPES)[number];

/** A file with more tokens than this is a mistake: every request is compared with each of them. */
const MAX_TOKENS = 1_000;

/** RFC 6750's alphabet of a bearer token, so that a token can never break the header it travels in. */
const TOKEN_PATTERN = /^[\w.~+/-]{8,512}=*$/;

interface Service {
  digest: Buffer;
  scopes: ReadonlySet<Scope>;
}

/** Answers which scopes a bearer token has. Tokens are kept as digests only. */
export interface Tokens {
  /**
   * The scopes of the token in an `Authorization` header.
   *
   * @throws Problem 401 `unauthenticated` without a known token
   */
  authenticate(authorization: string | undefined): ReadonlySet<Scope>;
}

/** @throws Problem 403 `forbidden` that names the missing scope */
export function authorize(scopes: ReadonlySet<Scope>, needed: Scope): void {
  if (scopes.has(needed)) return;
  throw new Problem({
    status: 403,
    code: 'forbidden',
    detail: `this token lacks the scope ${needed}`,
    extra: { scope: needed },
  });
}

/** One token with every scope, for development. Read anew each time, so that a `_FILE` can rotate. */
export function singleToken(token: Secret, log: Logger): Tokens {
  const scopes = new Set(SCOPES);
  let services: Service[] = [{ digest: digest(token.reveal()), scopes }];
  return {
    authenticate: (header) => {
      try {
        services = [{ digest: digest(token.reveal()), scopes }];
      } catch (error) {
        log.error({ err: error }, 'token file cannot be read; the token read before stays in force');
      }
      return match(header, services);
    },
  };
}

/**
 * Tokens of a JSON file `{"<token>": ["<scope>", …]}`. The file is read again whenever it changes; a
 * bad one is logged (never with its content) and the tokens read before stay in force.
 *
 * @throws TypeError when the file cannot be used at start
 */
export function fileTokens(path: string, log: Logger): Tokens {
  let seen = fingerprint(path);
  let services = parseTokens(path);
  const refresh = (): void => {
    const now = fingerprint(path);
    if (now === seen) return;
    seen = now;
    try {
      services = parseTokens(path);
      log.info({ tokens: services.length }, 'tokens file read again');
    } catch (error) {
      log.error({ problem: (error as Error).message }, 'tokens file is unusable; the tokens read before stay in force');
    }
  };
  return {
    authenticate: (header) => {
      refresh();
      return match(header, services);
    },
  };
}

/** Never throws: a file that cannot be looked at must not lock out those whose tokens are known. */
function fingerprint(path: string): string {
  try {
    const { ino, mtimeMs, size } = statSync(path);
    return `${ino}:${mtimeMs}:${size}`;
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}

function parseTokens(path: string): Service[] {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    throw new TypeError('must name a readable JSON file');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError('must name a file of the form {"<token>": ["<scope>", …]}');
  }
  const entries = Object.entries(value);
  if (entries.length === 0 || entries.length > MAX_TOKENS) throw new TypeError(`must hold 1 to ${MAX_TOKENS} tokens`);
  return entries.map(([token, scopes], index) => toService(token, scopes, index + 1));
}

/** Problems name the token by its place in the file, because the token itself is the secret. */
function toService(token: string, scopes: unknown, place: number): Service {
  if (!TOKEN_PATTERN.test(token)) {
    throw new TypeError(`token ${place} must be 8 to 512 characters of A-Z a-z 0-9 . _ ~ + / -`);
  }
  if (!Array.isArray(scopes)) throw new TypeError(`token ${place} must have a list of scopes`);
  const unknown = scopes.find((scope) => !(SCOPES as readonly unknown[]).includes(scope));
  if (unknown !== undefined) {
    throw new TypeError(`token ${place} must have known scopes only, which are ${SCOPES.join(' ')}`);
  }
  return { digest: digest(token), scopes: new Set(scopes as Scope[]) };
}

function match(authorization: string | undefined, services: readonly Service[]): ReadonlySet<Scope> {
  const token = /^bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  let found: ReadonlySet<Scope> | undefined;
  if (token !== undefined) {
    const presented = digest(token);
    // No early exit: the time taken says nothing about which token came close.
    for (const service of services) if (timingSafeEqual(service.digest, presented)) found = service.scopes;
  }
  if (found) return found;
  throw new Problem({
    status: 401,
    code: 'unauthenticated',
    detail: 'send a known service token as Authorization: Bearer',
    headers: { 'www-authenticate': 'Bearer realm="gsv-ledger"' },
  });
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
