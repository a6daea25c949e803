/** A call that can be made by itself. */
export interface Aside {
  alone(): Promise<unknown>;
  resolve(outcome: unknown): void;
  reject(error: unknown): void;
}

/** So long a wallet that was found locked goes its own way; the lock of a forgotten psql lasts for longer. */
const ASIDE_MS = 30_000;

interface Lane<Item> {
  items: Item[];
  /** Of `performance.now()`. */
  until: number;
}

/**
 * Calls for wallets that another transaction holds locked, apart from all others: for each wallet one call at a time
 * waits for the lock. When it gets it, the others go back; when it does not, they are all told so at once.
 */
export class SideLanes<Item extends Aside> {
  readonly #lanes = new Map<string, Lane<Item>>();
  readonly #goBack: (items: Item[]) => void;
  readonly #isBusy: (error: unknown) => boolean;

  constructor(options: { goBack: (items: Item[]) => void; isBusy: (error: unknown) => boolean }) {
    this.#goBack = options.goBack;
    this.#isBusy = options.isBusy;
  }

  /** False while no wallet is known to be locked, which is nearly always. */
  get inUse(): boolean {
    for (const [wallet, { items, until }] of this.#lanes) {
      if (items.length === 0 && until < performance.now()) this.#lanes.delete(wallet);
    }
    return this.#lanes.size > 0;
  }

  put(wallet: string, item: Item): void {
    const until = performance.now() + ASIDE_MS;
    const lane = this.#lanes.get(wallet);
    if (lane === undefined || lane.items.length === 0) {
      const fresh: Lane<Item> = { items: [item], until };
      this.#lanes.set(wallet, fresh);
      void this.#serve(wallet, fresh);
    } else {
      lane.items.push(item);
      lane.until = until;
    }
  }

  /** The one at the head stays in the lane while it waits, so that later ones know of it. */
  async #serve(wallet: string, { items }: Lane<Item>): Promise<void> {
    for (let first = items[0]; first !== undefined; first = items[0]) {
      try {
        first.resolve(await first.alone());
        this.#lanes.delete(wallet);
        this.#goBack(items.splice(0).slice(1));
      } catch (error) {
        const told = this.#isBusy(error) ? items.splice(0) : items.splice(0, 1);
        for (const item of told) item.reject(error);
      }
    }
  }
}
