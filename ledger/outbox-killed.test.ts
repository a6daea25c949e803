/** The ledger dies where it costs most: OpenMeter has a batch, and nothing in the book says so yet. */
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { startOpenMeter } from '../hack/openmeter/server.ts';
import { createTestDatabase } from '../hack/testing/postgres.ts';
import { type OurProcess, startProcess } from '../hack/testing/process.ts';
import { LedgerOperations } from './operations.ts';

const KILLS = 2;
const DEBITS = 25;

test(`killed ${KILLS} times after a batch was taken, OpenMeter has every line, and each once`, async () => {
  const database = await createTestDatabase();
  const openmeter = await startOpenMeter();
  const operations = new LedgerOperations(database.sql);
  let ledger: OurProcess | undefined;
  let kills = 0;
  openmeter.taken = async () => {
    if (kills === KILLS) return;
    kills += 1;
    ledger?.child.kill('SIGKILL');
    await ledger?.ended;
  };
  try {
    await operations.putWallet('acme.main', { ownerUid: 'u' });
    await operations.grant('acme.main', { amount: 1_000, kind: 'manual' }, { key: 'g' });
    for (let life = 0; life <= KILLS; life += 1) {
      for (let i = 0; i < DEBITS; i += 1) {
        const lines = [{ dimension: 'run', units: 1, amount: 1 }];
        await operations.debit({ wallet: 'acme.main', lines }, { key: `${life}-${i}` });
      }
      // The lease of the dead one runs out, which takes a minute outside of a test.
      await database.admin`update gsv_ledger.outbox set lease_until = ${new Date(0)} where holder is not null`;
      ledger = startProcess('ledger/main.ts', {
        ...{ GSV_LEDGER_DATABASE_URL: database.url, GSV_LEDGER_PORT: '0', GSV_LEDGER_TOKEN: 'development-token' },
        GSV_OPENMETER_URL: openmeter.url,
      });
      if (life < KILLS) assert.is(await ledger.ended, 'SIGKILL');
    }
    while (openmeter.events.length < DEBITS * (KILLS + 1)) await delay(20);
    const position = async (): Promise<number> => {
      const [row] = await database.sql<{ position: number }[]>`
        select position::float8 as position from gsv_ledger.outbox`;
      return row?.position ?? 0;
    };
    while ((await position()) < DEBITS * (KILLS + 1)) await delay(20);
    assert.is(await ledger?.stop(), 0);
    assert.is(kills, KILLS, 'the faults fired');
    assert.is(openmeter.events.length, DEBITS * (KILLS + 1));
    assert.ok(openmeter.arrived > openmeter.events.length, 'what was taken and not noted was sent again');
  } finally {
    ledger?.child.kill('SIGKILL');
    await openmeter.close();
    await database.close();
  }
});
