/** A month that is over goes to the blob store whole, with the head of the chain, and is never rewritten. */
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { openBlobStore } from '../config/artifacts.ts';
import { type Book, line, openBook } from '../hack/testing/book.ts';
import { ArchiveError, archiveMonth } from './archive.ts';
import { audit } from './audit.ts';

const folder = mkdtempSync(join(tmpdir(), 'gsv-archive-'));
let stores = 0;
/** An empty store. */
const newStore = () => {
  stores += 1;
  return openBlobStore(pathToFileURL(join(folder, String(stores))).href);
};

let book: Book;
before(async () => {
  book = await openBook();
  await book.wallet('acme.main', 0);
  const unit = { shop: 'https://shop.example/', order: 'one', line: 'l', ordinal: 0, sku: 'S', wallet: 'acme.main' };
  await book.operations.recordFulfilment({ ...unit, grants: [{ amount: 100, kind: 'purchased' }] }, book.key());
  book.pass(30 * 86_400);
  await book.operations.debit({ wallet: 'acme.main', lines: [line(7)] }, book.key());
});
after(async () => {
  rmSync(folder, { recursive: true });
  await book.close();
});

const at = (time: string) => () => new Date(time);
const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);

test('it holds every entry of the month and no other, its orders, and the head of the chain', async () => {
  const blobs = newStore();
  const sql = book.database.sql;
  const manifest = await archiveMonth('2026-06', { sql, blobs, now: at('2026-07-01T00:00:00Z') });
  assert.equal(manifest.orders, { orders: 1, unconfirmed: 1, granted: 100, takenBack: 0, kept: 100 });
  assert.equal(
    manifest.accounts.filter(({ change }) => change !== 0).map(({ account, closing }) => [account, closing]),
    [
      ['store/issued', -100],
      ['wallets/available', 100],
    ],
  );
  assert.equal(
    manifest.files.map(({ key }) => key),
    ['orders.csv', 'accounts.csv', 'entries-0001.csv'].map((file) => `ledger/periods/2026-06/${file}`),
  );
  for (const { key, sha256, sizeBytes } of manifest.files) {
    const bytes = (await blobs.get(key)) ?? new Uint8Array();
    assert.equal([createHash('sha256').update(bytes).digest('hex'), bytes.length], [sha256, sizeBytes]);
  }
  const [, ...rows] = text(await blobs.get('ledger/periods/2026-06/entries-0001.csv'))
    .trimEnd()
    .split('\r\n');
  assert.is(rows.length, manifest.entries);
  assert.equal(rows.map((row) => row.split(',').slice(3, 6)).sort(), [
    ['grant', 'acme.main/available', '100'],
    ['grant', 'store/issued', '-100'],
  ]);
  assert.equal(manifest.chain.digest, (await audit(sql)).chain?.head);
  assert.ok(manifest.chain.link >= 2);
});

test('a second time answers the first manifest and rewrites nothing', async () => {
  const blobs = newStore();
  const doors = { sql: book.database.sql, blobs, now: at('2026-09-01T00:00:00Z') };
  const first = await archiveMonth('2026-07', doors);
  assert.is(first.entries, 2);
  await book.grant('acme.main', { amount: 5 });
  assert.equal(await archiveMonth('2026-07', doors), first);
});

const REFUSED: [month: string, reason: string][] = [
  ['2026-07', 'it is not over'],
  ['2026-13', 'there is no such month'],
  ['../2026-06', 'it is no month'],
];

for (const [month, reason] of REFUSED) {
  test(`${month} is not archived: ${reason}`, async () => {
    const blobs = newStore();
    const refused = await archiveMonth(month, {
      sql: book.database.sql,
      blobs,
      now: at('2026-07-31T23:59:59Z'),
    }).catch((error: unknown) => error);
    assert.instance(refused, ArchiveError);
  });
}
