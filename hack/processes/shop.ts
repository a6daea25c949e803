import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Delivery, sampleDelivery, shopKey, signedHeaders } from '../quickstart/delivery.ts';

/** A shop that publishes its keys, as Saleor does, and sends the sample order. */
export interface Shop {
  /** Its API URL, as `GSV_SALEOR_SHOPS` names it. */
  url: string;
  /** The sample order, signed by this shop; `dataDir` keeps its bytes, so that a repeat is the same delivery. */
  order(dataDir: string): Promise<Delivery>;
  close(): Promise<void>;
}

export async function startShop(): Promise<Shop> {
  const key = await shopKey();
  const server = createServer((request, response) => {
    const found = request.url === '/.well-known/jwks.json';
    response.writeHead(found ? 200 : 404, { 'content-type': 'application/json' });
    response.end(found ? JSON.stringify({ keys: key.keys }) : '{}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql/`;
  return {
    url,
    order: async (dataDir) => {
      const sample = await sampleDelivery(dataDir, new Date());
      return { ...sample, shop: url, headers: await signedHeaders(sample.raw, url, key) };
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
