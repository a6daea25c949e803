import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { createLogger } from '../../config/log.ts';
import { type Instance, type Kind, organizationNamespace } from '../../crds/kinds.ts';
import { EmbeddedStore } from '../../crds/store/embedded.ts';
import type { Key } from '../../crds/store.ts';
import { type Receipt, takeIn } from '../../gateway/commerce/intake.ts';
import type { InboxEntry, Wallet } from '../../ledger/client.ts';
import { type Operator, startOperator } from '../../operator/operator.ts';
import { OrderWorker, type OrderWorkerOptions, type Outcome } from '../../operator/orders/worker.ts';
import { defaultPlatform } from '../../operator/render/platform.ts';
import { systemClock } from '../../operator/runtime/clock.ts';
import { loadCatalog, until } from '../quickstart/catalog.ts';
import { startTestLedger, type TestLedger } from './ledger.ts';
import { FakeBlobs, FakeDelivery, FakeGit, FakeProbe, FakeSecrets } from './operator/fakes.ts';

/** The shop of the recorded deliveries. */
export const SHOP = 'http://127.0.0.1:8000/graphql/';
export const ACME = organizationNamespace('acme');

const RECORDED = join(import.meta.dirname, '../../gateway/commerce/testdata');
/** Nothing here waits for anything but a reconcile. */
const PATIENCE_MS = 20_000;
/** When the orders were recorded, and a week: their paid time must not end with the calendar. */
const PAID_TIME = Date.parse('2026-12-01T00:00:00Z');
const log = createLogger({ part: 'test', level: 'silent' });

/** The raw bytes of a recorded delivery, by the start of its name. */
export function recordedBody(base: string): Buffer {
  return readFileSync(join(RECORDED, `${base}.body`));
}

/** Lower-case names, as Node gives them. */
export function recordedHeaders(base: string): IncomingHttpHeaders {
  const [, ...lines] = readFileSync(join(RECORDED, `${base}.head`), 'latin1')
    .trimEnd()
    .split('\r\n');
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
}

export function recordedKeys(): ReturnType<typeof createLocalJWKSet> {
  return createLocalJWKSet(JSON.parse(readFileSync(join(RECORDED, 'jwks.json'), 'utf8')) as JSONWebKeySet);
}

/** What a test changes in an order; ids of order and lines are made from `id`. */
export interface OrderEdit {
  id: string;
  tenant?: string | null;
  email?: string;
  lines?: { sku: string; quantity?: number; credits?: string; renews?: string }[];
  /** Absent: the event of full payment, with all of the order's 10 charged, at the recorded time. */
  money?: { typename?: string; charged: number; issuedAt: string; cancelled?: boolean };
}

/** The bytes of a paid order in the recorded shape. */
export function orderBody({ id, tenant = 'acme', email = 'buyer@example.com', lines = [], money }: OrderEdit): Buffer {
  const delivery = JSON.parse(recordedBody('15-order27-credit-pack-only').toString());
  Object.assign(delivery.order, {
    id,
    userEmail: email,
    metadata: tenant === null ? [] : [{ key: 'tenant', value: tenant }],
    lines: lines.map(({ sku, quantity = 1, credits, renews }, index) => ({
      id: `${id}-line-${index}`,
      quantity,
      productSku: sku,
      metadata: renews === undefined ? [] : [{ key: 'renews', value: renews }],
      variant: {
        sku,
        attributes: credits === undefined ? [] : [{ attribute: { slug: 'credits' }, values: [{ name: credits }] }],
      },
    })),
  });
  if (money) charge(delivery, money);
  return Buffer.from(JSON.stringify(delivery));
}

function charge(
  // biome-ignore lint/suspicious/noExplicitAny: the recorded JSON
  delivery: any,
  { typename = 'OrderFullyPaid', charged, issuedAt, cancelled = false }: NonNullable<OrderEdit['money']>,
): void {
  const paid = charged >= delivery.order.total.gross.amount;
  Object.assign(delivery, { __typename: typename, issuedAt });
  Object.assign(delivery.order, {
    isPaid: paid,
    chargeStatus: paid ? 'FULL' : charged > 0 ? 'PARTIAL' : 'NONE',
    status: cancelled ? 'CANCELED' : delivery.order.status,
    totalCharged: { amount: charged },
  });
}

/**
 * The way of an order without its outside: the sample catalog, the real ledger, the real store and
 * the real controllers; Git, delivery, secrets and the runner's probe are fakes. The order worker
 * works only when a test says so.
 */
export class OrderWorld {
  readonly ledger: TestLedger;
  readonly store: EmbeddedStore;
  readonly worker: OrderWorker;
  readonly #operator: Operator;

  private constructor(ledger: TestLedger, store: EmbeddedStore, operator: Operator) {
    this.ledger = ledger;
    this.store = store;
    this.#operator = operator;
    this.worker = this.newWorker();
  }

