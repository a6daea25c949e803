import { after, before, test } from 'node:test';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { type Book, expectStatus, line, openBook } from '../hack/testing/book.ts';
import type { BatchReport } from './batch.ts';
import { type BatchItem, LedgerOperations, type OperationResult, payloadHash } from './operations.ts';
import type { RunContext } from './wire.ts';

let book: Book;
before(async () => {
  book = await openBook({ max: 4 });
});
after(() => book.close());

/** Operations whose group commits one can look at. */
function observed(of: Book): { operations: LedgerOperations; reports: BatchReport[] } {
  const reports: BatchReport[] = [];
  const now = (): Date => new Date(of.at(0));
  return {
    operations: new LedgerOperations(of.database.sql, { now, onBatch: (report) => reports.push(report) }),
    reports,
  };
}

test('callers of one turn share a commit, and none of them is left to its own function', async () => {
  for (const name of ['shared-1', 'shared-2', 'shared-3']) await book.wallet(name, 1_000);
  const { operations, reports } = observed(book);
  const results = await Promise.all(
    Array.from({ length: 60 }, (_, n) =>
      operations.debit({ wallet: `shared-${(n % 3) + 1}`, lines: [line(2)] }, { key: `shared-${n}` }),
    ),
  );
  assert.ok(results.every(({ status }) => status === 201));
  assert.equal(
    reports.map(({ items, left, error }) => ({ items, left, error })),
    [{ items: 60, left: 0, error: undefined }],
  );
  assert.is((await book.read('shared-2')).available, 1_000 - 40);
});

test('what does not fit is refused, and a smaller one behind it is still tried', async () => {
  await book.wallet('fit', 100);
  const { operations } = observed(book);
  const debits = [60, 50, 30, 20, 10].map((amount) =>
    operations.debit({ wallet: 'fit', lines: [line(amount)] }, book.key()),
  );
  assert.equal(
    (await Promise.all(debits)).map(({ status, body }) => [status, body.available]),
    [
      [201, 40],
      [402, 40],
      [201, 10],
      [402, 10],
      [201, 0],
    ],
  );
});

test('an item that PostgreSQL cannot take fails alone', async () => {
  await book.wallet('bad', 100);
  const { operations, reports } = observed(book);
  const debit = (context: RunContext) =>
    operations.debit({ wallet: 'bad', lines: [line(10)], context }, book.key()).then(
      ({ status }) => status,
      (error: Error) => error.message,
    );
  // JSON may carry a zero byte, text of PostgreSQL may not.
  const [first, second, third] = await Promise.all([debit({}), debit({ note: 'a\u0000b' }), debit({})]);
  assert.equal([first, third], [201, 201]);
  assert.match(String(second), /unsupported Unicode escape/);
  assert.is(reports[0]?.items, 3);
  assert.ok(reports[0]?.error !== undefined, 'the batch did fail');
  assert.is((await book.read('bad')).available, 80);
});

test('the same key or the same hold twice in one turn: the second sees what the first did', async () => {
  await book.wallet('twice', 1_000);
  const hold = await book.hold('twice', 100);
  const { operations } = observed(book);
  const body = { wallet: 'twice', lines: [line(10)] };
  const [one, again, other, captured, voided] = await Promise.all([
    operations.debit(body, { key: 'twice' }),
    operations.debit(body, { key: 'twice' }),
    operations.debit({ ...body, lines: [line(11)] }, { key: 'twice' }),
    operations.capture(hold, { lines: [line(40)] }, book.key()),
    operations.voidHold(hold, {}, book.key()),
  ]);
  assert.equal([one.replayed, again.replayed, again.body], [false, true, one.body]);
  assert.equal([other.status, other.body.code], [422, 'idempotency_conflict']);
  assert.equal([captured.status, voided.status, voided.body.code], [200, 409, 'already_captured']);
  assert.is((await book.read('twice')).available, 1_000 - 10 - 40);
});

