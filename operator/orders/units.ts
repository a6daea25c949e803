import { createHash } from 'node:crypto';
import type { ShopLine, ShopOrder } from '../../config/saleor.ts';
import type { CreditPack, Offering, OfferingVersion } from '../../crds/kinds.ts';
import { effectiveLifecycle, type OfferingLifecycle } from '../../crds/lifecycle.ts';
import type { FulfilmentBody } from '../../ledger/client.ts';
import type { Parked } from './parking.ts';

/** One credit, as the shop counts them, in the ledger's smallest unit. */
export const MICROCREDITS_PER_CREDIT = 1_000_000;

/** Each unit is a fulfilment and perhaps an Instance; an order over this is looked at by a person first. */
export const MAX_UNITS = 1_000;

/** Included credits belong to the period that was paid, so they burn before bought ones. */
const INCLUDED_PRIORITY = 50;

/** Who has an Instance may keep it after the sale to others has ended or rests, until the Offering's end of life. */
const RENEWABLE: ReadonlySet<OfferingLifecycle> = new Set(['Published', 'Paused', 'EndOfSale']);

type UnitGrant = FulfilmentBody['grants'][number];

/** One paid unit of an order line: what the ledger records once, and the Instance it brings. */
export interface Unit {
  line: string;
  ordinal: number;
  sku: string;
  grants: UnitGrant[];
  /** Only plan lines. */
  plan?: { offering: string; plan: string; instance: string; paidThrough?: string };
  /** Only renewal lines: one period more for an Instance that was bought before. */
  renewal?: { offering: string; plan: string; instance: string; period: 'Month' | 'Year'; from: string };
}

/** The part of the catalog that gives an order its meaning. */
export interface Catalog {
  offerings: readonly Offering[];
  versions: readonly OfferingVersion[];
  packs: readonly CreditPack[];
}

/**
 * What an order is worth, from our own resources and never from the shop's payload. Pure: dates
 * count from the order's date, so the same order always gives the same units.
 */
export function unitsOf(order: ShopOrder, shop: string, catalog: Catalog): { units: Unit[]; parked: Parked[] } {
  const units: Unit[] = [];
  const parked: Parked[] = [];
  for (const line of order.lines) {
    const found = units.length + line.quantity > MAX_UNITS ? tooMany(line) : lineUnits(line, order, shop, catalog);
    if (Array.isArray(found)) units.push(...found);
    else parked.push({ ...found, line: line.id });
  }
  return { units, parked };
}

function tooMany({ quantity, sku }: ShopLine): Parked {
  return { reason: 'QuantityTooLarge', detail: `${quantity} of ${sku} brings the order over ${MAX_UNITS} units` };
}

function lineUnits(line: ShopLine, order: ShopOrder, shop: string, catalog: Catalog): Unit[] | Parked {
  const packs = catalog.packs.filter((pack) => pack.spec.sku === line.sku);
  const plans = catalog.offerings.flatMap((offering) =>
    (offering.spec.skus ?? []).filter((entry) => entry.sku === line.sku).map(({ plan }) => ({ offering, plan })),
  );
  if (packs.length + plans.length > 1) {
    return { reason: 'SkuAmbiguous', detail: `the SKU ${line.sku} stands in ${packs.length + plans.length} places` };
  }
  const [pack] = packs;
  const [plan] = plans;
  if (pack) return packUnits(line, order, pack);
  if (plan) return planUnits(line, order, shop, plan.offering, plan.plan, catalog.versions);
  return { reason: 'SkuUnknown', detail: `nothing carries the SKU ${line.sku}` };
}

function packUnits(line: ShopLine, order: ShopOrder, pack: CreditPack): Unit[] | Parked {
  const { amountMicrocredits, kind, expiresAfterDays, scope, maxPerOrder } = pack.spec;
  if (line.renews !== undefined) {
    return { reason: 'RenewalMismatch', detail: `${line.sku} is a pack of credits and renews nothing` };
  }
  // Divided, not multiplied: the quotient is the float nearest to our amount, as the shop's text is to its own.
  const ours = amountMicrocredits / MICROCREDITS_PER_CREDIT;
  if (line.credits !== undefined && line.credits !== ours) {
    return {
      reason: 'CreditMismatch',
      detail: `the shop says ${line.credits} credits, CreditPack ${pack.metadata.name} ${ours}`,
    };
  }
  if (maxPerOrder !== undefined && line.quantity > maxPerOrder) {
    return {
      reason: 'PackLimitExceeded',
      detail: `${line.quantity} of ${line.sku} in one order, at most ${maxPerOrder}`,
    };
  }
  const grant: UnitGrant = {
    amount: amountMicrocredits,
    kind: kind === 'Promotional' ? 'promotional' : 'purchased',
    ...(expiresAfterDays === undefined ? {} : { expiresAt: plusDays(order.created, expiresAfterDays) }),
    ...(scope === undefined ? {} : { scope: { ...(scope.offerings ? { offerings: scope.offerings } : {}) } }),
  };
  return ordinals(line).map((ordinal) => ({ line: line.id, ordinal, sku: line.sku, grants: [grant] }));
}

