/** The bytes of what has had its effect go after 30 days; the fact stays. */
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import { Inbox, RAW_RETENTION_DAYS } from './inbox.ts';
import { startRetention } from './sweeper.ts';

const DAY = 86_400;
const shop = 'https://shop.example.com/graphql/';

let ledger: TestLedger;
let inbox: Inbox;
before(async () => {
  ledger = await startTestLedger();
  inbox = new Inbox(ledger.database.sql, { now: ledger.now });
});
after(() => ledger.close());

function body(raw: string, state: 'pending' | 'ignored' = 'pending') {
  const bytes = Buffer.from(raw);
  const bodySha256 = createHash('sha256').update(bytes).digest('hex');
  return { shop, order: raw, bodySha256, rawBase64: bytes.toString('base64'), event: 'order_fully_paid', state };
}

/** Orders whose items still have their bytes. */
async function withBytes(): Promise<string[]> {
  const { items } = await ledger.client.inboxList({ raw: true, limit: 100 });
  return items.flatMap(({ order, rawBase64 }) => (rawBase64 && order ? [order] : [])).sort();
}

test('after 30 days finished and ignored items lose their bytes; what waits or is parked keeps them', async () => {
  const { client } = ledger;
  await client.inboxPut(body('ignored', 'ignored'));
  for (const order of ['done', 'parked', 'pending']) await client.inboxPut(body(order));
  const first = await client.inboxClaim({ leaseSeconds: 60 });
  await client.inboxDone(first?.id ?? '');
  const second = await client.inboxClaim({ leaseSeconds: 60 });
  await client.inboxPark(second?.id ?? '', { reason: 'SkuUnknown' });
  ledger.advance(RAW_RETENTION_DAYS * DAY - 60);
  await client.inboxPut(body('young', 'ignored'));
  assert.is(await inbox.forget({ limit: 100 }), 0, 'a minute before');
  ledger.advance(61);
  assert.is(await inbox.forget({ limit: 1 }), 1, 'as many as were asked for');
  assert.is(await inbox.forget({ limit: 100 }), 1);
  assert.is(await inbox.forget({ limit: 100 }), 0);
  assert.equal(await withBytes(), ['parked', 'pending', 'young']);
});

test('a delivery whose bytes are gone is still known, and stays what it was', async () => {
  const again = await ledger.client.inboxPut(body('done'));
  assert.equal([again.created, again.state], [false, 'done']);
  assert.equal(await withBytes(), ['parked', 'pending', 'young']);
});

test('a parked item that is tried again has its bytes', async () => {
  const { items } = await ledger.client.inboxList({ state: 'parked' });
  await ledger.client.inboxRetry(items[0]?.id ?? '');
  const claimed = await ledger.client.inboxClaim({ leaseSeconds: 60 });
  assert.is(Buffer.from(claimed?.rawBase64 ?? '', 'base64').toString(), 'parked');
});

test('the database refuses to lose the bytes of what still waits', async () => {
  const refused = await ledger.database.admin`update gsv_ledger.inbox set raw = null where state = 'pending'`.then(
    () => '',
    (error: { constraint_name?: string }) => error.constraint_name,
  );
  assert.is(refused, 'raw_until_finished');
});

test('the retention goes on after a failure, and its stop waits for the sweep', async () => {
  const log = createLogger({ part: 'test', level: 'silent' });
  let calls = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const forget = async (): Promise<number> => {
    calls += 1;
    if (calls === 1) throw new Error('the database is away');
    if (calls === 3) resolve();
    return 0;
  };
  const retention = startRetention({ inbox: { forget }, log, intervalMs: 1 });
  await promise;
  await retention.stop();
  const stopped = calls;
  await delay(10);
  assert.is(calls, stopped);
});
