import type { FulfilmentBody } from '../wire.ts';
import {
  grantFields,
  id,
  integer,
  list,
  name,
  object,
  oneOf,
  page,
  reply,
  text,
  time,
  uid,
  walletName,
} from './fields.ts';
import type { LedgerParts } from './parts.ts';
import { answer, type Endpoint, pageQuery } from './route.ts';

const shop = text(1_024);
const order = text(253);
const orderLine = text(253);
const ordinal = integer(0, 1_000_000);

const fulfilment = reply(
  {
    fulfilment: id,
    shop,
    order,
    line: orderLine,
    ordinal,
    sku: name,
    wallet: name,
    offering: name,
    plan: name,
    instanceUid: uid,
    paidThrough: time,
    renews: id,
    createdAt: time,
  },
  ['offering', 'plan', 'instanceUid', 'paidThrough', 'renews'],
);

/** Fulfilments: one paid unit of an order line, recorded once, claimed by one Instance. */
export function fulfilmentEndpoints({ operations, queries }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/v1/fulfilments',
      scope: 'fulfilments',
      summary: 'Record a paid unit of an order line with its grants, once',
      keyed: true,
      body: object(
        {
          shop,
          order,
          line: orderLine,
          ordinal,
          sku: name,
          wallet: walletName,
          offering: name,
          plan: name,
          grants: list(object(grantFields, ['amount', 'kind'])),
          paidThrough: time,
          renews: object({ fulfilment: id, period: oneOf('Month', 'Year'), from: time }, [
            'fulfilment',
            'period',
            'from',
          ]),
        },
        ['shop', 'order', 'line', 'ordinal', 'sku', 'wallet', 'grants'],
      ),
      replies: {
        200: reply({ fulfilment: id, grants: list(id) }),
        201: reply({ fulfilment: id, grants: list(id) }),
      },
      handle: async ({ body, key, epoch }) =>
        answer(await operations.recordFulfilment(body as FulfilmentBody, { key, ...epoch })),
    },
    {
      method: 'GET',
      path: '/v1/fulfilments',
      scope: 'read',
      summary: 'Find fulfilments',
      query: { shop, order, line: orderLine, ordinal, ...pageQuery },
      replies: { 200: page(fulfilment) },
      handle: async ({ query }) =>
        answer(
          await queries.fulfilments({
            shop: query.shop as string | undefined,
            order: query.order as string | undefined,
            line: query.line as string | undefined,
            ordinal: query.ordinal as number | undefined,
            cursor: query.cursor as string | undefined,
            limit: Number(query.limit),
          }),
        ),
    },
    {
      method: 'POST',
      path: '/v1/fulfilments/:id/claim',
      scope: 'fulfilments',
      summary: 'Bind a fulfilment to the Instance that uses it',
      params: { id },
      body: object({ instanceUid: uid }, ['instanceUid']),
      replies: { 200: fulfilment },
      handle: async ({ params, body, epoch }) =>
        answer(await operations.claimFulfilment(params.id ?? '', body as { instanceUid: string }, epoch)),
    },
  ];
}
