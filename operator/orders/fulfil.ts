import { createHash } from 'node:crypto';
import type { ShopLine, ShopOrder } from '../../config/saleor.ts';
import { type Instance, organizationNamespace, type Wallet } from '../../crds/kinds.ts';
import { type Desired, type Key, type ResourceStore, StoreError } from '../../crds/store.ts';
import type { Fulfilment, FulfilmentBody, LedgerClient } from '../../ledger/client.ts';
import { ORDER_PROJECT } from './customer.ts';
import { NotYet } from './not-yet.ts';
import type { Parked } from './parking.ts';
import { renewed } from './renew.ts';
import type { Unit } from './units.ts';

/** The Wallet that an order's credits go to; created when it is missing. */
export const ORDER_WALLET = 'main';
/** Names the order on the Instance for people; the claim in `spec.fulfilment` is what counts. */
const ORDER_ANNOTATION = 'store.gsv.dev/order';

/** A new Wallet opens its account in the ledger within a reconcile; longer means that it is in trouble. */
const WALLET_WAIT_MS = 5_000;

export type FulfilmentBook = Pick<LedgerClient, 'findFulfilments' | 'recordFulfilment'>;

export interface Fulfilling {
  store: ResourceStore;
  ledger: FulfilmentBook;
}

export interface Effects {
  fulfilled: number;
  repeated: number;
  instances: string[];
  parked: Parked[];
}

/**
 * Makes the units of an order real: Project `default`, Wallet `main`, one fulfilment a unit, one
 * Instance a plan unit. Every part is keyed by (shop, line, ordinal), so doing it again changes
 * nothing; a crash in between is finished by the next try.
 *
 * @throws NotYet, LedgerError, StoreError: the delivery is tried again
 */
export async function fulfil(
  order: ShopOrder,
  shop: string,
  organization: string,
  { units, parked }: { units: readonly Unit[]; parked: readonly Parked[] },
  { store, ledger }: Fulfilling,
): Promise<Effects> {
  const namespace = organizationNamespace(organization);
  if (units.length > 0) await openWallet(store, namespace);
  const rows = await ledger.findFulfilments({ shop, order: order.id });
  const known = new Map(rows.map((row) => [unitKey(row), row]));
  const waiting = parked.filter(
    ({ line }) =>
      !settled(
        order.lines.find(({ id }) => id === line),
        rows,
      ),
  );
  const effects: Effects = { fulfilled: 0, repeated: 0, instances: [], parked: waiting };
  for (const unit of units) {
    const first = known.get(unitKey(unit));
    if (first === undefined) {
      const renewal = unit.renewal && (await renewed(unit.renewal, unit.line, namespace, { store, ledger }));
      if (renewal && 'reason' in renewal) {
        effects.parked.push(renewal);
        continue;
      }
      const wallet = `${organization}.${ORDER_WALLET}`;
      const body = { ...fulfilmentBody(unit, order, shop, wallet), ...renewal };
      const { created } = await ledger.recordFulfilment(body, fulfilmentKey(shop, unit));
      effects[created ? 'fulfilled' : 'repeated'] += 1;
    } else {
      effects.repeated += 1;
    }
    // A claimed unit had its Instance. If that one is gone, somebody deleted it: a repeated delivery
    // must not bring it back.
    if (unit.plan === undefined || first?.instanceUid !== undefined) continue;
    const taken = await createInstance(store, namespace, unit, order, shop);
    if (taken) effects.parked.push(taken);
    else effects.instances.push(`${organization}/${unit.plan.instance}`);
  }
  return effects;
}

/**
 * Whether every unit of a line has had its effect before. A repeat of it needs no catalog, so it is
 * no matter for a person that the offering has been paused or the SKU taken away since.
 */
function settled(line: ShopLine | undefined, rows: readonly Fulfilment[]): boolean {
  if (line === undefined) return false;
  const done = rows.filter(
    (row) => row.line === line.id && (row.offering === undefined || row.instanceUid !== undefined),
  );
  return line.quantity > 0 && done.filter(({ ordinal }) => ordinal < line.quantity).length === line.quantity;
}

