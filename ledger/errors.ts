import { Problem } from '../config/problem.ts';
import { DatabaseUnavailable } from './database.ts';
import { DATABASE_TROUBLES, type DatabaseTrouble } from './database-troubles.ts';

const troubles = Object.fromEntries(
  Object.entries(DATABASE_TROUBLES).map(([code, { meaning, next }]) => [
    code,
    { status: 503, meaning: `${meaning} Operators: ${next}.` },
  ]),
) as Record<DatabaseTrouble, { status: 503; meaning: string }>;

/** Every refusal of the ledger with its status and meaning, once. `docs` and tests read it. */
export const LEDGER_ERRORS = {
  malformed_body: { status: 400, meaning: 'The body is not JSON.' },
  idempotency_key_required: { status: 400, meaning: 'This call needs an Idempotency-Key header.' },
  unauthenticated: { status: 401, meaning: 'No known service token was sent.' },
  insufficient_credits: { status: 402, meaning: 'The wallet has less available, for this scope, than required.' },
  forbidden: { status: 403, meaning: 'The token lacks the scope that `scope` names.' },
  not_found: { status: 404, meaning: 'There is no such route.' },
  wallet_not_found: { status: 404, meaning: 'There is no wallet of this name.' },
  grant_not_found: { status: 404, meaning: 'There is no such grant.' },
  hold_not_found: { status: 404, meaning: 'There is no such hold.' },
  receipt_not_found: { status: 404, meaning: 'There is no such receipt.' },
  run_not_found: { status: 404, meaning: 'No hold names this run.' },
  fulfilment_not_found: { status: 404, meaning: 'There is no such fulfilment.' },
  inbox_item_not_found: { status: 404, meaning: 'There is no such inbox item.' },
  owner_mismatch: { status: 409, meaning: 'The wallet belongs to another owner.' },
  wallet_closed: { status: 409, meaning: 'The wallet is closed.' },
  wallet_not_empty: { status: 409, meaning: 'Money or open holds are still in the wallet.' },
  already_captured: { status: 409, meaning: 'The hold ended by a capture.' },
  already_voided: { status: 409, meaning: 'The hold ended by a void.' },
  already_expired: { status: 409, meaning: 'The hold ended by its time to live.' },
  already_claimed: { status: 409, meaning: 'Another Instance claimed this fulfilment.' },
  inbox_item_not_parked: { status: 409, meaning: 'Only a parked item can be tried again.' },
  inbox_item_not_claimed: { status: 409, meaning: 'The item is not claimed, so it cannot be resolved.' },
  position_behind: { status: 409, meaning: 'The reader of the feed has come further; `rewind` goes back.' },
  stale_leader: { status: 409, meaning: 'A newer leader has been seen; this one must stop.' },
  body_too_large: { status: 413, meaning: 'The body is larger than this route accepts.' },
  unsupported_media_type: { status: 415, meaning: 'The body is not application/json.' },
  invalid_request: { status: 422, meaning: '`errors` names each wrong field and the rule it breaks.' },
  idempotency_conflict: { status: 422, meaning: 'The key was used before with another payload.' },
  too_many_runs: { status: 429, meaning: 'The Instance has as many open holds as it may have.' },
  internal: { status: 500, meaning: 'Something failed in the ledger; retry with the same key.' },
  ...troubles,
  openmeter_unavailable: { status: 502, meaning: 'OpenMeter cannot be read; half a comparison says nothing.' },
} as const satisfies Record<string, { status: number; meaning: string }>;

/** Drizzle wraps what its driver throws. */
function outageOf(error: unknown): DatabaseUnavailable | undefined {
  if (error instanceof DatabaseUnavailable) return error;
  return error instanceof Error && error.cause instanceof DatabaseUnavailable ? error.cause : undefined;
}

/** What a handler threw, as a problem where the ledger knows what it means; anything else unchanged. */
export function toLedgerProblem(error: unknown): unknown {
  const outage = outageOf(error);
  if (outage === undefined) return error;
  const { meaning, retryAfterSeconds } = DATABASE_TROUBLES[outage.trouble];
  return new Problem({
    status: 503,
    code: outage.trouble,
    detail: meaning,
    headers: { 'retry-after': String(retryAfterSeconds) },
    cause: error,
  });
}
