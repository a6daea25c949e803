import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../config/log.ts';
import { Problem } from '../../config/problem.ts';
import { parseDelivery, type ShopDelivery, type ShopOrder } from '../../config/saleor.ts';
import type { ResourceStore } from '../../crds/store.ts';
import type { InboxItem, LedgerClient } from '../../ledger/client.ts';
import { tenancy } from './customer.ts';
import { type FulfilmentBook, fulfil } from './fulfil.ts';
import { type Parked, parkingText } from './parking.ts';
import { bringsUnits, type SettlementBook, settle } from './settle.ts';
import { unitsOf } from './units.ts';
import { ParkedOrders } from './waking.ts';

/** Long enough for the slowest order; after it another worker takes the delivery over. */
const LEASE_SECONDS = 60;
/** How often an idle worker looks: quickly after work, then ever more slowly. */
const IDLE_MIN_MS = 50;
/** The first lane notices an order soon; the others only help when there are several. */
const IDLE_MAX_MS = { first: 200, other: 2_000 };
/** The inbox is serial per order, so lanes only ever work on different orders. */
const LANES = 2;
/** A delivery that keeps failing is tried at least this often, for as long as it takes. */
const RETRY_CAP_SECONDS = 300;

export type OrderLedger = FulfilmentBook &
  SettlementBook &
  Pick<LedgerClient, 'inboxClaim' | 'inboxDone' | 'inboxFail' | 'inboxPark' | 'inboxList' | 'inboxRetry'>;

export interface OrderWorkerOptions {
  store: ResourceStore;
  ledger: OrderLedger;
  log: Logger;
}

/** What became of one delivery. */
export type Outcome =
  | {
      state: 'done';
      fulfilled: number;
      repeated: number;
      instances: string[];
      /** Microcredits that this delivery moved out of, or back into, what the order had been granted. */
      takenBack: number;
      givenBack: number;
    }
  | { state: 'parked'; parked: Parked[] }
  | { state: 'failed'; retryAfterSeconds: number };

/** Takes deliveries from the inbox: settles what is paid of an order and makes a paid one real. Safe to run in several replicas. */
export class OrderWorker {
  readonly #options: OrderWorkerOptions;
  readonly #stop = new AbortController();

  constructor(options: OrderWorkerOptions) {
    this.#options = options;
  }

  /** Starts the lanes, and looks after what is parked; `close` ends them after the deliveries in hand. */
  start(): { close(): Promise<void> } {
    const lanes = Array.from({ length: LANES }, (_, lane) =>
      this.#lane(lane === 0 ? IDLE_MAX_MS.first : IDLE_MAX_MS.other),
    );
    const waking = new ParkedOrders(this.#options).start();
    return {
      close: async () => {
        this.#stop.abort();
        await Promise.all([...lanes, waking.close()]);
      },
    };
  }

  /** Works on the next due delivery; undefined when there is none. */
  async workOne(): Promise<Outcome | undefined> {
    const item = await this.#options.ledger.inboxClaim({ leaseSeconds: LEASE_SECONDS });
    return item && this.#work(item);
  }

  async #lane(idleMaxMs: number): Promise<void> {
    const { signal } = this.#stop;
    let idleMs = IDLE_MIN_MS;
    while (!signal.aborted) {
      let worked = false;
      try {
        worked = (await this.workOne()) !== undefined;
      } catch (error) {
        this.#options.log.warn({ err: error }, 'the inbox cannot be reached; trying again');
        idleMs = IDLE_MAX_MS.other;
      }
      if (worked) idleMs = IDLE_MIN_MS;
      else {
        await delay(idleMs, undefined, { signal }).catch(() => undefined);
        idleMs = Math.min(idleMs * 2, idleMaxMs);
      }
    }
  }

  async #work(item: InboxItem): Promise<Outcome> {
    const { ledger, log } = this.#options;
    const about = { delivery: item.id, shop: item.shop, order: item.order, event: item.event };
    let outcome: Outcome;
    try {
      outcome = await this.#process(item);
    } catch (error) {
      const retryAfterSeconds = Math.min(2 ** Math.min(item.attempts, 10), RETRY_CAP_SECONDS);
      log.warn({ ...about, err: error, retryAfterSeconds }, 'the delivery failed and is tried again');
      await ledger.inboxFail(item.id, { retryAfterSeconds, reason: reasonOf(error) });
      return { state: 'failed', retryAfterSeconds };
    }
    if (outcome.state === 'parked') {
      await ledger.inboxPark(item.id, { reason: parkingText(outcome.parked) });
      log.warn({ ...about, parked: outcome.parked }, 'the order is parked and waits for a person');
    } else {
      await ledger.inboxDone(item.id);
      log.info({ ...about, outcome }, 'the order took effect');
    }
    return outcome;
  }

  async #process(item: InboxItem): Promise<Outcome> {
    const { store, ledger } = this.#options;
    const read = readOrder(item);
    if ('reason' in read) return { state: 'parked', parked: [read] };
    const { delivery, order } = read;
    // Before anything that can park: how much is paid holds also for an order that waits for a person.
    const { takenBack, givenBack } = await settle(order, delivery.issuedAt, item.shop, { ledger });
    const moved = { takenBack, givenBack };
    if (!bringsUnits(delivery, order)) return { state: 'done', fulfilled: 0, repeated: 0, instances: [], ...moved };
    await Promise.all(
      (['Organization', 'Team', 'Offering', 'OfferingVersion', 'CreditPack', 'Wallet'] as const).map(
        (kind) => store.watch(kind).synced,
      ),
    );
    const tenant = tenancy(order, store);
    if ('parked' in tenant) return { state: 'parked', parked: [tenant.parked] };
    const units = unitsOf(order, item.shop, {
      offerings: store.watch('Offering').list(),
      versions: store.watch('OfferingVersion').list(),
      packs: store.watch('CreditPack').list(),
    });
    const effects = await fulfil(order, item.shop, tenant.organization.metadata.name, units, { store, ledger });
    const { fulfilled, repeated, instances, parked } = effects;
    if (parked.length > 0) return { state: 'parked', parked };
    return { state: 'done', fulfilled, repeated, instances, ...moved };
  }
}

function readOrder(item: InboxItem): { delivery: ShopDelivery; order: ShopOrder } | Parked {
  try {
    const delivery = parseDelivery(Buffer.from(item.rawBase64, 'base64'));
    const { order } = delivery;
    return order ? { delivery, order } : unreadable('the delivery carries no order');
  } catch (error) {
    if (error instanceof Problem) return unreadable(error.message);
    throw error;
  }
}

function unreadable(detail: string): Parked {
  return { reason: 'PayloadUnreadable', detail };
}

function reasonOf(error: unknown): string {
  return (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).slice(0, 500);
}
