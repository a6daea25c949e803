import { createLocalJWKSet, errors, type FlattenedJWSInput, type JSONWebKeySet, type JWSHeaderParameters } from 'jose';
import { problem } from '../errors.ts';

/** Keys older than this are fetched again when a token is checked. */
const FRESH_MS = 10 * 60_000;

/** An unknown key id fetches the keys again, but not more often than this: anybody can make up ids. */
const COOLDOWN_MS = 30_000;

/** After a failure the issuer is left alone for this long; requests meanwhile get the 503 at once. */
const FAILURE_PAUSE_MS = 2_000;

/** With the issuer down, keys that we have are good for this long: longer than a restart, shorter than a rotation. */
const STALE_MS = 6 * 3_600_000;

const TIMEOUT_MS = 5_000;

/** Discovery documents and key sets are a few KiB. */
const MAX_BYTES = 256 * 1024;

interface Loaded {
  at: number;
  issuer: string;
  find: ReturnType<typeof createLocalJWKSet>;
}

/**
 * The issuer's public signature keys: found by discovery, cached, fetched again for an unknown key
 * id. Keys with a `use` other than `sig` never match (Keycloak serves an encryption key beside).
 */
export class IssuerKeys {
  readonly #issuer: string;
  readonly #clock: () => number;
  #loaded: Loaded | undefined;
  #loading: Promise<Loaded> | undefined;
  #failedAt = Number.NEGATIVE_INFINITY;

  constructor(issuer: string, clock: () => number) {
    this.#issuer = issuer;
    this.#clock = clock;
  }

  /** The `iss` that tokens must carry. @throws Problem `issuer_unavailable` */
  async issuer(): Promise<string> {
    return (await this.#current()).issuer;
  }

  /** The key for a token's header. @throws Problem `issuer_unavailable`, errors.JWKSNoMatchingKey */
  async key(header: JWSHeaderParameters, token: FlattenedJWSInput): ReturnType<Loaded['find']> {
    const loaded = await this.#current();
    try {
      return await loaded.find(header, token);
    } catch (error) {
      const unknown = error instanceof errors.JWKSNoMatchingKey;
      if (!unknown || this.#clock() - loaded.at < COOLDOWN_MS) throw error;
    }
    return (await this.#load()).find(header, token);
  }

  async #current(): Promise<Loaded> {
    const loaded = this.#loaded;
    if (loaded && this.#clock() - loaded.at < FRESH_MS) return loaded;
    try {
      return await this.#load();
    } catch (error) {
      if (loaded && this.#clock() - loaded.at < STALE_MS) return loaded;
      throw error;
    }
  }

  #load(): Promise<Loaded> {
    if (this.#clock() - this.#failedAt < FAILURE_PAUSE_MS) return Promise.reject(problem('issuer_unavailable'));
    this.#loading ??= this.#fetch().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #fetch(): Promise<Loaded> {
    try {
      const discovery = await fetchJson(`${this.#issuer}/.well-known/openid-configuration`);
      const { issuer, jwks_uri } = discovery;
      // Settings drop a trailing slash that some issuers have in their name.
      if (typeof issuer !== 'string' || issuer.replace(/\/$/, '') !== this.#issuer.replace(/\/$/, ''))
        throw new Error('the discovery document names another issuer');
      if (typeof jwks_uri !== 'string') throw new Error('the discovery document names no jwks_uri');
      const jwks = (await fetchJson(jwks_uri)) as unknown as JSONWebKeySet;
      this.#loaded = { at: this.#clock(), issuer, find: createLocalJWKSet(jwks) };
      return this.#loaded;
    } catch (error) {
      this.#failedAt = this.#clock();
      throw problem('issuer_unavailable', { cause: error });
    }
  }
}

async function fetchJson(url: string): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  if (!response.ok) throw new Error(`the issuer answered ${response.status}`);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error('the issuer answers with too much');
    chunks.push(chunk);
  }
  return JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
}
