import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, openBook } from '../hack/testing/book.ts';
import type { FulfilmentBody } from './wire.ts';

let book: Book;
before(async () => {
  book = await openBook();
  await book.wallet('acme.main', 0);
  await book.wallet('other.main', 0);
});
after(() => book.close());

const unit = (line: string, more: Partial<FulfilmentBody> = {}): FulfilmentBody => ({
  shop: 'https://shop.example/graphql/',
  order: `order-${line}`,
  line,
  ordinal: 0,
  sku: 'CLAIMS-STARTER',
  wallet: 'acme.main',
  grants: [{ amount: 500, kind: 'included' }],
  ...more,
});

test('a paid unit is recorded with its grants and found by any of its fields', async () => {
  const more = { offering: 'claims-agent', plan: 'starter', paidThrough: '2027-01-01T00:00:00Z' };
  const body = unit('one', {
    ...more,
    grants: [
      { amount: 500, kind: 'included', priority: 3 },
      { amount: 7, kind: 'promotional' },
    ],
  });
  const reply = expectStatus(201, await book.operations.recordFulfilment(body, book.key()));
  assert.is((reply.grants as string[]).length, 2);
  assert.is((await book.read('acme.main')).available, 507);
  const { grants, ...fields } = body;
  const expected = { ...fields, fulfilment: reply.fulfilment, createdAt: '2026-06-15T12:00:00Z' };
  for (const query of [{ order: body.order }, { shop: body.shop, line: body.line, ordinal: 0 }]) {
    assert.equal((await book.queries.fulfilments(query)).body, { items: [expected], next: null });
  }
  assert.equal((await book.queries.fulfilments({ line: 'one', ordinal: 1 })).body.items, []);
  assert.is(grants.length, 2);
});

test('the same unit under another key, payload or wallet is the first one again', async () => {
  const first = expectStatus(201, await book.operations.recordFulfilment(unit('two'), book.key()));
  const before = (await book.read('acme.main')).available;
  for (const more of [{}, { grants: [{ amount: 9, kind: 'included' as const }] }, { wallet: 'other.main' }]) {
    assert.equal(expectStatus(200, await book.operations.recordFulfilment(unit('two', more), book.key())), first);
  }
  assert.is((await book.read('acme.main')).available, before);
  assert.is((await book.read('other.main')).available, 0);
});

test('one unit that arrives thirty times at once, for two wallets, is granted once', async () => {
  const before = (await book.read('acme.main')).available;
  const replies = await Promise.all(
    Array.from({ length: 30 }, (_, index) =>
      book.operations.recordFulfilment(unit('three', index % 2 ? { wallet: 'other.main' } : {}), book.key()),
    ),
  );
  assert.equal(replies.map(({ status }) => status).filter((status) => status === 201).length, 1);
  assert.is(new Set(replies.map(({ body }) => body.fulfilment)).size, 1);
  assert.is((await book.read('acme.main')).available - before + (await book.read('other.main')).available, 500);
});

test('a fulfilment is claimed by one Instance, and an Instance claims one fulfilment', async () => {
  const made = [];
  for (const line of ['four', 'five'])
    made.push(expectStatus(201, await book.operations.recordFulfilment(unit(line), book.key())));
  const [four, five] = made.map(({ fulfilment }) => String(fulfilment));
  const claim = (id: string | undefined, instanceUid: string) =>
    book.operations.claimFulfilment(id ?? '', { instanceUid });
  assert.is(expectStatus(200, await claim(four, 'uid-1')).instanceUid, 'uid-1');
  expectStatus(200, await claim(four, 'uid-1'));
  expectProblem(409, 'already_claimed', await claim(four, 'uid-2'));
  expectProblem(409, 'already_claimed', await claim(five, 'uid-1'));
  expectStatus(200, await claim(five, 'uid-2'));
  expectProblem(404, 'fulfilment_not_found', await claim('fulfilment_9999', 'uid-3'));
});

test('pages follow each other without gap', async () => {
  const seen: unknown[] = [];
  let cursor: string | undefined;
  do {
    const page = expectStatus(200, await book.queries.fulfilments({ limit: 2, cursor }));
    seen.push(...(page.items as { line: string }[]).map(({ line }) => line));
    cursor = (page.next as string | null) ?? undefined;
  } while (cursor);
  assert.equal(seen, ['one', 'two', 'three', 'four', 'five']);
  expectProblem(422, 'invalid_request', await book.queries.fulfilments({ cursor: 'x' }));
});
