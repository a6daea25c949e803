/** The drift report: silent while all agree, and each class of difference is named, alone and by its name. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { createLogger } from '../config/log.ts';
import { type FakeOpenMeter, startOpenMeter, type TakenEvent } from '../hack/openmeter/server.ts';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import { type DriftQuery, type DriftReply, drift } from './drift.ts';
import { DRIFT_KINDS, type DriftKind } from './drift-kinds.ts';
import { driftArguments, driftText } from './drift-report.ts';
import { OpenMeter, OpenMeterError } from './openmeter.ts';
import { Outbox } from './outbox.ts';
import { sendRound } from './outbox-sender.ts';

interface Setup {
  book: Book;
  openmeter: FakeOpenMeter;
  send(): Promise<void>;
  report(query?: DriftQuery): Promise<DriftReply>;
}

const log = createLogger({ part: 'test', level: 'silent' as 'fatal' });
const observer = { sent: () => undefined, failed: () => undefined };

/** Two wallets with runs and debits on two days, all of it told. The book is not audited at the end: it is damaged. */
async function within(check: (setup: Setup) => Promise<void>): Promise<void> {
  const book = await openBook();
  const openmeter = await startOpenMeter();
  const client = new OpenMeter({ url: openmeter.url });
  const outbox = new Outbox(book.database.sql, { now: () => new Date(book.at(0)) });
  openmeter.meters = { gsv_credits: ({ data }) => Number(data.amount), gsv_units: ({ data }) => Number(data.units) };
  const send = async (): Promise<void> => {
    for (let looks = 0; looks < 3; )
      if (!(await sendRound('one', { outbox, openmeter: client, observer, log }))) looks += 1;
  };
  try {
    for (const wallet of ['acme.main', 'acme.other']) {
      await book.wallet(wallet, 1_000);
      for (const [runId, amount] of [
        ['first', 12],
        ['second', 7],
      ] as const) {
        const hold = await book.hold(wallet, 20, { context: { runId: `${wallet}-${runId}` } });
        await book.operations.capture(hold, { lines: [line(amount), line(0, 'input-token')] }, book.key());
        book.pass(86_400);
      }
      await book.operations.debit({ wallet, lines: [line(3, 'stored-byte-hour')] }, book.key());
      const voided = await book.hold(wallet, 5);
      await book.operations.voidHold(voided, {}, book.key());
    }
    await send();
    const report = (query: DriftQuery = {}) =>
      drift(query, { sql: book.database.sql, openmeter: client, secondLookMs: 0 });
    await check({ book, openmeter, send, report });
  } finally {
    await client.close();
    await openmeter.close();
    await book.database.close();
  }
}

/** Writes past every guard, as somebody with the disk in his hands would. */
function tamper(book: Book, ...statements: string[]): Promise<unknown> {
  return book.database.admin.begin(async (tx) => {
    await tx`set local search_path = gsv_ledger`;
    await tx`set local session_replication_role = replica`;
    for (const statement of statements) await tx.unsafe(statement);
  });
}

const METERS = { meter: 'gsv_credits', unitsMeter: 'gsv_units' };
const event = ({ openmeter }: Setup, receipt: string): TakenEvent => {
  const found = openmeter.events.find(({ data }) => data.receipt === receipt);
  assert.ok(found);
  return found as TakenEvent;
};

test('nothing differs while ledger, runs and OpenMeter agree', () =>
  within(async ({ report }) => {
    const whole = await report(METERS);
    assert.equal(whole.differences, []);
    assert.ok(whole.ok);
    assert.equal(whole.ledger, { receipts: 6, runs: 4, amount: 44 });
    assert.equal(whole.openmeter, { events: 10, amount: 44, waiting: 0 });
    const one = await report({
      ...METERS,
      wallet: 'acme.main',
      from: '2026-06-16T00:00:00Z',
      to: '2026-06-18T00:00:00Z',
    });
    assert.equal(one.differences, []);
    assert.equal(one.ledger, { receipts: 2, runs: 1, amount: 10 });
    assert.equal(one.openmeter, { events: 3, amount: 10, waiting: 0 });
  }));

