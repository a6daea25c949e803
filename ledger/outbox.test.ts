/** What was charged reaches OpenMeter: every line, once per id, in spite of outages, restarts and other senders. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { Secret } from '../config/settings.ts';
import { type FakeOpenMeter, startOpenMeter, type TakenEvent } from '../hack/openmeter/server.ts';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import { OpenMeter } from './openmeter.ts';
import { Outbox } from './outbox.ts';
import { sendRound } from './outbox-sender.ts';

interface Setup {
  book: Book;
  openmeter: FakeOpenMeter;
  outbox: Outbox;
  counted: Record<string, number>;
  logs: string[];
  /** Rounds of one sender until there is nothing more to do now. */
  send(holder?: string): Promise<void>;
}

async function within(check: (setup: Setup) => Promise<void>, token?: string): Promise<void> {
  const book = await openBook();
  const openmeter = await startOpenMeter();
  openmeter.token = token;
  const now = () => new Date(book.at(0));
  const client = new OpenMeter({ url: openmeter.url, token: token ? Secret.of(token) : undefined });
  const outbox = new Outbox(book.database.sql, { now });
  const counted: Record<string, number> = {};
  const count = (name: string, by = 1): void => {
    counted[name] = (counted[name] ?? 0) + by;
  };
  const logs: string[] = [];
  const log = createLogger({ part: 'test', level: 'info', destination: { write: (text) => void logs.push(text) } });
  const observer = { sent: (events: number) => count('sent', events), failed: (reason: string) => count(reason) };
  const parts = { outbox, openmeter: client, observer, log };
  const send = async (holder = 'one'): Promise<void> => {
    // The first look marks the newest number, the second one finds it safe.
    for (let looks = 0; looks < 3; ) if (!(await sendRound(holder, parts))) looks += 1;
  };
  try {
    await check({ book, openmeter, outbox, counted, logs, send });
  } finally {
    await client.close();
    await openmeter.close();
    await book.close();
  }
}

const debit = (book: Book, wallet: string, amount = 1) =>
  book.operations.debit({ wallet, lines: [line(amount)] }, book.key());

/** `receipt_1.1` of `receipt_1.1@1781524800000`. */
const linesOf = (events: readonly TakenEvent[]): string[] => events.map(({ id }) => id.replace(/@\d+$/, ''));

test('an event says what a meter needs, where the charge came from, and no more', () =>
  within(async ({ book, openmeter, outbox, send }) => {
    await book.wallet('acme.main', 100);
    const hold = await book.hold('acme.main', 20, {
      offering: 'claims-agent',
      project: 'default',
      instanceUid: 'uid-1',
      context: { runId: 'run-1', instance: 'acme/claims', order: 'o-1', note: 'private', commit: 'c'.repeat(257) },
    });
    const lines = [
      { dimension: 'run', units: 1, amount: 12 },
      { dimension: 'input-token', units: 345, amount: 0 },
    ];
    await book.operations.capture(hold, { lines }, book.key());
    await send();
    const source = `/gsv/ledger/${(await outbox.state(true)).book}`;
    const at = Date.parse('2026-06-15T12:00:00Z');
    const about = {
      receipt: 'receipt_1',
      wallet: 'acme.main',
      ownerUid: 'uid-acme.main',
      hold: hold,
      run: 'run-1',
      offering: 'claims-agent',
      project: 'default',
      instanceUid: 'uid-1',
      instance: 'acme/claims',
      order: 'o-1',
    };
    const common = {
      specversion: '1.0',
      type: 'gsv.usage',
      source,
      subject: 'acme.main',
      time: '2026-06-15T12:00:00.000Z',
      datacontenttype: 'application/json',
    };
    assert.equal(openmeter.events, [
      { ...common, id: `receipt_1.1@${at}`, data: { ...about, dimension: 'run', units: 1, amount: 12 } },
      { ...common, id: `receipt_1.2@${at}`, data: { ...about, dimension: 'input-token', units: 345, amount: 0 } },
    ]);
    assert.is(openmeter.requests[0]?.contentType, 'application/cloudevents-batch+json');
    assert.is(openmeter.requests[0]?.authorization, undefined);
  }));

