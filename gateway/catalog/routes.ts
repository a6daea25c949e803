import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { pageByName } from '../cursor.ts';
import { type Edge, nameParams } from '../edge.ts';
import { problem } from '../errors.ts';
import {
  countFacets,
  FACETS,
  type Facet,
  facetValues,
  matchesText,
  offeringCard,
  offeringPage,
  type Sellable,
  sellable,
  sellableOfferings,
} from './offerings.ts';

/** Long enough to shield the edge from a busy shop window, short enough for a pause of sale to be seen. */
const CACHE_CONTROL = 'public, max-age=30';

const config = { access: 'public' as const };
const tags = ['catalog'];

type Query = { q?: string; cursor?: string; limit: number } & { [F in Facet]?: string | string[] };

const FACET_SCHEMA = {
  anyOf: [
    { type: 'string', maxLength: 128 },
    { type: 'array', maxItems: 20, items: { type: 'string', maxLength: 128 } },
  ],
  description: 'Repeat to allow several values.',
};

const QUERY = {
  type: 'object',
  additionalProperties: false,
  properties: {
    q: { type: 'string', maxLength: 200, description: 'Words that must all occur.' },
    ...Object.fromEntries(FACETS.map((facet) => [facet, FACET_SCHEMA])),
    cursor: { type: 'string', maxLength: 512 },
    limit: { type: 'integer', minimum: 1, maximum: 100, default: 50 },
  },
};

/** The catalog: public, cacheable, from the watch cache. */
export function addCatalogRoutes(app: FastifyInstance, edge: Edge): void {
  const offerings = edge.store.watch('Offering');
  app.get<{ Querystring: Query }>(
    '/api/offerings',
    { config, schema: { tags, summary: 'Search the catalog', querystring: QUERY } },
    async (request, reply) => {
      const found = search(sellableOfferings(offerings, edge.contracts, edge.clock()), request.query);
      const page = pageByName(found, (item) => item.offering.metadata.name, request.query);
      const body = { items: page.items.map(offeringCard), next: page.next, facets: countFacets(found) };
      return cacheable(request, reply, body);
    },
  );
  app.get<{ Params: { name: string } }>(
    '/api/offerings/:name',
    { config, schema: { tags, summary: 'An Offering with its plans and config schema', params: nameParams('name') } },
    async (request, reply) => {
      const offering = offerings.get({ name: request.params.name });
      const item = offering && sellable(offering, edge.contracts, edge.clock());
      if (!item) throw problem('offering_not_found');
      return cacheable(request, reply, offeringPage(item));
    },
  );
}

/** Within a facet any of the values, across facets all of them. */
function search(items: readonly Sellable[], query: Query): Sellable[] {
  const wanted = FACETS.flatMap((facet) => {
    const value = query[facet];
    return value === undefined ? [] : [{ facet, values: [value].flat() }];
  });
  return items
    .filter((item) => query.q === undefined || matchesText(item, query.q))
    .filter((item) =>
      wanted.every(({ facet, values }) => facetValues(item, facet).some((value) => values.includes(value))),
    );
}

function cacheable(request: FastifyRequest, reply: FastifyReply, body: Record<string, unknown>): FastifyReply {
  const text = JSON.stringify(body);
  const etag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`;
  void reply.header('cache-control', CACHE_CONTROL).header('etag', etag);
  if (request.headers['if-none-match'] === etag) return reply.status(304).send();
  return reply.header('content-type', 'application/json; charset=utf-8').send(text);
}
