import { type Contract, type ResolvedLimits, reserveMicrocredits } from '../../crds/contract.ts';
import type { Instance } from '../../crds/kinds.ts';
import { type HoldReply, type LedgerClient, LedgerError, type Replayed, type RunContext } from '../../ledger/client.ts';
import { problem } from '../errors.ts';

/** The runner may still drain, price and capture after the run's time is up; the hold must outlive that. */
export const DRAIN_SECONDS = 60;

/** A second run of an Instance usually ends within this. */
const BUSY_RETRY_SECONDS = 1;

/** What one run wants to reserve. */
export interface Reservation {
  organization: string;
  instance: Instance;
  contract: Contract;
  limits: ResolvedLimits;
  /** The caller's own cap in microcredits. */
  maxMicrocredits: number | undefined;
  context: RunContext & { runId: string };
}

/** Ledger name of the wallet that pays for an Instance. */
export function walletName(organization: string, instance: Instance): string {
  return `${organization}.${instance.spec.walletRef.name}`;
}

/**
 * What a run of this contract reserves, in microcredits; at least 1, so that a run without a price
 * still has the hold that is its record.
 * @throws Problem `max_below_reserve`: the cap would be broken by the first thing the run uses
 */
export function reserveFor(contract: Contract, maxMicrocredits: number | undefined): number {
  const reserve = Math.max(1, reserveMicrocredits(contract));
  if (maxMicrocredits !== undefined && maxMicrocredits < reserve)
    throw problem('max_below_reserve', {
      detail: `a run of this contract reserves ${reserve} microcredits, more than maxMicrocredits`,
      extra: { requiredMicrocredits: reserve },
      errors: [{ pointer: '/maxMicrocredits', rule: 'minimum', message: `must be at least ${reserve}` }],
    });
  return reserve;
}

/**
 * Reserves credits for a run. Repeating it with the same run id finds the same hold.
 * @throws Problem `insufficient_credits`, `too_many_runs`, `ledger_unavailable`, `max_below_reserve`
 * @throws LedgerError `idempotency_conflict`: the run id was used with other terms
 */
export async function reserve(ledger: LedgerClient, reservation: Reservation): Promise<HoldReply & Replayed> {
  const { organization, instance, contract, limits, context } = reservation;
  const body = {
    wallet: walletName(organization, instance),
    amount: reserveFor(contract, reservation.maxMicrocredits),
    ttlSeconds: limits.runSeconds + DRAIN_SECONDS,
    offering: instance.spec.offeringRef.name,
    project: instance.spec.projectRef.name,
    instanceUid: instance.metadata.uid,
    maxConcurrent: limits.concurrentRuns,
    context,
  };
  try {
    return await ledger.hold(body, `hold:${context.runId}`);
  } catch (error) {
    throw holdRefusal(error);
  }
}

function holdRefusal(error: unknown): unknown {
  if (!(error instanceof LedgerError)) return error;
  const { available, required } = error.body;
  switch (error.code) {
    case 'insufficient_credits':
      return problem('insufficient_credits', {
        extra: { availableMicrocredits: available, requiredMicrocredits: required },
        cause: error,
      });
    case 'too_many_runs':
      return problem('too_many_runs', { retryAfterSeconds: BUSY_RETRY_SECONDS, cause: error });
    case 'idempotency_conflict':
      return error;
    case 'wallet_not_found':
    case 'wallet_closed':
      return problem('insufficient_credits', {
        detail: 'the wallet of this Instance is not open',
        extra: { availableMicrocredits: 0 },
        cause: error,
      });
  }
  return ledgerTrouble(error);
}

/** A ledger failure that a caller cannot do anything about. */
export function ledgerTrouble(error: unknown): unknown {
  return error instanceof LedgerError ? problem('ledger_unavailable', { cause: error }) : error;
}

/**
 * Gives a reservation back.
 * @returns the state that the hold is in now: `captured` when the runner was faster
 */
export async function giveBack(
  ledger: LedgerClient,
  hold: string,
  reason: string,
): Promise<'voided' | 'captured' | 'expired'> {
  try {
    await ledger.voidHold(hold, { reason }, `void:${hold}`);
    return 'voided';
  } catch (error) {
    const code = error instanceof LedgerError ? error.code : undefined;
    if (code === 'already_captured') return 'captured';
    if (code === 'already_voided') return 'voided';
    if (code === 'already_expired') return 'expired';
    throw error;
  }
}