test('callers of different epochs never share a batch, and a stale one is refused', async () => {
  const other = await openBook();
  try {
    await other.wallet('epochs', 100);
    const { operations, reports } = observed(other);
    const debit = (epoch: number | undefined) =>
      operations.debit({ wallet: 'epochs', lines: [line(1)] }, { ...other.key(), epoch });
    const newer = await Promise.all([debit(7), debit(undefined), debit(7)]);
    assert.equal(
      newer.map(({ status }) => status),
      [201, 201, 201],
    );
    // Both are under way at once, and either may end first.
    assert.equal(reports.map(({ items }) => items).sort(), [1, 2]);
    const stale = await Promise.all([debit(6), debit(6)]);
    assert.equal(
      stale.map(({ body }) => body.code),
      ['stale_leader', 'stale_leader'],
    );
  } finally {
    await other.close();
  }
});

const wallet = fc.constantFrom('w1', 'w2', 'w3');
const offering = fc.constantFrom(undefined, 'x', 'y');
const project = fc.constantFrom(undefined, 'p', 'q');
const index = fc.nat({ max: 20 });
const amount = fc.integer({ min: 1, max: 90 });
const move = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('debit' as const), wallet, amount, offering, project }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('hold' as const),
      wallet,
      amount,
      offering,
      project,
      limited: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('capture' as const), index, part: fc.nat({ max: 100 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('void' as const), index }) },
);
type Move = typeof move extends fc.Arbitrary<infer T> ? T : never;

const TABLES = ['wallets', 'grants', 'holds', 'hold_grants', 'receipts', 'receipt_lines', 'transactions', 'entries'];
const MORE_TABLES = ['idempotency', 'project_spend', 'first_receipts'];

/** Everything that a book says, but for the order in which rows of one commit were numbered. */
async function contents(of: Book): Promise<Record<string, unknown>> {
  const tables: Record<string, unknown> = {};
  for (const table of [...TABLES, ...MORE_TABLES]) {
    const rows = await of.database.admin.unsafe(
      `select to_jsonb(t) - 'id' - 'transaction_id' as row from gsv_ledger.${table} t`,
    );
    tables[table] = rows.map(({ row }) => JSON.stringify(row)).sort();
  }
  const events = await of.events();
  tables.events = events.map(({ seq: _, ...event }) => JSON.stringify(event));
  return tables;
}

interface OpenHold {
  hold: string;
  amount: number;
}

/** What the moves are in a book that has these open holds; nothing that a batch would leave to a function of its own. */
function items(moves: readonly Move[], holds: OpenHold[], ended: Set<string>): BatchItem[] {
  return moves.flatMap((each, n): BatchItem[] => {
    const key = `k${n}-${holds.length}`;
    if (each.op === 'debit') {
      const { wallet: name, offering: o, project: p } = each;
      return [{ op: 'debit', key, body: { wallet: name, lines: [line(each.amount)], offering: o, project: p } }];
    }
    if (each.op === 'hold') {
      const limit = each.limited ? { instanceUid: `i-${each.wallet}`, maxConcurrent: 3 } : {};
      const { wallet: name, offering: o, project: p } = each;
      const context = { runId: key, instance: `org/${name}` };
      return [
        {
          op: 'hold',
          key,
          body: { wallet: name, amount: each.amount, ttlSeconds: 60, offering: o, project: p, context, ...limit },
        },
      ];
    }
    const target = holds[each.index % Math.max(1, holds.length)];
    if (!target || ended.has(target.hold)) return [];
    ended.add(target.hold);
    if (each.op === 'void') return [{ op: 'void', key, hold: target.hold, body: { reason: 'r' } }];
    return [
      { op: 'capture', key, hold: target.hold, body: { lines: [line(Math.floor((target.amount * each.part) / 100))] } },
    ];
  });
}

const FUNCTIONS = { debit: 'debit', hold: 'create_hold', capture: 'capture_hold', void: 'void_hold' } as const;

/** The same item through its own function. */
async function alone(of: Book, item: BatchItem): Promise<Omit<OperationResult, 'replayed'>> {
  const target = 'hold' in item ? item.hold : '';
  const name = FUNCTIONS[item.op as keyof typeof FUNCTIONS];
  const [row] = await of.database.sql<{ status: number; body: Record<string, unknown> }[]>`
    select status, body from gsv_ledger.${of.database.sql(name)}(${target}, ${JSON.stringify(item.body)}::text::jsonb,
      ${item.key}, ${payloadHash(target, item.body)}, ${new Date(of.at(0))}, null)`;
  if (!row) throw new Error(`${name} answered nothing`);
  return { status: row.status, body: row.body };
}

