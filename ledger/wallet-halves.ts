import type { BatchRow, Outcome } from './batch.ts';

/** Open holds whose wallet is remembered; an older one is guessed, which costs speed and nothing else. */
const MAX_HOLDS = 20_000;

/**
 * Sorts wallets into two halves, so that two batches under way are about different wallets and work at the same
 * time: two that share one wallet follow each other, because the first has it locked until it is committed.
 */
export class WalletHalves {
  /** By the digits of the hold. */
  readonly #holds = new Map<string, number>();

  of({ wallet, hold }: BatchRow): number {
    if (wallet !== undefined) return half(wallet);
    return this.#holds.get(hold ?? '') ?? half(hold ?? '');
  }

  /** Remembers which half a new hold is of, and forgets those that have ended. */
  learn(row: BatchRow, outcome: Outcome): void {
    if (row.hold !== undefined) this.#holds.delete(row.hold);
    const made = outcome.body.hold;
    if (row.operation !== 'hold' || row.wallet === undefined || typeof made !== 'string') return;
    this.#holds.set(made.slice('hold_'.length), half(row.wallet));
    if (this.#holds.size > MAX_HOLDS) for (const oldest of this.#holds.keys()) return void this.#holds.delete(oldest);
  }
}

/** 0 or 1, by the bits of the text. */
function half(text: string): number {
  let sum = 0;
  for (let place = 0; place < text.length; place += 1) sum = Math.imul(sum, 31) + text.charCodeAt(place);
  return ((sum >>> 16) ^ sum) & 1;
}
