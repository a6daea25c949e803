/** The events feed as a long poll. */
import { afterEach, beforeEach, test } from 'node:test';
import * as assert from 'uvu/assert';
import { freePort } from '../hack/cluster/starting.ts';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';

let ledger: TestLedger;
let opsPort = 0;
/** 0 is "off" for an ops port, so one is looked for; somebody else may be faster to take it. */
const PORT_TRIES = 5;

async function start(tries = PORT_TRIES): Promise<TestLedger> {
  opsPort = await freePort();
  try {
    return await startTestLedger({ opsPort });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries <= 1) throw error;
    return start(tries - 1);
  }
}

beforeEach(async () => {
  ledger = await start();
  await ledger.client.putWallet('acme.main', { ownerUid: 'u', thresholds: [100] });
  await ledger.client.grant('acme.main', { amount: 1_000, kind: 'purchased' }, 'g');
});
afterEach(() => ledger.close());

async function run(amount: number, instanceUid: string): Promise<void> {
  const { hold } = await ledger.client.hold({ wallet: 'acme.main', amount, ttlSeconds: 60, instanceUid }, instanceUid);
  await ledger.client.capture(hold, { lines: [{ dimension: 'run', units: 1, amount }] }, instanceUid);
}

test('events come in order and can be read again from any place', async () => {
  await run(950, 'one');
  await run(50, 'two');
  const all = await ledger.client.events({ after: 0 });
  assert.equal(
    all.events.map((event) => event.seq),
    all.events.map((event) => event.seq).toSorted((a, b) => a - b),
  );
  const types = all.events.map((event) => event.type);
  for (const type of ['receipt.first', 'wallet.low', 'wallet.exhausted']) assert.ok(types.includes(type), type);
  assert.is(all.next, all.events.at(-1)?.seq);
  const middle = all.events[1]?.seq ?? 0;
  const rest = await ledger.client.events({ after: middle });
  assert.equal(rest.events, all.events.slice(2));
});

test('a reader keeps how far it has come, and goes back only when it says so', async () => {
  const { next } = await ledger.client.events({ after: 0 });
  assert.equal(await ledger.client.consumer('outbox'), { consumer: 'outbox', position: 0, last: next });
  const put = (body: object) => ledger.request('PUT', '/v1/consumers/outbox', { body });
  assert.is((await put({ position: next })).body.position, next);
  assert.is((await ledger.client.putConsumer('outbox', { position: next })).position, next, 'again is once');
  const behind = await put({ position: 0 });
  assert.equal([behind.status, behind.body.code, behind.body.position], [409, 'position_behind', next]);
  assert.is((await put({ position: next + 1 })).body.code, 'invalid_request');
  assert.is((await ledger.client.consumer('outbox')).position, next);
  assert.is((await put({ position: 0, rewind: true })).body.position, 0);
  assert.is((await ledger.client.consumer('another')).position, 0);
});

test('a poll without wait answers at once, and an empty one stays where it was', async () => {
  const { next } = await ledger.client.events({ after: 0 });
  assert.equal(await ledger.client.events({ after: next }), { events: [], next });
});

test('a waiting poll ends with the event that happens meanwhile', async () => {
  const { next } = await ledger.client.events({ after: 0 });
  const poll = ledger.client.events({ after: next, waitSeconds: 30 });
  await waitingPolls(1);
  await run(10, 'first');
  const { events } = await poll;
  assert.equal(events[0]?.type, 'receipt.first');
});

test('a waiting poll ends empty when the ledger stops, and the ledger does not wait for it', async () => {
  const { next } = await ledger.client.events({ after: 0 });
  const poll = ledger.request('GET', `/v1/events?after=${next}&waitSeconds=30`);
  await waitingPolls(1);
  await ledger.ledger.close();
  const { status, body } = await poll;
  assert.equal([status, body], [200, { events: [], next }]);
});

test('a poll whose client has gone ends', async () => {
  const { next } = await ledger.client.events({ after: 0 });
  const gone = new AbortController();
  const poll = ledger.request('GET', `/v1/events?after=${next}&waitSeconds=30`, { signal: gone.signal });
  await waitingPolls(1);
  gone.abort();
  await poll.catch(() => undefined);
  await waitingPolls(0);
});

/** Resolves when that many event polls are open, as the ops server sees them. */
async function waitingPolls(count: number): Promise<void> {
  for (;;) {
    const text = await (await fetch(`${ledger.opsUrl}/metrics`)).text();
    if (text.includes(`gsv_ledger_event_polls{part="ledger"} ${count}\n`)) return;
  }
}

test('metrics show holds, their age, refusals, requests and the inbox', async () => {
  await ledger.client.hold({ wallet: 'acme.main', amount: 10, ttlSeconds: 3_600 }, 'open');
  ledger.advance(120);
  await ledger.request('POST', '/v1/holds', { key: 'k', body: { wallet: 'acme.main', amount: 5_000, ttlSeconds: 1 } });
  await ledger.client.inboxPut({
    shop: 'https://shop/',
    order: null,
    bodySha256: '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
    rawBase64: 'e30=',
    event: 'order_refunded',
    state: 'deferred',
  });
  const text = await (await fetch(`${ledger.opsUrl}/metrics`)).text();
  const value = (name: string, ...labels: string[]): number | undefined => {
    const line = text
      .split('\n')
      .find((one) => one.startsWith(`${name}{`) && labels.every((label) => one.includes(label)));
    return line === undefined ? undefined : Number(line.split(' ').at(-1));
  };
  assert.is(value('gsv_ledger_open_holds'), 1);
  assert.ok((value('gsv_ledger_oldest_open_hold_seconds') ?? 0) >= 120);
  assert.is(value('gsv_ledger_refusals_total', 'code="insufficient_credits"'), 1);
  // Both holds went through batches; neither was left alone, none failed.
  assert.ok((value('gsv_ledger_batch_items_count') ?? 0) >= 2);
  assert.ok((value('gsv_ledger_batch_seconds_count') ?? 0) >= 2);
  assert.is(value('gsv_ledger_batch_left_total'), 0);
  assert.is(value('gsv_ledger_batch_failures_total'), 0);
  assert.is(value('gsv_ledger_request_seconds_count', 'route="/v1/holds"', 'status="402"', 'method="POST"'), 1);
  assert.is(value('gsv_ledger_inbox_items', 'state="deferred"'), 1);
  assert.is(value('gsv_ledger_inbox_items', 'state="pending"'), 0);
  assert.is(value('gsv_ledger_unbalanced_transactions'), 0);
  const { chain } = await ledger.client.audit();
  assert.is(value('gsv_ledger_chain_links'), chain.links);
  assert.is(value('gsv_ledger_chain_head'), Number.parseInt(chain.head.slice(0, 12), 16));
});