async function stocked(): Promise<Book> {
  const made = await openBook();
  // The first usage of an offering is left alone.
  await made.wallet('opener', 2);
  for (const offering of ['x', 'y'])
    expectStatus(201, await made.operations.debit({ wallet: 'opener', lines: [line(1)], offering }, { key: offering }));
  for (const [n, name] of ['w1', 'w2', 'w3'].entries()) {
    await made.wallet(name, 0, { thresholds: [300, 100] });
    await made.grant(name, { amount: 200, priority: 1, scope: { offerings: ['x'] } });
    await made.grant(name, { amount: 100 * n + 50, priority: 2, expiresAt: made.at(3_600) });
    await made.grant(name, { amount: 100, priority: 2, scope: { projects: ['p'] } });
    await made.grant(name, { amount: 60, priority: 3, scope: { offerings: ['y'], projects: ['q'] } });
  }
  return made;
}

/** Either all of a round in one batch, or each in a batch of its own, which takes a shorter way. */
const WAYS = {
  together: (asked: BatchItem[], run: (item: BatchItem) => Promise<OperationResult>) => Promise.all(asked.map(run)),
  'one by one': async (asked: BatchItem[], run: (item: BatchItem) => Promise<OperationResult>) => {
    const results: OperationResult[] = [];
    for (const item of asked) results.push(await run(item));
    return results;
  },
};

for (const [way, ask] of Object.entries(WAYS)) {
  test(`a batch answers and writes what its items would in their own functions: ${way}`, async () => {
    const property = fc.asyncProperty(
      fc.array(fc.array(move, { minLength: 5, maxLength: 60 }), { minLength: 2, maxLength: 3 }),
      async (rounds) => {
        const [together, apart] = await Promise.all([stocked(), stocked()]);
        try {
          const { operations, reports } = observed(together);
          const holds: OpenHold[] = [];
          const ended = new Set<string>();
          for (const moves of rounds) {
            const asked = items(moves, holds, ended);
            const run = (item: BatchItem): Promise<OperationResult> => {
              if (item.op === 'debit') return operations.debit(item.body, item);
              if (item.op === 'hold') return operations.hold(item.body, item);
              if (item.op === 'capture') return operations.capture(item.hold, item.body, item);
              if (item.op === 'void') return operations.voidHold(item.hold, item.body, item);
              throw new Error(item.op);
            };
            const batched = await ask(asked, run);
            const single: Omit<OperationResult, 'replayed'>[] = [];
            for (const item of asked) single.push(await alone(apart, item));
            assert.equal(
              batched.map(({ status, body }) => ({ status, body })),
              single,
            );
            for (const { body } of batched)
              if (body.state === 'open') holds.push({ hold: String(body.hold), amount: Number(body.amount) });
          }
          const [one, other] = [await contents(together), await contents(apart)];
          for (const table of Object.keys(one)) assert.equal(one[table], other[table], table);
          assert.is(
            reports.reduce((sum, { left }) => sum + left, 0),
            0,
          );
        } finally {
          await Promise.all([together.database.close(), apart.database.close()]);
        }
      },
    );
    await fc.assert(property, { numRuns: Number(process.env.GSV_MODEL_RUNS ?? 8), endOnFailure: true });
  });
}