async function openWallet(store: ResourceStore, namespace: string): Promise<void> {
  await ensure(store, 'Project', { metadata: { name: ORDER_PROJECT, namespace }, spec: {} });
  await ensure(store, 'Wallet', { metadata: { name: ORDER_WALLET, namespace }, spec: {} });
  await walletReady(store, { namespace, name: ORDER_WALLET });
}

function fulfilmentBody(unit: Unit, order: ShopOrder, shop: string, wallet: string): FulfilmentBody {
  const { line, ordinal, sku, grants, plan } = unit;
  return {
    shop,
    order: order.id,
    line,
    ordinal,
    sku,
    wallet,
    grants,
    ...(plan === undefined ? {} : { offering: plan.offering, plan: plan.plan }),
    ...(plan?.paidThrough === undefined ? {} : { paidThrough: plan.paidThrough }),
  };
}

function unitKey({ line, ordinal }: Pick<Fulfilment, 'line' | 'ordinal'>): string {
  return `${line}|${ordinal}`;
}

function fulfilmentKey(shop: string, { line, ordinal }: Unit): string {
  return `fulfilment:${createHash('sha256').update(`${shop}|${line}|${ordinal}`).digest('hex')}`;
}

async function createInstance(
  store: ResourceStore,
  namespace: string,
  { line, ordinal, plan }: Unit,
  order: ShopOrder,
  shop: string,
): Promise<Parked | undefined> {
  if (plan === undefined) return undefined;
  const fulfilment = { shop, order: order.id, line, ordinal };
  const desired: Desired<'Instance'> = {
    metadata: { name: plan.instance, namespace, annotations: { [ORDER_ANNOTATION]: order.number } },
    spec: {
      projectRef: { name: ORDER_PROJECT },
      offeringRef: { name: plan.offering },
      plan: plan.plan,
      walletRef: { name: ORDER_WALLET },
      fulfilment,
    },
  };
  const existing = await ensure(store, 'Instance', desired);
  if (claims(existing, fulfilment)) return undefined;
  const detail = `${namespace}/${plan.instance} exists and claims another unit`;
  return { reason: 'InstanceNameTaken', detail, line };
}

function claims(instance: Instance, wanted: NonNullable<Instance['spec']['fulfilment']>): boolean {
  const claim = instance.spec.fulfilment;
  return claim?.shop === wanted.shop && claim.line === wanted.line && claim.ordinal === wanted.ordinal;
}

async function ensure<K extends 'Project' | 'Wallet' | 'Instance'>(store: ResourceStore, kind: K, desired: Desired<K>) {
  const { name, namespace } = desired.metadata;
  const key: Key = namespace === undefined ? { name } : { name, namespace };
  const present = store.watch(kind).get(key) ?? (await store.get(kind, key));
  if (present) return present;
  try {
    return await store.create(kind, desired);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    if (error.code === 'NotFound' || error.code === 'Forbidden') throw new NotYet(error.message);
    const raced = error.code === 'AlreadyExists' ? await store.get(kind, key) : undefined;
    if (raced === undefined) throw error;
    return raced;
  }
}

/** Waits until the Wallet's account is open in the ledger: only its controller opens it. */
async function walletReady(store: ResourceStore, key: Key): Promise<void> {
  const wallets = store.watch('Wallet');
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const look = (): void => {
    if (isReady(wallets.get(key))) resolve(true);
  };
  const stop = wallets.onChange(look);
  const timer = setTimeout(() => resolve(false), WALLET_WAIT_MS);
  look();
  const ready = await promise;
  clearTimeout(timer);
  stop();
  if (!ready) throw new NotYet(`the Wallet ${key.namespace}/${key.name} is not ready`);
}

function isReady(wallet: Wallet | undefined): boolean {
  return (
    wallet?.status?.observedGeneration === wallet?.metadata.generation &&
    wallet?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true
  );
}
