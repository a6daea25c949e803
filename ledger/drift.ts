import { type LedgerSql, withDatabase } from './database.ts';
import { compareEvents, type LedgerSums, type OpenMeterSums } from './drift-events.ts';
import { type Difference, DriftFindings, type DriftKind } from './drift-kinds.ts';
import { compareRuns } from './drift-runs.ts';
import type { OpenMeter } from './openmeter.ts';

/** OpenMeter stores what it has taken within seconds. */
const SECOND_LOOK_MS = 10_000;

export interface DriftQuery {
  /** RFC 3339, included. Absent: from the beginning. */
  from?: string | undefined;
  /** RFC 3339, excluded. Absent: until now. */
  to?: string | undefined;
  /** Every wallet that had this name. Absent: all. */
  wallet?: string | undefined;
  /** Slug of a meter that sums `$.amount`, to be compared as well. OpenMeter wants a period of whole minutes. */
  meter?: string | undefined;
  /** Slug of a meter that sums `$.units`. */
  unitsMeter?: string | undefined;
}

export interface DriftReply {
  /** Whether there is no difference. */
  ok: boolean;
  from?: string;
  to?: string;
  wallet?: string;
  /** `runs`: receipts that belong to a hold. Amounts are microcredits. */
  ledger: { receipts: number; runs: number; amount: number };
  /** Null where none is set. `waiting`: lines that it need not have yet, which is no difference. */
  openmeter: OpenMeterSums | null;
  counts: Partial<Record<DriftKind, number>>;
  /** The first hundred of each kind, with the names to look for. */
  differences: Difference[];
}

export interface DriftParts {
  sql: LedgerSql;
  openmeter?: Pick<OpenMeter, 'events' | 'query'> | undefined;
  /** Milliseconds before OpenMeter is asked again for what is missing; absent: 10 000. */
  secondLookMs?: number;
}

/**
 * Compares what was charged with the records of the runs and with what OpenMeter has, line by line, in one snapshot of
 * the book. Reads only.
 *
 * @throws DatabaseUnavailable · OpenMeterError when a side cannot be read: half a comparison says nothing
 */
export function drift(query: DriftQuery, parts: DriftParts): Promise<DriftReply> {
  const { sql, openmeter, secondLookMs = SECOND_LOOK_MS } = parts;
  return withDatabase(() =>
    sql.begin('isolation level repeatable read read only', async (tx) => {
      // It reads everything, which may take longer than an operation may.
      await tx`set local statement_timeout = 0`;
      const findings = new DriftFindings();
      const runs = await compareRuns(tx, query, findings);
      const compared = await compareEvents(tx, query, { openmeter, secondLookMs }, findings);
      const { receipts, amount } = compared.ledger;
      if (openmeter) await compareMeters(query, openmeter, compared.ledger, findings);
      return {
        ok: findings.none,
        ...(query.from === undefined ? {} : { from: query.from }),
        ...(query.to === undefined ? {} : { to: query.to }),
        ...(query.wallet === undefined ? {} : { wallet: query.wallet }),
        ledger: { receipts, runs, amount },
        openmeter: compared.openmeter,
        counts: findings.counts,
        differences: findings.differences,
      };
    }),
  );
}

/** What is on its way may be counted already, or not yet. */
async function compareMeters(
  query: DriftQuery,
  openmeter: Pick<OpenMeter, 'query'>,
  { told, waiting }: LedgerSums,
  findings: DriftFindings,
): Promise<void> {
  const meters = [
    { meter: query.meter, sum: 'amount' },
    { meter: query.unitsMeter, sum: 'units' },
  ] as const;
  for (const { meter, sum } of meters) {
    if (meter === undefined) continue;
    const counted = await openmeter.query(meter, { subject: query.wallet, from: query.from, to: query.to });
    if (counted >= told[sum] && counted <= told[sum] + waiting[sum]) continue;
    const onItsWay = waiting[sum] > 0 ? ` and ${waiting[sum]} on its way` : '';
    const detail = `it counts ${counted}, the ledger has told it of ${told[sum]}${onItsWay}`;
    findings.add({ kind: 'meter_differs', name: meter, ...(query.wallet ? { wallet: query.wallet } : {}), detail });
  }
}
