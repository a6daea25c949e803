import { after, before, test } from 'node:test';
import * as assert from 'uvu/assert';
import { startTestLedger, type TestLedger } from '../hack/testing/ledger.ts';

let ledger: TestLedger;
before(async () => {
  ledger = await startTestLedger();
});
after(() => ledger.close());

test('open wallets are listed by age with their owners, page by page; closed ones are not', async () => {
  const names = Array.from({ length: 103 }, (_, index) => `org.w${index}`);
  for (const [index, name] of names.entries()) await ledger.client.putWallet(name, { ownerUid: `uid-${index}` });
  await ledger.client.closeWallet('org.w1', {}, 'close-1');
  const seen: { wallet: string; ownerUid?: string }[] = [];
  let pages = 0;
  for (let cursor: string | undefined; ; ) {
    const page = await ledger.client.listWallets({ cursor });
    pages += 1;
    seen.push(...page.items);
    if (page.next === null) break;
    cursor = page.next;
  }
  assert.is(pages, 2);
  assert.equal(
    seen.map(({ wallet }) => wallet),
    names.filter((name) => name !== 'org.w1'),
  );
  assert.equal(seen[0], { wallet: 'org.w0', ownerUid: 'uid-0' });
});
