/** One wallet that somebody keeps locked costs its own callers an answer, and nobody else. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import { BatchQueue, type BatchRow, type LockedOf, type Outcome } from './batch.ts';
import { DatabaseUnavailable } from './database.ts';

let book: Book;
before(async () => {
  book = await openBook({ max: 12 });
});
after(() => book.close());

/** As a psql that was left with an open transaction. */
async function locked<T>(wallet: string, work: () => Promise<T>): Promise<T> {
  const connection = await book.database.admin.reserve();
  try {
    await connection`begin`;
    await connection`select from gsv_ledger.wallets where name = ${wallet} for update`;
    return await work();
  } finally {
    await connection`rollback`;
    connection.release();
  }
}

const codeOf = (error: unknown): string => (error instanceof DatabaseUnavailable ? error.trouble : String(error));

test('while a wallet is locked its callers are told so, its neighbours are served, and later each key counts once', async () => {
  for (const wallet of ['stuck.main', 'free.main']) await book.wallet(wallet, 1_000);
  const hold = await book.hold('stuck.main', 100);
  const lines = [line(1)];
  const onStuck = () => [
    ...Array.from({ length: 5 }, (_, n) =>
      book.operations.debit({ wallet: 'stuck.main', lines }, { key: `stuck-${n}` }),
    ),
    book.operations.capture(hold, { lines }, { key: 'stuck-capture' }),
  ];
  const outcomes = await locked('stuck.main', async () => {
    const stuck = onStuck().map((call) => call.then(() => 'done', codeOf));
    // More than one batch, so that the ones after the first meet the locked wallet as well.
    const free: Promise<unknown>[] = [];
    for (let n = 0; n < 20; n += 1) {
      free.push(book.operations.debit({ wallet: 'free.main', lines }, { key: `free-${n}` }));
      stuck.push(
        book.operations.debit({ wallet: 'stuck.main', lines }, { key: `more-${n}` }).then(() => 'done', codeOf),
      );
      await book.operations.debit({ wallet: 'free.main', lines }, { key: `free-too-${n}` });
    }
    await Promise.all(free);
    return await Promise.all(stuck);
  });
  assert.equal(new Set(outcomes), new Set(['wallet_busy']));
  assert.is((await book.read('free.main')).available, 960);

  const replies = await Promise.all(onStuck());
  assert.equal(
    replies.map(({ status, replayed }) => [status, replayed]),
    [...Array(5).fill([201, false]), [200, false]],
  );
  assert.is((await book.read('stuck.main')).available, 1_000 - 5 - 1);
});

/** A database that refuses every batch with a debit of the wallet x in it. */
function queueWith(lockedOf?: LockedOf): { ask(wallet: string): Promise<Outcome> } {
  const busy = (): never => {
    throw new DatabaseUnavailable(new Error('55P03'), 'wallet_busy');
  };
  const done: Outcome = { status: 201, body: {}, replayed: false };
  const queue = new BatchQueue(
    async (rows) => (rows.some(({ wallet }) => wallet === 'x') ? busy() : new Map(rows.map((_, n) => [n, done]))),
    lockedOf ? { lockedOf } : {},
  );
  let keys = 0;
  return {
    ask: (wallet) => {
      keys += 1;
      const row: BatchRow = { operation: 'debit', wallet, key: `k${keys}`, hash: '' };
      return queue.add(row, undefined, async () => (wallet === 'x' ? busy() : done));
    },
  };
}

const statusOf = (call: Promise<Outcome>): Promise<unknown> => call.then(({ status }) => status, codeOf);

test('the control: where nobody looks which wallet is locked, the neighbours in its batch are refused', async () => {
  const knowing = queueWith(async (rows) => rows.map(({ wallet }) => (wallet === 'x' ? 'x' : undefined)));
  assert.equal(await Promise.all(['a', 'x', 'b', 'x'].map((wallet) => statusOf(knowing.ask(wallet)))), [
    201,
    'wallet_busy',
    201,
    'wallet_busy',
  ]);
  const blind = queueWith();
  assert.equal(await Promise.all(['a', 'x', 'b'].map((wallet) => statusOf(blind.ask(wallet)))), [
    'wallet_busy',
    'wallet_busy',
    'wallet_busy',
  ]);
});

test('when the lock is gone, those who waited behind the first one go on together', async () => {
  let free = false;
  const calls: string[][] = [];
  const done: Outcome = { status: 201, body: {}, replayed: false };
  const released = Promise.withResolvers<void>();
  const queue = new BatchQueue(
    async (rows) => {
      if (!free) throw new DatabaseUnavailable(new Error('55P03'), 'wallet_busy');
      calls.push(rows.map(({ key }) => key));
      return new Map(rows.map((_, n) => [n, done]));
    },
    { lockedOf: async (rows) => rows.map(() => (free ? undefined : 'x')) },
  );
  const asked = ['1', '2', '3'].map((key) =>
    queue.add({ operation: 'debit', wallet: 'x', key, hash: '' }, undefined, async () => {
      await released.promise;
      free = true;
      return done;
    }),
  );
  setImmediate(() => released.resolve());
  assert.equal(
    (await Promise.all(asked)).map(({ status }) => status),
    [201, 201, 201],
  );
  assert.equal(calls, [['2', '3']]);
});