test('an item alone takes the short way where it is plain, and only there', async () => {
  const short = await openBook();
  try {
    await short.wallet('plain', 1_000, { thresholds: [900] });
    await short.wallet('split', 5);
    await short.grant('split', { amount: 5 });
    await short.wallet('due', 100);
    await short.grant('due', { amount: 9, expiresAt: short.at(10) });
    const [partial, whole, late] = [
      await short.hold('plain', 5),
      await short.hold('plain', 5),
      await short.hold('due', 5),
    ];
    expectStatus(200, await short.operations.capture(partial, { lines: [line(1)], final: false }, short.key()));
    short.pass(20);
    const tried = async (item: object): Promise<number | null> => {
      const [row] = await short.database.admin.begin(async (tx) => {
        await tx`set local search_path = gsv_ledger`;
        // What it leaves to the way of batches is left alone here.
        await tx`create or replace function run_many(p_items json, p_now timestamptz)
          returns table (item integer, status integer, body json, replayed boolean)
          language sql as 'select 0, 0, null::json, false where false'`;
        const rows = await tx<{ status: number | null }[]>`
          select (run_one(i.operation, i.wallet, i.hold, i.amount, i.offering, i.project, i.instance_uid, i.max_concurrent,
              i.ttl_seconds, i.key, i.hash, i.context, i.lines, i.result_ref, i.reason, ${short.at(0)}, null)::json ->> 'status')::int
              as status
            from json_populate_record(null::batch_item,
              ${JSON.stringify({ key: 'k', hash: 'h', ...item })}::text::json) i`;
        await tx`rollback`;
        return [rows[0]];
      });
      return row?.status ?? null;
    };
    const debit = { operation: 'debit', lines: [['run', 1, 5]] };
    const local = (hold: string) => hold.slice('hold_'.length);
    for (const [item, status, reason] of [
      [{ ...debit, wallet: 'plain', amount: 5 }, 201, 'one grant pays'],
      [{ operation: 'hold', wallet: 'plain', amount: 5, ttl_seconds: 60 }, 201, 'one grant is reserved'],
      [{ operation: 'capture', hold: local(whole), amount: 3, lines: [['run', 1, 3]] }, 200, 'within the hold'],
      [{ operation: 'void', hold: local(whole) }, 200, 'all goes back'],
      [{ ...debit, wallet: 'plain', amount: 101 }, null, 'a threshold is crossed'],
      [{ ...debit, wallet: 'plain', amount: 2_000 }, null, 'too much'],
      [{ ...debit, wallet: 'plain', amount: 0 }, null, 'nothing moves'],
      [{ ...debit, wallet: 'split', amount: 7 }, null, 'two grants pay'],
      [{ ...debit, wallet: 'due', amount: 1 }, null, 'a grant has expired'],
      [{ ...debit, wallet: 'nobody', amount: 1 }, null, 'no wallet'],
      [{ ...debit, wallet: 'plain', amount: 5, key: 'key-1' }, 201, 'a key of another operation'],
      [{ operation: 'hold', wallet: 'plain', amount: 5, ttl_seconds: 60, key: 'key-7' }, null, 'a key that is known'],
      [{ operation: 'hold', wallet: 'plain', amount: 5, ttl_seconds: 60, max_concurrent: 1 }, null, 'runs are counted'],
      [{ operation: 'capture', hold: local(whole), amount: 6, lines: [] }, null, 'more than the hold'],
      [{ operation: 'capture', hold: local(partial), amount: 1, lines: [] }, null, 'a second capture'],
      [{ operation: 'void', hold: local(late) }, null, 'a grant of the wallet has expired'],
    ] as [object, number | null, string][]) {
      assert.is(await tried(item), status, reason);
    }
  } finally {
    await short.close();
  }
});

test('what a batch leaves alone happens all the same: due expiries, caps, overruns', async () => {
  await book.wallet('left', 100, { caps: [{ project: 'p', amount: 30 }] });
  await book.grant('left', { amount: 50, expiresAt: book.at(10) });
  const overrun = await book.hold('left', 10);
  const due = await book.hold('left', 20, { ttlSeconds: 5 });
  book.pass(6);
  const { operations, reports } = observed(book);
  const [capped, over, late] = await Promise.all([
    operations.debit({ wallet: 'left', lines: [line(31)], project: 'p' }, book.key()),
    operations.capture(overrun, { lines: [line(15)] }, book.key()),
    operations.voidHold(due, {}, book.key()),
  ]);
  assert.equal([capped.status, capped.body.available], [402, 30]);
  assert.equal(expectStatus(200, over).overrun, { fromAvailable: 5, debt: 0, writtenOff: 0 });
  assert.equal([late.status, late.body.code], [409, 'already_expired']);
  assert.equal([reports.length, reports[0]?.left], [1, 3]);
});

test('a void keeps the receipt of what the hold was charged before', async () => {
  await book.wallet('part', 100);
  const hold = await book.hold('part', 50);
  const { operations, reports } = observed(book);
  const part = expectStatus(200, await operations.capture(hold, { lines: [line(10)], final: false }, book.key()));
  assert.is(expectStatus(200, await operations.voidHold(hold, {}, book.key())).released, 40);
  assert.equal([reports.length, reports[0]?.left], [1, 0]);
  const ended = expectStatus(200, await book.queries.hold(hold));
  assert.equal([ended.state, ended.receipt], ['voided', part.receipt]);
});
