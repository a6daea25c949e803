import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import { openDatabase } from './database.ts';
import { LedgerOperations } from './operations.ts';

let book: Book;
before(async () => {
  book = await openBook({ max: 16 });
});
after(() => book.close());

const tally = (values: readonly number[]) =>
  Object.fromEntries(
    [...new Set(values)].sort().map((value) => [value, values.filter((other) => other === value).length]),
  );

test('two hundred holds at once with credits for ten: exactly ten', async () => {
  await book.wallet('a', 1050);
  const results = await Promise.all(
    Array.from({ length: 200 }, () => book.operations.hold({ wallet: 'a', amount: 100, ttlSeconds: 60 }, book.key())),
  );
  assert.equal(tally(results.map(({ status }) => status)), { 201: 10, 402: 190 });
  const wallet = await book.read('a');
  assert.equal([wallet.available, wallet.held], [50, 1000]);
});

test('a limit of three holds when forty come at once', async () => {
  await book.wallet('b', 1000);
  const limited = { wallet: 'b', amount: 1, ttlSeconds: 60, instanceUid: 'uid-b', maxConcurrent: 3 };
  const results = await Promise.all(Array.from({ length: 40 }, () => book.operations.hold(limited, book.key())));
  assert.equal(tally(results.map(({ status }) => status)), { 201: 3, 429: 37 });
});

test('capture, void, expiry and extension at once: one ends the hold', async () => {
  await book.wallet('c', 10_000);
  const winners: string[] = [];
  for (let round = 0; round < 25; round += 1) {
    const hold = await book.hold('c', 100, { ttlSeconds: 1 });
    if (round % 3 === 0) book.pass(1);
    const results = await Promise.all([
      book.operations.voidHold(hold, {}, book.key()),
      book.operations.capture(hold, { lines: [line(1)] }, book.key()),
      book.operations.expireDue({ limit: 10 }),
    ]);
    const ended = results.filter((result) => typeof result === 'object' && result.status === 200).length;
    const state = String((await book.queries.hold(hold)).body.state);
    winners.push(state);
    assert.is(ended, state === 'expired' ? 0 : 1, `round ${round}: ${state}`);
    assert.is((await book.read('c')).held, 0);
  }
  assert.ok(winners.includes('expired') && winners.some((state) => state !== 'expired'), winners.join());
});

test('a reader who follows the feed while many write sees every event once, in order', async () => {
  const names = Array.from({ length: 8 }, (_, index) => `feed-${index}`);
  for (const name of names) await book.wallet(name, 0);
  const start = (await book.events()).at(-1)?.seq ?? 0;
  let writing = true;
  const writers = Promise.all(
    names.map(async (name) => {
      // Every grant recovers the wallet and every debit exhausts it: two events a round.
      for (let round = 0; round < 15; round += 1) {
        await book.grant(name, { amount: 1 });
        await book.operations.debit({ wallet: name, lines: [line(1)] }, book.key());
      }
    }),
  ).finally(() => {
    writing = false;
  });
  const seen: number[] = [];
  for (let last = start, more = true; more || writing; ) {
    const events = await book.queries.events(last, 7);
    seen.push(...events.map(({ seq }) => seq));
    last = seen.at(-1) ?? start;
    more = events.length > 0;
  }
  await writers;
  const all = (await book.events()).map(({ seq }) => seq).filter((seq) => seq > start);
  assert.is(all.length, names.length * 30);
  assert.equal(seen, all);
});

test('an event that has its number but is not committed yet holds back the later ones', async () => {
  await book.wallet('slow', 1);
  const last = (await book.events()).at(-1)?.seq ?? 0;
  const { admin } = book.database;
  const waiting = async (): Promise<string> => {
    for (;;) {
      const rows = await admin`select from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database())`;
      if (rows.length > 0) return 'waits';
      await delay(5);
    }
  };
  let later: Promise<string> = Promise.resolve('');
  await admin.begin(async (tx) => {
    await tx`insert into gsv_ledger.events (type, wallet_id, at, data) select 'test', min(id), now(), '{}' from gsv_ledger.wallets`;
    // Gives the number now, as a commit would that takes its time.
    await tx`set constraints all immediate`;
    later = book.operations.debit({ wallet: 'slow', lines: [line(1)] }, book.key()).then(() => 'went ahead');
    assert.is(await Promise.race([waiting(), later]), 'waits');
    assert.equal(await book.queries.events(last, 10), []);
  });
  await later;
  assert.equal(
    (await book.queries.events(last, 10)).map(({ type }) => type),
    ['test', 'wallet.exhausted'],
  );
});

test('runs of one Instance are counted across the wallets that pay them', async () => {
  const other = await openDatabase(book.database.url, { max: 2 });
  try {
    const clock = { now: () => new Date(book.at(0)) };
    const replicas = [book.operations, new LedgerOperations(other, clock)];
    for (const wallet of ['pays-1', 'pays-2']) await book.wallet(wallet, 1_000);
    for (let round = 0; round < 20; round += 1) {
      const limit = { ttlSeconds: 60, instanceUid: `shared-${round}`, maxConcurrent: 1 };
      const asked = await Promise.all(
        replicas.map((operations, n) => operations.hold({ wallet: `pays-${n + 1}`, amount: 1, ...limit }, book.key())),
      );
      assert.equal(asked.map(({ status }) => status).sort(), [201, 429]);
    }
  } finally {
    await other.end({ timeout: 1 });
  }
});

test('a key that another wallet of the owner takes meanwhile is looked at once more', async () => {
  const caps = [{ project: 'p', amount: 100 }];
  // Capped, so that each debit runs in its own function.
  for (const name of ['twin-1', 'twin-2']) await book.wallet(name, 100, { ownerUid: 'uid-twins', caps });
  const debit = (wallet: string) => ({ wallet, project: 'p', lines: [line(1)] });
  let second: Promise<{ status: number; body: { code?: unknown } }> | undefined;
  await book.database.admin.begin(async (tx) => {
    const [first] = await tx<{ status: number }[]>`
      select (gsv_ledger.debit('twin-1', ${JSON.stringify(debit('twin-1'))}::text::jsonb, 'twins', 'h', ${book.at(0)}, null)).status`;
    assert.is(first?.status, 201);
    second = book.operations.debit(debit('twin-2'), { key: 'twins' });
    const waiting = () => tx`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
    while ((await waiting()).length === 0) await delay(5);
  });
  const answer = await second;
  assert.equal([answer?.status, answer?.body.code], [422, 'idempotency_conflict']);
  assert.is((await book.read('twin-2')).available, 100);
});
