import { setTimeout as delay } from 'node:timers/promises';
import type { TransactionSql } from './database.ts';
import type { DriftQuery } from './drift.ts';
import type { DriftFindings } from './drift-kinds.ts';
import type { IngestedEvent, OpenMeter } from './openmeter.ts';
import { type ChargedReceipt, sourceOf, type UsageEvent, usageEvents } from './outbox-events.ts';

/** Receipts that are held in memory while OpenMeter's events of the same time are read: some MiB. */
const RECEIPTS_PER_FETCH = 2_000;

/** What the outbox has done with a receipt. */
interface Told extends ChargedReceipt {
  state: 'told' | 'waiting' | 'parked';
  reason: string | null;
}

/** What the book says of a period. */
export interface LedgerSums {
  receipts: number;
  amount: number;
  /** What meters must count, and what they may count besides because it is on its way. */
  told: { amount: number; units: number };
  waiting: { amount: number; units: number };
}

export interface OpenMeterSums {
  events: number;
  amount: number;
  waiting: number;
}

/** Receipts of a stretch of time, oldest first; `to` is not included. */
interface Slice {
  receipts: Told[];
  from: string | undefined;
  to: string | undefined;
}

/** A line that should be at OpenMeter, until it is found there. */
interface Expected {
  event: UsageEvent;
  receipt: Told;
}

export interface EventParts {
  openmeter: Pick<OpenMeter, 'events'> | undefined;
  /** OpenMeter stores what it has taken seconds later, so what is missing is looked for again. */
  secondLookMs: number;
}

/** Every line of every receipt against the events that OpenMeter has of this book. */
export async function compareEvents(tx: TransactionSql, query: DriftQuery, parts: EventParts, findings: DriftFindings) {
  const ledger: LedgerSums = {
    receipts: 0,
    amount: 0,
    told: { amount: 0, units: 0 },
    waiting: { amount: 0, units: 0 },
  };
  const openmeter: OpenMeterSums = { events: 0, amount: 0, waiting: 0 };
  const [row] = await tx<{ book: string }[]>`select book from gsv_ledger.outbox`;
  const book = row?.book ?? '';
  for await (const slice of slices(tx, query)) {
    const expected = new Map<string, Expected>();
    for (const receipt of slice.receipts) {
      ledger.receipts += 1;
      for (const event of usageEvents(book, receipt)) {
        expected.set(event.id, { event, receipt });
        ledger.amount += event.data.amount;
        const sums = receipt.state === 'told' ? ledger.told : receipt.state === 'waiting' ? ledger.waiting : undefined;
        if (sums) sums.amount += event.data.amount;
        if (sums) sums.units += event.data.units;
      }
    }
    if (!parts.openmeter) continue;
    const look = { source: sourceOf(book), subject: query.wallet, from: slice.from, to: slice.to };
    for await (const found of parts.openmeter.events(look)) {
      openmeter.events += 1;
      openmeter.amount += Number(found.event.data?.amount ?? 0);
      compareOne(found, expected, findings);
    }
    if ([...expected.values()].some(({ receipt }) => receipt.state === 'told')) {
      await delay(parts.secondLookMs);
      for await (const found of parts.openmeter.events(look)) {
        if (expected.has(found.event.id)) compareOne(found, expected, findings);
      }
    }
    for (const one of expected.values()) openmeter.waiting += nameAbsent(one, findings);
  }
  return { ledger, openmeter: parts.openmeter ? openmeter : null };
}

/** Finds the line that an event is of; what is found is no longer expected. */
function compareOne(
  { event, validationError }: IngestedEvent,
  expected: Map<string, Expected>,
  findings: DriftFindings,
) {
  const wanted = expected.get(event.id)?.event;
  const about = { name: event.id, wallet: event.subject };
  expected.delete(event.id);
  if (!wanted)
    return findings.add({ kind: 'event_unknown', ...about, detail: `of ${event.time}, ${shown(event.data)}` });
  const differing = ['dimension', 'units', 'amount'].filter((name) => event.data?.[name] !== wanted.data[name]);
  if (event.subject !== wanted.subject) differing.push('subject');
  if (differing.length > 0) {
    const detail = `${differing.join(', ')}: the ledger has ${shown(wanted.data)} of ${wanted.subject}, OpenMeter ${shown(event.data)} of ${event.subject}`;
    findings.add({ kind: 'event_differs', ...about, wallet: wanted.subject, detail });
  } else if (validationError !== undefined) {
    findings.add({ kind: 'event_not_counted', ...about, detail: validationError.slice(0, 300) });
  }
}

/** @returns 1 for a line that OpenMeter need not have yet */
function nameAbsent({ event, receipt }: Expected, findings: DriftFindings): number {
  if (receipt.state === 'waiting') return 1;
  const about = { name: event.id, wallet: event.subject };
  if (receipt.state === 'parked') findings.add({ kind: 'event_refused', ...about, detail: receipt.reason ?? '' });
  else findings.add({ kind: 'event_missing', ...about, detail: `${shown(event.data)} of ${event.time}` });
  return 0;
}

function shown(data: Record<string, unknown> | null | undefined): string {
  return `${data?.dimension} ${data?.units} for ${data?.amount}`;
}

/** The receipts of the period in stretches that no receipt straddles, which together cover all of it. */
async function* slices(tx: TransactionSql, query: DriftQuery): AsyncGenerator<Slice> {
  const [from, to, wallet] = [query.from ?? null, query.to ?? null, query.wallet ?? null];
  await tx`
    declare charged no scroll cursor for
      select c.*, p.reason, case when p.state = 'parked' then 'parked' when p.state = 'open' or c.open or c.receipt_id > o.position
          then 'waiting' else 'told' end as state
        from gsv_ledger.charged_receipts c cross join gsv_ledger.outbox o
          left join gsv_ledger.outbox_receipts p on p.receipt_id = c.receipt_id
        where (${from}::timestamptz is null or c.at >= ${from}::timestamptz)
          and (${to}::timestamptz is null or c.at < ${to}::timestamptz) and (${wallet}::text is null or c.wallet = ${wallet}::text)
        order by c.at, c.receipt_id`;
  let start = query.from;
  let rest: Told[] = [];
  for (let over = false; !over; ) {
    const fetched = await tx.unsafe<Told[]>(`fetch ${RECEIPTS_PER_FETCH} from charged`);
    over = fetched.length < RECEIPTS_PER_FETCH;
    rest.push(...fetched);
    const last = rest.at(-1)?.at.getTime() ?? 0;
    // More of that last millisecond may follow, so it belongs to the next stretch.
    const receipts = over ? rest : rest.filter(({ at }) => at.getTime() < last);
    if (!over && receipts.length === 0) continue;
    const end = over ? query.to : new Date(last).toISOString();
    yield { receipts, from: start, to: end };
    rest = rest.slice(receipts.length);
    start = end;
  }
  await tx`close charged`;
}
