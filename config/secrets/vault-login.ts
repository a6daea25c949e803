import type { Secret } from '../secret-setting.ts';
import { SecretsError } from '../secrets.ts';
import { describe, type VaultAnswer, type VaultCall, type VaultHttp } from './vault-http.ts';

/** Who we are to Vault. */
export type VaultAuth =
  | {
      kind: 'kubernetes';
      /** Role of the auth mount that binds our service account. */
      role: string;
      /** Where that auth method is mounted, below `auth/`. */
      mount: string;
      /** Our service account token; read at every login, because the kubelet replaces the file. */
      jwt: Secret;
    }
  | { kind: 'token'; token: Secret };

/** Renewed when this part of its life is over, so that two more attempts fit before it ends. */
const RENEW_AFTER = 2 / 3;
/** A renewal that yields less than this part of the first lease has met the token's maximum: log in anew. */
const WORTH_KEEPING = 1 / 2;
/** After a renewal that failed. */
const RENEW_RETRY_MS = 5_000;
/** What a timer can wait at most. */
const TIMER_MAX_MS = 2 ** 31 - 1;

interface Held {
  token: string;
  renewable: boolean;
  /** Milliseconds of the first lease; 0 = it never ends. */
  leaseMs: number;
  renewAt: number;
  endsAt: number;
}

/**
 * Keeps one token alive: logs in when there is none, renews it in time, even of an idle process, and
 * logs in once more when the server no longer knows it. Concurrent callers share one login.
 */
export class VaultLogin {
  readonly #http: VaultHttp;
  readonly #auth: VaultAuth;
  readonly #now: () => number;
  #held: Held | undefined;
  #pending: Promise<Held> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(http: VaultHttp, auth: VaultAuth, now: () => number = Date.now) {
    this.#http = http;
    this.#auth = auth;
    this.#now = now;
  }

  /** The call with our token. Of a 403 answer one is given back only after a new login was refused as well. */
  async call(call: Omit<VaultCall, 'token'>): Promise<VaultAnswer> {
    const held = await this.#present();
    const answer = await this.#http.call({ ...call, token: held.token });
    if (answer.status !== 403) return answer;
    // Another caller may have logged in meanwhile: then its token is the new one.
    if (this.#held === held) this.#held = undefined;
    const fresh = await this.#present();
    if (fresh.token === held.token) return answer;
    return this.#http.call({ ...call, token: fresh.token });
  }

  /** Ends the timer; the token is left to its TTL. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #present(): Promise<Held> {
    const now = this.#now();
    if (this.#held !== undefined && now < this.#held.renewAt) return this.#held;
    return this.#replace();
  }

  #replace(): Promise<Held> {
    this.#pending ??= this.#obtain(this.#held).finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async #obtain(held: Held | undefined): Promise<Held> {
    const next = (held && (await this.#renew(held))) ?? (await this.#logIn());
    this.#held = next;
    this.#watch(next);
    return next;
  }

  /** Undefined = not to be had by renewal. */
  async #renew(held: Held): Promise<Held | undefined> {
    const now = this.#now();
    if (!held.renewable || now >= held.endsAt) return undefined;
    try {
      const answer = await this.#http.call({
        method: 'POST',
        path: 'auth/token/renew-self',
        token: held.token,
        body: {},
      });
      const lease = readLease(answer);
      // Less than a second left: no lease to keep, and none to ask for again and again.
      if (lease === undefined || lease.seconds === 0) return undefined;
      const leaseMs = lease.seconds * 1000;
      if (this.#auth.kind === 'kubernetes' && leaseMs < held.leaseMs * WORTH_KEEPING) return undefined;
      return { ...held, renewAt: now + leaseMs * RENEW_AFTER, endsAt: now + leaseMs };
    } catch (error) {
      // Out of reach now, yet the token still holds: the call itself says what is wrong, if anything is.
      if (!(error instanceof SecretsError)) throw error;
      return { ...held, renewAt: Math.min(now + RENEW_RETRY_MS, held.endsAt) };
    }
  }

  async #logIn(): Promise<Held> {
    const now = this.#now();
    const auth = this.#auth;
    if (auth.kind === 'token') {
      const token = reveal(auth.token, 'GSV_VAULT_TOKEN');
      const answer = await this.#http.call({ method: 'GET', path: 'auth/token/lookup-self', token });
      const { ttl, renewable } = (answer.body.data ?? {}) as { ttl?: unknown; renewable?: unknown };
      // A token that may not look at itself is used as it is; its own calls tell whether it holds.
      const seconds = answer.status === 200 && typeof ttl === 'number' ? ttl : 0;
      return held(token, seconds, renewable === true, now);
    }
    const answer = await this.#http.call({
      method: 'POST',
      path: `auth/${auth.mount}/login`,
      body: { role: auth.role, jwt: reveal(auth.jwt, 'the service account token') },
    });
    const lease = readLease(answer);
    if (lease?.token === undefined)
      throw new SecretsError(
        answer.status === 403 ? 'permission_denied' : 'unavailable',
        `Vault refused the login as role ${auth.role} at auth/${auth.mount}: ${describe(answer)}`,
      );
    return held(lease.token, lease.seconds, lease.renewable, now);
  }

  #watch({ renewAt }: Held): void {
    clearTimeout(this.#timer);
    if (this.#closed || renewAt === Number.POSITIVE_INFINITY) return;
    const wait = Math.min(Math.max(renewAt - this.#now(), 0), TIMER_MAX_MS);
    // Not by the clock again, which may be a millisecond behind the timer. A login that fails here is tried again by the next call, which reports it.
    this.#timer = setTimeout(() => void this.#replace().catch(() => undefined), wait).unref();
  }
}

function held(token: string, seconds: number, renewable: boolean, now: number): Held {
  const leaseMs = seconds * 1000;
  if (leaseMs === 0) {
    const never = Number.POSITIVE_INFINITY;
    return { token, renewable: false, leaseMs, renewAt: never, endsAt: never };
  }
  return { token, renewable, leaseMs, renewAt: now + leaseMs * RENEW_AFTER, endsAt: now + leaseMs };
}

interface Lease {
  token?: string;
  seconds: number;
  renewable: boolean;
}

function readLease({ status, body }: VaultAnswer): Lease | undefined {
  const { client_token, lease_duration, renewable } = (body.auth ?? {}) as Record<string, unknown>;
  if (status !== 200 || typeof lease_duration !== 'number') return undefined;
  return {
    ...(typeof client_token === 'string' && client_token !== '' ? { token: client_token } : {}),
    seconds: lease_duration,
    renewable: renewable === true,
  };
}

function reveal(secret: Secret, name: string): string {
  try {
    return secret.reveal();
  } catch {
    throw new SecretsError('unavailable', `${name} cannot be read from its file`);
  }
}
