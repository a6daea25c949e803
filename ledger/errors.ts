import { Problem } from '../config/problem.ts';
import { DatabaseUnavailable } from './database.ts';

/** Seconds after which a caller should come back when the database is away. */
const RETRY_AFTER_SECONDS = 1;

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
  openmeter_unavailable: { status: 502, meaning: 'OpenMeter cannot be read; half a comparison says nothing.' },
  database_unavailable: { status: 503, meaning: 'The database is away; retry with the same key.' },
} as const satisfies Record<string, { status: number; meaning: string }>;

/** Drizzle wraps what its driver throws. */
function isOutage(error: unknown): boolean {
  if (error instanceof DatabaseUnavailable) return true;
  return error instanceof Error && error.cause instanceof DatabaseUnavailable;
}

/** What a handler threw, as a problem where the ledger knows what it means; anything else unchanged. */
export function toLedgerProblem(error: unknown): unknown {
  if (!isOutage(error)) return error;
  return new Problem({
    status: 503,
    code: 'database_unavailable',
    detail: 'the ledger database is not available; retry with the same Idempotency-Key',
    headers: { 'retry-after': String(RETRY_AFTER_SECONDS) },
    cause: error,
  });
}
