/**
 * Why an order, or a line of it, waits for a person. The name stands in the inbox
 * (`GET /v1/inbox?state=parked`) and in the log line; `gsv_ledger_inbox_items{state="parked"}` counts them.
 */
export const PARKING_REASONS = {
  TenantMissing: 'The order does not say which Organization it is for: set the metadata key `tenant` in the shop.',
  TenantUnknown: 'No Organization of that name exists: create it, or correct the order’s metadata key `tenant`.',
  CustomerNotAllowed: 'The customer holds neither Billing nor Admin in that Organization: add a grant to a Team.',
  SkuUnknown: 'No Offering or CreditPack carries the SKU: add it, or correct the SKU in the shop.',
  SkuAmbiguous: 'More than one Offering or CreditPack carries the SKU: leave it on one.',
  OfferingNotSellable: 'The Offering is not Published, or has no usable version in its channel.',
  PlanUnknown: 'The Offering’s version has no plan of the name that its SKU maps to.',
  CreditMismatch: 'The shop’s `credits` attribute differs from the CreditPack’s amount: correct one of them.',
  PackLimitExceeded: 'The line orders more packs than `maxPerOrder` allows: refund it or raise the limit.',
  QuantityTooLarge: 'The order has more units than one order may have: split it, or refund it.',
  InstanceNameTaken: 'An Instance of the name that this unit must have exists and belongs to another order.',
  RenewalUnknown:
    'The line renews an Instance that does not exist there or was not bought: correct its metadata key `renews`.',
  RenewalMismatch: 'The line’s SKU is of another Offering or plan than the Instance that it renews, or has no period.',
  PayloadUnreadable: 'The stored delivery cannot be read any more: look at its bytes in the inbox.',
} as const;

export type ParkingReason = keyof typeof PARKING_REASONS;

/** Kinds that a parked order can wait for. */
export type CuringKind = 'Organization' | 'Team' | 'Offering' | 'OfferingVersion' | 'CreditPack';

/** Whose change can cure what; what is not here waits for the shop, or for a person. */
export const CURED_BY: Readonly<Partial<Record<ParkingReason, readonly CuringKind[]>>> = {
  TenantUnknown: ['Organization'],
  CustomerNotAllowed: ['Team'],
  SkuUnknown: ['Offering', 'CreditPack'],
  SkuAmbiguous: ['Offering', 'CreditPack'],
  OfferingNotSellable: ['Offering', 'OfferingVersion'],
  PlanUnknown: ['Offering', 'OfferingVersion'],
  CreditMismatch: ['CreditPack'],
  PackLimitExceeded: ['CreditPack'],
};

/** The reasons in a text of {@link parkingText}. */
export function parkedFor(text: string): ParkingReason[] {
  const words = [...text.matchAll(/(?:^|; )([A-Z][A-Za-z]+)(?: \(line [^)]*\))?: /g)].map(([, word = '']) => word);
  return words.filter((word): word is ParkingReason => Object.hasOwn(PARKING_REASONS, word));
}

/** Something that no retry cures. `line` is absent when the order as a whole is meant. */
export interface Parked {
  reason: ParkingReason;
  detail: string;
  line?: string;
}

/** The text that stands in the inbox: `Reason: detail`, several joined by `; `. */
export function parkingText(parked: readonly Parked[]): string {
  return parked
    .map(({ reason, line, detail }) => `${reason}${line === undefined ? '' : ` (line ${line})`}: ${detail}`)
    .join('; ')
    .slice(0, 1000);
}
