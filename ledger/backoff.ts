/**
 * Milliseconds to wait after so many failures in a row: exponential with full jitter, because those who failed together
 * must not come back together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 *
 * @param bounds `baseMs` is doubled with each failure, up to `capMs`
 */
export function backoffMs(
  failures: number,
  bounds: { baseMs: number; capMs: number },
  random: () => number = Math.random,
): number {
  // 2^20 times any base is above any cap.
  return random() * Math.min(bounds.capMs, bounds.baseMs * 2 ** Math.min(failures, 20));
}
