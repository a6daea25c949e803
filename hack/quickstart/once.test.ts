import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import * as assert from 'uvu/assert';
import {
  dataFolder,
  type Finished,
  type LastLine,
  onceQuickstart,
  recordedOrder,
  removeFolders,
} from '../testing/quickstart.ts';
import { PHASES } from './phases.ts';

const CREDIT = 1_000_000;
/** One folder for all: the orders are different ones, and a newcomer does the same. */
const data = dataFolder();
after(removeFolders);

const SUCCESS = ['ok', 'phases', 'instance', 'commit', 'contractDigest', 'receipt', 'balanceMicrocredits', 'totalMs'];
const FAILURE = ['ok', 'failedPhase', 'error', 'phases', 'totalMs'];

function assertPhases({ phases, totalMs }: LastLine, names: readonly string[]): void {
  assert.equal(
    phases.map(({ name }) => name),
    names,
  );
  for (const { name, ms } of phases) assert.ok(Number.isInteger(ms) && ms >= 0, `${name} ${ms}`);
  assert.ok(phases.reduce((sum, { ms }) => sum + ms, 0) <= totalMs + phases.length);
  assert.ok(Number.isInteger(totalMs) && totalMs > 0);
}

/** The promise of `--once`, to the letter. */
function assertReceipt({ code, last }: Finished): LastLine & { receipt: NonNullable<LastLine['receipt']> } {
  assert.is(code, 0, JSON.stringify(last));
  assert.equal(Object.keys(last), SUCCESS);
  assert.is(last.ok, true);
  assertPhases(last, PHASES);
  assert.match(last.instance ?? '', /^acme\/claims-agent-[0-9a-f]{8}$/);
  assert.match(last.commit ?? '', /^[0-9a-f]{40}$/);
  assert.match(last.contractDigest ?? '', /^sha256:[0-9a-f]{64}$/);
  const { receipt } = last;
  if (receipt === null) throw new Error('there is no receipt');
  assert.equal(Object.keys(receipt), ['id', 'amountMicrocredits', 'lines']);
  for (const line of receipt.lines) assert.equal(Object.keys(line), ['dimension', 'units', 'amountMicrocredits']);
  assert.is(
    receipt.lines.reduce((sum, line) => sum + line.amountMicrocredits, 0),
    receipt.amountMicrocredits,
  );
  assert.ok(receipt.lines.some(({ dimension, units }) => dimension === 'run' && units === 1));
  return { ...last, receipt };
}

let balance = 0;
const receipts = new Set<string>();

test('the sample order becomes a receipt, and the balance is what was bought less what was used', async () => {
  const last = assertReceipt(await onceQuickstart([], data));
  assert.is(last.balanceMicrocredits, 3_500 * CREDIT - last.receipt.amountMicrocredits);
  balance = last.balanceMicrocredits;
  receipts.add(`${last.instance} ${last.receipt.id}`);
});

test('a second start goes on with the same data: the order is a repeat, the Instance the same, the receipt a new one', async () => {
  const [first = ''] = receipts;
  const last = assertReceipt(await onceQuickstart([], data));
  assert.is(last.instance, first.split(' ')[0]);
  assert.is.not(last.receipt.id, first.split(' ')[1]);
  assert.is(last.balanceMicrocredits, balance - last.receipt.amountMicrocredits);
  balance = last.balanceMicrocredits;
});

const ORDERS: [base: string, credits: number, instances: number][] = [
  ['01-order21-fully-paid', 2_500 + 3 * 1_000, 1],
  ['01-order21-fully-paid-typed', 0, 1],
  ['05-order22-fully-paid', 2 * 500, 2],
  ['07-order23-fully-paid', 500 + 1_000, 1],
  ['12-order28-fully-paid', 500, 1],
];

