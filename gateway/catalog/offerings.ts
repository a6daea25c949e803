import type { Contract } from '../../crds/contract.ts';
import type { Offering } from '../../crds/kinds.ts';
import { effectiveLifecycle } from '../../crds/lifecycle.ts';
import type { ResourceCache } from '../../crds/store.ts';
import type { Contracts } from '../admission/contracts.ts';

/** An Offering that can be bought, with the contract that a new Instance would get. */
export interface Sellable {
  offering: Offering;
  contract: Contract;
  contractDigest: string;
}

export const FACETS = ['category', 'valueStream', 'language', 'modality', 'capability', 'connector'] as const;
export type Facet = (typeof FACETS)[number];

/** What the public may see: published, with a readable contract behind its channel. Sorted by name. */
export function sellableOfferings(
  offerings: ResourceCache<'Offering'>,
  contracts: Contracts,
  nowMs: number,
): Sellable[] {
  return offerings
    .list()
    .flatMap((offering) => sellable(offering, contracts, nowMs) ?? [])
    .sort((a, b) => (a.offering.metadata.name < b.offering.metadata.name ? -1 : 1));
}

/** Undefined when it is not for sale. */
export function sellable(offering: Offering, contracts: Contracts, nowMs: number): Sellable | undefined {
  const { channel } = offering.spec;
  const lifecycle = effectiveLifecycle(offering.spec, nowMs);
  if (lifecycle !== 'Published' || channel === undefined || offering.metadata.deletionTimestamp !== undefined)
    return undefined;
  const version = contracts.cachedVersion(offering.metadata.name, channel);
  const contract = version && contracts.parse(version);
  const contractDigest = version?.spec.contractDigest;
  return contract && contractDigest !== undefined ? { offering, contract, contractDigest } : undefined;
}

export function facetValues({ offering, contract }: Sellable, facet: Facet): readonly string[] {
  switch (facet) {
    case 'category':
      return [offering.spec.category];
    case 'valueStream':
      return offering.spec.valueStreams ?? [];
    case 'language':
      return offering.spec.languages ?? [];
    case 'modality':
      return offering.spec.modalities ?? [];
    case 'capability':
      return contract.capabilities.map((capability) => capability.name);
    case 'connector':
      return contract.connectors.map((connector) => connector.name);
  }
}

/** Every word of the search is in some text of the Offering. */
export function matchesText(item: Sellable, search: string): boolean {
  const { display } = item.offering.spec;
  const text = [
    item.offering.metadata.name,
    display.title,
    display.summary ?? '',
    display.description ?? '',
    ...FACETS.flatMap((facet) => facetValues(item, facet)),
  ]
    .join('\n')
    .toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

/** How many of the items have each value of each facet. */
export function countFacets(items: readonly Sellable[]): Record<Facet, Record<string, number>> {
  const counts = Object.fromEntries(FACETS.map((facet) => [facet, {}])) as Record<Facet, Record<string, number>>;
  for (const item of items)
    for (const facet of FACETS)
      for (const value of new Set(facetValues(item, facet))) counts[facet][value] = (counts[facet][value] ?? 0) + 1;
  return counts;
}

/** The card in the list. */
export function offeringCard(item: Sellable): Record<string, unknown> {
  const { offering, contract, contractDigest } = item;
  const { category, display, valueStreams, languages, modalities, prices } = offering.spec;
  return {
    name: offering.metadata.name,
    category,
    display,
    valueStreams: valueStreams ?? [],
    languages: languages ?? [],
    modalities: modalities ?? [],
    capabilities: facetValues(item, 'capability'),
    connectors: facetValues(item, 'connector'),
    version: contract.version,
    contractDigest,
    prices: prices ?? [],
    plans: contract.plans,
  };
}

/** The card plus everything one needs to order: config schema, what the buyer must bring, what it costs. */
export function offeringPage(item: Sellable): Record<string, unknown> {
  const { contract, offering } = item;
  return {
    ...offeringCard(item),
    skus: offering.spec.skus ?? [],
    config: contract.config,
    buyerSecrets: contract.secrets
      .filter((secret) => secret.source === 'Buyer')
      .map(({ name, description }) => ({ name, ...(description === undefined ? {} : { description }) })),
    entitlements: contract.entitlements,
    limits: contract.limits,
    dimensions: contract.dimensions,
    exhaustion: contract.exhaustion,
    egressHosts: [...new Set(contract.connectors.flatMap((connector) => connector.egressHosts))],
    knowledge: contract.knowledge !== undefined,
  };
}
