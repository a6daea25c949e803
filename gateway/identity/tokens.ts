import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from 'jose';
import { Problem } from '../../config/problem.ts';
import { type EdgeCode, problem } from '../errors.ts';
import type { Caller } from './caller.ts';
import { IssuerKeys } from './issuer-keys.ts';

/** Only asymmetric signatures: with HS256 the public key would be the secret. */
const ALGORITHMS = ['RS256', 'PS256', 'ES256', 'EdDSA'];

/** RFC 9068 says `at+jwt`; Keycloak writes `JWT`. */
const TYPES = new Set(['at+jwt', 'application/at+jwt', 'jwt']);

/** Keycloak marks what is no access token in the claim `typ`: `ID`, `Refresh`, `Offline`, `Logout`. */
const ACCESS_TOKEN_CLAIM_TYPE = 'Bearer';

const MAX_TOKEN_BYTES = 12 * 1024;

/** Clocks of issuer and edge may differ by this. */
const TOLERANCE_SECONDS = 5;

/** A verified token is not verified again for this long; the signature is most of a request's cost. */
const REMEMBERED_MS = 30_000;
const MAX_REMEMBERED = 4_096;

const MAX_GROUPS = 200;

interface Remembered {
  caller: Caller;
  untilMs: number;
}

export interface TokenOptions {
  issuer: string;
  audience: string;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

/** Checks access tokens of the one issuer for the one audience. */
export class TokenVerifier {
  readonly #options: TokenOptions;
  readonly #keys: IssuerKeys;
  readonly #remembered = new Map<string, Remembered>();

  constructor(options: TokenOptions) {
    this.#options = options;
    this.#keys = new IssuerKeys(options.issuer, options.clock);
  }

  /** Resolves when tokens can be checked. @throws Problem `issuer_unavailable` */
  async ready(): Promise<void> {
    await this.#keys.issuer();
  }

  /** @throws Problem `token_invalid`, `token_expired`, `token_wrong_audience`, `issuer_unavailable` */
  async verify(token: string): Promise<Caller> {
    if (token.length > MAX_TOKEN_BYTES) throw refused('token_invalid');
    const known = this.#remembered.get(token);
    if (known && known.untilMs > this.#options.clock()) return known.caller;
    const payload = await this.#payload(token);
    const caller = toCaller(payload);
    this.#remember(token, caller, payload.exp ?? 0);
    return caller;
  }

  async #payload(token: string): Promise<JWTPayload & { iss: string; sub: string }> {
    try {
      checkType(token);
      const { payload } = await jwtVerify(token, (header, input) => this.#keys.key(header, input), {
        algorithms: ALGORITHMS,
        issuer: await this.#keys.issuer(),
        requiredClaims: ['exp', 'iss', 'sub'],
        clockTolerance: TOLERANCE_SECONDS,
        currentDate: new Date(this.#options.clock()),
      });
      checkAudience(payload, this.#options.audience);
      checkClaims(payload);
      return payload as JWTPayload & { iss: string; sub: string };
    } catch (error) {
      throw toRefusal(error);
    }
  }

  #remember(token: string, caller: Caller, expSeconds: number): void {
    const untilMs = Math.min(this.#options.clock() + REMEMBERED_MS, expSeconds * 1000);
    this.#remembered.delete(token);
    this.#remembered.set(token, { caller, untilMs });
    if (this.#remembered.size <= MAX_REMEMBERED) return;
    for (const oldest of this.#remembered.keys()) {
      this.#remembered.delete(oldest);
      break;
    }
  }
}

function refused(code: EdgeCode, cause?: unknown): Problem {
  return problem(code, { cause });
}

/** `typ` is in the header so that an ID token or a logout token cannot pass for an access token. */
function checkType(token: string): void {
  const { typ } = decodeProtectedHeader(token);
  if (typeof typ !== 'string' || !TYPES.has(typ.toLowerCase())) throw refused('token_invalid');
}

/** Ours, not the library's: the code of a wrong audience must not depend on the order of its checks. */
function checkAudience(payload: JWTPayload, audience: string): void {
  const named: unknown = payload.aud;
  const matches = Array.isArray(named) ? named.includes(audience) : named === audience;
  if (!matches) throw refused('token_wrong_audience');
}

function checkClaims(payload: JWTPayload): void {
  const { sub, typ, cnf } = payload;
  if (typeof sub !== 'string' || sub === '' || sub.length > 255) throw refused('token_invalid');
  if (typ !== undefined && typ !== ACCESS_TOKEN_CLAIM_TYPE) throw refused('token_invalid');
  // A token bound to a key must be shown with a proof of it, which a plain Bearer request is not.
  if (cnf !== undefined) throw refused('token_invalid');
}

function toCaller(payload: JWTPayload & { iss: string; sub: string }): Caller {
  const groups = Array.isArray(payload.groups) ? payload.groups.slice(0, MAX_GROUPS) : [];
  return {
    subject: `${payload.iss}|${payload.sub}`,
    ...(typeof payload.email === 'string' ? { email: payload.email } : {}),
    emailVerified: payload.email_verified === true,
    groups: groups.filter((group): group is string => typeof group === 'string'),
  };
}

function toRefusal(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof errors.JWTExpired) return refused('token_expired', error);
  if (error instanceof errors.JOSEError || error instanceof TypeError || error instanceof SyntaxError)
    return refused('token_invalid', error);
  return problem('issuer_unavailable', { cause: error });
}