  static async open(): Promise<OrderWorld> {
    const ledger = await startTestLedger();
    const offset = PAID_TIME - Date.now();
    ledger.advance(offset / 1000);
    const store = await EmbeddedStore.open();
    const [git, blobs] = [new FakeGit(), new FakeBlobs()];
    const operator = startOperator({
      store,
      ledger: ledger.client,
      secrets: new FakeSecrets(),
      blobs,
      git,
      delivery: new FakeDelivery(git),
      probe: new FakeProbe((organization, name) => {
        const instance = store.watch('Instance').get({ namespace: organizationNamespace(organization), name });
        return { ok: true, contractDigest: instance?.status?.contractDigest ?? '', secrets: [] };
      }),
      settings: {
        publicUrl: 'https://store.example.com',
        platform: defaultPlatform('https://git.example.com/gsv.git', 'main'),
      },
      clock: { ...systemClock, now: () => Date.now() + offset },
      log,
    });
    await operator.ready;
    await loadCatalog({ store, blobs, dataDir: import.meta.dirname });
    return new OrderWorld(ledger, store, operator);
  }

  /** Another replica; `overrides` put faults between it and its doors. */
  newWorker(overrides: Partial<OrderWorkerOptions> = {}): OrderWorker {
    return new OrderWorker({ store: this.store, ledger: this.ledger.client, log, ...overrides });
  }

  /** A recorded delivery, taken in as the webhook does: signature, headers, inbox. */
  deliver(base: string): Promise<Receipt> {
    return takeIn(recordedHeaders(base), recordedBody(base), {
      shops: [SHOP],
      keys: recordedKeys,
      inbox: this.ledger.client,
    });
  }

  /** A delivery that no shop has signed, put behind the intake. */
  async put(raw: Uint8Array, order: string, shop = SHOP): Promise<string> {
    const { id } = await this.ledger.client.inboxPut({
      shop,
      order,
      bodySha256: createHash('sha256').update(raw).digest('hex'),
      rawBase64: Buffer.from(raw).toString('base64'),
      event: 'order_fully_paid',
      state: 'pending',
    });
    return id;
  }

  /** An order of a test's own: its inbox item, after the worker had it. */
  async order(edit: OrderEdit): Promise<InboxEntry> {
    const id = await this.put(orderBody(edit), edit.id);
    await this.work();
    return this.inbox(id);
  }

  /** Works until nothing is due. */
  async work(worker = this.worker): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    for (;;) {
      const outcome = await worker.workOne();
      if (outcome === undefined) return outcomes;
      outcomes.push(outcome);
    }
  }

  async inbox(id: string): Promise<InboxEntry> {
    const entry = (await this.ledger.client.inboxList({ limit: 100 })).items.find((item) => item.id === id);
    if (entry === undefined) throw new Error(`there is no inbox item ${id}`);
    return entry;
  }

  /** Undefined while the Organization has none. */
  async wallet(name = 'acme.main'): Promise<Wallet | undefined> {
    return this.store.watch('Wallet').get({ namespace: ACME, name: 'main' }) && this.ledger.client.getWallet(name);
  }

  instances(): Instance[] {
    return this.store.watch('Instance').list();
  }

  /** Resolves when every Instance is Ready. */
  async ready(): Promise<Instance[]> {
    const cache = this.store.watch('Instance');
    const isReady = ({ status }: Instance): boolean =>
      status?.conditions?.some((each) => each.type === 'Ready' && each.status === 'True') === true;
    await until(
      () => cache.list().every(isReady),
      (listener) => cache.onChange(listener),
      PATIENCE_MS,
      () => new Error(`not ready: ${JSON.stringify(cache.list().map(({ status }) => status?.conditions))}`),
    );
    return cache.list();
  }

  /** Looks whenever an object of the kind changes. */
  until(holds: () => boolean, kind: Kind): Promise<void> {
    const late = () => new Error(`in vain: ${holds}`);
    return until(holds, (listener) => this.store.watch(kind).onChange(listener), PATIENCE_MS, late);
  }

  /** Resolves when an Instance has been taken away for good. */
  gone(key: Key): Promise<void> {
    return this.until(() => this.store.watch('Instance').get(key) === undefined, 'Instance');
  }

  /** Everything that an order can change, to compare before and after. */
  async effects(): Promise<object> {
    return {
      fulfilments: await this.ledger.client.findFulfilments({ shop: SHOP }),
      wallet: (await this.wallet()) ?? null,
      instances: this.instances().map(({ metadata: { name, uid } }) => ({ name, uid })),
    };
  }

  async close(): Promise<void> {
    await this.#operator.close();
    await this.store.close();
    await this.ledger.close();
  }
}
