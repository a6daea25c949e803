import { Problem, type Violation } from '../config/problem.ts';

/**
 * The edge's own problems, declared once: code, status and the sentence a person reads. Problems with
 * numbers in them are built by {@link problem} where the numbers are known.
 */
export const EDGE_ERRORS = {
  token_missing: [401, 'send an access token or an API key as "Authorization: Bearer …"'],
  token_expired: [401, 'the access token has expired; get a new one'],
  token_invalid: [401, 'the access token is not valid here'],
  token_wrong_audience: [401, 'the access token was issued for another service'],
  issuer_unavailable: [503, 'the identity provider does not answer, so no token can be checked; retry shortly'],
  api_key_not_allowed: [403, 'API keys may run Instances and read them, nothing else; use an access token'],
  forbidden: [403, 'your role does not allow this'],
  organization_suspended: [403, 'this Organization is suspended'],
  organization_not_found: [404, 'there is no such Organization'],
  instance_not_found: [404, 'there is no such Instance'],
  offering_not_found: [404, 'there is no such Offering'],
  wallet_not_found: [404, 'there is no such Wallet'],
  receipt_not_found: [404, 'there is no such receipt'],
  run_not_found: [404, 'there is no such run'],
  secret_not_found: [404, 'this Instance has no such secret for the buyer to set'],
  instance_not_ready: [409, 'this Instance is not ready'],
  instance_paused: [409, 'this Instance is paused'],
  instance_terminated: [410, 'this Instance was ended; order a new one'],
  instance_exists: [409, 'there is an Instance of this name already'],
  instance_changed: [409, 'the Instance was changed by somebody else at the same time; read it and try again'],
  managed_by_git: [409, 'this Instance is kept in Git by Argo CD; change it there'],
  offering_not_sellable: [409, 'this Offering is not for sale now'],
  run_in_progress: [409, 'a run with this Idempotency-Key is under way; retry later with the same key'],
  result_expired: [410, 'the result of this run is no longer kept'],
  run_failed: [410, 'this run ended without a result; nothing was charged'],
  input_too_large: [413, 'the input is larger than this contract allows'],
  idempotency_conflict: [422, 'this Idempotency-Key was used with another request'],
  idempotency_key_exhausted: [422, 'too many runs failed under this Idempotency-Key; use a new one'],
  idempotency_key_invalid: [422, 'Idempotency-Key must be 1 to 255 printable ASCII characters'],
  max_below_reserve: [422, 'maxMicrocredits is lower than what a run of this contract reserves'],
  cursor_invalid: [422, 'this cursor is not one that we gave'],
  config_invalid: [422, 'the config does not fit the contract'],
  reference_invalid: [422, 'the request names something that does not exist'],
  resource_invalid: [422, 'the resource is not valid'],
  rate_limited: [429, 'too many requests for this Instance'],
  too_many_runs: [429, 'too many runs of this Instance at once'],
  stream_interrupted: [502, 'the stream broke off after the run was charged; read the run back'],
  insufficient_credits: [402, 'the wallet has not enough credits for this'],
  runner_failed: [502, 'the run could not be carried out; nothing was charged'],
  runner_unavailable: [503, 'the runner does not answer; nothing was charged'],
  ledger_unavailable: [503, 'the credit ledger does not answer; retry with the same Idempotency-Key'],
  store_unavailable: [503, 'the resource store does not answer; retry shortly'],
  overloaded: [503, 'too many requests at once; retry shortly'],
  draining: [503, 'this process is shutting down; retry'],
} as const satisfies Record<string, readonly [number, string]>;

export type EdgeCode = keyof typeof EDGE_ERRORS;

/** Seconds that a client is told to wait when something of ours is down. */
const RETRY_AFTER_SECONDS = 2;

export interface ProblemDetails {
  detail?: string;
  errors?: Violation[];
  extra?: Record<string, unknown>;
  /** Adds `Retry-After`; every 503 has one. */
  retryAfterSeconds?: number;
  headers?: Record<string, string>;
  cause?: unknown;
}

/** A problem of the catalogue. */
export function problem(code: EdgeCode, details: ProblemDetails = {}): Problem {
  const [status, sentence] = EDGE_ERRORS[code];
  const wait = details.retryAfterSeconds ?? (status === 503 ? RETRY_AFTER_SECONDS : undefined);
  return new Problem({
    status,
    code,
    detail: details.detail ?? sentence,
    headers: { ...(wait === undefined ? {} : { 'retry-after': String(Math.ceil(wait)) }), ...details.headers },
    ...(details.errors ? { errors: details.errors } : {}),
    ...(details.extra ? { extra: details.extra } : {}),
    ...(details.cause === undefined ? {} : { cause: details.cause }),
  });
}
