import { createHash } from 'node:crypto';
import type { ShopDelivery, ShopOrder } from '../../config/saleor.ts';
import type { LedgerClient, Settlement } from '../../ledger/client.ts';

export type SettlementBook = Pick<LedgerClient, 'settleOrder'>;

/**
 * Tells the ledger how much of an order is paid, as this delivery says it and dated by the shop. The ledger
 * keeps the latest word and moves the order's grants there, so deliveries may come in any order.
 *
 * @throws LedgerError: the delivery is tried again
 */
export function settle(
  order: ShopOrder,
  issuedAt: string,
  shop: string,
  { ledger }: { ledger: SettlementBook },
): Promise<Settlement> {
  const word = { charged: order.charged.minor, total: order.total.minor, asOf: issuedAt };
  // Two deliveries that say the same of the same moment are one fact, hence one key.
  const fact = createHash('sha256')
    .update([shop, order.id, word.charged, word.total, word.asOf].join('|'))
    .digest('hex');
  return ledger.settleOrder({ shop, order: order.id }, word, `settle:${fact}`);
}

/**
 * Whether a delivery brings an order's units. Only the event of full payment does; the payload is made when it
 * is sent, so it may already show a refund, and the units are then recorded and settled to what is left. A
 * cancelled order, or one of which nothing is left, brings none.
 */
export function bringsUnits({ event }: ShopDelivery, order: ShopOrder): boolean {
  return event === 'order_fully_paid' && !order.cancelled && (order.paid || order.charged.minor > 0);
}
