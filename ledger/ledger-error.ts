import type { LEDGER_ERRORS } from './errors.ts';

/**
 * Every code that a ledger of this release answers, and two of the client's own: no reply within all attempts, and a
 * reply that is not the ledger's (a proxy's page). A newer ledger may know more.
 */
type LedgerErrorCode = keyof typeof LEDGER_ERRORS | 'ledger_unavailable' | 'unexpected_reply';

/**
 * Anything but a 2xx. `status` 0 with code `ledger_unavailable` = no reply within all attempts: the
 * effect is unknown and the call may be repeated under the same key.
 */
export class LedgerError extends Error {
  readonly status: number;
  /** The problem's stable code, e.g. `insufficient_credits`. */
  readonly code: LedgerErrorCode | (string & {});
  /** The whole problem document, e.g. with `available` and `required` of a 402. */
  readonly body: Record<string, unknown>;
  /** Seconds that the ledger asks to wait for; absent where it does not say. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    status: number,
    code: LedgerErrorCode | (string & {}),
    message: string,
    body: Record<string, unknown>,
    options: ErrorOptions & { retryAfterSeconds?: number | undefined } = {},
  ) {
    super(message, options);
    this.name = 'LedgerError';
    this.status = status;
    this.code = code;
    this.body = body;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  /** The same call under the same key may go well later; whether it had its effect is not known. */
  get isTransient(): boolean {
    const ofProxy = (this.status === 502 || this.status === 504) && this.code === 'unexpected_reply';
    return this.status === 0 || this.status === 503 || ofProxy;
  }
}
