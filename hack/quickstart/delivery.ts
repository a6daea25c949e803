import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type CryptoKey,
  createLocalJWKSet,
  exportJWK,
  FlattenedSign,
  type FlattenedVerifyGetKey,
  generateKeyPair,
  type JSONWebKeySet,
} from 'jose';
import { shopName } from '../../gateway/commerce/intake.ts';
import { PhaseError } from './phases.ts';

/** A webhook delivery as a shop sends it, and the keys that its signature is checked against. */
export interface Delivery {
  shop: string;
  headers: Record<string, string>;
  raw: Buffer;
  keys: FlattenedVerifyGetKey;
}

/** The address of the shop that the sample order comes from. Nothing answers there; nothing asks. */
const SAMPLE_SHOP = 'https://shop.quickstart.example/graphql/';
const SAMPLE_ORDER = new URL('sample-order.json', import.meta.url);

/** Set by the HTTP client itself, or meaningful only for the recorded connection. */
const CONNECTION_HEADERS = new Set(['host', 'connection', 'content-length', 'accept-encoding', 'transfer-encoding']);

/**
 * The sample order, signed as Saleor signs: a detached JWS over the raw body.
 *
 * @param flow digest of the flow that `--flow` names: an order of its own, because an Instance keeps the
 * version that it was ordered with
 */
export async function sampleDelivery(dataDir: string, now: Date, flow?: string): Promise<Delivery> {
  const raw = await sampleOrder(dataDir, now, flow);
  const key = await shopKey();
  return { shop: SAMPLE_SHOP, headers: await signedHeaders(raw, SAMPLE_SHOP, key), raw, keys: createLocalJWKSet(key) };
}

/** What a shop signs with, and the key set that it publishes. */
export interface ShopKey extends JSONWebKeySet {
  sign: CryptoKey;
}

const KID = 'quickstart';

export async function shopKey(): Promise<ShopKey> {
  const { privateKey, publicKey } = await generateKeyPair('RS256');
  return { sign: privateKey, keys: [{ ...(await exportJWK(publicKey)), kid: KID, alg: 'RS256', use: 'sig' }] };
}

/** The headers of a delivery, with Saleor's detached signature over the raw body. */
export async function signedHeaders(raw: Uint8Array, shop: string, { sign }: ShopKey): Promise<Record<string, string>> {
  const { protected: header, signature } = await new FlattenedSign(raw)
    .setProtectedHeader({ alg: 'RS256', b64: false, crit: ['b64'], kid: KID, typ: 'JWT' })
    .sign(sign);
  return {
    'content-type': 'application/json',
    'saleor-event': 'order_fully_paid',
    'saleor-domain': new URL(shop).host,
    'saleor-api-url': shop,
    'saleor-signature': `${header}..${signature}`,
  };
}

/**
 * Written once per data folder, dated that day: a second start replays the same bytes, which is a
 * repeated delivery of the same order.
 */
async function sampleOrder(dataDir: string, now: Date, flow?: string): Promise<Buffer> {
  const path = join(dataDir, flow === undefined ? 'sample-order.json' : `sample-order-${flow.slice(0, 12)}.json`);
  const present = await readFile(path).catch(() => undefined);
  if (present && isJson(present)) return present;
  const text = (await readFile(SAMPLE_ORDER, 'utf8')).replaceAll('ORDER_TIME', now.toISOString());
  const raw = Buffer.from(flow === undefined ? text : otherOrder(text, flow));
  await writeFile(path, raw);
  return raw;
}

/** The same order under ids of its own. */
function otherOrder(text: string, flow: string): string {
  const delivery = JSON.parse(text) as { order: { id: string; number: string; lines: { id: string }[] } };
  const id = (kind: string, index: number): string =>
    Buffer.from(`${kind}:${flow.slice(0, 32)}-${index}`).toString('base64');
  delivery.order.id = id('Order', 0);
  delivery.order.number = `1-${flow.slice(0, 8)}`;
  for (const [index, line] of delivery.order.lines.entries()) line.id = id('OrderLine', index);
  return JSON.stringify(delivery);
}

/** A file that was cut off is written anew: the ids are the same, so it stays the same order. */
function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString());
    return true;
  } catch {
    return false;
  }
}

/**
 * A recorded delivery: `BASE.head` (request line and headers) and `BASE.body` (the raw bytes).
 *
 * @throws PhaseError order/order_unreadable
 */
export async function recordedDelivery(base: string, jwksPath: string): Promise<Delivery> {
  const [head, raw, jwks] = await Promise.all([read(`${base}.head`), read(`${base}.body`), read(jwksPath)]);
  const headers = parseHead(head.toString('latin1'));
  const shop = headers['saleor-api-url'];
  if (shop === undefined) throw unreadable(`${base}.head has no Saleor-Api-Url header`);
  if (!URL.canParse(shop)) throw unreadable(`the Saleor-Api-Url header in ${base}.head is no URL`);
  return { shop: shopName(shop), headers, raw, keys: createLocalJWKSet(parseJwks(jwks, jwksPath)) };
}

async function read(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw unreadable(
      `${path} cannot be read; give --order the path without .head and .body, and --jwks the key file`,
      cause,
    );
  }
}

function parseHead(head: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of head.split(/\r?\n/).slice(1)) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    if (!CONNECTION_HEADERS.has(name)) headers[name] = line.slice(colon + 1).trim();
  }
  return headers;
}

function parseJwks(bytes: Buffer, path: string): JSONWebKeySet {
  try {
    const jwks = JSON.parse(bytes.toString()) as JSONWebKeySet;
    if (Array.isArray(jwks.keys)) return jwks;
  } catch {
    // Falls through to the sentence that says what the file must be.
  }
  throw unreadable(`${path} is no JSON Web Key Set`);
}

function unreadable(message: string, cause?: unknown): PhaseError {
  return new PhaseError('order', 'order_unreadable', message, { cause });
}
