/** What an order has paid decides what stays of its grants: every direction, every order of deliveries. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, expectProblem, expectStatus, line, openBook } from '../hack/testing/book.ts';
import { audit } from './audit.ts';
import type { GrantBody, WalletBody } from './wire.ts';
import type { Settlement } from './wire-finance.ts';

const SHOP = 'https://shop.example/graphql/';

let book: Book;
before(async () => {
  book = await openBook({ max: 8 });
});
after(() => book.close());

let orders = 0;

/** An order of its own with a wallet of its own. */
async function newOrder(options: Partial<WalletBody> = {}): Promise<{ order: string; wallet: string }> {
  orders += 1;
  const wallet = `org${orders}.main`;
  await book.wallet(wallet, 0, options);
  return { order: `order-${orders}`, wallet };
}

interface Bought {
  order: string;
  wallet: string;
}

const fulfil = async (
  { order, wallet }: Bought,
  amounts: number | (Partial<GrantBody> & { amount: number })[],
  unit = 0,
): Promise<string[]> => {
  const grants = typeof amounts === 'number' ? [{ amount: amounts }] : amounts;
  const body = {
    shop: SHOP,
    order,
    line: `${order}-line`,
    ordinal: unit,
    sku: 'CREDITS',
    wallet,
    grants: grants.map((grant) => ({ kind: 'purchased' as const, ...grant })),
  };
  return expectStatus(201, await book.operations.recordFulfilment(body, book.key())).grants as string[];
};

const settle = async ({ order }: Bought, charged: number, total: number, asOf?: string): Promise<Settlement> =>
  expectStatus(
    200,
    await book.operations.settleOrder({ shop: SHOP, order }, { charged, total, ...(asOf ? { asOf } : {}) }, book.key()),
  ) as unknown as Settlement;

const spend = async (wallet: string, amount: number): Promise<unknown> =>
  expectStatus(201, await book.operations.debit({ wallet, lines: [line(amount)] }, book.key()));

/** available, debt */
async function funds(wallet: string): Promise<[number, number]> {
  const { available, debt } = await book.read(wallet);
  return [available, debt];
}

const MAX = Number.MAX_SAFE_INTEGER;
const ROUNDING: [granted: number, charged: number, total: number, kept: number, reason: string][] = [
  [100, 50, 100, 50, 'half'],
  [100, 0, 100, 0, 'nothing charged keeps nothing'],
  [100, 1, 3, 34, 'a third is rounded up'],
  [100, 2, 3, 67, 'so are two thirds'],
  [1, 1, MAX, 1, 'the smallest share of the smallest grant stays'],
  [3, 99, 100, 3, 'less than one microcredit refunded takes nothing'],
  [100, 101, 100, 100, 'more than the total gives nothing more'],
  [100, 0, 0, 100, 'an order that costs nothing keeps everything'],
  [MAX, MAX - 1, MAX, MAX - 1, 'the largest numbers are exact'],
  [MAX, 1, 3, 3002399751580331, 'a third of the largest amount'],
];

for (const [granted, charged, total, kept, reason] of ROUNDING) {
  test(`${granted} x ${charged} / ${total} keeps ${kept}: ${reason}`, async () => {
    const bought = await newOrder();
    await fulfil(bought, granted);
    const reply = await settle(bought, charged, total);
    assert.equal([reply.granted, reply.kept, reply.takenBack], [granted, kept, granted - kept]);
    assert.equal(await funds(bought.wallet), [kept, 0]);
  });
}

test('unspent credits go first, in reverse burn order: what burns last is taken first', async () => {
  const bought = await newOrder();
  const soon = book.at(1_000);
  const [first, soonest, last] = await fulfil(bought, [
    { amount: 100, priority: 1 },
    { amount: 100, expiresAt: soon },
    { amount: 100 },
  ]);
  assert.is((await settle(bought, 50, 100)).takenBack, 150);
  const { grants } = await book.read(bought.wallet);
  assert.equal(
    grants.map(({ grant, remaining }) => [grant, remaining]),
    [
      [first, 100],
      [soonest, 50],
    ],
  );
  assert.ok(last);
});

test('what was spent becomes debt down to the floor, below it a write-off, and never more than the order granted', async () => {
  const bought = await newOrder({ debtPolicy: { floor: -30 } });
  await fulfil(bought, 100);
  await book.grant(bought.wallet, { amount: 500 });
  await spend(bought.wallet, 60);
  const reply = await settle(bought, 0, 100);
  assert.equal([reply.takenBack, reply.debt, reply.writtenOff], [100, 30, 30]);
  assert.equal(await funds(bought.wallet), [500, 30]);
  const events = (await book.events('grant.revoked')).filter(({ data }) => data.order === bought.order);
  assert.equal(
    events.map(({ data: { revoked, debt, writtenOff } }) => [revoked, debt, writtenOff]),
    [
      [40, 0, undefined],
      [0, 30, 30],
    ],
  );
});

