import type { Call, LedgerOperations, OperationResult } from '../../ledger/operations.ts';
import { expectStatus, line } from './book.ts';

/** Longer than any test, so that nothing ends by itself. */
const DAY_SECONDS = 86_400;
const SHOP = 'https://shop.example/graphql/';

/** An operation that is ready to be made, as often as somebody asks for it. */
export type Ready = (operations: LedgerOperations, call: Call) => Promise<OperationResult>;

/** Every kind of operation that moves money or says who may; each time on things of its own. */
export interface MoneyOperation {
  name: string;
  prepare(calm: Calm): Promise<Ready>;
}

/** What an operation finds when it begins, made by a ledger that nobody disturbs. */
export class Calm {
  readonly #operations: LedgerOperations;
  #made = 0;

  constructor(operations: LedgerOperations) {
    this.#operations = operations;
  }

  name(): string {
    this.#made += 1;
    return `org${this.#made}`;
  }

  key(): Call {
    this.#made += 1;
    return { key: `calm-${this.#made}` };
  }

  async wallet(amount = 1_000): Promise<string> {
    const wallet = `${this.name()}.main`;
    await this.#operations.putWallet(wallet, { ownerUid: wallet, debtPolicy: { floor: -100, repayFirst: false } });
    if (amount > 0) await this.grant(wallet, amount);
    return wallet;
  }

  async grant(wallet: string, amount: number): Promise<string> {
    const reply = await this.#operations.grant(wallet, { amount, kind: 'purchased' }, this.key());
    return String(expectStatus(201, reply).grant);
  }

  async hold(amount = 100, ttlSeconds = DAY_SECONDS): Promise<string> {
    const wallet = await this.wallet();
    return String(expectStatus(201, await this.#operations.hold({ wallet, amount, ttlSeconds }, this.key())).hold);
  }

  /** A fulfilled unit with its order. */
  async unit(): Promise<{ wallet: string; order: string; fulfilment: string }> {
    const wallet = await this.wallet(0);
    const order = this.name();
    const reply = await this.#operations.recordFulfilment(unitOf(wallet, order), this.key());
    return { wallet, order, fulfilment: String(expectStatus(201, reply).fulfilment) };
  }

  async settled(): Promise<{ wallet: string; order: string; fulfilment: string }> {
    const unit = await this.unit();
    await this.#operations.settleOrder({ shop: SHOP, order: unit.order }, { charged: 50, total: 100 }, this.key());
    return unit;
  }
}

const unitOf = (wallet: string, order: string) => ({
  ...{ shop: SHOP, order, line: `${order}-line`, ordinal: 0, sku: 'CLAIMS', wallet, offering: 'claims', plan: 'small' },
  ...{ grants: [{ amount: 500, kind: 'included' as const }], paidThrough: '2030-01-31T00:00:00Z' },
});

export const MONEY_OPERATIONS: readonly MoneyOperation[] = [
  {
    name: 'create a wallet',
    prepare: async (calm) => {
      const name = `${calm.name()}.main`;
      return (operations) => operations.putWallet(name, { ownerUid: name });
    },
  },
  {
    name: 'close a wallet with money in it',
    prepare: async (calm) => {
      const wallet = await calm.wallet();
      return (operations, call) => operations.closeWallet(wallet, { forfeit: true }, call);
    },
  },
  {
    name: 'grant',
    prepare: async (calm) => {
      const wallet = await calm.wallet(0);
      return (operations, call) => operations.grant(wallet, { amount: 70, kind: 'promotional' }, call);
    },
  },
  {
    name: 'revoke a part of a grant',
    prepare: async (calm) => {
      const grant = await calm.grant(await calm.wallet(0), 300);
      return (operations, call) => operations.revokeGrant(grant, { amount: 120 }, call);
    },
  },
  {
    name: 'debit',
    prepare: async (calm) => {
      const wallet = await calm.wallet();
      return (operations, call) => operations.debit({ wallet, lines: [line(10), line(5, 'token')] }, call);
    },
  },
  {
    name: 'debit beside two neighbours of its batch',
    prepare: async (calm) => {
      const [wallet, other] = [await calm.wallet(), await calm.wallet()];
      return async (operations, call) => {
        const beside = [wallet, other].map((name, place) => ({
          body: { wallet: name, lines: [line(1)] },
          call: { key: `${call.key}:${place}` },
        }));
        const calls = [operations.debit({ wallet, lines: [line(10)] }, call)];
        for (const { body, call: own } of beside) calls.push(operations.debit(body, own));
        return (await Promise.all(calls))[0] as OperationResult;
      };
    },
  },
  {
    name: 'hold',
    prepare: async (calm) => {
      const wallet = await calm.wallet();
      return (operations, call) => operations.hold({ wallet, amount: 40, ttlSeconds: DAY_SECONDS }, call);
    },
  },
  {
    name: 'extend a hold',
    prepare: async (calm) => {
      const hold = await calm.hold();
      return (operations, call) => operations.extendHold(hold, { ttlSeconds: 2 * DAY_SECONDS }, call);
    },
  },
  {
    name: 'capture for good',
    prepare: async (calm) => {
      const hold = await calm.hold();
      return (operations, call) => operations.capture(hold, { lines: [line(60)] }, call);
    },
  },
  {
    name: 'capture a part',
    prepare: async (calm) => {
      const hold = await calm.hold();
      return (operations, call) => operations.capture(hold, { lines: [line(30)], final: false }, call);
    },
  },
  {
    name: 'capture more than all that is there',
    prepare: async (calm) => {
      const hold = await calm.hold();
      return (operations, call) => operations.capture(hold, { lines: [line(1_500)] }, call);
    },
  },
  {
    name: 'void',
    prepare: async (calm) => {
      const hold = await calm.hold();
      return (operations, call) => operations.voidHold(hold, {}, call);
    },
  },
  {
    name: 'fulfil',
    prepare: async (calm) => {
      const [wallet, order] = [await calm.wallet(0), calm.name()];
      return (operations, call) => operations.recordFulfilment(unitOf(wallet, order), call);
    },
  },
  {
    name: 'renew',
    prepare: async (calm) => {
      const { wallet, fulfilment } = await calm.unit();
      const renews = { fulfilment, period: 'Month' as const, from: '2029-12-01T00:00:00Z' };
      const { paidThrough: _, ...unit } = unitOf(wallet, calm.name());
      return (operations, call) => operations.recordFulfilment({ ...unit, renews }, call);
    },
  },
  {
    name: 'claim a fulfilment',
    prepare: async (calm) => {
      const { fulfilment } = await calm.unit();
      return (operations) => operations.claimFulfilment(fulfilment, { instanceUid: `uid-of-${fulfilment}` });
    },
  },
  {
    name: 'settle to less',
    prepare: async (calm) => {
      const { order } = await calm.unit();
      return (operations, call) => operations.settleOrder({ shop: SHOP, order }, { charged: 20, total: 100 }, call);
    },
  },
  {
    name: 'settle to more again',
    prepare: async (calm) => {
      const { order } = await calm.settled();
      return (operations, call) => operations.settleOrder({ shop: SHOP, order }, { charged: 90, total: 100 }, call);
    },
  },
];
