import { Problem, type ProblemOptions } from '../../config/problem.ts';

/** Every code that the runner answers, with its status. Codes of `config/http.ts` come on top. */
export const RUNNER_PROBLEMS = {
  ticket_invalid: 401,
  ticket_expired: 401,
  /** The ticket was made for something else, or for another run, Instance or secret. */
  ticket_mismatch: 403,
  probe_unauthenticated: 401,
  run_not_found: 404,
  instance_not_found: 404,
  /** The Instance has no version, contract, namespace or policy yet. */
  instance_not_ready: 409,
  /** The ticket, the Instance and the OfferingVersion do not name the same contract. */
  contract_mismatch: 409,
  secret_missing: 409,
  secret_not_declared: 404,
  version_conflict: 409,
  secrets_unavailable: 503,
  artifact_missing: 409,
  artifact_corrupt: 409,
  /** The runtime refuses to build the flow. */
  artifact_rejected: 502,
  input_too_large: 413,
  output_too_large: 502,
  runtime_unavailable: 503,
  runtime_error: 502,
  run_timeout: 504,
  run_cancelled: 409,
  /** Nobody listens any more and the contract says Abort. */
  client_gone: 409,
  /** The hold ended before the run could be charged. */
  hold_not_open: 409,
  /** The run is done, but the ledger does not answer. */
  settlement_unavailable: 503,
  shutting_down: 503,
  too_many_runs: 503,
} as const;

export type RunnerCode = keyof typeof RUNNER_PROBLEMS;

/** Clients may come back this soon after a 503, in seconds. */
const RETRY_AFTER_SECONDS = 1;

export function runnerProblem(
  code: RunnerCode,
  detail: string,
  options: Pick<ProblemOptions, 'errors' | 'extra' | 'cause'> = {},
): Problem {
  const status = RUNNER_PROBLEMS[code];
  return new Problem({
    status,
    code,
    detail,
    ...(status === 503 ? { headers: { 'retry-after': String(RETRY_AFTER_SECONDS) } } : {}),
    ...options,
  });
}
