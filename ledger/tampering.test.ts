/** A superuser without triggers changes the book: what the audit says about each column, and what it cannot see. */
import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import { afterTampering, tamperings } from '../hack/testing/tampering.ts';
import { audit } from './audit.ts';
import { checkHead, parseHead } from './audit-head.ts';
import type { LedgerSql } from './database.ts';

/** Tables that say nothing about money. */
const NOT_OF_THE_BOOK = new Set(['inbox', 'outbox', 'outbox_receipts', 'consumers', 'fencing', 'migrations']);

/** What nothing else in the book says, hence what the audit cannot see, and why; told in docs/ledger.md. */
const BLIND: Record<string, string> = {
  'events.at': 'only expired holds, first receipts and revocations are compared with the book',
  'events.data': 'as events.at',
  'events.type': 'as events.at',
  'events.wallet_id': 'as events.at',
  'events: delete': 'as events.at',
  'fulfilments.offering': 'a fact beside the money: no booking says it',
  'fulfilments.plan': 'a fact beside the money: no booking says it',
  'fulfilments.line': 'a fact beside the money: no booking says it',
  'fulfilments.ordinal': 'a fact beside the money: no booking says it',
  'fulfilments.sku': 'a fact beside the money: no booking says it',
  'fulfilments.instance_uid': 'a fact beside the money: no booking says it',
  'fulfilments.claimed_at': 'a fact beside the money: no booking says it',
  'fulfilments.paid_through': 'a fact beside the money: no booking says it',
  'fulfilments.renews': 'a fact beside the money: no booking says it',
  'grants.expires_at': 'terms, given once: no booking says them',
  'grants.offerings': 'terms, given once: no booking says them',
  'grants.priority': 'terms, given once: no booking says them',
  'grants.projects': 'terms, given once: no booking says them',
  'grants.source': 'terms, given once: no booking says them',
  'holds.context': 'what a run was, not what it cost',
  'holds.expires_at': 'what a run was, not what it cost',
  'holds.instance_uid': 'what a run was, not what it cost',
  'holds.reason': 'what a run was, not what it cost',
  'holds.result_ref': 'what a run was, not what it cost',
  'holds.run_id': 'what a run was, not what it cost',
  'idempotency.at': 'a remembered reply; a key that is lost lets its call have an effect again',
  'idempotency.body': 'a remembered reply; a key that is lost lets its call have an effect again',
  'idempotency.key': 'a remembered reply; a key that is lost lets its call have an effect again',
  'idempotency.operation': 'a remembered reply; a key that is lost lets its call have an effect again',
  'idempotency.owner_uid': 'a remembered reply; a key that is lost lets its call have an effect again',
  'idempotency.payload_hash': 'a remembered reply; a key that is lost lets its call have an effect again',
  'idempotency.status': 'a remembered reply; a key that is lost lets its call have an effect again',
  'idempotency: copy': 'as idempotency.key',
  'idempotency: delete': 'as idempotency.key',
  'idempotency: exchange': 'as idempotency.key',
  'order_settlements.as_of': "the shop's word about a date",
  'order_settlements: copy': 'a word about an order that is not known yet is in order',
  'wallets.caps': 'what an operator may set, not what was booked',
  'wallets.floor': 'what an operator may set, not what was booked',
  'wallets.name': 'what an operator may set, not what was booked',
  'wallets.owner_uid': 'what an operator may set, not what was booked',
  'wallets.repay_first': 'what an operator may set, not what was booked',
  'wallets.thresholds': 'what an operator may set, not what was booked',
  'wallets.created_at': 'what an operator may set, not what was booked',
  'wallets.closed_at': 'what an operator may set, not what was booked',
};

let book: Book;
before(async () => {
  book = await openBook();
  await fill(book);
});
after(() => book.close());

