import { problem } from '../errors.ts';

/** Buckets of Instances that were not called for this long are full again and can be forgotten. */
const IDLE_MS = 60_000;

/** Above this many buckets the idle ones are swept. */
const SWEEP_ABOVE = 10_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

/**
 * Requests per minute and Instance: a token bucket that holds one minute's worth. With several edges
 * each enforces its share, so the sum is the contract's limit.
 */
export class RateLimits {
  readonly #buckets = new Map<string, Bucket>();
  readonly #clock: () => number;
  readonly #edges: () => number;

  /** @param edges how many ready edges share the limit; at least 1 */
  constructor(clock: () => number, edges: () => number = () => 1) {
    this.#clock = clock;
    this.#edges = edges;
  }

  /** Takes one request. @throws Problem `rate_limited` with the time until the next one */
  take(instanceUid: string, requestsPerMinute: number): void {
    const capacity = Math.max(1, requestsPerMinute / Math.max(1, this.#edges()));
    const perMs = capacity / 60_000;
    const now = this.#clock();
    const bucket = this.#buckets.get(instanceUid) ?? { tokens: capacity, atMs: now };
    const tokens = Math.min(capacity, bucket.tokens + Math.max(0, now - bucket.atMs) * perMs);
    if (tokens < 1) throw problem('rate_limited', { retryAfterSeconds: (1 - tokens) / perMs / 1000 });
    this.#buckets.set(instanceUid, { tokens: tokens - 1, atMs: now });
    if (this.#buckets.size > SWEEP_ABOVE) this.#sweep(now);
  }

  #sweep(now: number): void {
    for (const [uid, bucket] of this.#buckets) if (now - bucket.atMs > IDLE_MS) this.#buckets.delete(uid);
  }
}

/** @throws Problem `input_too_large`. `inputBytes` counts the UTF-8 form of the input alone. */
export function checkInputSize(input: string, inputBytes: number): void {
  const size = Buffer.byteLength(input);
  if (size > inputBytes)
    throw problem('input_too_large', {
      detail: `the input has ${size} bytes; this contract allows ${inputBytes}`,
      extra: { inputBytes: size, maxInputBytes: inputBytes },
    });
}
