import { Problem, type Violation } from '../../config/problem.ts';
import { problem } from '../errors.ts';

/** What the runner says went wrong with a run, as far as it is the buyer's business. */
const RELAYED_STATUS = new Set([409, 410, 413, 422, 429, 502, 503, 504]);

const CODE = /^[a-z][a-z0-9_]{1,63}$/;

/**
 * The problem for a runner's reply other than 200. Its refusals of the edge itself (ticket, unknown
 * route) are our fault and say nothing to the buyer.
 */
export function runnerProblem(status: number, text: string): Problem {
  const document = parse(text);
  const { code, detail, errors } = document;
  if (!RELAYED_STATUS.has(status) || typeof code !== 'string' || !CODE.test(code))
    return problem('runner_failed', { cause: new Error(`the runner answered ${status} ${String(code)}`) });
  return new Problem({
    status,
    code,
    detail: typeof detail === 'string' ? detail : 'the run failed',
    ...(isViolations(errors) ? { errors } : {}),
    ...(status === 503 ? { headers: { 'retry-after': '2' } } : {}),
  });
}

function isViolations(value: unknown): value is Violation[] {
  const strings = (each: Partial<Violation> | null) =>
    [each?.pointer, each?.rule, each?.message].every((member) => typeof member === 'string');
  return Array.isArray(value) && value.every(strings);
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