test('what is not sent yet, not stored yet, or of an open hold is no difference', () =>
  within(async ({ book, openmeter, send, report }) => {
    const hold = await book.hold('acme.main', 20);
    await book.operations.capture(hold, { lines: [line(5)], final: false }, book.key());
    await send();
    await book.operations.debit({ wallet: 'acme.main', lines: [line(1)] }, book.key());
    const late = openmeter.events.at(-1);
    openmeter.unstored = (taken) => taken === late && openmeter.listed === 1;
    const { differences, openmeter: sums } = await report(METERS);
    assert.ok(openmeter.listed > 2, 'there was a second look');
    assert.equal(differences, []);
    assert.is(sums?.waiting, 2);
    openmeter.unstored = (taken) => taken === late;
    assert.equal((await report()).counts, { event_missing: 1 }, 'control: it never comes');
  }));

test('events of another book and of others’ sources are not ours to judge', () =>
  within(async (setup) => {
    setup.openmeter.events.push({ ...event(setup, 'receipt_1'), source: '/gsv/ledger/another', id: 'x' });
    assert.equal((await setup.report()).differences, []);
  }));

/** Each plants one thing; `name` is what the report must name. */
const PLANTED: Record<DriftKind, { name: string | RegExp; plant: (setup: Setup) => Promise<unknown> }> = {
  hold_without_receipt: {
    name: 'hold_7',
    plant: async ({ book, send }) => {
      const hold = await book.hold('acme.main', 5);
      await book.operations.capture(hold, { lines: [] }, book.key());
      await send();
      await tamper(book, `delete from journal where receipt_id is not null and hold_id = ${hold.slice(5)}`);
    },
  },
  hold_with_several_receipts: {
    name: 'hold_1',
    plant: ({ book }) =>
      tamper(
        book,
        `insert into journal (wallet_id, at, receipt_id, hold_id, operation, lines)
          select wallet_id, at, 7, hold_id, operation, '[]' from journal where receipt_id = 1`,
      ),
  },
  hold_amount_differs: {
    name: 'hold_2',
    plant: ({ book }) => tamper(book, 'update holds set captured = captured + 1 where id = 2'),
  },
  receipt_of_no_run: {
    name: 'receipt_7',
    plant: ({ book }) =>
      tamper(
        book,
        `insert into journal (wallet_id, at, receipt_id, hold_id, operation, lines)
          select wallet_id, at, 7, 99, operation, '[]' from journal where receipt_id = 1`,
      ),
  },
  receipt_lines_differ: {
    name: 'receipt_3',
    plant: ({ book }) => tamper(book, 'update journal set entries[3] = -4, entries[6] = 4 where receipt_id = 3'),
  },
  run_charged_twice: {
    name: 'acme.main-first',
    plant: async ({ book, send }) => {
      const hold = await book.hold('acme.main', 20, { context: { runId: 'acme.main-first' } });
      await book.operations.capture(hold, { lines: [line(12)] }, book.key());
      await send();
    },
  },
  event_missing: {
    name: /^receipt_3\.1@/,
    plant: async (setup) => {
      setup.openmeter.events.splice(setup.openmeter.events.indexOf(event(setup, 'receipt_3')), 1);
    },
  },
  event_refused: {
    name: /^receipt_7\.1@/,
    plant: async ({ book, openmeter, send }) => {
      openmeter.refuse = () => true;
      await book.operations.debit({ wallet: 'acme.main', lines: [line(1)] }, book.key());
      await send();
    },
  },
  event_differs: {
    name: /^receipt_3\.1@/,
    plant: async (setup) => {
      event(setup, 'receipt_3').data.units = 1_000;
    },
  },
  event_unknown: {
    name: 'receipt_99.1@1',
    plant: async (setup) => {
      const known = event(setup, 'receipt_3');
      setup.openmeter.events.push({ ...known, id: 'receipt_99.1@1' });
    },
  },
  event_not_counted: {
    name: /^receipt_3\.1@/,
    plant: async (setup) => {
      setup.openmeter.invalid = ({ data }) => (data.receipt === 'receipt_3' ? 'no meter found' : undefined);
    },
  },
  meter_differs: {
    name: 'gsv_credits',
    plant: async ({ openmeter }) => {
      openmeter.meters.gsv_credits = ({ data }) => (data.receipt === 'receipt_3' ? 0 : Number(data.amount));
    },
  },
};

