import type { TestLedger } from './ledger.ts';

/** One call of a money route, ready to be sent, and one under the same key that means something else. */
export interface MoneyCall {
  path: string;
  body: object;
  /** Absent where the path says all that decides. */
  other?: { path?: string; body: object };
}

/** How a money route is called, and what one effect of it is. */
export interface MoneyRow {
  /** As the document of the API names it; `batch` and the operation for items of one. */
  route: string;
  prepare(ledger: TestLedger, wallet: string): Promise<MoneyCall>;
  /** Transactions of one effect in the wallet, by operation. */
  books: Record<string, number>;
  /** What a new key is answered when the wallet is closed. */
  ended: number | string;
}

const lines = [{ dimension: 'run', units: 1, amount: 3 }];
const others = [{ dimension: 'run', units: 1, amount: 4 }];

/** A hold of its own to work on. */
const openHold = async (ledger: TestLedger, wallet: string): Promise<string> =>
  (await ledger.client.hold({ wallet, amount: 10, ttlSeconds: 60 }, 'opened')).hold;

const onHold = async (ledger: TestLedger, wallet: string, what: string): Promise<string> =>
  `/v1/holds/${await openHold(ledger, wallet)}/${what}`;

/** Of a second hold: what an extension would mean otherwise, as its time to live is no part of the payload. */
const secondHold = async (ledger: TestLedger, wallet: string): Promise<string> =>
  `/v1/holds/${(await ledger.client.hold({ wallet, amount: 2, ttlSeconds: 60 }, 'second')).hold}/extend`;

const unit = (wallet: string, ordinal: number): object => ({
  ...{ shop: 's', order: `${wallet}-o`, line: `${wallet}-l`, ordinal, sku: 'S', wallet },
  grants: [{ amount: 5, kind: 'included' }],
});

const SINGLE: readonly MoneyRow[] = [
  {
    route: 'POST /v1/holds',
    prepare: async (_, wallet) => ({
      path: '/v1/holds',
      body: { wallet, amount: 10, ttlSeconds: 60 },
      other: { body: { wallet, amount: 11, ttlSeconds: 60 } },
    }),
    books: { hold: 1 },
    ended: 'wallet_closed',
  },
  {
    route: 'POST /v1/holds/{hold}/extend',
    prepare: async (ledger, wallet) => ({
      path: await onHold(ledger, wallet, 'extend'),
      body: { ttlSeconds: 100 },
      other: { path: await secondHold(ledger, wallet), body: { ttlSeconds: 100 } },
    }),
    books: {},
    ended: 'already_voided',
  },
  {
    route: 'POST /v1/holds/{hold}/capture',
    prepare: async (ledger, wallet) => ({
      path: await onHold(ledger, wallet, 'capture'),
      body: { lines },
      other: { body: { lines: others } },
    }),
    books: { capture: 1 },
    ended: 'already_captured',
  },
  {
    route: 'POST /v1/holds/{hold}/void',
    prepare: async (ledger, wallet) => {
      const path = await onHold(ledger, wallet, 'void');
      const second = (await secondHold(ledger, wallet)).replace('extend', 'void');
      return { path, body: { reason: 'runtime_error' }, other: { path: second, body: {} } };
    },
    books: { void: 1 },
    ended: 'already_voided',
  },
  {
    route: 'POST /v1/debits',
    prepare: async (_, wallet) => ({
      path: '/v1/debits',
      body: { wallet, lines },
      other: { body: { wallet, lines: others } },
    }),
    books: { debit: 1 },
    ended: 'wallet_closed',
  },
  {
    route: 'POST /v1/wallets/{wallet}/grants',
    prepare: async (_, wallet) => ({
      path: `/v1/wallets/${wallet}/grants`,
      body: { amount: 5, kind: 'manual' },
      other: { body: { amount: 5, kind: 'trial' } },
    }),
    // The first one funds the wallet.
    books: { grant: 2 },
    ended: 'wallet_closed',
  },
  {
    route: 'POST /v1/grants/{grant}/revoke',
    prepare: async (ledger, wallet) => {
      const { grant } = await ledger.client.grant(wallet, { amount: 9, kind: 'manual' }, 'granted');
      return { path: `/v1/grants/${grant}/revoke`, body: { amount: 4 }, other: { body: { amount: 3 } } };
    },
    books: { revoke: 1 },
    ended: 'wallet_closed',
  },
  {
    route: 'POST /v1/fulfilments',
    prepare: async (_, wallet) => ({
      path: '/v1/fulfilments',
      body: unit(wallet, 0),
      other: { body: unit(wallet, 1) },
    }),
    books: { grant: 2 },
    // The unit is known: the first answer, whatever the key.
    ended: 200,
  },
  {
    route: 'POST /v1/orders/{shop}/{order}/settle',
    prepare: async (ledger, wallet) => {
      await ledger.client.recordFulfilment(unit(wallet, 0) as never, 'bought');
      return {
        path: `/v1/orders/s/${wallet}-o/settle`,
        body: { charged: 1, total: 2 },
        other: { body: { charged: 0, total: 2 } },
      };
    },
    books: { settle: 1 },
    // The word is kept, and there is nothing left to move.
    ended: 200,
  },
  {
    route: 'POST /v1/wallets/{wallet}/close',
    prepare: async (_, wallet) => ({
      path: `/v1/wallets/${wallet}/close`,
      body: { forfeit: true },
      other: { body: { forfeit: false } },
    }),
    books: { close: 1 },
    ended: 'wallet_closed',
  },
];

/** The same operations as items of a batch, which names its target in the item. */
const BATCHED: Record<string, { of: string; target?: 'hold' | 'grant' | 'wallet' }> = {
  hold: { of: 'POST /v1/holds' },
  debit: { of: 'POST /v1/debits' },
  extend: { of: 'POST /v1/holds/{hold}/extend', target: 'hold' },
  capture: { of: 'POST /v1/holds/{hold}/capture', target: 'hold' },
  void: { of: 'POST /v1/holds/{hold}/void', target: 'hold' },
  grant: { of: 'POST /v1/wallets/{wallet}/grants', target: 'wallet' },
  revoke: { of: 'POST /v1/grants/{grant}/revoke', target: 'grant' },
};

export const MONEY_ROUTES: readonly MoneyRow[] = [
  ...SINGLE,
  ...Object.entries(BATCHED).map(([op, { of, target }]): MoneyRow => {
    const row = SINGLE.find(({ route }) => route === of) as MoneyRow;
    const item = (path: string, body: object): object =>
      target === undefined ? { op, body } : { op, [target]: path.split('/')[3], body };
    return {
      ...row,
      route: `batch ${op}`,
      prepare: async (ledger, wallet) => {
        const { path, body, other } = await row.prepare(ledger, wallet);
        const otherwise = other && { other: { body: item(other.path ?? path, other.body) } };
        return { path: '/v1/batch', body: item(path, body), ...otherwise };
      },
    };
  }),
];
