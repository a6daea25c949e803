/** Every kind of difference with its meaning, once; the documentation lists them. */
export const DRIFT_KINDS = {
  hold_without_receipt: 'A hold is captured and has no receipt.',
  hold_with_several_receipts: 'A hold has more than one receipt.',
  hold_amount_differs: 'A hold says that something else was captured than its receipt charges.',
  receipt_of_no_run: 'A receipt names a hold that is not there.',
  receipt_lines_differ: 'The lines of a receipt sum to something else than it charges.',
  run_charged_twice: 'Two holds of one run are captured.',
  event_missing: 'OpenMeter was told of a line and does not have it.',
  event_refused: 'OpenMeter refuses a line; its receipt is parked.',
  event_differs: 'OpenMeter has other values for a line.',
  event_unknown: 'OpenMeter has an event of this book that the book does not know.',
  event_not_counted: 'OpenMeter has an event that no meter can count.',
  meter_differs: 'A meter counts something else than the lines sum to.',
} as const satisfies Record<string, string>;

export type DriftKind = keyof typeof DRIFT_KINDS;

/** One difference. `name` is the hold, receipt, run, event or meter to look at. */
export interface Difference {
  kind: DriftKind;
  name: string;
  wallet?: string;
  detail: string;
}

/** Differences of one kind that are listed; the count is of all. */
export const LISTED_PER_KIND = 100;

/** Collects what was found: the first of each kind by name, all of them in number. */
export class DriftFindings {
  readonly counts: Partial<Record<DriftKind, number>> = {};
  readonly differences: Difference[] = [];

  get none(): boolean {
    return this.differences.length === 0;
  }

  add(difference: Difference): void {
    const count = (this.counts[difference.kind] ?? 0) + 1;
    this.counts[difference.kind] = count;
    if (count <= LISTED_PER_KIND) this.differences.push(difference);
  }
}
