/** Figures that were taken side by side, round after round, because machines are noisy. */

/** One row of the report. */
export interface Row {
  what: string;
  /** What it is compared with. */
  beside: string;
  /** `higher`: at least the target; `lower`: at most. */
  better: 'higher' | 'lower';
  reach: number;
  aim: number;
  /** Of one round, both in the same unit. */
  ratios: number[];
}

/** The middle value; of an even number of values the lower of the two in the middle, which was measured too. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('no value was measured');
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] as number;
}

/** `median (lowest .. highest)`. */
export function spread(values: readonly number[], digits = 2): string {
  const [low, middle, high] = [Math.min(...values), median(values), Math.max(...values)];
  return `${middle.toFixed(digits)} (${low.toFixed(digits)} .. ${high.toFixed(digits)})`;
}

/** The rows as a Markdown table: what, ratio with its spread, the targets, and whether they are met. */
export function report(rows: readonly Row[]): string {
  const lines = rows.map(({ what, beside, better, reach, aim, ratios }) => {
    const value = median(ratios);
    const meets = (target: number): boolean => (better === 'higher' ? value >= target : value <= target);
    const verdict = meets(aim) ? 'aim' : meets(reach) ? 'reach' : 'short';
    return `| ${what} | ${beside} | ${spread(ratios)} | ${reach} | ${aim} | ${verdict} |`;
  });
  return ['| what | beside | ratio | reach | aim | met |', '|---|---|---|---|---|---|', ...lines].join('\n');
}
