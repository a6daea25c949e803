import { createRemoteJWKSet, errors, type FlattenedVerifyGetKey, flattenedVerify } from 'jose';
import { Problem } from '../../config/problem.ts';

/** Finds the verification key of a shop by the `kid` of a signature. */
export type ShopKeys = (shop: string) => FlattenedVerifyGetKey;

/** A shop that does not answer within this time is "transient": the delivery is retried by Saleor. */
const JWKS_TIMEOUT_MS = 5_000;
/** An unknown `kid` makes us ask again, but not more often than this: forgers choose the kid. */
const JWKS_COOLDOWN_MS = 30_000;
/** The shop sends no cache headers; a rotated key shows as an unknown `kid` anyway. */
const JWKS_MAX_AGE_MS = 600_000;

/** A detached compact JWS: protected header, empty payload, signature (RFC 7515 appendix F). */
const DETACHED_JWS = /^([\w-]+)\.\.([\w-]+)$/;
/** Hex HMAC-SHA256: what a webhook with the deprecated `secretKey` sends instead. */
const HEX_HMAC = /^[0-9a-f]{64}$/i;

/**
 * Keys from the shop's own `/.well-known/jwks.json`. Only allow-listed shops come here, so the
 * address is never a stranger's choice; redirects are not followed.
 */
export function remoteShopKeys(): ShopKeys {
  const sets = new Map<string, FlattenedVerifyGetKey>();
  return (shop) => {
    let keys = sets.get(shop);
    if (keys === undefined) {
      keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', shop), {
        timeoutDuration: JWKS_TIMEOUT_MS,
        cooldownDuration: JWKS_COOLDOWN_MS,
        cacheMaxAge: JWKS_MAX_AGE_MS,
      });
      sets.set(shop, keys);
    }
    return keys;
  };
}

/**
 * Proves that the shop signed exactly these bytes: RS256 over the raw body with `b64: false`
 * (RFC 7797). Nothing but the body is signed; the caller compares headers with it.
 *
 * @throws Problem 401 `signature_missing`, `signature_unsupported`, `signature_invalid`; 503
 * `shop_keys_unavailable` when the shop's keys cannot be had (Saleor retries on 5xx only)
 */
export async function verifySignature(
  signature: string | undefined,
  raw: Uint8Array,
  keys: FlattenedVerifyGetKey,
): Promise<void> {
  if (signature === undefined || signature === '') {
    throw refused('signature_missing', 'the delivery has no Saleor-Signature header');
  }
  if (HEX_HMAC.test(signature)) {
    throw refused(
      'signature_unsupported',
      'the delivery is signed with a shared secretKey (HMAC), which is deprecated; remove secretKey from the webhook so that the shop signs with its key',
    );
  }
  const parts = DETACHED_JWS.exec(signature);
  if (!parts?.[1] || !parts[2])
    throw refused('signature_invalid', 'the signature does not verify: it is not a detached JWS');
  try {
    await flattenedVerify({ protected: parts[1], payload: raw, signature: parts[2] }, keys, { algorithms: ['RS256'] });
  } catch (error) {
    throw toProblem(error);
  }
}

function toProblem(error: unknown): Problem {
  const forged =
    error instanceof errors.JWSSignatureVerificationFailed ||
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JOSEAlgNotAllowed ||
    error instanceof errors.JOSENotSupported ||
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys;
  if (forged) return refused('signature_invalid', 'the signature does not verify', error);
  return new Problem({
    status: 503,
    code: 'shop_keys_unavailable',
    detail: 'the shop’s signing keys cannot be fetched at the moment; send the delivery again',
    headers: { 'retry-after': '10' },
    cause: error,
  });
}

function refused(code: string, detail: string, cause?: unknown): Problem {
  return new Problem({ status: 401, code, detail, cause });
}
