import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Problem } from '../../config/problem.ts';
import { parseDelivery, type ShopDelivery } from '../../config/saleor.ts';
import type { InboxBody, InboxEntry } from '../../ledger/client.ts';
import { type ShopKeys, verifySignature } from './signature.ts';

/** The part of the ledger that intake needs. */
export interface Inbox {
  inboxPut(body: InboxBody): Promise<InboxEntry & { created: boolean }>;
}

export interface IntakeOptions {
  /** Allow-listed API URLs; a delivery from any other shop is refused. */
  shops: readonly string[];
  keys: ShopKeys;
  inbox: Inbox;
}

export interface Receipt {
  id: string;
  state: InboxEntry['state'];
  event: string;
  order: string | null;
  /** These bytes were received before. */
  duplicate: boolean;
}

/**
 * Takes one delivery in: allow-list -> signature over the raw bytes -> headers agree with the body
 * -> durable inbox. Only then is there a 2xx; everything before throws a {@link Problem} and leaves
 * no row.
 */
export async function takeIn(headers: IncomingHttpHeaders, raw: Uint8Array, options: IntakeOptions): Promise<Receipt> {
  const shop = allowedShop(headers, options.shops);
  await verifySignature(saleorHeader(headers, 'signature'), raw, options.keys(shop));
  const delivery = parseDelivery(raw);
  const announced = saleorHeader(headers, 'event');
  if (announced !== delivery.event) {
    throw mismatch(`the Saleor-Event header says ${announced ?? 'nothing'}, the signed body ${delivery.event}`);
  }
  const filed = classify(delivery);
  const entry = await options.inbox.inboxPut({
    shop,
    order: delivery.order?.id ?? null,
    bodySha256: createHash('sha256').update(raw).digest('hex'),
    rawBase64: Buffer.from(raw).toString('base64'),
    event: delivery.event,
    ...filed,
  });
  return { id: entry.id, state: entry.state, event: entry.event, order: entry.order, duplicate: !entry.created };
}

/**
 * What becomes of an event: whatever can have changed how much of an order is paid waits for the order
 * worker (`pending`), the rest is kept as history (`ignored`).
 */
export function classify({ event, order }: ShopDelivery): Pick<InboxBody, 'state' | 'reason'> {
  if (order === undefined) return { state: 'ignored', reason: 'NotAnOrder' };
  switch (event) {
    case 'order_fully_paid':
    case 'order_refunded':
    case 'order_fully_refunded':
      return { state: 'pending' };
    case 'order_cancelled':
    case 'order_expired':
      return order.charged.minor > 0 ? { state: 'pending' } : { state: 'ignored', reason: 'NothingCharged' };
    case 'order_updated':
      // A charge-back shows as nothing but an update of an order that is no longer charged.
      return order.paid ? { state: 'ignored', reason: 'NoEffect' } : { state: 'pending' };
    default:
      return { state: 'ignored', reason: 'NoEffect' };
  }
}

function allowedShop(headers: IncomingHttpHeaders, shops: readonly string[]): string {
  const announced = saleorHeader(headers, 'api-url');
  if (announced === undefined) {
    throw new Problem({ status: 401, code: 'shop_unknown', detail: 'the delivery has no Saleor-Api-Url header' });
  }
  const shop = URL.canParse(announced) ? shopName(announced) : undefined;
  if (shop === undefined || !shops.some((candidate) => shopName(candidate) === shop)) {
    throw new Problem({
      status: 401,
      code: 'shop_unknown',
      detail: 'this shop is not on the allow-list; add its API URL to GSV_SALEOR_SHOPS',
    });
  }
  const domain = saleorHeader(headers, 'domain');
  if (domain !== undefined && domain !== new URL(announced).host) {
    throw mismatch('the Saleor-Domain header names another shop than Saleor-Api-Url');
  }
  return shop;
}

/**
 * The one name of a shop, however its API URL is spelled. Effects are remembered under it, and the header
 * that carries the URL is not signed: under another spelling a genuine delivery would take effect again.
 */
export function shopName(apiUrl: string): string {
  return `${new URL(apiUrl).href.replace(/\/$/, '')}/`;
}

/** Each header comes twice (`Saleor-X` and, until 4.0, `X-Saleor-X`); two values that differ are forged. */
function saleorHeader(headers: IncomingHttpHeaders, name: string): string | undefined {
  const values = [headers[`saleor-${name}`], headers[`x-saleor-${name}`]].flat().filter((value) => value !== undefined);
  if (new Set(values).size > 1) throw mismatch(`the headers Saleor-${name} and X-Saleor-${name} differ`);
  return values[0];
}

function mismatch(detail: string): Problem {
  return new Problem({
    status: 401,
    code: 'delivery_mismatch',
    detail: `${detail}; the delivery is treated as forged`,
  });
}
