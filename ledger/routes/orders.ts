import type { SettleBody } from '../wire-finance.ts';
import { integer, object, reply, text, time } from './fields.ts';
import type { LedgerParts } from './parts.ts';
import { answer, type Endpoint } from './route.ts';

const shop = text(1_024);
const order = text(253);
/** Minor units of the shop's currency. */
const money = integer(0);

/** Orders as finance sees them: how much of one is paid, and what of its credits therefore stays. */
export function orderEndpoints({ operations }: LedgerParts): Endpoint[] {
  return [
    {
      method: 'POST',
      path: '/v1/orders/:shop/:order/settle',
      scope: 'settle',
      summary: 'Move the grants of an order to granted x charged / total, in either direction',
      keyed: true,
      params: { shop, order },
      body: object({ charged: money, total: money, asOf: time }, ['charged', 'total']),
      replies: {
        200: reply({
          shop,
          order,
          charged: money,
          total: money,
          asOf: time,
          granted: integer(0),
          kept: integer(0),
          takenBack: integer(0),
          debt: integer(0),
          writtenOff: integer(0),
          givenBack: integer(0),
        }),
      },
      handle: async ({ params, body, key, epoch }) =>
        answer(
          await operations.settleOrder({ shop: params.shop ?? '', order: params.order ?? '' }, body as SettleBody, {
            key,
            ...epoch,
          }),
        ),
    },
  ];
}