test('what is held counts as spent: the run goes on and the hold may still be captured', async () => {
  const bought = await newOrder({ debtPolicy: { floor: -1_000 } });
  await fulfil(bought, 100);
  const hold = await book.hold(bought.wallet, 70);
  assert.equal((await settle(bought, 0, 100)).debt, 70);
  expectStatus(200, await book.operations.capture(hold, { lines: [line(70)] }, book.key()));
  assert.equal(await funds(bought.wallet), [0, 70]);
});

test('what has expired is the store’s already and is taken before anything becomes debt', async () => {
  const bought = await newOrder({ debtPolicy: { floor: -1_000 } });
  await fulfil(bought, [{ amount: 100, expiresAt: book.at(10) }]);
  await spend(bought.wallet, 40);
  book.pass(11);
  assert.equal((await settle(bought, 50, 100)).debt, 0);
  assert.equal((await settle(bought, 0, 100)).debt, 40);
});

for (const repayFirst of [true, false]) {
  test(`a later grant ${repayFirst ? 'pays' : 'does not pay'} the debt of a refund first when repayFirst is ${repayFirst}`, async () => {
    const bought = await newOrder({ debtPolicy: { floor: -1_000, repayFirst } });
    await fulfil(bought, 100);
    await spend(bought.wallet, 100);
    await settle(bought, 0, 100);
    await book.grant(bought.wallet, { amount: 150 });
    assert.equal(await funds(bought.wallet), repayFirst ? [50, 0] : [150, 100]);
  });
}

test('paying again brings everything back the way it went: write-off, debt, credits', async () => {
  const bought = await newOrder({ debtPolicy: { floor: -20 } });
  await fulfil(bought, 100);
  await spend(bought.wallet, 60);
  await settle(bought, 0, 100);
  assert.equal(await funds(bought.wallet), [0, 20]);
  const half = await settle(bought, 50, 100);
  assert.equal([half.kept, half.givenBack], [50, 50]);
  assert.equal(await funds(bought.wallet), [0, 10], '40 of the write-off, then 10 of the debt');
  assert.is((await settle(bought, 100, 100)).givenBack, 50);
  assert.equal(await funds(bought.wallet), [40, 0]);
  const [sums] = await book.database.sql<{ writtenOff: number }[]>`
    select coalesce(sum(e.amount), 0)::float8 as "writtenOff" from gsv_ledger.entries e
      join gsv_ledger.accounts a on a.id = e.account_id join gsv_ledger.transactions t on t.id = e.transaction_id
      join gsv_ledger.wallets w on w.id = t.wallet_id
      where a.kind = 'written_off' and w.name = ${bought.wallet}`;
  assert.is(sums?.writtenOff, 0);
});

test('debt that a later grant has paid comes back as credits', async () => {
  const bought = await newOrder({ debtPolicy: { floor: -1_000 } });
  await fulfil(bought, 100);
  await spend(bought.wallet, 100);
  await settle(bought, 0, 100);
  await book.grant(bought.wallet, { amount: 100 });
  assert.equal(await funds(bought.wallet), [0, 0]);
  await settle(bought, 100, 100);
  assert.equal(await funds(bought.wallet), [100, 0]);
});

test('credits of a grant that has expired meanwhile go to breakage', async () => {
  const bought = await newOrder();
  await fulfil(bought, [{ amount: 100, expiresAt: book.at(10) }]);
  await settle(bought, 0, 100);
  book.pass(11);
  assert.is((await settle(bought, 100, 100)).givenBack, 100);
  assert.equal(await funds(bought.wallet), [0, 0]);
});

test('what finance revoked by hand is neither counted nor given back', async () => {
  const bought = await newOrder();
  const [grant] = await fulfil(bought, 100);
  expectStatus(200, await book.operations.revokeGrant(grant ?? '', { amount: 30 }, book.key()));
  await settle(bought, 100, 100);
  assert.equal(await funds(bought.wallet), [70, 0]);
  assert.is((await settle(bought, 0, 100)).takenBack, 70, 'no more than the grant has left');
  assert.is((await settle(bought, 100, 100)).givenBack, 70);
  assert.equal(await funds(bought.wallet), [70, 0]);
});

test('another order’s grants are left alone, and so is a closed wallet', async () => {
  const bought = await newOrder();
  await fulfil(bought, 100);
  await fulfil({ ...bought, order: `${bought.order}-other` }, 100);
  await settle(bought, 0, 100);
  assert.equal(await funds(bought.wallet), [100, 0]);
  const closed = await newOrder();
  await fulfil(closed, 100);
  expectStatus(200, await book.operations.closeWallet(closed.wallet, { forfeit: true }, book.key()));
  assert.is((await settle(closed, 0, 100)).takenBack, 0);
});

