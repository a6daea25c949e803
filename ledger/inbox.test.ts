/** The durable inbox over HTTP: once per content, leases, serial per order. */
import { createHash, randomBytes } from 'node:crypto';
import { afterEach, beforeEach, test } from 'node:test';
import * as assert from 'uvu/assert';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';
import type { InboxBody, InboxItem } from './client.ts';
import { MAX_RAW_BYTES } from './inbox.ts';

const shop = 'https://shop.example.com/graphql/';
let ledger: TestLedger;
beforeEach(async () => {
  ledger = await startTestLedger();
});
afterEach(() => ledger.close());

function delivery(
  raw: string | Buffer,
  order: string | null = 'order-1',
  state: InboxBody['state'] = 'pending',
): InboxBody {
  const bytes = Buffer.from(raw);
  const bodySha256 = createHash('sha256').update(bytes).digest('hex');
  return { shop, order, bodySha256, rawBase64: bytes.toString('base64'), event: 'order_fully_paid', state };
}

const put = (...args: Parameters<typeof delivery>) => ledger.client.inboxPut(delivery(...args));
const claim = (leaseSeconds = 60): Promise<InboxItem | undefined> => ledger.client.inboxClaim({ leaseSeconds });
const text = (item: InboxItem | undefined): string | undefined =>
  item && Buffer.from(item.rawBase64, 'base64').toString();

test('a delivery is stored once per shop and content', async () => {
  const first = await ledger.request('POST', '/v1/inbox', { body: delivery('one') });
  assert.equal([first.status, first.body.state, first.body.attempts], [201, 'pending', 0]);
  const again = await ledger.request('POST', '/v1/inbox', { body: delivery('one', 'another order', 'ignored') });
  assert.equal([again.status, again.body], [200, first.body]);
  const elsewhere = await ledger.request('POST', '/v1/inbox', { body: { ...delivery('one'), shop: 'https://other/' } });
  assert.is(elsewhere.status, 201);
});

test('ten callers that put the same delivery at once store one', async () => {
  const all = await Promise.all(Array.from({ length: 10 }, () => put('same')));
  assert.equal([new Set(all.map((one) => one.id)).size, all.filter((one) => one.created).length], [1, 1]);
});

test('the bytes come back as they came, and only from a claim or on request', async () => {
  const bytes = randomBytes(MAX_RAW_BYTES);
  await put(bytes);
  const item = await claim();
  assert.is(Buffer.from(item?.rawBase64 ?? '', 'base64').equals(bytes), true);
  const { items } = await ledger.client.inboxList({});
  assert.is('rawBase64' in (items[0] ?? {}), false);
  const withRaw = await ledger.client.inboxList({ raw: true });
  assert.is(withRaw.items[0]?.rawBase64, item?.rawBase64);
});

test('a delivery above the bound is refused', async () => {
  const { status, body } = await ledger.request('POST', '/v1/inbox', {
    body: delivery(Buffer.alloc(MAX_RAW_BYTES + 1)),
  });
  assert.equal([status, body.code, body.errors[0].pointer], [422, 'invalid_request', '/rawBase64']);
});

test('only pending items are handed out, oldest first', async () => {
  await put('deferred', 'o1', 'deferred');
  await put('ignored', 'o2', 'ignored');
  await put('first', 'o3');
  await put('second', 'o4');
  assert.equal([text(await claim()), text(await claim()), text(await claim())], ['first', 'second', undefined]);
});

test('an order is worked on one item at a time, in order of arrival', async () => {
  await put('a1', 'a');
  await put('a2', 'a');
  await put('b1', 'b');
  const a1 = await claim();
  const b1 = await claim();
  assert.equal([text(a1), text(b1), await claim()], ['a1', 'b1', undefined]);
  await ledger.client.inboxDone(a1?.id ?? '');
  assert.is(text(await claim()), 'a2');
});

test('an item that waits for its retry keeps the later ones of its order back', async () => {
  await put('a1', 'a');
  await put('a2', 'a');
  const a1 = await claim();
  const failed = await ledger.client.inboxFail(a1?.id ?? '', { retryAfterSeconds: 30, reason: 'ledger away' });
  assert.equal([failed.state, failed.attempts, failed.reason], ['pending', 1, 'ledger away']);
  assert.is(await claim(), undefined);
  ledger.advance(31);
  const again = await claim();
  assert.equal([text(again), again?.attempts], ['a1', 2]);
});

test('a parked item lets the later ones of its order pass', async () => {
  await put('a1', 'a');
  await put('a2', 'a');
  const parked = await ledger.client.inboxPark((await claim())?.id ?? '', { reason: 'TenantUnknown' });
  assert.equal([parked.state, parked.reason], ['parked', 'TenantUnknown']);
  assert.is(text(await claim()), 'a2');
});