/** At least two rows of every table, and of every operation one. */
async function fill({ operations, key, at, pass }: Book): Promise<void> {
  const caps = [{ project: 'p', amount: 400 }];
  for (const name of ['a', 'b']) await book.wallet(name, 500, { debtPolicy: { floor: -100 }, thresholds: [100], caps });
  for (const [n, wallet] of ['a', 'b'].entries()) {
    const grants = [{ amount: 100 + 20 * n, kind: 'included' as const, scope: { offerings: ['x'], projects: ['p'] } }];
    const unit = { shop: 's', order: `o-${wallet}`, line: `l-${wallet}`, ordinal: 0, sku: 'S', wallet, grants };
    const paid = await operations.recordFulfilment({ ...unit, offering: 'x', plan: 'y', paidThrough: at(100) }, key());
    const renews = { fulfilment: String(paid.body.fulfilment), period: 'Month' as const, from: at(0) };
    await operations.claimFulfilment(renews.fulfilment, { instanceUid: `uid-${wallet}` });
    await operations.recordFulfilment({ ...unit, order: `r-${wallet}`, line: `r-${wallet}`, renews }, key());
    await operations.debit({ wallet, lines: [line(7 + n), line(8, 'token')], project: 'p', context: { a: 1 } }, key());
    const hold = (amount: number, ttlSeconds = 600): Promise<string> =>
      book.hold(wallet, amount, {
        ...{ ttlSeconds, project: 'p', offering: 'x', instanceUid: `uid-${wallet}` },
        context: { runId: `run-${amount}` },
      });
    await operations.capture(await hold(30), { lines: [line(10 + n)], final: false, resultRef: 'r' }, key());
    await operations.capture(await hold(20), { lines: [line(12)], resultRef: 'r' }, key());
    await operations.voidHold(await hold(21), { reason: 'runtime_error' }, key());
    await hold(22, 5);
    const grant = await book.grant(wallet, { amount: 40, expiresAt: at(20) });
    await operations.revokeGrant(grant, { amount: 10 + n, reason: 'correction' }, key());
    const order = { shop: 's', order: `o-${wallet}` };
    await operations.settleOrder(order, { charged: 1, total: 4 }, key());
    await operations.settleOrder(order, { charged: 2 + n, total: 4 }, key());
  }
  pass(30);
  for (const wallet of ['a', 'b']) await book.read(wallet);
  await book.wallet('c', 5);
  await operations.closeWallet('c', { forfeit: true }, key());
}

test('every column of the book, and every row, is found out or known to be unseen', async () => {
  const made = await tamperings(book.database.admin, NOT_OF_THE_BOOK);
  const unseen: string[] = [];
  const count = { found: 0, refused: 0 };
  for (const tampering of made) {
    const after = await afterTampering(book.database.admin, tampering, async (tx) => {
      const here = { begin: (_: string, run: (inner: unknown) => unknown) => run(tx) };
      return await audit(here as unknown as LedgerSql);
    });
    if ('refused' in after) count.refused += 1;
    else if (after.found.ok) unseen.push(tampering.what);
    else {
      count.found += 1;
      // Where to look.
      const first = after.found.problems.find((problem) => !problem.startsWith('the book cannot be read')) ?? '';
      assert.match(
        first,
        /(entry|transaction|grant|hold|receipt|link|event|fulfilment|account|wallet)_?\d|^(a|b|c)[/: ]|order|links name/,
        first,
      );
      assert.ok(after.changed > 0, tampering.what);
    }
  }
  assert.equal(unseen.toSorted(), Object.keys(BLIND).toSorted());
  process.stdout.write(
    `${made.length} tamperings: ${count.found} found by the audit, ${count.refused} refused by the database, ${unseen.length} known to be unseen\n`,
  );
});

test('an end that was cut off, or a book made anew, is found out by a link that was kept elsewhere', async () => {
  const { admin, sql } = book.database;
  const { links, head } = (await audit(sql)).chain;
  assert.equal(parseHead(`${links}:${head}`), { link: links, digest: head });
  for (const wrong of ['', '7', '7:x', `0:${head}`, `${links}:${head}0`]) assert.is(parseHead(wrong), undefined, wrong);
  const known = { link: links, digest: head };
  assert.equal(await checkHead(sql, known), []);
  const look = (statement: string) =>
    afterTampering(admin, { what: '', statement }, (tx) => checkHead(tx as unknown as LedgerSql, known));
  const cut = await look(`delete from chain where link = ${links}`);
  assert.equal('found' in cut && cut.found, [`link_${links} is not there any more: the end of the book was cut off`]);
  const anew = await look(`update chain set digest = sha256('x') where link = ${links}`);
  assert.match('found' in anew ? anew.found.join() : '', /what comes before it has been changed/);
});
