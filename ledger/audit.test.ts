import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { line, openBook } from '../hack/testing/book.ts';
import { audit } from './audit.ts';

/** What somebody with the disk in his hands could do, and what the audit must say about it. */
const tamperings = [
  { what: 'update journal set entries[6] = entries[6] + 7 where id = 1', says: /transaction_1 sums to 7.*entry_2/ },
  { what: "update journal set entries = '{}' where id = 2", says: /transaction_2 has no entries/ },
  { what: 'delete from journal where id = 2', says: /link_2 is not what transaction_2/ },
  { what: 'update wallets set available = available + 5', says: /acme\.main\/available holds 75, its entries say 70/ },
  { what: 'update wallets set debt = 3', says: /acme\.main\/debt holds -3, its entries say 0/ },
  {
    what: 'update grants set remaining = remaining + 1, spent = spent - 1',
    says: /grant_1 of acme\.main: remaining is 91/,
  },
  { what: 'update grants set held = held - 1', says: /grant_1: held is 19, open holds reserve 20/ },
  {
    what: 'update holds set reserved[2] = reserved[2] + 1',
    says: /hold_1 is open and should reserve 20; its grants say 21/,
  },
  { what: "update holds set state = 'voided', ended_at = now()", says: /hold_1 is voided and should reserve 0/ },
  // What the row of a booking says beside its entries.
  { what: 'update journal set answered = 9 where id = 2', says: /link_2 is not what transaction_2/ },
  { what: 'update journal set key = gen_random_uuid() where id = 2', says: /link_2 is not what transaction_2/ },
  { what: 'update journal set payload = gen_random_uuid() where id = 3', says: /link_3 is not what transaction_3/ },
  { what: 'update journal set partial = true where id = 2', says: /link_2 is not what transaction_2/ },
  { what: `update journal set lines = '[["x", 1, 10]]' where id = 2`, says: /link_2 is not what transaction_2/ },
  { what: `update journal set context = '{"runId": "x"}' where id = 2`, says: /link_2 is not what transaction_2/ },
  { what: 'update journal set first_entry = 9 where id = 2', says: /link_2 is not what transaction_2/ },
  { what: "update journal set entry_ids = '{8,9}' where id = 2", says: /link_2 is not what transaction_2/ },
  // What no sum can show: who was charged, when, for which reason, and two entries that trade places.
  {
    what: "update journal set at = at + interval '1 second' where id = 2",
    says: /link_2 is not what transaction_2/,
  },
  { what: "update journal set operation = 'x' where id = 2", says: /link_2 .*entry_3 to entry_4 of acme\.main/ },
  { what: "update journal set reason = 'x' where id = 3", says: /link_3 is not what transaction_3/ },
  {
    what: 'update journal set entries[3] = -entries[3], entries[6] = -entries[6] where id = 2',
    says: /link_2 is not what transaction_2 to transaction_2 say \(entry_3 to entry_4 of acme\.main\)/,
  },
  { what: "update chain set digest = sha256('x') where link = 2", says: /link_3 is not what transaction_3/ },
  { what: 'delete from chain where link = 2', says: /link_3 follows link_1/ },
  { what: 'delete from chain where link = 3', says: /transaction_3 is in no link/ },
  { what: "insert into chain values (4, '{[2,3)}', sha256('x'))", says: /name 3 transactions, 1 of them twice/ },
  { what: 'update journal set entries[1] = 999 where id = 2', says: /entry_3 of transaction_2 names account 999/ },
  { what: 'update journal set entries[2] = 999 where id = 2', says: /entry_3 of transaction_2 .* grant_999/ },
  { what: 'update journal set hold_id = 999 where id = 3', says: /transaction_3 names .* not there/ },
  { what: 'update journal set wallet_id = 999 where id = 2', says: /transaction_2 names a wallet/ },
  { what: 'update journal set receipt_id = null where id = 2', says: /transaction_2 is a debit without a receipt/ },
  { what: 'update holds set receipt_id = 999', says: /hold_1 names a wallet or receipt/ },
  { what: 'update holds set reserved[1] = 999', says: /hold_1 reserves of grant_999/ },
  {
    what: `update journal set lines = '[["run", 1, 11]]' where id = 2`,
    says: /receipt_1 charges 10; its lines say 11/,
  },
  { what: 'update chain set format = 1 where link = 2', says: /link_2 is not what transaction_2/ },
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
