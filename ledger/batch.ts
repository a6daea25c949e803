import { DatabaseUnavailable } from './database.ts';
import { type Aside, SideLanes } from './side-lanes.ts';
import { WalletHalves } from './wallet-halves.ts';

/** `[dimension, units, amount]`, or a line that has more than these. */
export type BatchLine = readonly [string, number, number] | object;

/** One operation as `run_batch` of the database takes it; absent members are null there. */
export interface BatchRow {
  operation: 'debit' | 'hold' | 'capture' | 'void';
  /** Name; of debits and holds. */
  wallet?: string | undefined;
  /** Local id, as digits; of captures and voids. */
  hold?: string | undefined;
  /** Microcredits: the sum of the lines, or what a hold reserves. */
  amount?: number | undefined;
  offering?: string | undefined;
  project?: string | undefined;
  instance_uid?: string | undefined;
  max_concurrent?: number | undefined;
  ttl_seconds?: number | undefined;
  key: string;
  hash: string;
  context?: object | undefined;
  lines?: readonly BatchLine[] | undefined;
  result_ref?: string | undefined;
  reason?: string | undefined;
}

export interface Outcome {
  status: number;
  body: Record<string, unknown>;
  replayed: boolean;
}

/** What a batch answered, by the position of its items; an absent one was left alone. */
export type BatchOutcomes = ReadonlyMap<number, Outcome>;

/** Calls `run_batch`: all of it happens, or it throws and nothing has (`DatabaseUnavailable`: nobody knows). */
export type RunBatch = (rows: readonly BatchRow[], epoch: number | undefined) => Promise<BatchOutcomes>;

/** For each row the wallet that it is about, if another transaction has that locked at this moment. */
export type LockedOf = (rows: readonly BatchRow[]) => Promise<(string | undefined)[]>;

interface Waiting extends Aside {
  row: BatchRow;
  epoch: number | undefined;
  /** Runs the item through its own function. */
  alone: () => Promise<Outcome>;
  resolve(outcome: Outcome | Promise<Outcome>): void;
  reject(error: unknown): void;
}

/** Items of one batch. More make nobody faster: by then the commit is a small part of it, and the first waits for the last. */
const MAX_ITEMS = 256;

/** Batches under way: while one waits for the disk or for a lock, the next one works. */
const MAX_BATCHES = 2;

export interface BatchReport {
  items: number;
  /** Items that the batch left to their own functions; all of them when it failed. */
  left: number;
  seconds: number;
  /** Why nothing of it happened; undefined = it did. */
  error?: unknown;
}

/** Fewer are one batch: a commit of its own for each half would cost more than working at once gains. */
const SPLIT_FROM = 64;

/** Told after each batch. */
export type BatchObserver = (report: BatchReport) => void;

/**
 * Collects what callers ask for while the database is busy and hands it over in one call, so that many operations
 * share one commit. Nobody waits for a timer: an idle ledger runs a single call at once.
 *
 * What a batch leaves alone, and everything of one that failed, runs through its own function: a bad item never
 * fails its neighbours. Items of a wallet that somebody else keeps locked wait beside the batches, not in them.
 */
