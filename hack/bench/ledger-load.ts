/** What the callers of the ledger do in a benchmark. */
import type { LedgerOperations, OperationResult } from '../../ledger/operations.ts';

/** Callers that wait for their own reply before they ask again. */
const CALLERS = 256;

/** The exponent of the wallets' popularity: 1 is the classic one, where the first of 10,000 gets a tenth of all. */
const ZIPF_EXPONENT = 1;

/** Draws 0 .. count-1, rank r with probability ~ 1 / (r + 1); seeded, so that every round draws the same. */
export function zipf(count: number, seed: number): () => number {
  const bounds = new Float64Array(count);
  let total = 0;
  for (let rank = 0; rank < count; rank += 1) {
    total += 1 / (rank + 1) ** ZIPF_EXPONENT;
    bounds[rank] = total;
  }
  const random = lcg(seed);
  return () => {
    const wanted = random() * total;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((bounds[middle] as number) > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** Numerical Recipes' generator: plain, and the same everywhere. */
function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Lets all callers work for that long; answers how often one of them finished, per second. */
export async function together(seconds: number, once: () => Promise<void>): Promise<number> {
  const started = performance.now();
  const end = started + seconds * 1000;
  let finished = 0;
  await Promise.all(
    Array.from({ length: CALLERS }, async () => {
      while (performance.now() < end) {
        await once();
        finished += 1;
      }
    }),
  );
  return (finished * 1000) / (performance.now() - started);
}

/** One caller alone for that long; the duration of each call in milliseconds. */
export async function alone(seconds: number, once: () => Promise<void>): Promise<number[]> {
  const end = performance.now() + seconds * 1000;
  const durations: number[] = [];
  while (performance.now() < end) {
    const started = performance.now();
    await once();
    durations.push(performance.now() - started);
  }
  return durations;
}

/** The calls of a buyer's runs, every one under a key of its own. */
export class Load {
  readonly #operations: LedgerOperations;
  #keys = 0;

  constructor(operations: LedgerOperations) {
    this.#operations = operations;
  }

  /** Calls made so far. */
  get calls(): number {
    return this.#keys;
  }

  async debit(wallet: string): Promise<void> {
    expect(
      201,
      await this.#operations.debit({ wallet, lines: [{ dimension: 'run', units: 1, amount: 3 }] }, this.#key()),
    );
  }

  /** Reserves and captures a part of it. */
  async pair(wallet: string): Promise<void> {
    const held = await this.#operations.hold({ wallet, amount: 10, ttlSeconds: 180 }, this.#key());
    expect(201, held);
    const lines = [{ dimension: 'run', units: 1, amount: 7 }];
    expect(200, await this.#operations.capture(String(held.body.hold), { lines }, this.#key()));
  }

  #key(): { key: string } {
    this.#keys += 1;
    // As long as a run's id, because keys are stored.
    return { key: `bench-${String(this.#keys).padStart(30, '0')}` };
  }
}

function expect(status: number, result: OperationResult): void {
  if (result.status !== status) throw new Error(`the ledger answered ${result.status}: ${JSON.stringify(result.body)}`);
}