test('what costs nothing is told as well, and a hold in parts only when it has ended', () =>
  within(async ({ book, openmeter, outbox, send }) => {
    await book.wallet('a', 100);
    const hold = await book.hold('a', 10);
    await book.operations.capture(hold, { lines: [line(10, 'first')], final: false }, book.key());
    await debit(book, 'a', 0);
    await send();
    assert.equal(linesOf(openmeter.events), ['receipt_2.1']);
    const { lag, open } = await outbox.state(true);
    assert.equal([lag, open], [0, 1]);
    await book.operations.capture(hold, { lines: [line(0, 'second')] }, book.key());
    await send();
    assert.equal(linesOf(openmeter.events), ['receipt_2.1', 'receipt_1.1', 'receipt_1.2']);
    assert.is((await outbox.state(true)).open, 0);
  }));

test('a hold in parts that expires is told with what it was charged', () =>
  within(async ({ book, openmeter, send }) => {
    await book.wallet('a', 100);
    const hold = await book.hold('a', 10);
    await book.operations.capture(hold, { lines: [line(4)], final: false }, book.key());
    await send();
    assert.is(openmeter.events.length, 0);
    book.pass(181);
    await book.read('a');
    await send();
    assert.equal(linesOf(openmeter.events), ['receipt_1.1']);
  }));

test('an answer that is lost leads to a repetition with the same ids, which counts once', () =>
  within(async ({ book, openmeter, outbox, counted, send }) => {
    await book.wallet('a', 100);
    for (let i = 0; i < 3; i += 1) await debit(book, 'a');
    openmeter.failures.push('lost');
    await send();
    assert.is(openmeter.failures.length, 0, 'the fault fired');
    assert.equal([openmeter.events.length, (await outbox.state(true)).position], [3, 0]);
    book.pass(2);
    await send();
    assert.equal([openmeter.events.length, openmeter.arrived, (await outbox.state(true)).position], [3, 6, 3]);
    assert.equal(counted, { unreachable: 1, sent: 3 });
  }));

const OUTAGES: [failure: FakeOpenMeter['failures'][number], counted: string, waits: number, reason: string][] = [
  ['cut', 'unreachable', 0, 'the connection ends without an answer'],
  [{ status: 500 }, 'unavailable', 0, 'its own fault'],
  [{ status: 503, headers: { 'retry-after': '90' } }, 'unavailable', 90, 'it says when to come back'],
  [{ status: 429, headers: { 'retry-after': '30' } }, 'throttled', 30, 'it is asked too often'],
  [{ status: 401 }, 'unauthorized', 0, 'the token is wrong'],
  [{ status: 404 }, 'unexpected', 0, 'the URL is wrong'],
  [{ status: 302, headers: { location: 'http://127.0.0.1:1/' } }, 'unexpected', 0, 'a redirect is not followed'],
];

for (const [failure, reason, waits, why] of OUTAGES) {
  test(`${JSON.stringify(failure)} parks nothing and is tried again: ${why}`, () =>
    within(async ({ book, openmeter, outbox, counted, send }) => {
      await book.wallet('a', 100);
      await debit(book, 'a');
      openmeter.failures.push(failure);
      await send();
      const state = await outbox.state(true);
      assert.equal([state.failures, state.parked, state.position], [1, 0, 0]);
      assert.ok(Date.parse(state.retryAt ?? '') >= Date.parse(book.at(waits)), state.retryAt);
      assert.is(counted[reason], 1);
      const asked = openmeter.requests.length;
      if (waits > 1) {
        book.pass(waits - 1);
        await send('another replica');
        assert.is(openmeter.requests.length, asked, 'nobody asks before the time');
      }
      book.pass(2);
      await send();
      assert.equal(linesOf(openmeter.events), ['receipt_1.1']);
      assert.is((await outbox.state(true)).failures, 0);
    }));
}