test('the same order id in two shops, and items without an order, do not wait for each other', async () => {
  await put('a1', 'a');
  await ledger.client.inboxPut({ ...delivery('a2', 'a'), shop: 'https://other/' });
  await put('n1', null);
  await put('n2', null);
  const all = [await claim(), await claim(), await claim(), await claim()].map(text);
  assert.equal(all, ['a1', 'a2', 'n1', 'n2']);
});

test('an expired lease makes the item claimable again, and not a moment earlier', async () => {
  await put('a1', 'a');
  await put('a2', 'a');
  const first = await claim(60);
  ledger.advance(50);
  assert.is(await claim(), undefined);
  ledger.advance(11);
  const second = await claim(60);
  assert.equal([second?.id, second?.attempts], [first?.id, 2]);
  assert.is(await claim(), undefined, 'a2 still waits for a1');
});

test('twenty workers at once never hold two items of one order', async () => {
  for (let order = 0; order < 5; order++) {
    for (let n = 0; n < 4; n++) await put(`${order}-${n}`, `order-${order}`);
  }
  const seen: string[] = [];
  const busy = new Set<string>();
  const worker = async (): Promise<void> => {
    for (let idle = 0; idle < 3; ) {
      const item = await claim();
      if (!item) {
        idle++;
        continue;
      }
      const order = item.order ?? '';
      assert.is(busy.has(order), false, `${order} is held twice`);
      busy.add(order);
      seen.push(text(item) ?? '');
      await ledger.client.getWallet('none').catch(() => undefined);
      busy.delete(order);
      await ledger.client.inboxDone(item.id);
    }
  };
  await Promise.all(Array.from({ length: 20 }, worker));
  while (seen.length < 20) await worker();
  assert.is(seen.length, 20);
  for (let order = 0; order < 5; order++) {
    assert.equal(
      seen.filter((name) => name.startsWith(`${order}-`)),
      [0, 1, 2, 3].map((n) => `${order}-${n}`),
    );
  }
});

test('resolving again answers the same; resolving otherwise is refused', async () => {
  await put('a1', 'a');
  const id = (await claim())?.id ?? '';
  const done = await ledger.client.inboxDone(id);
  assert.equal(await ledger.client.inboxDone(id), done);
  for (const [action, body] of Object.entries({ fail: { retryAfterSeconds: 1 }, park: { reason: 'x' } })) {
    const { status, body: problem } = await ledger.request('POST', `/v1/inbox/${id}/${action}`, { body });
    assert.equal([status, problem.code, problem.state], [409, 'inbox_item_not_claimed', 'done']);
  }
});

test('an item that nobody claimed cannot be resolved', async () => {
  const { id } = await put('a1');
  for (const [action, body] of Object.entries({ done: {}, fail: { retryAfterSeconds: 1 }, park: { reason: 'x' } })) {
    assert.is(
      (await ledger.request('POST', `/v1/inbox/${id}/${action}`, { body })).body.code,
      'inbox_item_not_claimed',
    );
  }
});

test('a parked item can be tried again once a person has mended what it waited for', async () => {
  await put('a1', 'a');
  const id = (await claim())?.id ?? '';
  await ledger.client.inboxPark(id, { reason: 'TenantUnknown' });
  assert.is(await claim(), undefined);
  assert.is((await ledger.client.inboxRetry(id)).state, 'pending');
  assert.is((await ledger.client.inboxRetry(id)).state, 'pending', 'twice is once');
  const again = await claim();
  assert.equal([again?.id, again?.attempts], [id, 2]);
  const { reason } = await ledger.client.inboxDone(id);
  assert.is(reason, undefined, 'what took effect has no reason left');
  const { status, body } = await ledger.request('POST', `/v1/inbox/${id}/retry`, { body: {} });
  assert.equal([status, body.code, body.state], [409, 'inbox_item_not_parked', 'done']);
});

test('the list is newest first, by state, in pages', async () => {
  for (const name of ['1', '2', '3', '4', '5']) await put(name, name);
  const one = (await claim())?.id;
  const first = await ledger.client.inboxList({ state: 'pending', limit: 3 });
  const second = await ledger.client.inboxList({ state: 'pending', limit: 3, cursor: first.next ?? '' });
  assert.equal(
    [first.items.map((item) => item.order), second.items.map((item) => item.order), second.next],
    [['5', '4', '3'], ['2'], null],
  );
  const claimed = await ledger.client.inboxList({ state: 'claimed' });
  assert.equal([claimed.items.map((item) => item.id), claimed.next], [[one], null]);
});

test('the ledger process itself cannot write the table, only call its functions', async () => {
  for (const statement of ['update gsv_ledger.inbox set state = state', 'delete from gsv_ledger.inbox']) {
    let code = '';
    await ledger.database.sql.unsafe(statement).catch((error: { code: string }) => {
      code = error.code;
    });
    assert.is(code, '42501', statement);
  }
});
