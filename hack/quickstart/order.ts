import { setTimeout as delay } from 'node:timers/promises';
import type { ShopOrder } from '../../config/saleor.ts';
import { parseDelivery } from '../../config/saleor.ts';
import { type Instance, organizationNamespace } from '../../crds/kinds.ts';
import type { ResourceStore } from '../../crds/store.ts';
import type { InboxEntry, LedgerClient } from '../../ledger/client.ts';
import { unitsOf } from '../../operator/orders/units.ts';
import { until } from './catalog.ts';
import type { Delivery } from './delivery.ts';
import { type Phase, PhaseError, type Stopwatch } from './phases.ts';

const POLL_MS = 20;
/** Three minutes from payment to a running instance is the store's promise. */
const PATIENCE_MS = 180_000;

export interface OrderedInstance {
  organization: string;
  name: string;
}

/** Posts the delivery to the webhook as the shop would. @throws PhaseError order/… */
export async function postOrder(
  delivery: Delivery,
  gatewayUrl: string,
  watch: Stopwatch,
): Promise<{ id: string; order: ShopOrder }> {
  const response = await fetch(`${gatewayUrl}/webhooks/saleor`, {
    method: 'POST',
    headers: delivery.headers,
    body: new Uint8Array(delivery.raw),
  });
  const reply = (await response.json()) as {
    id: string;
    state: string;
    event: string;
    duplicate: boolean;
    code?: string;
    detail?: string;
  };
  if (!response.ok)
    throw new PhaseError(
      'order',
      reply.code ?? `http_${response.status}`,
      reply.detail ?? 'the webhook refused the order',
    );
  if (reply.state === 'ignored' || reply.event !== 'order_fully_paid') {
    throw new PhaseError(
      'order',
      'no_effect',
      `the delivery ${reply.event} was stored as ${reply.state}: it brings no credits`,
    );
  }
  const { order } = parseDelivery(delivery.raw);
  if (order === undefined) throw new PhaseError('order', 'no_effect', `the delivery ${reply.event} carries no order`);
  watch.end('order', `order ${order.number}, ${reply.duplicate ? 'seen before' : 'signature verified, stored'}`);
  return { id: reply.id, order };
}

/**
 * Waits until the order worker is through with the order and every unit of it is in the ledger.
 *
 * @throws PhaseError credits/…: also when only a part of the order waits for a person
 */
export async function awaitCredits(
  posted: { id: string; order: ShopOrder },
  shop: string,
  store: ResourceStore,
  ledger: LedgerClient,
  watch: Stopwatch,
): Promise<OrderedInstance[]> {
  const { order } = posted;
  const item = await over(posted.id, ledger);
  if (item.state === 'parked') {
    throw new PhaseError('credits', 'order_parked', `the order is parked: ${item.reason ?? 'no reason'}`);
  }
  const { units } = unitsOf(order, shop, {
    offerings: store.watch('Offering').list(),
    versions: store.watch('OfferingVersion').list(),
    packs: store.watch('CreditPack').list(),
  });
  const recorded = await ledger.findFulfilments({ shop, order: order.id });
  const known = new Set(recorded.map(unitKey));
  if (units.length === 0 || !units.every((unit) => known.has(unitKey(unit)))) {
    throw new PhaseError('credits', 'no_effect', 'the order took no effect');
  }
  const granted = units.flatMap(({ grants }) => grants).reduce((sum, { amount }) => sum + amount, 0);
  const last = recorded
    .map(({ createdAt }) => createdAt)
    .sort()
    .at(-1);
  watch.end('credits', `${units.length} unit(s), ${granted} microcredits`, last);
  const organization = order.tenant ?? '';
  return units.flatMap(({ plan }) => (plan ? [{ organization, name: plan.instance }] : []));
}

function unitKey({ line, ordinal }: { line: string; ordinal: number }): string {
  return `${line}|${ordinal}`;
}

/** The delivery once the order worker is through with it. @throws PhaseError credits/timeout */
async function over(id: string, ledger: LedgerClient): Promise<InboxEntry> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const item = await entry(id, ledger);
    if (item?.state === 'done' || item?.state === 'parked') return item;
    if (performance.now() > deadline) {
      const why = item?.reason === undefined ? 'see the operator’s log' : `the last try failed: ${item.reason}`;
      throw new PhaseError('credits', 'timeout', `the order is still in the inbox; ${why}`);
    }
    await delay(POLL_MS);
  }
}