test('a refused event is parked by name, its neighbours are sent, and a person may have it sent again', () =>
  within(async ({ book, openmeter, outbox, counted, logs, send }) => {
    await book.wallet('a', 100);
    for (let i = 0; i < 5; i += 1) await debit(book, 'a');
    openmeter.refuse = ({ data }) => data.receipt === 'receipt_3';
    await send();
    assert.equal(linesOf(openmeter.events), ['receipt_1.1', 'receipt_2.1', 'receipt_4.1', 'receipt_5.1']);
    const { position, parked, parkedReceipts } = await outbox.state(true);
    assert.equal([position, parked, parkedReceipts[0]?.receipt], [5, 1, 'receipt_3']);
    assert.match(String(parkedReceipts[0]?.events[0]), /^receipt_3\.1@/);
    assert.match(String(parkedReceipts[0]?.reason), /^400 .*invalid event/);
    assert.is(counted.refused, 1);
    assert.ok(logs.some((text) => /"level":"?(error|50)/.test(text) && text.includes('receipt_3.1@')));
    await send();
    assert.is(counted.refused, 1, 'it is not tried by itself');

    openmeter.refuse = () => false;
    assert.is(await outbox.retry(), 1);
    await send();
    assert.is((await outbox.state(true)).parked, 0);
    assert.equal(linesOf(openmeter.events).at(-1), 'receipt_3.1');
  }));

test('an OpenMeter that refuses everything parks nothing at first, and blocks nothing for good', () =>
  within(async ({ book, openmeter, outbox, counted, send }) => {
    await book.wallet('a', 100);
    for (let i = 0; i < 12; i += 1) await debit(book, 'a');
    openmeter.refuse = () => true;
    await send();
    const first = await outbox.state(true);
    assert.equal([first.parked, first.failures, counted.refused], [0, 1, 1]);
    for (let tries = 0; tries < 9; tries += 1) {
      book.pass(301);
      await send();
    }
    assert.equal([(await outbox.state(true)).parked, (await outbox.state(true)).position], [12, 12]);
  }));

test('a batch that is too large is halved', () =>
  within(async ({ book, openmeter, send }) => {
    await book.wallet('a', 100);
    for (let i = 0; i < 9; i += 1) await debit(book, 'a');
    openmeter.maxEvents = 2;
    await send();
    assert.is(new Set(linesOf(openmeter.events)).size, 9);
    assert.ok(
      openmeter.requests.some(({ events }) => events > 2),
      'the fault fired',
    );
  }));

test('of two senders one sends; the other takes over where a dead one stood', () =>
  within(async ({ book, openmeter, outbox, send }) => {
    await book.wallet('a', 100);
    await debit(book, 'a');
    await send('one');
    await debit(book, 'a');
    await send('two');
    assert.equal(linesOf(openmeter.events), ['receipt_1.1'], 'the lease is another one’s');
    book.pass(61);
    await send('two');
    assert.equal(linesOf(openmeter.events), ['receipt_1.1', 'receipt_2.1']);
    await debit(book, 'a');
    await outbox.release('two');
    await send('one');
    assert.equal([openmeter.events.length, openmeter.arrived], [3, 3]);
  }));

test('a sender that was paused past its lease moves nothing back', () =>
  within(async ({ book, outbox, send }) => {
    await book.wallet('a', 100);
    await debit(book, 'a');
    await outbox.claim('paused');
    const late = await outbox.claim('paused');
    assert.ok(late);
    book.pass(61);
    await send('two');
    assert.is(late && (await outbox.advance('paused', late, [])), false);
    assert.is((await outbox.state(true)).position, 1);
  }));

test('the token is sent, and never told', () =>
  within(async ({ book, openmeter, outbox, logs, send }) => {
    await book.wallet('a', 100);
    await debit(book, 'a');
    await send();
    assert.equal(linesOf(openmeter.events), ['receipt_1.1']);
    await debit(book, 'a');
    openmeter.failures.push({ status: 403, body: 'no such token: Bearer canary-token' });
    await send();
    assert.match(String((await outbox.state(true)).lastError), 'Bearer [secret]');
    assert.not.match(logs.join(''), 'canary-token');
  }, 'canary-token'));

let shared: Book;
before(async () => {
  shared = await openBook();
});
after(() => shared.close());

test('numbers of receipts are given one after the other, which the horizon of the outbox relies on', async () => {
  const [row] = await shared.database.sql<{ step: number; cache: number }[]>`
    select increment_by::integer as step, cache_size::integer as cache from pg_sequences
      where schemaname = 'gsv_ledger' and sequencename = 'receipt_ids'`;
  assert.equal({ ...row }, { step: 1, cache: 1 });
});

test('a claim within a transaction that has written already is refused: its horizon would be wrong', async () => {
  const refused = await shared.database.admin
    .begin(async (tx) => {
      await tx`select pg_current_xact_id()`;
      await tx`select * from gsv_ledger.outbox_claim('x', 60, now())`;
    })
    .catch((error: unknown) => String(error));
  assert.match(String(refused), 'must be the first');
});
