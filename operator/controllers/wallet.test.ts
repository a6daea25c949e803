import { test } from 'node:test';
import * as assert from 'uvu/assert';
import { NS, World } from '../../hack/testing/operator/world.ts';
import { LedgerError } from '../../ledger/client.ts';

const KEY = { namespace: NS, name: 'main' };

async function withWallet(run: (world: World) => Promise<void>): Promise<void> {
  const world = await World.open();
  try {
    await world.start();
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
    await world.apply('Wallet', KEY, {
      lowBalanceThresholdsMicrocredits: [1000],
      debtPolicy: { floorMicrocredits: -500, newCredits: 'StayAvailable' },
      monthlyCaps: [{ project: 'default', capMicrocredits: 9000 }],
    });
    await run(world);
  } finally {
    await world.close();
  }
}

test('a Wallet opens the ledger’s wallet of its uid with its policy', () =>
  withWallet(async (world) => {
    const { metadata } = await world.get('Wallet', KEY);
    assert.equal(world.ledger.wallets.get('acme.main')?.body, {
      ownerUid: metadata.uid,
      debtPolicy: { floor: -500, repayFirst: false },
      thresholds: [1000],
      caps: [{ project: 'default', amount: 9000 }],
    });
    assert.is(await world.condition('Wallet', KEY), 'True/Succeeded');
  }));

test('a policy that the ledger refuses needs a person, who finds its words in the condition', async () => {
  const world = await World.open();
  const refuse = async (): Promise<never> => {
    throw new LedgerError(422, 'invalid_request', 'debtPolicy.floor is too low', {});
  };
  try {
    await world.start((doors) => ({
      ...doors,
      ledger: new Proxy(doors.ledger, {
        get: (target, property) =>
          property === 'putWallet' ? refuse : Reflect.get(target, property, target)?.bind?.(target),
      }),
    }));
    await world.apply('Organization', { name: 'acme' }, { display: { title: 'Acme' } });
    await world.apply('Wallet', KEY, {});
    assert.is(await world.condition('Wallet', KEY, 'Stalled'), 'True/WalletInvalid');
    const { status } = await world.get('Wallet', KEY);
    assert.match(status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? '', 'debtPolicy.floor');
  } finally {
    await world.close();
  }
});

test('the balance snapshot shows the first money at once, then follows the ledger at most once a minute', () =>
  withWallet(async (world) => {
    const available = async () => (await world.get('Wallet', KEY)).status?.balance?.availableMicrocredits;
    await world.advance(30_000);
    for (const amount of [10, 20, 30]) {
      world.ledger.credit('acme.main', amount);
      world.ledger.emit('wallet.recovered', 'acme.main');
      await world.settle();
    }
    assert.is(await available(), 10);
    await world.advance(59_000);
    assert.is(await available(), 10);
    await world.advance(1_000);
    assert.is(await available(), 30);
  }));

test('a Wallet with money does not go; empty it is closed and goes', () =>
  withWallet(async (world) => {
    world.ledger.credit('acme.main', 5);
    await world.delete('Wallet', KEY);
    assert.is(await world.condition('Wallet', KEY), 'False/WalletNotEmpty');
    const { status } = await world.get('Wallet', KEY);
    assert.is(status?.balance?.availableMicrocredits, 5, 'what keeps it is shown beside it');
    world.ledger.credit('acme.main', 0);
    await world.advance(15_000);
    assert.is(await world.store.get('Wallet', KEY), undefined);
    assert.is(world.ledger.wallets.get('acme.main')?.state, 'closed');
  }));

test('a name whose ledger wallet belongs to an earlier object is refused, and its money is safe from our deletion', () =>
  withWallet(async (world) => {
    await world.ledger.putWallet('acme.old', { ownerUid: 'somebody' });
    const key = { namespace: NS, name: 'old' };
    await world.apply('Wallet', key, {});
    assert.is(await world.condition('Wallet', key, 'Stalled'), 'True/WalletOwnerMismatch');
    await world.delete('Wallet', key);
    assert.is(await world.store.get('Wallet', key), undefined);
    assert.is(world.ledger.wallets.get('acme.old')?.state, 'open');
  }));

test('while the ledger is away nothing is lost, and it goes on by itself', () =>
  withWallet(async (world) => {
    world.ledger.unavailable = true;
    const key = { namespace: NS, name: 'second' };
    await world.apply('Wallet', key, {});
    assert.is(await world.condition('Wallet', key), 'False/LedgerUnavailable');
    assert.is(await world.condition('Wallet', key, 'Reconciling'), 'True/ProgressingWithRetry');
    world.ledger.unavailable = false;
    await world.advance(2_000);
    assert.is(await world.condition('Wallet', key), 'True/Succeeded');
  }));
