import { randomUUID } from 'node:crypto';
import { type Hold, type LedgerClient, LedgerError } from '../../ledger/client.ts';
import { ledgerTrouble, type Reservation, reserve } from '../admission/credits.ts';
import { problem } from '../errors.ts';
import type { Caller } from '../identity/caller.ts';
import { freshRunId, keyedRunId } from './run-id.ts';

/** Failed attempts under one key; past it the client is in a loop and must think. */
const MAX_ATTEMPTS = 16;

/** Either this request is the one that carries the run out, or an earlier one is or was. */
export type Claim =
  | { kind: 'execute'; runId: string; hold: string; amount: number }
  | { kind: 'attach'; runId: string; hold: Hold };

export interface ClaimRequest {
  ledger: LedgerClient;
  caller: Caller;
  /** The caller's Idempotency-Key. */
  key: string | undefined;
  /** Everything but the run id, which is decided here. */
  reservation: Omit<Reservation, 'context'>;
  context: { inputSha256: string; sessionSha256?: string; [member: string]: unknown };
}

/**
 * Reserves credits for a run and settles who carries it out. Without a key every request is a run of
 * its own. With one, the ledger's hold decides: its first caller executes, the others attach; an
 * attempt that was voided or has expired makes room for the next.
 * @throws Problem `idempotency_conflict`, `idempotency_key_exhausted` and those of `reserve`
 */
export async function claimRun(request: ClaimRequest): Promise<Claim> {
  if (request.key === undefined) return execute(request, freshRunId());
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const runId = keyedRunId(request.reservation.instance.metadata.uid, request.caller, request.key, attempt);
    const claim = await claimAttempt(request, runId);
    if (claim) return claim;
  }
  throw problem('idempotency_key_exhausted');
}

async function execute(request: ClaimRequest, runId: string): Promise<Claim> {
  const hold = await reserve(request.ledger, { ...request.reservation, context: { ...request.context, runId } });
  return { kind: 'execute', runId, hold: hold.hold, amount: hold.amount };
}

/** Undefined: this attempt has failed before, the next one may be tried. */
async function claimAttempt(request: ClaimRequest, runId: string): Promise<Claim | undefined> {
  // The first context wins, so this mark tells whether a replayed hold is our own, repeated by the
  // client after a lost reply, or another request's.
  const claimant = randomUUID();
  const context = { ...request.context, runId, claimant };
  try {
    const hold = await reserve(request.ledger, { ...request.reservation, context });
    if (!hold.replayed) return { kind: 'execute', runId, hold: hold.hold, amount: hold.amount };
  } catch (error) {
    // Same key, other terms: a new contract under a retried key, or another request altogether.
    if (!(error instanceof LedgerError) || error.code !== 'idempotency_conflict') throw error;
  }
  const earlier = await runOf(request.ledger, runId);
  if (earlier.context?.claimant === claimant && earlier.state === 'open')
    return { kind: 'execute', runId, hold: earlier.hold, amount: earlier.amount };
  const same =
    earlier.context?.inputSha256 === context.inputSha256 && earlier.context?.sessionSha256 === context.sessionSha256;
  if (!same) throw problem('idempotency_conflict');
  if (earlier.state === 'voided' || earlier.state === 'expired') return undefined;
  return { kind: 'attach', runId, hold: earlier };
}

async function runOf(ledger: LedgerClient, runId: string): Promise<Hold> {
  try {
    return await ledger.run(runId);
  } catch (error) {
    throw ledgerTrouble(error);
  }
}
