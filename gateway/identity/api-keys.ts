import { createHash, timingSafeEqual } from 'node:crypto';
import { type ApiKey, organizationOf } from '../../crds/kinds.ts';
import { keyText, type ResourceCache } from '../../crds/store.ts';
import { problem } from '../errors.ts';
import type { Caller } from './caller.ts';

export const API_KEY_PREFIX = 'gsvk_';

/** 32 random characters after the prefix are plenty; the upper bound keeps hashing cheap. */
const SHAPE = /^gsvk_[\w-]{32,128}$/;

/**
 * API keys by the sha256 of the key. A plain hash is right for a key of 190 random bits: there is no
 * dictionary to try, and a slow hash would only slow us.
 */
export class ApiKeys {
  readonly #cache: ResourceCache<'ApiKey'>;
  readonly #clock: () => number;
  /** hex hash -> the key's place in the cache. */
  readonly #byHash = new Map<string, { namespace?: string; name: string }>();
  readonly #hashOf = new Map<string, string>();
  readonly #stop: () => void;

  constructor(cache: ResourceCache<'ApiKey'>, clock: () => number) {
    this.#cache = cache;
    this.#clock = clock;
    this.#stop = cache.onChange((key) => this.#index(key));
  }

  /** @throws Problem `token_invalid`, `token_expired` */
  caller(presented: string): Caller {
    if (!SHAPE.test(presented)) throw problem('token_invalid');
    const hash = createHash('sha256').update(presented).digest();
    const place = this.#byHash.get(hash.toString('hex'));
    const key = place && this.#cache.get(place);
    const organization = organizationOf(key?.metadata.namespace);
    // The map finds by value; the answer is given only after a comparison whose time says nothing.
    if (!key || organization === undefined || !equal(hash, storedHash(key))) throw problem('token_invalid');
    if (key.metadata.deletionTimestamp !== undefined) throw problem('token_invalid');
    if (key.spec.expiresTime !== undefined && Date.parse(key.spec.expiresTime) <= this.#clock())
      throw problem('token_expired', { detail: 'the API key has expired' });
    return {
      subject: key.spec.owner,
      emailVerified: false,
      groups: [],
      apiKey: {
        organization,
        name: key.metadata.name,
        ...(key.spec.instances ? { instances: key.spec.instances } : {}),
      },
    };
  }

  close(): void {
    this.#stop();
  }

  #index(place: { namespace?: string; name: string }): void {
    const text = keyText(place);
    const before = this.#hashOf.get(text);
    if (before !== undefined) this.#byHash.delete(before);
    const key = this.#cache.get(place);
    if (!key) {
      this.#hashOf.delete(text);
      return;
    }
    const hash = storedHash(key).toString('hex');
    this.#hashOf.set(text, hash);
    this.#byHash.set(hash, place);
  }
}

/** `spec.hash` is hex, with or without its algorithm in front. */
function storedHash(key: ApiKey): Buffer {
  return Buffer.from(key.spec.hash.replace(/^sha256:/, ''), 'hex');
}

function equal(left: Buffer, right: Buffer): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}
