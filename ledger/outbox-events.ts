/** A charge that is to be told: a receipt with its lines, and what its hold says of the run. */
export interface ChargedReceipt {
  id: number;
  at: Date;
  wallet: string;
  ownerUid: string;
  /** Whether its hold may be captured again, so that lines may follow. */
  open: boolean;
  hold: number | null;
  offering: string | null;
  project: string | null;
  instanceUid: string | null;
  runId: string | null;
  context: Record<string, unknown> | null;
  lines: { position: number; dimension: string; units: number; amount: number }[];
}

/** CloudEvents 1.0 in JSON, as `POST /api/v1/events` of OpenMeter takes it. */
export interface UsageEvent {
  specversion: '1.0';
  type: typeof USAGE_TYPE;
  id: string;
  source: string;
  subject: string;
  time: string;
  datacontenttype: 'application/json';
  data: UsageData;
}

/** What meters sum and group by; amounts are microcredits. */
export interface UsageData extends Record<string, string | number> {
  receipt: string;
  dimension: string;
  units: number;
  amount: number;
}

/** The `eventType` of meters. */
export const USAGE_TYPE = 'gsv.usage';

/** Members of `context` that an event carries; the rest is the caller's business and may be long. */
const CONTEXT = ['instance', 'shop', 'order', 'line', 'commit', 'contractDigest', 'traceId'] as const;

/** A longer name is left out, not cut: half of an id is another id. */
const MAX_TEXT = 256;

/** The `source` of a book's events. */
export function sourceOf(book: string): string {
  return `/gsv/ledger/${book}`;
}

/**
 * One event for each line of a receipt. The id is made of what never changes: the receipt, the line and the time of the
 * charge. The time is there for a book that was restored from a backup: it gives its numbers anew, and OpenMeter would
 * take the second receipt of a number for a repetition of the first.
 *
 * @example usageEvents(book, receipt)[0].id // 'receipt_42.1@1764115200123'
 */
export function usageEvents(book: string, receipt: ChargedReceipt): UsageEvent[] {
  const { id, at, wallet, ownerUid, hold, offering, project, instanceUid, runId, context } = receipt;
  const about = texts({
    wallet,
    ownerUid,
    hold: hold === null ? null : `hold_${hold}`,
    run: runId ?? context?.runId,
    offering,
    project,
    instanceUid,
    ...Object.fromEntries(CONTEXT.map((name) => [name === 'line' ? 'orderLine' : name, context?.[name]])),
  });
  return receipt.lines.map(({ position, dimension, units, amount }) => ({
    specversion: '1.0',
    type: USAGE_TYPE,
    id: `receipt_${id}.${position}@${at.getTime()}`,
    source: sourceOf(book),
    subject: wallet,
    time: at.toISOString(),
    datacontenttype: 'application/json',
    data: { receipt: `receipt_${id}`, dimension, units, amount, ...about },
  }));
}

function texts(members: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(members).filter(
      (member): member is [string, string] =>
        typeof member[1] === 'string' && member[1] !== '' && member[1].length <= MAX_TEXT,
    ),
  );
}