/** A repeat can be older than the newest page. */
async function entry(id: string, ledger: LedgerClient): Promise<InboxEntry | undefined> {
  for (let cursor: string | undefined; ; ) {
    const page = await ledger.inboxList({ cursor, limit: 100 });
    const found = page.items.find((item) => item.id === id);
    if (found || page.next === null) return found;
    cursor = page.next;
  }
}

type Timeline = NonNullable<NonNullable<Instance['status']>['timeline']>;

/** Status is written once a visit, so the conditions show at once; the timeline knows when each was reached. */
const LADDER: readonly [Phase, string, keyof Timeline][] = [
  ['accepted', 'Accepted', 'accepted'],
  ['funded', 'Funded', 'funded'],
  ['secrets', 'SecretsReady', 'secretsReady'],
  ['committed', 'Committed', 'committed'],
  ['synced', 'Synced', 'synced'],
];

/** Watches the first Instance climb its ladder, then waits for the others. @throws PhaseError */
export async function awaitReady(
  ordered: readonly OrderedInstance[],
  store: ResourceStore,
  watch: Stopwatch,
): Promise<Instance> {
  const [first] = ordered;
  if (first === undefined) throw new RangeError('an order without a plan line has no Instance to wait for');
  await stillThere(ordered, store);
  for (const [phase, condition, noted] of LADDER) {
    const instance = await awaitCondition(first, phase, condition, store);
    watch.end(phase, detailOf(instance, condition), instance.status?.timeline?.[noted]);
  }
  const times: (string | undefined)[] = [];
  for (const one of ordered) {
    times.push((await awaitCondition(one, 'ready', 'Ready', store)).status?.timeline?.ready);
  }
  const instance = await awaitCondition(first, 'ready', 'Ready', store);
  const detail = `${ordered.length} Instance(s) ready, ${first.organization}/${first.name}`;
  watch.end('ready', detail, times.sort().at(-1));
  return instance;
}

/** The order worker is through, so an Instance that is not there now never comes. */
async function stillThere(ordered: readonly OrderedInstance[], store: ResourceStore): Promise<void> {
  for (const { organization, name } of ordered) {
    if (await store.get('Instance', { namespace: organizationNamespace(organization), name })) continue;
    throw new PhaseError(
      'accepted',
      'instance_gone',
      `the Instance ${organization}/${name} was deleted after it was ordered, and a repeat of its order does not bring it back; start with another GSV_DATA_DIR`,
    );
  }
}

async function awaitCondition(
  { organization, name }: OrderedInstance,
  phase: Phase,
  type: string,
  store: ResourceStore,
): Promise<Instance> {
  const cache = store.watch('Instance');
  const key = { namespace: organizationNamespace(organization), name };
  const holds = (): boolean => {
    const instance = cache.get(key);
    if (conditionOf(instance, type)?.status === 'True') return true;
    refuseExpired(instance);
    const stalled = conditionOf(instance, 'Stalled');
    if (stalled?.status === 'True') throw new PhaseError(phase, stalled.reason, stalled.message);
    return false;
  };
  await until(
    holds,
    (listener) => cache.onChange(listener),
    PATIENCE_MS,
    () => late(phase, type, cache.get(key)),
  );
  const instance = cache.get(key);
  if (instance === undefined)
    throw new PhaseError(phase, 'instance_gone', `the Instance ${organization}/${name} is gone`);
  return instance;
}

/** The operator waits for a renewal; nobody renews here. */
function refuseExpired(instance: Instance | undefined): void {
  if (conditionOf(instance, 'Funded')?.reason !== 'FulfilmentExpired') return;
  const detail = 'the paid time of this order is over, counted from its own date; replay a newer order';
  throw new PhaseError('funded', 'FulfilmentExpired', `${detail}, or start with another GSV_DATA_DIR`);
}

function late(phase: Phase, type: string, instance: Instance | undefined): PhaseError {
  if (instance === undefined) return new PhaseError(phase, 'instance_gone', 'the Instance was deleted meanwhile');
  const blocker = conditionOf(instance, type) ?? conditionOf(instance, 'Ready');
  return new PhaseError(
    phase,
    blocker?.reason ?? 'timeout',
    blocker?.message ?? `the condition ${type} does not become True`,
  );
}

function conditionOf(instance: Instance | undefined, type: string) {
  return instance?.status?.conditions?.find((condition) => condition.type === type);
}

function detailOf(instance: Instance, condition: string): string {
  return conditionOf(instance, condition)?.message ?? '';
}
