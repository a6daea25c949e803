import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';
import { SecretsError } from '../secrets.ts';

/** A node that answers at all answers a connection in this time; the calls above it retry with backoff. */
const CONNECT_TIMEOUT_MS = 5_000;
/** One whole call, body included: a run waits for it, and a run's own limit is far longer. */
const CALL_TIMEOUT_MS = 15_000;
/** The listing of a folder with 20,000 long names; values are bounded at 64 KiB by the writer. */
const ANSWER_MAX_BYTES = 8 * 1024 * 1024;

/**
 * What of the server's words is passed on. Errors of a secrets store may quote what was sent to it, so
 * nothing but these sentences ever reaches ours.
 */
const KNOWN_WORDS = [
  'check-and-set parameter did not match the current version',
  'check-and-set parameter required for this call',
  'Vault is sealed',
  'Vault is not initialized',
  'local node not active but active cluster node not found',
  'no handler for route',
  'service account name not authorized',
  'namespace not authorized',
  'invalid role name',
  'invalid audience (aud) claim',
  'unknown role',
  'lease is not renewable',
  "must be subset of the role's allowed policies",
  'request path contains a wildcard',
  'permission denied',
] as const;

export type VaultWords = (typeof KNOWN_WORDS)[number];

export interface VaultAnswer {
  status: number;
  /** The JSON body; `{}` of an empty one. */
  body: Record<string, unknown>;
  /** Whether the server named any error: an absent secret is 404 without one, an absent mount 404 with one. */
  complained: boolean;
  /** Those of its errors that are known to carry nothing of ours. */
  words: VaultWords[];
}

export interface VaultHttpOptions {
  /** `https://vault.example:8200`, without `/v1`. */
  url: string;
  /** PEM file of the authorities to trust instead of the system's. */
  caFile?: string;
  /** Milliseconds for one call. */
  timeoutMs?: number;
}

export interface VaultCall {
  method: 'GET' | 'POST' | 'DELETE';
  /** Below `/v1/`; the caller has checked its segments. */
  path: string;
  token?: string;
  /** A listing: the same as the method LIST, which not every proxy lets through. */
  list?: boolean;
  body?: Record<string, unknown>;
}

/**
 * One HTTP call to Vault or OpenBao. Redirects are not followed: the token would go to a host that
 * nobody configured. Neither the request nor the answer ever becomes part of an error.
 */
export class VaultHttp {
  readonly #url: string;
  readonly #agent: Agent;
  readonly #timeoutMs: number;

  /** @throws SecretsError `unavailable` when the authorities cannot be read */
  constructor({ url, caFile, timeoutMs = CALL_TIMEOUT_MS }: VaultHttpOptions) {
    this.#url = url.replace(/\/+$/, '');
    this.#timeoutMs = timeoutMs;
    this.#agent = new Agent({
      connect: { timeout: Math.min(CONNECT_TIMEOUT_MS, timeoutMs), ...(caFile ? { ca: authorities(caFile) } : {}) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxResponseSize: ANSWER_MAX_BYTES,
    });
  }

  /** Any answer below 500 but a redirect and "too many requests". @throws SecretsError `unavailable` */
  async call({ method, path, token, list = false, body }: VaultCall): Promise<VaultAnswer> {
    const where = `${list ? 'LIST' : method} ${path}`;
    let status: number;
    let text: string;
    try {
      const response = await request(`${this.#url}/v1/${path}${list ? '?list=true' : ''}`, {
        method,
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(this.#timeoutMs),
        headers: {
          'x-vault-request': 'true',
          ...(token === undefined ? {} : { 'x-vault-token': token }),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      status = response.statusCode;
      text = await response.body.text();
    } catch (error) {
      // The cause is left out: it may hold the request. Its code says what a person needs.
      throw new SecretsError('unavailable', `Vault did not answer ${where}: ${reason(error)}`);
    }
    const answer = parse(status, text, where);
    if (status >= 500 || status === 429 || (status >= 300 && status < 400))
      throw new SecretsError('unavailable', `Vault answered ${where} with ${describe(answer)}${hint(status)}`, {
        words: answer.words.join('; '),
      });
    return answer;
  }

  close(): Promise<void> {
    return this.#agent.close();
  }
}

/** `403 (permission denied)`: the status and those words of the server that are safe. */
export function describe({ status, words }: VaultAnswer): string {
  return words.length === 0 ? String(status) : `${status} (${words.join('; ')})`;
}

function hint(status: number): string {
  return status >= 300 && status < 400 ? ': it names another node; point GSV_VAULT_ADDR at the active one' : '';
}

function authorities(caFile: string): string {
  try {
    return readFileSync(caFile, 'utf8');
  } catch {
    throw new SecretsError('unavailable', `the authorities for Vault cannot be read from ${caFile}`);
  }
}

function reason(error: unknown): string {
  const { name, code, cause } = error as { name?: string; code?: string; cause?: { code?: string } };
  return code ?? cause?.code ?? (name === 'TimeoutError' ? 'no answer in time' : (name ?? 'failed'));
}

function parse(status: number, text: string, where: string): VaultAnswer {
  let body: unknown = {};
  try {
    body = text === '' ? {} : JSON.parse(text);
  } catch {
    // A proxy's page, or a cut answer. The parser's message would quote it.
    if (status < 300)
      throw new SecretsError('unavailable', `Vault answered ${where} with ${status} and no JSON that can be read`);
  }
  const object = typeof body === 'object' && body !== null && !Array.isArray(body) ? body : {};
  const { errors } = object as { errors?: unknown };
  const said = Array.isArray(errors) ? errors.filter((each) => typeof each === 'string') : [];
  const words = KNOWN_WORDS.filter((known) => said.some((each) => each.includes(known)));
  return { status, body: object as Record<string, unknown>, complained: said.length > 0, words };
}
