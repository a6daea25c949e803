import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../config/log.ts';
import type { ResourceStore } from '../../crds/store.ts';
import type { LedgerClient } from '../../ledger/client.ts';
import { onDesiredChange } from '../runtime/source.ts';
import { CURED_BY, type CuringKind, parkedFor } from './parking.ts';

/** A catalog is applied object by object; its parked orders are looked at once, when it has come to rest. */
const REST_MS = 1_000;
/** The ledger was away. */
const AGAIN_MS = 5_000;
/** What the ledger gives at once. */
const PAGE = 100;
/** More parked orders than this are not a cold catalog; the newest are woken, and a person looks at the others. */
const MAX_PAGES = 10;

const KINDS = [...new Set(Object.values(CURED_BY).flat())];

export interface WakingOptions {
  store: Pick<ResourceStore, 'watch'>;
  ledger: Pick<LedgerClient, 'inboxList' | 'inboxRetry'>;
  log: Logger;
}

/**
 * Makes parked orders due again when what they wait for appears or changes: an Offering, a version, a pack, the
 * Organization, a Team. An order that waits for something else stays parked; one that is woken for nothing is parked
 * again, and nothing else happens. A start counts as a change, because what came meanwhile was told to nobody.
 */
export class ParkedOrders {
  readonly #options: WakingOptions;
  readonly #changed = new Set<CuringKind>();

  constructor(options: WakingOptions) {
    this.#options = options;
  }

  start(): { close(): Promise<void> } {
    const stop = new AbortController();
    let wake = (): void => undefined;
    const ends = KINDS.map((kind) =>
      onDesiredChange(this.#options.store.watch(kind), () => {
        this.#changed.add(kind);
        wake();
      }),
    );
    const loop = (async () => {
      while (!stop.signal.aborted) {
        if (this.#changed.size === 0)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        await delay(REST_MS, undefined, { signal: stop.signal }).catch(() => undefined);
        if (!stop.signal.aborted && !(await this.#tryToWake()))
          await delay(AGAIN_MS, undefined, { signal: stop.signal }).catch(() => undefined);
      }
    })();
    return {
      close: async () => {
        for (const end of ends) end();
        stop.abort();
        wake();
        await loop;
      },
    };
  }

  async #tryToWake(): Promise<boolean> {
    const kinds = [...this.#changed];
    this.#changed.clear();
    try {
      await this.wake(kinds);
      return true;
    } catch (error) {
      for (const kind of kinds) this.#changed.add(kind);
      this.#options.log.warn({ err: error }, 'parked orders cannot be looked at; trying again');
      return false;
    }
  }

  /** Makes due what waits for one of the kinds. @returns how many that were */
  async wake(kinds: readonly CuringKind[]): Promise<number> {
    const { ledger, log } = this.#options;
    const ids: string[] = [];
    let cursor: string | undefined;
    for (let page = 0; page < MAX_PAGES; page++) {
      const { items, next } = await ledger.inboxList({ state: 'parked', limit: PAGE, cursor });
      for (const { id, reason = '' } of items)
        if (parkedFor(reason).some((each) => CURED_BY[each]?.some((kind) => kinds.includes(kind)))) ids.push(id);
      if (next === null) break;
      cursor = next;
    }
    for (const id of ids) await ledger.inboxRetry(id);
    if (ids.length > 0)
      log.info({ kinds, orders: ids.length }, 'parked orders are tried again: the catalog has changed');
    return ids.length;
  }
}
