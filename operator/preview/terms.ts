import { amountOf, type Contract, effectiveLimits, reserveMicrocredits } from '../../crds/contract.ts';
import { changedByName, type ValueChange, valueChange } from './changed.ts';

/** What the buyer may do: only what differs is listed. */
export interface EntitlementChange {
  offering: ValueChange<string>;
  version: ValueChange<string>;
  contractDigest: ValueChange<string>;
  plan: ValueChange<string>;
  /** `true`, a value, or `metered`, by feature. */
  features: ({ name: string } & ValueChange<string>)[];
  /** Requests per minute, concurrent runs, seconds of a run, bytes of an input. */
  limits: ({ name: string } & ValueChange<number>)[];
}

/** What it costs. All amounts are microcredits. */
export interface CreditChange {
  /** Held when a run starts, and therefore the least that must be available for one. */
  reservePerRunMicrocredits: ValueChange<number>;
  /** What a Wallet without a paid unit must cover before the Instance is funded. */
  minimumBalanceMicrocredits: ValueChange<number>;
  /** Credits that a paid unit of the plan brings, and how often. */
  includedMicrocredits: ValueChange<number>;
  period: ValueChange<string>;
  /** Every priced dimension that differs. */
  dimensions: ({ name: string } & ValueChange<Price>)[];
}

export interface Price {
  source: string;
  unit: string;
  priceMicrocredits: number;
  perUnits: number;
  reserveUnits: number;
  /** What `reserveUnits` cost, rounded up: this dimension's part of the reserve. */
  reservedMicrocredits: number;
}

/** What is in force on one side: the contract under one of its plans. */
export interface Terms {
  contract: Contract;
  contractDigest: string;
  plan: string;
}

export function entitlementChange(before: Terms | undefined, after: Terms | undefined): EntitlementChange {
  const value = <T>(read: (terms: Terms) => T): ValueChange<T> =>
    valueChange(before && read(before), after && read(after));
  return {
    offering: value(({ contract }) => contract.offering),
    version: value(({ contract }) => contract.version),
    contractDigest: value(({ contractDigest }) => contractDigest),
    plan: value(({ plan }) => plan),
    features: changedByName(features(before), features(after)),
    limits: changedByName(limits(before), limits(after)),
  };
}

export function creditChange(before: Terms | undefined, after: Terms | undefined): CreditChange {
  const value = <T>(read: (terms: Terms) => T | undefined): ValueChange<T> =>
    valueChange(before && read(before), after && read(after));
  const reserve = value(({ contract }) => reserveMicrocredits(contract));
  return {
    reservePerRunMicrocredits: reserve,
    // operator/steps/fund.ts asks a Wallet for one run's reserve.
    minimumBalanceMicrocredits: { ...reserve },
    includedMicrocredits: value((terms) => planOf(terms)?.includedMicrocredits),
    period: value((terms) => planOf(terms)?.period),
    dimensions: changedByName(prices(before), prices(after)),
  };
}

function planOf({ contract, plan }: Terms): Contract['plans'][number] | undefined {
  return contract.plans.find(({ name }) => name === plan);
}

function features(terms: Terms | undefined): Map<string, string> {
  return new Map(
    (terms?.contract.entitlements ?? []).map(({ feature, type, value }) => [
      feature,
      type === 'Metered' ? 'metered' : (value ?? 'true'),
    ]),
  );
}

function limits(terms: Terms | undefined): Map<string, number> {
  return new Map(terms === undefined ? [] : Object.entries(effectiveLimits(terms.contract, terms.plan)));
}

function prices(terms: Terms | undefined): Map<string, Price> {
  return new Map(
    (terms?.contract.dimensions ?? []).map((dimension) => {
      const { name, source, unit, priceMicrocredits, perUnits, reserveUnits } = dimension;
      const reservedMicrocredits = amountOf(dimension, reserveUnits);
      return [name, { source, unit, priceMicrocredits, perUnits, reserveUnits, reservedMicrocredits }];
    }),
  );
}