for (const [base, credits, instances] of ORDERS) {
  test(`the recorded delivery ${base} brings ${credits} credits and runs the first of ${instances} Instances`, async () => {
    const finished = await onceQuickstart(recordedOrder(base), data);
    const last = assertReceipt(finished);
    assert.is(last.balanceMicrocredits, balance + credits * CREDIT - last.receipt.amountMicrocredits);
    balance = last.balanceMicrocredits;
    assert.match(finished.stdout, `${instances} Instance(s) ready, ${last.instance}`);
  });
}

test('--flow runs that flow for an order of its own, and says so when an earlier order cannot use it', async () => {
  const flow = join(import.meta.dirname, '../../config/flows/underwriting-desk.json');
  const first = assertReceipt(await onceQuickstart(['--flow', flow], data));
  const [sample = ''] = receipts;
  assert.is.not(first.instance, sample.split(' ')[0]);
  assert.is(first.balanceMicrocredits, balance + 3_500 * CREDIT - first.receipt.amountMicrocredits);
  balance = first.balanceMicrocredits;
  const { code, last } = await onceQuickstart(['--flow', flow, ...recordedOrder('12-order28-fully-paid')], data);
  assert.equal([code, last.failedPhase, last.error.code], [1, 'run', 'flow_not_used']);
  assert.match(last.error.message, 'keeps version 1.0.0');
});

test('an order of packs alone ends after the credits', async () => {
  const { code, last } = await onceQuickstart(recordedOrder('15-order27-credit-pack-only'), data);
  assert.is(code, 0);
  assert.equal(Object.keys(last), SUCCESS);
  assertPhases(last, ['order', 'credits']);
  assert.equal(
    [last.ok, last.instance, last.commit, last.contractDigest, last.receipt],
    [true, null, null, null, null],
  );
  assert.is(last.balanceMicrocredits, balance + 1_000 * CREDIT);
});

/** The recorded order 12 with one byte of its body changed. */
function forged(): string[] {
  const [, base = '', , jwks = ''] = recordedOrder('12-order28-fully-paid');
  const copy = join(dataFolder(), 'forged');
  copyFileSync(`${base}.head`, `${copy}.head`);
  const raw = readFileSync(`${base}.body`);
  const at = raw.indexOf('"quantity": 1') + '"quantity": '.length;
  raw[at] = '9'.charCodeAt(0);
  writeFileSync(`${copy}.body`, raw);
  return ['--order', copy, '--jwks', jwks];
}

test('an order whose paid time is over is told at once, by the phase funded', async () => {
  const later = { GSV_TEST_TODAY: '2028-01-01T00:00:00Z' };
  const { code, last } = await onceQuickstart(recordedOrder('12-order28-fully-paid'), dataFolder(), later);
  assert.is(code, 1);
  assert.equal([last.failedPhase, last.error.code], ['funded', 'FulfilmentExpired']);
  assert.match(last.error.message, 'replay a newer order');
});

const FAILURES: [reason: string, order: () => string[], code: string, says: string][] = [
  ['forged', forged, 'signature_invalid', 'the signature does not verify'],
  ['unpaid and cancelled', () => recordedOrder('11-order24-cancelled-unpaid'), 'no_effect', 'ignored'],
  ['no order at all', () => recordedOrder('16-product-updated'), 'no_effect', 'ignored'],
  [
    'a refund',
    () => recordedOrder('02-order21-partially-refunded'),
    'no_effect',
    'order_refunded was stored as pending',
  ],
  ['signed with a shared key', () => recordedOrder('01-order21-fully-paid-hmac'), 'signature_unsupported', 'secretKey'],
  ['a legacy payload', () => recordedOrder('01-order21-fully-paid-legacy'), 'legacy_payload', 'query'],
];

for (const [reason, order, code, says] of FAILURES) {
  test(`a delivery that takes no effect fails in the phase order: ${reason}`, async () => {
    const finished = await onceQuickstart(order(), data);
    assert.is(finished.code, 1);
    assert.equal(Object.keys(finished.last), FAILURE);
    assert.equal(
      [finished.last.ok, finished.last.failedPhase, finished.last.error.code, finished.last.phases],
      [false, 'order', code, []],
    );
    assert.match(finished.last.error.message, says);
  });
}