test('one key is one effect; another payload under it conflicts', async () => {
  const bought = await newOrder();
  await fulfil(bought, 100);
  const target = { shop: SHOP, order: bought.order };
  const call = book.key();
  const first = await book.operations.settleOrder(target, { charged: 1, total: 2 }, call);
  const again = await book.operations.settleOrder(target, { charged: 1, total: 2 }, call);
  assert.equal([again.replayed, again.body], [true, first.body]);
  expectProblem(422, 'idempotency_conflict', await book.operations.settleOrder(target, { charged: 0, total: 2 }, call));
  assert.equal(await funds(bought.wallet), [50, 0]);
});

/** What the shop and the worker do about one order, each dated by the shop. */
const STEPS: [name: string, step: (bought: Bought, at: (seconds: number) => string) => Promise<unknown>][] = [
  ['unit 0', (bought) => fulfil(bought, [{ amount: 101 }, { amount: 7, priority: 1 }], 0)],
  ['unit 1', (bought) => fulfil(bought, 33, 1)],
  ['paid', (bought, at) => settle(bought, 100, 100, at(1))],
  ['refunded', (bought, at) => settle(bought, 0, 100, at(2))],
  ['paid in part again', (bought, at) => settle(bought, 40, 100, at(3))],
];

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}

test('in all 120 orders of deliveries the order ends at the share that the latest word says', async () => {
  const at = (seconds: number) => book.at(seconds);
  for (const steps of permutations(STEPS)) {
    const bought = await newOrder();
    for (const [, step] of steps) await step(bought, at);
    const names = steps.map(([name]) => name).join(', ');
    assert.equal(await funds(bought.wallet), [57, 0], names);
  }
});

test('of two words of one moment the one with less charged counts, whichever comes first', async () => {
  for (const charges of [
    [100, 50],
    [50, 100],
  ]) {
    const bought = await newOrder();
    await fulfil(bought, 100);
    for (const charged of charges) await settle(bought, charged, 100, book.at(5));
    assert.equal(await funds(bought.wallet), [50, 0]);
  }
});

test('a refund that races with its own order is never lost', async () => {
  for (let round = 0; round < 25; round += 1) {
    const bought = await newOrder();
    await Promise.all([settle(bought, 25, 100), fulfil(bought, 100, 0), fulfil(bought, 100, 1)]);
    assert.equal(await funds(bought.wallet), [50, 0], `round ${round}`);
  }
});

const TAMPERED: [what: string, says: RegExp][] = [
  ['update reclaims set credits = credits + 1', /grant_1: settlements hold back 51 .* the entries say 50/],
  ['update order_settlements set charged = 99', /order order-\d+ of .* holds back 50 of 100, paid are 99 of 100/],
];

for (const [what, says] of TAMPERED) {
  test(`the audit finds: ${what}`, async () => {
    const own = await openBook();
    try {
      await own.wallet('acme.main', 0);
      const unit = { shop: SHOP, order: 'order-1', line: 'l', ordinal: 0, sku: 'S', wallet: 'acme.main' };
      await own.operations.recordFulfilment({ ...unit, grants: [{ amount: 100, kind: 'purchased' }] }, own.key());
      await own.operations.settleOrder({ shop: SHOP, order: 'order-1' }, { charged: 50, total: 100 }, own.key());
      assert.equal((await audit(own.database.sql)).problems, []);
      await own.database.admin.begin(async (tx) => {
        await tx`set local search_path = gsv_ledger`;
        await tx.unsafe(what);
      });
      assert.match((await audit(own.database.sql)).problems.join(), says);
    } finally {
      await own.database.close();
    }
  });
}

test('an order of many wallets waits for the last of them before it holds the chain', async () => {
  const bought = await newOrder();
  await fulfil(bought, 10);
  const wallets = [bought.wallet];
  for (let n = 1; n <= 14; n += 1) {
    const wallet = `${bought.wallet}-${n}`;
    await book.wallet(wallet, 0);
    await fulfil({ ...bought, wallet }, 10, n);
    wallets.push(wallet);
  }
  const { admin } = book.database;
  let settled: Promise<Settlement> | undefined;
  const free = await admin.begin(async (tx) => {
    await tx`select from gsv_ledger.wallets where name = ${String(wallets.at(-1))} for update`;
    settled = settle(bought, 0, 100);
    for (let waits = false; !waits; ) {
      const [row] = await tx<{ waits: boolean }[]>`
        select exists (select from pg_locks where not granted and locktype in ('transactionid', 'tuple')) as waits`;
      waits = row?.waits ?? false;
    }
    // Who has the wallet would wait here for the settlement, which waits for the wallet.
    const [row] = await tx<{ free: boolean }[]>`select pg_try_advisory_xact_lock(hashtext('gsv_ledger.chain')) as free`;
    return row?.free;
  });
  assert.is((await settled)?.takenBack, 150);
  assert.is(free, true);
});
