import { errors, jwtVerify, SignJWT } from 'jose';

/**
 * What the edge promises the runner for one run. It carries no secret, only names and limits; the
 * runner trusts it because of the signature (HS256 with `GSV_TICKET_KEY`) and nothing else.
 */
export interface RunTicket {
  /** `run` executes, `read` reads results back and cancels, `secret-write` sets one buyer secret. */
  purpose: 'run' | 'read' | 'secret-write';
  runId: string;
  instance: { organization: string; name: string; uid: string };
  /** Only `run`. */
  hold?: string;
  holdMicrocredits?: number;
  wallet?: string;
  contractDigest?: string;
  limits?: { runSeconds: number; inputBytes: number };
  /** What the buyer may lose the connection for: the contract's `onDisconnect`. */
  onDisconnect?: 'Drain' | 'Abort';
  /** Only `secret-write`. */
  secret?: string;
  /** W3C trace context, continued by the runner. */
  traceparent?: string;
}

export class TicketError extends Error {
  readonly code: 'ticket_invalid' | 'ticket_expired';
  constructor(code: TicketError['code'], cause: unknown) {
    super(code === 'ticket_expired' ? 'the run ticket has expired' : 'the run ticket is not valid', { cause });
    this.name = 'TicketError';
    this.code = code;
  }
}

const ISSUER = 'gsv-edge';
const AUDIENCE = 'gsv-runner';
/** HS256 wants a key as long as its hash (RFC 7518, section 3.2). */
export const TICKET_KEY_MIN_BYTES = 32;

/** Signs and checks run tickets: all that edge and runner share. */
export class TicketBooth {
  readonly #key: () => Uint8Array;
  constructor(key: () => string) {
    this.#key = () => {
      const bytes = new TextEncoder().encode(key());
      if (bytes.length < TICKET_KEY_MIN_BYTES)
        throw new RangeError(`GSV_TICKET_KEY must have at least ${TICKET_KEY_MIN_BYTES} bytes`);
      return bytes;
    };
    this.#key();
  }

  async sign(ticket: RunTicket, ttlSeconds: number): Promise<string> {
    return new SignJWT({ gsv: ticket })
      .setProtectedHeader({ alg: 'HS256', typ: 'gsv-ticket+jwt' })
      .setIssuer(ISSUER)
      .setAudience(AUDIENCE)
      .setIssuedAt()
      .setExpirationTime(`${ttlSeconds}s`)
      .sign(this.#key());
  }

  /** @throws TicketError */
  async check(token: string): Promise<RunTicket> {
    try {
      const { payload } = await jwtVerify<{ gsv: RunTicket }>(token, this.#key(), {
        algorithms: ['HS256'],
        typ: 'gsv-ticket+jwt',
        issuer: ISSUER,
        audience: AUDIENCE,
        requiredClaims: ['exp', 'gsv'],
      });
      return payload.gsv;
    } catch (error) {
      throw new TicketError(error instanceof errors.JWTExpired ? 'ticket_expired' : 'ticket_invalid', error);
    }
  }
}