export class BatchQueue {
  readonly #run: RunBatch;
  readonly #observe: BatchObserver;
  readonly #lockedOf: LockedOf;
  readonly #lanes = new SideLanes<Waiting>({
    isBusy: isWalletBusy,
    goBack: (items) => {
      this.#waiting.unshift(...items);
      this.#wake();
    },
  });
  /** Keys and holds of the batches under way. */
  readonly #busy = new Set<string>();
  readonly #halves = new WalletHalves();
  readonly #underWay = new Set<number>();
  #waiting: Waiting[] = [];
  #running = 0;
  #woken = false;

  constructor(run: RunBatch, options: { observe?: BatchObserver | undefined; lockedOf?: LockedOf } = {}) {
    this.#run = run;
    this.#observe = options.observe ?? (() => undefined);
    this.#lockedOf = options.lockedOf ?? (async (rows) => rows.map(() => undefined));
  }

  /** @throws DatabaseUnavailable when the outcome is unknown */
  add(row: BatchRow, epoch: number | undefined, alone: () => Promise<Outcome>): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ row, epoch, alone, resolve, reject });
      this.#wake();
    });
  }

  /**
   * After the present turn, so that callers who ask in the same one share the batch: those too who do so some promises
   * later, as everybody does whom the batch before has answered.
   */
  #wake(): void {
    if (this.#woken) return;
    this.#woken = true;
    process.nextTick(() => {
      this.#woken = false;
      while (this.#running < MAX_BATCHES) {
        const { items, half } = this.#take();
        if (items.length === 0) return;
        void this.#flush(items, half);
      }
    });
  }

  /**
   * The oldest items that may go together: of one epoch, and no two of one key or of one hold, because the second
   * must see what the first has done; so it waits for a batch that is under way as well.
   */
  #take(): { items: Waiting[]; half: number | undefined } {
    const { half, most } = this.#share();
    const taken: Waiting[] = [];
    const left: Waiting[] = [];
    for (const item of this.#waiting) {
      const names = namesOf(item.row);
      const mayJoin =
        taken.length < most &&
        item.epoch === (taken[0] ?? item).epoch &&
        (half === undefined || this.#halves.of(item.row) === half);
      const fits = mayJoin && !names.some((name) => this.#busy.has(name));
      if (fits) for (const name of names) this.#busy.add(name);
      (fits ? taken : left).push(item);
    }
    this.#waiting = left;
    return { items: taken, half };
  }

  /** The half of the wallets that the next batch is about (undefined = any), and how many items it takes at most. */
  #share(): { half: number | undefined; most: number } {
    if (this.#waiting.length < SPLIT_FROM) return { half: undefined, most: MAX_ITEMS };
    const waiting = [0, 0];
    for (const { row } of this.#waiting) {
      const half = this.#halves.of(row);
      waiting[half] = (waiting[half] ?? 0) + 1;
    }
    if (waiting.includes(0) && this.#underWay.size === 0) {
      // One wallet, mostly. Its batches follow each other in the database; while one works there, the callers of the
      // other are answered and ask anew, so neither side waits for the other.
      const most = Math.ceil(this.#waiting.length / (MAX_BATCHES - this.#running));
      return { half: undefined, most: Math.min(MAX_ITEMS, most) };
    }
    const free = [0, 1].filter((half) => !this.#underWay.has(half) && (waiting[half] ?? 0) > 0);
    return { half: free.sort((a, b) => (waiting[b] ?? 0) - (waiting[a] ?? 0))[0], most: MAX_ITEMS };
  }

  async #flush(items: Waiting[], half: number | undefined): Promise<void> {
    this.#running += 1;
    if (half !== undefined) this.#underWay.add(half);
    let rest = this.#lanes.inUse ? await this.#withoutLocked(items) : items;
    let { outcomes, failure } = await this.#attempt(rest);
    if (isWalletBusy(failure)) {
      const free = await this.#withoutLocked(rest);
      if (free.length < rest.length) {
        rest = free;
        ({ outcomes, failure } = await this.#attempt(rest));
      }
    }
    this.#running -= 1;
    if (half !== undefined) this.#underWay.delete(half);
    for (const { row } of items) for (const name of namesOf(row)) this.#busy.delete(name);
    rest.forEach((item, position) => {
      // Anything else was an item's fault or a lost race: nothing was written, so each may try alone.
      if (failure instanceof DatabaseUnavailable) item.reject(failure);
      else {
        const outcome = outcomes.get(position);
        if (outcome !== undefined) this.#halves.learn(item.row, outcome);
        item.resolve(outcome ?? item.alone());
      }
    });
    this.#wake();
  }

  async #attempt(items: Waiting[]): Promise<{ outcomes: BatchOutcomes; failure: unknown }> {
    const [first] = items;
    let outcomes: BatchOutcomes = new Map();
    let failure: unknown;
    if (first === undefined) return { outcomes, failure };
    const started = performance.now();
    try {
      outcomes = await this.#run(
        items.map(({ row }) => row),
        first.epoch,
      );
    } catch (error) {
      failure = error;
    }
    const seconds = (performance.now() - started) / 1000;
    this.#observe({ items: items.length, left: items.length - outcomes.size, seconds, error: failure });
    return { outcomes, failure };
  }

  /** Those whose wallet is free now; the others wait beside. */
  async #withoutLocked(items: Waiting[]): Promise<Waiting[]> {
    const locked = await this.#lockedOf(items.map(({ row }) => row)).catch(() => []);
    return items.filter((item, position) => {
      const wallet = locked[position];
      if (wallet !== undefined) this.#lanes.put(wallet, item);
      return wallet === undefined;
    });
  }
}

function isWalletBusy(error: unknown): boolean {
  return error instanceof DatabaseUnavailable && error.trouble === 'wallet_busy';
}

function namesOf({ operation, key, hold }: BatchRow): string[] {
  return hold === undefined ? [`${operation} ${key}`] : [`${operation} ${key}`, `hold_${hold}`];
}