for (const [kind, { name, plant }] of Object.entries(PLANTED)) {
  test(`${kind} is named, and nothing else`, () =>
    within(async (setup) => {
      await plant(setup);
      const report = await setup.report({ meter: kind === 'meter_differs' ? 'gsv_credits' : undefined });
      assert.is(report.ok, false);
      assert.equal(report.counts, { [kind]: 1 });
      const [found] = report.differences;
      if (typeof name === 'string') assert.is(found?.name, name);
      else assert.match(String(found?.name), name);
      const text = driftText(report);
      assert.ok(
        text.includes(`${kind} (1): ${DRIFT_KINDS[kind as DriftKind]}`) && text.includes(String(found?.name)),
        text,
      );
      if (found?.wallet === undefined) return;
      const elsewhere = await setup.report({ wallet: 'acme.other' });
      assert.ok(elsewhere.ok || found.wallet === 'acme.other', JSON.stringify(elsewhere.differences));
    }));
}

const OTHER_VALUES: [reason: string, changed: Partial<TakenEvent>, says: string][] = [
  [
    'another amount',
    { data: { receipt: 'receipt_3', dimension: 'stored-byte-hour', units: 1, amount: 4 } },
    'amount: ',
  ],
  ['another dimension', { data: { receipt: 'receipt_3', dimension: 'run', units: 1, amount: 3 } }, 'dimension: '],
  ['another subject', { subject: 'evil.main' }, 'subject: '],
];

for (const [reason, changed, says] of OTHER_VALUES) {
  test(`${reason} is a difference that says what differs`, () =>
    within(async (setup) => {
      Object.assign(event(setup, 'receipt_3'), changed);
      const { differences } = await setup.report();
      assert.equal(
        differences.map(({ kind }) => kind),
        ['event_differs'],
      );
      assert.ok(differences[0]?.detail.startsWith(says), differences[0]?.detail);
    }));
}

test('a period of many receipts, many of one moment, is compared in stretches without a hole', () =>
  within(async ({ book, openmeter, send, report }) => {
    // More of one millisecond than one stretch has, then some of later ones.
    for (let i = 0; i < 4_500; i += 100) {
      await Promise.all(
        Array.from({ length: 100 }, () => book.operations.debit({ wallet: 'acme.main', lines: [line(0)] }, book.key())),
      );
      if (i >= 3_000) book.pass(1);
    }
    await send();
    assert.is(openmeter.events.length, 4_510);
    assert.equal((await report()).counts, {});
    openmeter.events.splice(4_000, 1);
    openmeter.events.splice(2_000, 1);
    assert.equal((await report()).counts, { event_missing: 2 });
  }));

test('without OpenMeter the runs are compared all the same, and the report says so', () =>
  within(async ({ book }) => {
    await tamper(book, 'update holds set captured = captured + 1 where id = 2');
    const report = await drift({}, { sql: book.database.sql });
    assert.equal(report.counts, { hold_amount_differs: 1 });
    assert.is(report.openmeter, null);
    assert.match(driftText(report), 'OpenMeter: not compared');
  }));

test('an OpenMeter that cannot be read is an error and no report', () =>
  within(async ({ openmeter, report }) => {
    openmeter.token = 'needed';
    const error = await report().catch((cause: unknown) => cause);
    assert.instance(error, OpenMeterError);
    openmeter.token = undefined;
    assert.instance(await report({ meter: 'unknown' }).catch((cause: unknown) => cause), OpenMeterError);
  }));

test('the arguments of the command', () => {
  const query = driftArguments([
    '--from',
    '2026-10-01',
    '--to',
    '2026-11-01T02:00:00+02:00',
    '--wallet',
    'acme.main',
    '--json',
  ]);
  assert.is(query.from, '2026-10-01T00:00:00.000Z');
  assert.is(query.to, '2026-11-01T00:00:00.000Z');
  assert.equal([query.wallet, query.json], ['acme.main', true]);
  for (const wrong of [['--from', 'yesterday'], ['--to', '2026-13-01'], ['--since', '2026-10-01'], ['acme.main']]) {
    assert.throws(() => driftArguments(wrong), undefined, wrong.join(' '));
  }
});

test('the documentation names every kind with its meaning', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/openmeter.md'), 'utf8');
  for (const [kind, meaning] of Object.entries(DRIFT_KINDS))
    assert.ok(page.includes(`| \`${kind}\` | ${meaning} |`), kind);
});