function planUnits(
  line: ShopLine,
  order: ShopOrder,
  shop: string,
  offering: Offering,
  planName: string,
  versions: readonly OfferingVersion[],
): Unit[] | Parked {
  const name = offering.metadata.name;
  const version = versions.find(({ spec }) => spec.offeringRef.name === name && spec.version === offering.spec.channel);
  // What counts is when it was sold, not when we come to look at it.
  const lifecycle = effectiveLifecycle(offering.spec, Date.parse(order.created));
  const sells = line.renews === undefined ? lifecycle === 'Published' : RENEWABLE.has(lifecycle);
  if (!sells || version === undefined) {
    const why = version === undefined ? 'has no version in its channel' : `is ${lifecycle}`;
    return { reason: 'OfferingNotSellable', detail: `the Offering ${name} ${why}` };
  }
  const plan = version.spec.plans.find((candidate) => candidate.name === planName);
  if (plan === undefined) {
    return { reason: 'PlanUnknown', detail: `${version.metadata.name} has no plan ${planName}` };
  }
  if (line.renews !== undefined) return renewalUnits(line, order, name, plan, line.renews);
  const paidThrough = endOfPeriod(order.created, plan.period ?? 'None');
  const included: UnitGrant = {
    amount: plan.includedMicrocredits,
    kind: 'included',
    priority: INCLUDED_PRIORITY,
    ...(paidThrough === undefined ? {} : { expiresAt: paidThrough }),
  };
  return ordinals(line).map((ordinal) => ({
    line: line.id,
    ordinal,
    sku: line.sku,
    grants: plan.includedMicrocredits > 0 ? [included] : [],
    plan: {
      offering: name,
      plan: planName,
      instance: instanceName(name, shop, line.id, ordinal),
      ...(paidThrough === undefined ? {} : { paidThrough }),
    },
  }));
}

/** The ledger counts the periods, from the end of what is paid; it also dates the included credits. */
function renewalUnits(
  line: ShopLine,
  order: ShopOrder,
  offering: string,
  plan: OfferingVersion['spec']['plans'][number],
  instance: string,
): Unit[] | Parked {
  const { period } = plan;
  if (period === undefined || period === 'None') {
    return { reason: 'RenewalMismatch', detail: `the plan ${plan.name} of ${offering} has no period to renew` };
  }
  const amount = plan.includedMicrocredits;
  return ordinals(line).map((ordinal) => ({
    line: line.id,
    ordinal,
    sku: line.sku,
    grants: amount > 0 ? [{ amount, kind: 'included', priority: INCLUDED_PRIORITY }] : [],
    renewal: { offering, plan: plan.name, instance, period, from: order.created },
  }));
}

/** `<offering>-<first 8 hex of sha256(shop|line|ordinal)>`: the same unit always has the same name. */
export function instanceName(offering: string, shop: string, line: string, ordinal: number): string {
  return `${offering}-${createHash('sha256').update(`${shop}|${line}|${ordinal}`).digest('hex').slice(0, 8)}`;
}

/** The end of the period that starts at `from`, in UTC; a day that the month lacks becomes its last. */
export function endOfPeriod(from: string, period: 'None' | 'Month' | 'Year'): string | undefined {
  if (period === 'None') return undefined;
  const start = new Date(from);
  const months = period === 'Month' ? 1 : 12;
  const end = new Date(start);
  end.setUTCDate(1);
  end.setUTCMonth(start.getUTCMonth() + months);
  const lastDay = new Date(Date.UTC(end.getUTCFullYear(), end.getUTCMonth() + 1, 0)).getUTCDate();
  end.setUTCDate(Math.min(start.getUTCDate(), lastDay));
  return end.toISOString();
}

function plusDays(from: string, days: number): string {
  const end = new Date(from);
  end.setUTCDate(end.getUTCDate() + days);
  return end.toISOString();
}

function ordinals(line: ShopLine): number[] {
  return Array.from({ length: line.quantity }, (_, ordinal) => ordinal);
}
