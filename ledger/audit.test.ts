import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { line, openBook } from '../hack/testing/book.ts';
import { audit } from './audit.ts';

/** What somebody with the disk in his hands could do, and what the audit must say about it. */
const tamperings = [
  { what: 'update entries set amount = amount + 7 where id = 2', says: /transaction_1 sums to 7.*entry_2/ },
  { what: 'delete from entries where transaction_id = 2', says: /transaction_2 has no entries/ },
  { what: 'update wallets set available = available + 5', says: /acme\.main\/available holds 75, its entries say 70/ },
  { what: 'update wallets set debt = 3', says: /acme\.main\/debt holds -3, its entries say 0/ },
  {
    what: 'update grants set remaining = remaining + 1, spent = spent - 1',
    says: /grant_1 of acme\.main: remaining is 91/,
  },
  { what: 'update grants set held = held - 1', says: /grant_1: held is 19, open holds reserve 20/ },
  {
    what: 'update hold_grants set amount = amount + 1',
    says: /hold_1 is open and should reserve 20; its grants say 21/,
  },
  { what: "update holds set state = 'voided', ended_at = now()", says: /hold_1 is voided and should reserve 0/ },
  { what: 'update receipts set amount = 9', says: /receipt_1 charges 9; its lines say 10, its entries 10/ },
  // What no sum can show: who was charged, when, for which reason, and two entries that trade places.
  {
    what: "update transactions set at = at + interval '1 second' where id = 2",
    says: /link_2 is not what transaction_2/,
  },
  { what: "update transactions set operation = 'x' where id = 2", says: /link_2 .*entry_3 to entry_4 of acme\.main/ },
  { what: "update transactions set reason = 'x' where id = 3", says: /link_3 is not what transaction_3/ },
  {
    what: 'update entries set amount = -amount where transaction_id = 2',
    says: /link_2 is not what transaction_2 to transaction_2 say \(entry_3 to entry_4 of acme\.main\)/,
  },
  { what: "update chain set digest = sha256('x') where link = 2", says: /link_3 is not what transaction_3/ },
  { what: 'delete from chain where link = 2', says: /link_3 follows link_1/ },
  { what: 'delete from chain where link = 3', says: /transaction_3 is in no link/ },
  { what: "insert into chain values (4, '{[2,3)}', sha256('x'))", says: /name 3 transactions, 1 of them twice/ },
  { what: 'update entries set account_id = 999 where id = 3', says: /entry_3 of transaction_2 names account 999/ },
  { what: 'update entries set grant_id = 999 where id = 3', says: /entry_3 of transaction_2 .* grant_999/ },
  { what: 'update transactions set hold_id = 999 where id = 3', says: /transaction_3 names .* not there/ },
  { what: 'update receipts set wallet_id = 999', says: /receipt_1 names a wallet/ },
  { what: 'delete from receipts', says: /receipt_1 has lines and is not there/ },
  { what: 'update holds set receipt_id = 999', says: /hold_1 names a wallet or receipt/ },
  { what: 'update hold_grants set grant_id = 999', says: /hold_1 reserves of grant_999/ },
  { what: 'update receipt_lines set amount = 11', says: /receipt_1 charges 10; its lines say 11/ },
];

for (const { what, says } of tamperings) {
  test(`the audit finds: ${what}`, async () => {
    const book = await openBook();
    try {
      await book.wallet('acme.main', 100);
      await book.operations.debit({ wallet: 'acme.main', lines: [line(10)] }, book.key());
      await book.hold('acme.main', 20);
      const clean = await audit(book.database.sql);
      assert.equal([clean.ok, clean.checkedEntries, clean.problems], [true, 6, []]);
      await book.database.admin.begin(async (tx) => {
        await tx`set local session_replication_role = replica`;
        await tx`set local search_path = gsv_ledger`;
        await tx.unsafe(what);
      });
      const { ok, problems } = await audit(book.database.sql);
      assert.is(ok, false);
      assert.ok(
        problems.some((problem) => says.test(problem)),
        problems.join('\n'),
      );
    } finally {
      await book.database.close();
    }
  });
}
