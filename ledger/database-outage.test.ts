/** The database goes away and comes back while the ledger runs. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { ALL_SCOPES_TOKEN, startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import { LedgerClient, LedgerError } from './client.ts';

/** Stands between ledger and database and can be unplugged. */
class Plug {
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;
  #target = 0;
  #port = 0;

  async open(url: string): Promise<string> {
    const parsed = new URL(url);
    this.#target = Number(parsed.port);
    await this.in();
    parsed.port = String(this.#port);
    return parsed.href;
  }

  async in(): Promise<void> {
    this.#server = createServer((near) => {
      const far = connect(this.#target, '127.0.0.1');
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          near.destroy();
          far.destroy();
          this.#sockets.delete(socket);
        });
      }
    });
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address && typeof address === 'object') this.#port = address.port;
  }

  async out(): Promise<void> {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

const plug = new Plug();
let ledger: TestLedger;
before(async () => {
  ledger = await startTestLedger({ databaseUrl: (url) => plug.open(url) });
  await ledger.client.putWallet('acme.main', { ownerUid: 'u' });
  await ledger.client.grant('acme.main', { amount: 1_000, kind: 'purchased' }, 'g');
});
after(async () => {
  await ledger.close();
  await plug.out();
});

test('without a database every kind of call is 503 with Retry-After, and none hangs', async () => {
  await plug.out();
  const calls: [string, string, object?][] = [
    ['GET', '/v1/wallets/acme.main'],
    ['POST', '/v1/holds', { wallet: 'acme.main', amount: 10, ttlSeconds: 60 }],
    ['POST', '/v1/batch', { operations: [{ op: 'debit', key: 'b', body: { wallet: 'acme.main', lines: [] } }] }],
    ['GET', '/v1/receipts/receipt_1'],
    ['GET', '/v1/events?after=0'],
    ['POST', '/v1/inbox/claim', { leaseSeconds: 5 }],
    ['GET', '/v1/inbox'],
    ['POST', '/v1/audit', {}],
  ];
  for (const [method, path, body] of calls) {
    const reply = await ledger.request(method, path, { key: 'away', ...(body ? { body } : {}) });
    assert.equal([path, reply.status, reply.body.code], [path, 503, 'database_unavailable']);
    assert.is(reply.headers.get('retry-after'), '1');
  }
  const ready = await ledger.request('GET', '/readyz', { token: null });
  assert.equal([ready.status, ready.body.ready], [503, false]);
  assert.is((await ledger.request('GET', '/livez', { token: null })).status, 200);
});

test('a client that knows no retry gets the 503', async () => {
  const client = new LedgerClient({ url: ledger.url, token: () => ALL_SCOPES_TOKEN, attempts: 1 });
  const error = await client.getWallet('acme.main').catch((thrown: unknown) => thrown);
  assert.ok(error instanceof LedgerError && error.code === 'database_unavailable');
  await client.close();
});

test('when the database is back the ledger serves again without a restart, under the same key', async () => {
  await plug.in();
  const { hold, replayed } = await ledger.client.hold({ wallet: 'acme.main', amount: 10, ttlSeconds: 60 }, 'away');
  assert.equal([typeof hold, replayed], ['string', false]);
  assert.is((await ledger.request('GET', '/readyz', { token: null })).status, 200);
});

test('connections cut under load lose nothing and charge nothing twice', async () => {
  const before = await ledger.client.getWallet('acme.main');
  const client = new LedgerClient({ url: ledger.url, token: () => ALL_SCOPES_TOKEN, attempts: 12 });
  const debits = Array.from({ length: 60 }, async (_, n) => {
    const lines = [{ dimension: 'x', units: 1, amount: 1 }];
    return client.debit({ wallet: 'acme.main', lines }, `storm:${n}`);
  });
  for (let cut = 0; cut < 3; cut++) {
    await Promise.race(debits);
    await plug.out();
    await plug.in();
  }
  const replies = await Promise.all(debits);
  assert.is(new Set(replies.map((reply) => reply.receipt)).size, 60);
  const now = await ledger.client.getWallet('acme.main');
  assert.is(before.available - now.available, 60);
  assert.is((await ledger.client.audit()).ok, true);
  await client.close();
});
